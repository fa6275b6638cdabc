//! What changed since the last checkpoint, on top of it.
//!
//! Reads see the changes in memory, then those of a checkpoint that is being written, then the table. A
//! row that comes and goes between two checkpoints never reaches the disk: that is what makes the
//! common case, an event delivered at once, cost the engine nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::State;
use crate::store::error::StoreError;

/// The changes of one checkpoint: a value, or `None` for a removal.
pub type Frozen = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What a row costs beside its key and value; an estimate, for bounding memory.
const ROW_OVERHEAD_BYTES: usize = 32;

#[derive(Debug)]
struct Pending {
    value: Option<Vec<u8>>,
    /// Nothing below holds this key, so removing it leaves nothing to write.
    fresh: bool,
}

/// Which way a scan goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the lowest key.
    Forward,
    /// From the highest key.
    Backward,
}

/// The state, and what is not in it yet.
#[derive(Debug)]
pub struct Overlay {
    state: Arc<State>,
    active: BTreeMap<Vec<u8>, Pending>,
    active_bytes: usize,
    frozen: Option<Arc<Frozen>>,
}

impl Overlay {
    /// Nothing on top of this state.
    pub fn new(state: Arc<State>) -> Self {
        Self {
            state,
            active: BTreeMap::new(),
            active_bytes: 0,
            frozen: None,
        }
    }

    /// What the changes since the last checkpoint take.
    pub fn bytes(&self) -> usize {
        self.active_bytes
    }

    /// Whether a checkpoint is being written.
    pub fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Puts a row whose key is known to be absent.
    pub fn put_new(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.set(
            key,
            Pending {
                value: Some(value),
                fresh: true,
            },
        );
    }

    /// Puts a row.
    pub fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        let fresh = self.active.get(&key).is_some_and(|pending| pending.fresh);
        self.set(
            key,
            Pending {
                value: Some(value),
                fresh,
            },
        );
    }

    /// Removes a row.
    pub fn remove(&mut self, key: Vec<u8>) {
        match self.active.get(&key) {
            Some(pending) if pending.fresh => {
                self.active_bytes -= size(&key, pending);
                self.active.remove(&key);
            }
            _ => self.set(
                key,
                Pending {
                    value: None,
                    fresh: false,
                },
            ),
        }
    }

    fn set(&mut self, key: Vec<u8>, pending: Pending) {
        self.active_bytes += size(&key, &pending);
        let key_bytes = key.len();
        if let Some(old) = self.active.insert(key, pending) {
            self.active_bytes -= key_bytes + old.value.map_or(0, |v| v.len()) + ROW_OVERHEAD_BYTES;
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(pending) = self.active.get(key) {
            return Ok(pending.value.clone());
        }
        if let Some(value) = self.frozen.as_ref().and_then(|frozen| frozen.get(key)) {
            return Ok(value.clone());
        }
        self.state.get(key)
    }

    /// The first rows of a range, at most `limit`.
    pub fn scan(
        &self,
        range: &Range<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let active = self.active.range(range.clone());
        let active = active.map(|(key, pending)| Ok((key.clone(), pending.value.clone())));
        let frozen = self
            .frozen
            .iter()
            .flat_map(|frozen| frozen.range(range.clone()));
        let frozen = frozen.map(|(key, value)| Ok((key.clone(), value.clone())));
        let stored = self.state.range(range.clone());
        let stored = stored.map(|row| row.map(|(key, value)| (key, Some(value))));
        match direction {
            Direction::Forward => merge(
                [&mut { active }, &mut { frozen }, &mut { stored }],
                direction,
                limit,
            ),
            Direction::Backward => merge(
                [&mut active.rev(), &mut frozen.rev(), &mut stored.rev()],
                direction,
                limit,
            ),
        }
    }

    /// Takes the changes so far for a checkpoint. Until [`Self::thaw`] they stay visible.
    pub fn freeze(&mut self) -> Arc<Frozen> {
        let active = std::mem::take(&mut self.active);
        self.active_bytes = 0;
        let frozen: Frozen = active
            .into_iter()
            .map(|(key, pending)| (key, pending.value))
            .collect();
        let frozen = Arc::new(frozen);
        self.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// The checkpoint is in the table.
    pub fn thaw(&mut self) {
        self.frozen = None;
    }
}

fn size(key: &[u8], pending: &Pending) -> usize {
    key.len() + pending.value.as_ref().map_or(0, Vec::len) + ROW_OVERHEAD_BYTES
}

type Change = (Vec<u8>, Option<Vec<u8>>);

/// Merges sorted sources; where several hold a key, the first counts.
fn merge(
    sources: [&mut dyn Iterator<Item = Result<Change, StoreError>>; 3],
    direction: Direction,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let mut heads: [Option<Change>; 3] = [None, None, None];
    let mut sources = sources;
    for (head, source) in heads.iter_mut().zip(&mut sources) {
        *head = source.next().transpose()?;
    }
    let mut rows = Vec::new();
    while rows.len() < limit {
        let keys = heads.iter().flatten().map(|(key, _)| key);
        let next = match direction {
            Direction::Forward => keys.min(),
            Direction::Backward => keys.max(),
        };
        let Some(next) = next.cloned() else { break };
        let mut value = None;
        for (head, source) in heads.iter_mut().zip(&mut sources) {
            if head.as_ref().is_some_and(|(key, _)| *key == next) {
                let taken = std::mem::replace(head, source.next().transpose()?);
                value = value.or(taken.map(|(_, value)| value));
            }
        }
        if let Some(Some(value)) = value {
            rows.push((next, value));
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(dir: &std::path::Path) -> (Overlay, Arc<State>) {
        let state = Arc::new(State::open(dir, 1 << 20).unwrap());
        (Overlay::new(Arc::clone(&state)), state)
    }

    fn checkpoint(overlay: &mut Overlay, state: &State) {
        state.commit(&overlay.freeze()).unwrap();
        overlay.thaw();
    }

    fn keys(overlay: &Overlay, direction: Direction) -> String {
        let range = b"a".to_vec()..b"z".to_vec();
        let rows = overlay.scan(&range, direction, 10).unwrap();
        rows.iter()
            .map(|(key, value)| String::from_utf8([&key[..], value].concat()).unwrap() + " ")
            .collect()
    }

    #[test]
    fn reads_see_memory_then_the_running_checkpoint_then_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (mut overlay, state) = overlay(&dir.path().join("state"));
        for key in ["a", "b", "c", "d"] {
            overlay.put_new(key.into(), b"1".to_vec());
        }
        checkpoint(&mut overlay, &state);
        overlay.put(b"b".to_vec(), b"2".to_vec());
        overlay.remove(b"c".to_vec());
        overlay.freeze();
        overlay.remove(b"d".to_vec());
        overlay.put(b"c".to_vec(), b"3".to_vec());
        overlay.put_new(b"e".to_vec(), b"3".to_vec());
        assert_eq!(keys(&overlay, Direction::Forward), "a1 b2 c3 e3 ");
        assert_eq!(keys(&overlay, Direction::Backward), "e3 c3 b2 a1 ");
        assert_eq!(overlay.get(b"d").unwrap(), None);
        assert_eq!(overlay.get(b"b").unwrap(), Some(b"2".to_vec()));
    }

    #[test]
    fn a_row_that_comes_and_goes_leaves_nothing_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let (mut overlay, _) = overlay(&dir.path().join("state"));
        overlay.put_new(b"k".to_vec(), vec![0; 100]);
        overlay.put(b"k".to_vec(), vec![0; 50]);
        overlay.remove(b"k".to_vec());
        assert_eq!(overlay.bytes(), 0);
        assert!(overlay.freeze().is_empty());
    }
}
