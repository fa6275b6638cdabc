//! Disk space that is kept for getting out of a full disk.
//!
//! sled writes when it is opened and with every checkpoint, and a restart that fails for want of a few
//! megabytes would fail again and again. So a file holds some, and is given up when a start finds the
//! disk full. It comes back with the first start that finds room.

use std::path::Path;

use super::disk::{Access, Disk};
use super::error::StoreError;

/// Two of sled's own segments.
const RESERVE_BYTES: u64 = 32 << 20;

/// Gives the reserve up if less than `min_free_bytes` is free, and makes sure of it otherwise.
pub fn adjust(disk: &dyn Disk, dir: &Path, min_free_bytes: u64) -> Result<(), StoreError> {
    let path = dir.join("reserve");
    let free_bytes = disk.free_bytes(dir);
    let free_bytes = free_bytes.map_err(StoreError::io("measure the free space of", dir))?;
    let exists = disk.exists(&path);
    let exists = exists.map_err(StoreError::io("look for", &path))?;
    if free_bytes < min_free_bytes {
        if exists {
            disk.remove(&path)
                .map_err(StoreError::io("remove", &path))?;
            log::warn!("the disk is full: the reserve is given up");
        }
        return Ok(());
    }
    let open = |access| {
        let file = disk.open(&path, access);
        file.map_err(StoreError::io("open", &path))
    };
    let held = if exists {
        let size = open(Access::Read)?.size_bytes();
        size.map_err(StoreError::io("measure", &path))?
    } else {
        0
    };
    if held < RESERVE_BYTES
        && free_bytes >= min_free_bytes.saturating_add(RESERVE_BYTES)
        && let Err(error) = open(Access::Create)?.allocate(RESERVE_BYTES)
    {
        // Without a reserve the relay works; it only restarts less well on a full disk.
        log::warn!("no reserve of disk space: {error}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::real::RealDisk;

    #[test]
    fn the_reserve_is_given_up_on_a_full_disk_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let held = || {
            dir.path()
                .join("reserve")
                .metadata()
                .map_or(0, |meta| meta.len())
        };
        adjust(&RealDisk, dir.path(), 0).unwrap();
        assert_eq!(held(), RESERVE_BYTES);
        adjust(&RealDisk, dir.path(), u64::MAX).unwrap();
        assert_eq!(held(), 0);
        adjust(&RealDisk, dir.path(), 0).unwrap();
        assert_eq!(held(), RESERVE_BYTES);
    }
}
