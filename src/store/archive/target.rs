//! The place of a new store that is made of a backup or an import: all of it is there in the end, or
//! nothing.
//!
//! A store is its journal, so what is made stands beside the journal's place, under another name,
//! until it is whole and synced; then it is renamed. The directory is locked meanwhile, so that no
//! relay starts in it.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::ArchiveError;
use crate::store::background::Background;
use crate::store::claim::lock;
use crate::store::disk::real::RealDisk;
use crate::store::disk::{Disk, make_dirs};
use crate::store::error::StoreError;
use crate::store::journal::Layout;

const LOCK: &str = "lock";
/// What an empty directory may hold: our own lock, and what a fresh file system has.
const NOTHING: [&str; 2] = [LOCK, "lost+found"];
/// How often the removal of what somebody is still writing to is tried.
const MAX_REMOVALS: usize = 10;

/// See the module. What was not committed is removed when it is dropped.
#[derive(Debug)]
pub struct Target {
    dir: PathBuf,
    /// The directory was made for this.
    made: bool,
    committed: AtomicBool,
    _lock: File,
}

impl Target {
    /// Takes a directory that does not exist, or is empty.
    pub fn new(dir: &Path) -> Result<Self, ArchiveError> {
        let made = !dir.exists();
        if !made && !is_empty(dir)? {
            let path = dir.to_owned();
            return Err(ArchiveError::NotEmpty { path });
        }
        make_dirs(&RealDisk, dir)?;
        let locked = lock(&dir.join(LOCK)).inspect_err(|_| {
            if made {
                let _ = std::fs::remove_dir(dir);
            }
        });
        let target = Self {
            dir: dir.to_owned(),
            made,
            committed: AtomicBool::new(false),
            _lock: locked?,
        };
        let journal = target.journal();
        let made = DirBuilder::new().mode(0o700).create(&journal);
        made.map_err(StoreError::io("create", &journal))?;
        Ok(target)
    }

    fn journal(&self) -> PathBuf {
        self.dir.join("journal.partial")
    }

    /// How a journal is laid out there. Nothing is left to do in the background when it is written.
    pub fn layout(&self, store_id: [u8; 16], segment_bytes: u64) -> Layout {
        Layout {
            dir: self.journal(),
            store_id,
            segment_bytes,
            min_free_bytes: 0,
            disk: Arc::new(RealDisk),
            background: Background::Inline,
        }
    }

    /// The new store is whole, and its files are synced: gives it its name.
    pub fn commit(&self) -> Result<(), StoreError> {
        let (made, journal) = (self.journal(), self.dir.join("journal"));
        sync_dir(&made)?;
        std::fs::rename(&made, &journal).map_err(StoreError::io("rename", &made))?;
        self.committed.store(true, Ordering::Release);
        sync_dir(&self.dir)
    }

    /// Removes what was made so far, even while somebody is still making it; whoever that is fails.
    pub fn abandon(&self) {
        if self.committed.load(Ordering::Acquire) {
            return;
        }
        let journal = self.journal();
        for _ in 0..MAX_REMOVALS {
            let _ = std::fs::remove_dir_all(&journal);
            if !journal.exists() {
                break;
            }
        }
        let _ = std::fs::remove_file(self.dir.join(LOCK));
        if self.made {
            let _ = std::fs::remove_dir(&self.dir);
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.abandon();
    }
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    RealDisk.sync_dir(dir).map_err(StoreError::io("sync", dir))
}

fn is_empty(dir: &Path) -> Result<bool, StoreError> {
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        if !NOTHING.iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}
