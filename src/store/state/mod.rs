//! The state beside the journal: where everything stands, so that nothing has to be searched for.
//!
//! One sled tree with prefixed keys ([`rows`]). It is written in checkpoints only, each one bounded
//! atomic batch, in the sequence that was measured to survive power cuts; between checkpoints, what
//! changed stands in an [`overlay`]. Nothing that was acknowledged depends on sled: whatever is wrong
//! with it, the journal rebuilds it.
//!
//! The sequence, and why: sled's `flush()` is not durable on Linux, so every checkpoint ends with our
//! own `fdatasync` of its file; segments of 16 MiB keep every value inside that one file; `conf` and
//! its snapshots are never synced by sled and a half-written snapshot would stop every later open, so
//! both are dealt with when opening.

pub mod checkpoint;
pub mod overlay;
pub mod rows;

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::StoreError;
use super::journal::segment::sync_dir;

/// sled's own segments. The same on every open, or sled refuses.
const SEGMENT_BYTES: usize = 16 << 20;
const TREE: &str = "state";

/// The open state store.
#[derive(Debug)]
pub struct State {
    db: sled::Db,
    tree: sled::Tree,
    file: File,
    dir: PathBuf,
    saved_to: AtomicU64,
}

impl State {
    /// Opens the store, or makes an empty one.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        if dir.exists() {
            remove_unfinished_snapshots(dir)?;
        }
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
        Ok(Self {
            db,
            tree,
            file,
            dir: dir.to_owned(),
            saved_to: AtomicU64::new(0),
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        Ok(guarded(|| self.tree.get(key))?)
    }

    /// The pairs whose keys lie in a range, in order.
    pub fn range(&self, range: Range<Vec<u8>>) -> Rows {
        Rows(self.tree.range(range))
    }

    /// Applies a batch and returns once it is synced. An error is final.
    pub fn commit(&self, batch: sled::Batch) -> Result<(), StoreError> {
        guarded(|| self.tree.apply_batch(batch).and_then(|()| self.db.flush()))?;
        let blobs = self.dir.join("blobs");
        if std::fs::read_dir(&blobs).is_ok_and(|mut files| files.next().is_some()) {
            sync_tree(&blobs)?;
        }
        self.file
            .sync_data()
            .map_err(StoreError::io("sync", &self.dir))
    }

    /// The position that the last checkpoint of this process reached, 0 before there was one.
    pub fn saved_to(&self) -> u64 {
        self.saved_to.load(Ordering::Acquire)
    }

    /// Notes how far a checkpoint that is synced reaches.
    pub fn note_saved(&self, position: u64) {
        self.saved_to.store(position, Ordering::Release);
    }

    /// Notes that what is on disk is damaged, so that the next start rebuilds it instead of failing in
    /// the same way. Best effort: without the note, the next start finds out again.
    pub fn condemn(&self) {
        let note = note_of(&self.dir);
        let noted = File::create(&note).and_then(|file| file.sync_all());
        if let Err(error) = noted {
            log::warn!(
                "cannot note that {} is damaged: {error}",
                self.dir.display()
            );
        }
    }

    /// Whether a process before this one found the store at this place damaged.
    pub fn is_condemned(dir: &Path) -> bool {
        note_of(dir).exists()
    }

    /// Removes that note: this store was made anew.
    pub fn pardon(&self) -> Result<(), StoreError> {
        let note = note_of(&self.dir);
        if note.exists() {
            std::fs::remove_file(&note).map_err(StoreError::io("remove", &note))?;
        }
        Ok(())
    }
}

/// Rows of a range, read as they are asked for.
pub struct Rows(sled::Iter);

impl Iterator for Rows {
    type Item = Result<(sled::IVec, sled::IVec), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        guarded(|| self.0.next().transpose())
            .map_err(StoreError::from)
            .transpose()
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        guarded(|| self.0.next_back().transpose())
            .map_err(StoreError::from)
            .transpose()
    }
}

/// sled panics on some kinds of damage; to us that is one more error.
fn guarded<T>(work: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, sled::Error> {
    let panicked = |_| Err(sled::Error::ReportableBug("it panicked".to_owned()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

fn note_of(dir: &Path) -> PathBuf {
    dir.with_extension("damaged")
}

/// sled's reader takes a half-written snapshot for a whole one.
fn remove_unfinished_snapshots(dir: &Path) -> Result<(), StoreError> {
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
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
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
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
