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

/// Gives the reserve up if less than `min_free_bytes` is free: the start needs it.
pub fn give_up_if_full(disk: &dyn Disk, dir: &Path, min_free_bytes: u64) -> Result<(), StoreError> {
    let path = dir.join("reserve");
    let exists = disk.exists(&path);
    let exists = exists.map_err(StoreError::io("look for", &path))?;
    if exists && free_bytes(disk, dir)? < min_free_bytes {
        disk.remove(&path)
            .map_err(StoreError::io("remove", &path))?;
        log::warn!("the disk is full: the reserve is given up");
    }
    Ok(())
}

/// Makes sure of the reserve, if there is room for it.
pub fn keep(disk: &dyn Disk, dir: &Path, min_free_bytes: u64) -> Result<(), StoreError> {
    if free_bytes(disk, dir)? < min_free_bytes.saturating_add(RESERVE_BYTES) {
        return Ok(());
    }
    if let Err(error) = make(disk, &dir.join("reserve")) {
        // Without a reserve the relay works; it only restarts less well on a full disk.
        log::warn!("no reserve of disk space: {error}");
    }
    Ok(())
}

fn make(disk: &dyn Disk, path: &Path) -> std::io::Result<()> {
    if disk.exists(path)? && disk.open(path, Access::Read)?.size_bytes()? >= RESERVE_BYTES {
        return Ok(());
    }
    disk.open(path, Access::Create)?.allocate(RESERVE_BYTES)
}

fn free_bytes(disk: &dyn Disk, dir: &Path) -> Result<u64, StoreError> {
    let free_bytes = disk.free_bytes(dir);
    free_bytes.map_err(StoreError::io("measure the free space of", dir))
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
        let start = |min_free_bytes| {
            give_up_if_full(&RealDisk, dir.path(), min_free_bytes).unwrap();
            keep(&RealDisk, dir.path(), min_free_bytes).unwrap();
        };
        start(0);
        assert_eq!(held(), RESERVE_BYTES);
        start(u64::MAX);
        assert_eq!(held(), 0);
        start(0);
        assert_eq!(held(), RESERVE_BYTES);
    }
}
