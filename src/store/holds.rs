//! Where the journal starts, and who still needs what is there.
//!
//! Retention moves the start forward, and may do so only past what nobody holds. A hold is taken on
//! the journal as it is at that moment, and what it covers stays readable until it is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Debug, Clone)]
pub struct Holds(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    start: u64,
    /// How many hold the journal from a position on.
    held: BTreeMap<u64, usize>,
}

/// Keeps the journal from [`Self::start`] on in place until it is dropped.
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    start: u64,
}

impl Hold {
    /// The first position that is held.
    pub fn start(&self) -> u64 {
        self.start
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut inner = self.holds.lock();
        if let Some(count) = inner.held.get_mut(&self.start) {
            *count -= 1;
            if *count == 0 {
                inner.held.remove(&self.start);
            }
        }
    }
}

impl Holds {
    /// A journal that starts at this position, held by nobody.
    pub fn new(start: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            start,
            held: BTreeMap::new(),
        })))
    }

    /// Where the journal starts.
    pub fn start(&self) -> u64 {
        self.lock().start
    }

    /// Holds all that is there.
    pub fn hold(&self) -> Hold {
        let mut inner = self.lock();
        let start = inner.start;
        *inner.held.entry(start).or_insert(0) += 1;
        drop(inner);
        Hold {
            holds: self.clone(),
            start,
        }
    }

    /// Moves the start forward, unless somebody holds what stands before it. Says whether it did.
    pub fn advance(&self, start: u64) -> bool {
        let mut inner = self.lock();
        if inner.held.range(..start).next().is_some() {
            return false;
        }
        inner.start = inner.start.max(start);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_moves_only_past_what_nobody_holds() {
        let holds = Holds::new(10);
        let (first, second) = (holds.hold(), holds.hold());
        assert_eq!((first.start(), holds.advance(20)), (10, false));
        drop(first);
        assert!(!holds.advance(20), "the second still holds it");
        drop(second);
        assert!(holds.advance(20));
        let later = holds.hold();
        assert_eq!((later.start(), holds.start()), (20, 20));
        assert!(holds.advance(20), "a start that stays loses nothing");
    }
}
