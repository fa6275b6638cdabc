//! An engine in memory that keeps what was committed, as of one commit or another.
//!
//! It shares the power with a simulated disk. When that goes during a commit, the commit is there
//! afterwards or is not. It can also be sent back to an earlier commit, or lose all it has: from
//! either, the journal knows the way.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Engine, Rows, Table};
use crate::store::disk::simulated::{Power, SimulatedDisk};
use crate::store::error::StoreError;
use crate::store::fixtures::Random;
use crate::store::state::overlay::Frozen;

/// Commits that it can be sent back to.
const MAX_OLDER: usize = 3;

type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// See the module. Clones are the same engine; there is one table, wherever it is said to be.
#[derive(Debug, Clone)]
pub struct SimulatedEngine {
    disk: SimulatedDisk,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// `None` where there is none.
    now: Option<Content>,
    /// What an operation would have made of that during which the power went.
    under_way: Option<UnderWay>,
    older: VecDeque<Content>,
}

#[derive(Debug)]
struct UnderWay(Option<Content>);

impl SimulatedEngine {
    /// One that runs on the power of a disk.
    pub fn new(disk: SimulatedDisk) -> Self {
        Self {
            disk,
            kept: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what became of what was under way when the power went.
    pub fn power_cut(&self, random: &mut Random) {
        let mut kept = self.lock();
        if let Some(UnderWay(under_way)) = kept.under_way.take()
            && random.chance(50)
        {
            kept.now = under_way;
        }
    }

    /// Loses everything.
    pub fn lose(&self) {
        *self.lock() = Kept::default();
    }

    /// Goes back to an earlier commit, if there was one.
    pub fn go_back(&self) {
        let mut kept = self.lock();
        if let Some(older) = kept.older.pop_back() {
            kept.now = Some(older);
        }
    }

    fn set(&self, boot: u64, now: Option<Content>) -> Result<(), StoreError> {
        let power = self.disk.begin(boot).map_err(failed)?;
        let mut kept = self.lock();
        if power == Power::Goes {
            kept.under_way = Some(UnderWay(now));
        } else if let Some(before) = std::mem::replace(&mut kept.now, now) {
            if kept.older.len() == MAX_OLDER {
                kept.older.pop_front();
            }
            kept.older.push_back(before);
        }
        power.outcome().map_err(failed)
    }
}

fn failed(error: std::io::Error) -> StoreError {
    StoreError::State {
        is_damaged: false,
        source: Box::new(error),
    }
}

impl Engine for SimulatedEngine {
    fn exists(&self, _: &Path) -> Result<bool, StoreError> {
        self.disk.check(self.disk.boot()).map_err(failed)?;
        Ok(self.lock().now.is_some())
    }

    fn open(&self, dir: &Path, _: u64) -> Result<Box<dyn Table>, StoreError> {
        let boot = self.disk.boot();
        if !self.exists(dir)? {
            self.set(boot, Some(Content::new()))?;
        }
        Ok(Box::new(Open {
            engine: self.clone(),
            boot,
        }))
    }

    fn remove(&self, dir: &Path) -> Result<(), StoreError> {
        if self.exists(dir)? {
            self.set(self.disk.boot(), None)?;
        }
        self.lock().older.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct Open {
    engine: SimulatedEngine,
    boot: u64,
}

impl Open {
    fn read<T>(&self, read: impl FnOnce(&Content) -> T) -> Result<T, StoreError> {
        self.engine.disk.check(self.boot).map_err(failed)?;
        let kept = self.engine.lock();
        Ok(read(kept.now.as_ref().unwrap_or(&Content::new())))
    }
}

impl Table for Open {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|rows| rows.get(key).cloned())
    }

    fn range(&self, range: Range<Vec<u8>>) -> Rows<'_> {
        let found = self.read(|rows| {
            let found = rows.range(range);
            found
                .map(|(key, value)| Ok((key.clone(), value.clone())))
                .collect::<Vec<_>>()
        });
        Box::new(found.unwrap_or_else(|error| vec![Err(error)]).into_iter())
    }

    fn commit(&self, changes: &Frozen) -> Result<(), StoreError> {
        let mut rows = self.read(Content::clone)?;
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key.clone(), value.clone()),
                None => rows.remove(key),
            };
        }
        self.engine.set(self.boot, Some(rows))
    }
}
