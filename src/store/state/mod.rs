//! The state beside the journal: where everything stands, so that nothing has to be searched for.
//!
//! One table with prefixed keys ([`rows`]), kept by an [`engine`], which is [`sled`]. It is written in
//! checkpoints only, each one bounded atomic batch; between checkpoints, what changed stands in an
//! [`overlay`]. Nothing that was acknowledged depends on the engine: whatever is wrong with what it
//! keeps, the journal rebuilds it.

pub mod checkpoint;
pub mod engine;
pub mod overlay;
pub mod rows;
pub mod sled;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::engine::{Engine, Rows, Table};
use self::overlay::Frozen;
use self::sled::Sled;
use super::disk::real::RealDisk;
use super::disk::{Access, Disk};
use super::error::StoreError;

/// Where a state is, and by what it is kept.
#[derive(Debug, Clone)]
pub struct Site {
    /// The directory of its own.
    pub dir: PathBuf,
    /// Memory that the engine may use for what it has read.
    pub cache_bytes: u64,
    /// What keeps the rows.
    pub engine: Arc<dyn Engine>,
    /// What keeps the note of damage, which stands beside the directory.
    pub disk: Arc<dyn Disk>,
}

impl Site {
    /// Whether there is a state.
    pub fn exists(&self) -> Result<bool, StoreError> {
        self.engine.exists(&self.dir)
    }

    /// Opens the state, or makes an empty one.
    pub fn open(self) -> Result<State, StoreError> {
        let table = self.engine.open(&self.dir, self.cache_bytes)?;
        Ok(State {
            site: self,
            table,
            saved_to: AtomicU64::new(0),
        })
    }

    /// Makes an empty state, whatever was there before.
    pub fn open_anew(self) -> Result<State, StoreError> {
        self.engine.remove(&self.dir)?;
        let state = self.open()?;
        state.site.pardon()?;
        Ok(state)
    }

    /// Whether a process before this one found the state damaged.
    pub fn is_condemned(&self) -> Result<bool, StoreError> {
        let note = self.note();
        let exists = self.disk.exists(&note);
        exists.map_err(StoreError::io("look for", &note))
    }

    /// Removes that note.
    fn pardon(&self) -> Result<(), StoreError> {
        if self.is_condemned()? {
            let note = self.note();
            let removed = self.disk.remove(&note);
            removed.map_err(StoreError::io("remove", &note))?;
        }
        Ok(())
    }

    /// Where that note is.
    pub fn note(&self) -> PathBuf {
        self.dir.with_extension("damaged")
    }
}

/// The open state.
#[derive(Debug)]
pub struct State {
    site: Site,
    table: Box<dyn Table>,
    saved_to: AtomicU64,
}

impl State {
    /// Opens a state that sled keeps on the real disk, or makes an empty one.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let site = Site {
            dir: dir.to_owned(),
            cache_bytes,
            engine: Arc::new(Sled),
            disk: Arc::new(RealDisk),
        };
        site.open()
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.table.get(key)
    }

    /// The rows whose keys lie in a range, in order.
    pub fn range(&self, range: Range<Vec<u8>>) -> Rows<'_> {
        self.table.range(range)
    }

    /// Applies all changes at once and returns when they are synced. An error is final.
    pub fn commit(&self, changes: &Frozen) -> Result<(), StoreError> {
        self.table.commit(changes)
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
        let note = self.site.note();
        let file = self.site.disk.open(&note, Access::Create);
        if let Err(error) = file.and_then(|file| file.sync_all()) {
            log::warn!(
                "cannot note that {} is damaged: {error}",
                self.site.dir.display()
            );
        }
    }
}
