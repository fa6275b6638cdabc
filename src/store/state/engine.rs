//! What the state asks of the engine that keeps it: ordered rows, written in atomic batches.
//!
//! A boundary, so that another engine can take sled's place, and a simulated one in tests. An engine
//! that fails is believed at once: whatever it holds, the journal can rebuild it.

#[cfg(test)]
pub mod simulated;

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;

use super::overlay::{Frozen, Row};
use crate::store::error::StoreError;

/// Rows of a range, read as they are asked for, from either end.
pub type Rows<'a> = Box<dyn DoubleEndedIterator<Item = Result<Row, StoreError>> + 'a>;

/// A kind of engine. What it keeps has a directory of its own.
pub trait Engine: Debug + Send + Sync {
    /// Whether there is anything in this place.
    fn exists(&self, dir: &Path) -> Result<bool, StoreError>;

    /// Opens what is there, or makes an empty table. Memory for what has been read is at most
    /// `cache_bytes`.
    fn open(&self, dir: &Path, cache_bytes: u64) -> Result<Box<dyn Table>, StoreError>;

    /// Removes all that is there.
    fn remove(&self, dir: &Path) -> Result<(), StoreError>;
}

/// Rows in the order of their keys.
pub trait Table: Debug + Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows whose keys lie in a range.
    fn range(&self, range: Range<Vec<u8>>) -> Rows<'_>;

    /// Applies all changes or none, and returns once they are synced. An error is final.
    fn commit(&self, changes: &Frozen) -> Result<(), StoreError>;
}
