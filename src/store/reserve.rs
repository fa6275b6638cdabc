//! Disk space that is kept for getting out of a full disk.
//!
//! sled writes when it is opened and with every checkpoint, and a restart that fails for want of a few
//! megabytes would fail again and again. So a file holds some, and is given up when a start finds the
//! disk full. It comes back with the first start that finds room.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use super::error::StoreError;

/// Two of sled's own segments.
const RESERVE_BYTES: u64 = 32 << 20;

/// Gives the reserve up if less than `min_free_bytes` is free, and makes sure of it otherwise.
pub fn adjust(dir: &Path, min_free_bytes: u64) -> Result<(), StoreError> {
    let path = dir.join("reserve");
    let stat = statvfs(dir)
        .map_err(|errno| StoreError::io("measure the free space of", dir)(errno.into()))?;
    let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free_bytes < min_free_bytes {
        if path.exists() {
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
            log::warn!("the disk is full: the reserve is given up");
        }
        return Ok(());
    }
    let held = path.metadata().map_or(0, |meta| meta.len());
    if held < RESERVE_BYTES && free_bytes >= min_free_bytes.saturating_add(RESERVE_BYTES) {
        let file = make(&path)?;
        if let Err(errno) = fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            // Without a reserve the relay works; it only restarts less well on a full disk.
            log::warn!("no reserve of disk space: {errno}");
        }
    }
    Ok(())
}

fn make(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_given_up_on_a_full_disk_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let held = || {
            dir.path()
                .join("reserve")
                .metadata()
                .map_or(0, |meta| meta.len())
        };
        adjust(dir.path(), 0).unwrap();
        assert_eq!(held(), RESERVE_BYTES);
        adjust(dir.path(), u64::MAX).unwrap();
        assert_eq!(held(), 0);
        adjust(dir.path(), 0).unwrap();
        assert_eq!(held(), RESERVE_BYTES);
    }
}
