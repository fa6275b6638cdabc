//! sled as the engine of the state.
//!
//! The sequence that was measured to survive power cuts, and why: sled's `flush()` is not durable on
//! Linux, so every commit ends with our own `fdatasync` of its file; segments of 16 MiB keep every
//! value inside that one file; `conf` and its snapshots are never synced by sled and a half-written
//! snapshot would stop every later open, so both are dealt with when opening.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::engine::{Engine, Rows, Table};
use super::overlay::Frozen;
use crate::store::disk::real::RealDisk;
use crate::store::disk::{Disk, make_dirs};
use crate::store::error::StoreError;

/// sled's own segments. The same on every open, or sled refuses.
const SEGMENT_BYTES: usize = 16 << 20;
const TREE: &str = "state";

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sled;

impl Engine for Sled {
    fn exists(&self, dir: &Path) -> Result<bool, StoreError> {
        dir.try_exists().map_err(StoreError::io("look for", dir))
    }

    fn open(&self, dir: &Path, cache_bytes: u64) -> Result<Box<dyn Table>, StoreError> {
        make_dirs(&RealDisk, dir)?;
        remove_unfinished_snapshots(dir)?;
        let config = sled::Config::new()
            .path(dir)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            .flush_every_ms(None);
        let (db, tree) = guarded(|| {
            let db = config.open()?;
            let tree = db.open_tree(TREE)?;
            db.flush()?;
            Ok((db, tree))
        })?;
        let path = dir.join("db");
        let file = File::options()
            .read(true)
            .write(true)
            .open(&path)
            .map_err(StoreError::io("open", &path))?;
        sync_everything(dir)?;
        let dir = dir.to_owned();
        Ok(Box::new(Open {
            db,
            tree,
            file,
            dir,
        }))
    }

    fn remove(&self, dir: &Path) -> Result<(), StoreError> {
        if !self.exists(dir)? {
            return Ok(());
        }
        let removed = if dir.is_dir() {
            std::fs::remove_dir_all(dir)
        } else {
            std::fs::remove_file(dir)
        };
        removed.map_err(StoreError::io("remove", dir))
    }
}

/// An open tree.
#[derive(Debug)]
struct Open {
    db: sled::Db,
    tree: sled::Tree,
    file: File,
    dir: PathBuf,
}

impl Table for Open {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = guarded(|| self.tree.get(key))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, range: Range<Vec<u8>>) -> Rows<'_> {
        Box::new(Scan(self.tree.range(range)))
    }

    fn commit(&self, changes: &Frozen) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        guarded(|| self.tree.apply_batch(batch).and_then(|()| self.db.flush()))?;
        let blobs = self.dir.join("blobs");
        if std::fs::read_dir(&blobs).is_ok_and(|mut files| files.next().is_some()) {
            sync_tree(&blobs)?;
        }
        self.file
            .sync_data()
            .map_err(StoreError::io("sync", &self.dir))
    }
}

struct Scan(sled::Iter);

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        guarded(|| self.0.next().transpose())
            .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .transpose()
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        guarded(|| self.0.next_back().transpose())
            .map(|row| row.map(|(key, value)| (key.to_vec(), value.to_vec())))
            .transpose()
    }
}

/// sled panics on some kinds of damage; to us that is one more error.
fn guarded<T>(work: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, StoreError> {
    let panicked = |_| Err(sled::Error::ReportableBug("it panicked".to_owned()));
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked);
    done.map_err(|error| StoreError::State {
        is_damaged: !matches!(error, sled::Error::Io(_)),
        source: Box::new(error),
    })
}

/// sled's reader takes a half-written snapshot for a whole one.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    for name in RealDisk.list(dir).map_err(StoreError::io("list", dir))? {
        if name.starts_with("snap.") && name.ends_with(".generating") {
            let path = dir.join(name);
            let removed = RealDisk.remove(&path);
            removed.map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Syncs what sled has made so far, the names included.
fn sync_everything(dir: &Path) -> Result<(), StoreError> {
    sync_tree(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

fn sync_tree(dir: &Path) -> Result<(), StoreError> {
    for name in RealDisk.list(dir).map_err(StoreError::io("list", dir))? {
        let path = dir.join(name);
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(StoreError::io("sync", &path))?;
        }
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    RealDisk.sync_dir(dir).map_err(StoreError::io("sync", dir))
}
