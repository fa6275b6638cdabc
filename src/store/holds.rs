//! Where the journal starts, and who still needs what is there.
//!
//! Retention moves the start forward, and may do so only past what nobody holds. A hold is taken on
//! the journal as it is at that moment, and what it covers stays readable until it is dropped. Before it
//! carries over what is still needed of a segment, retention says that the segment is leaving: from then on
//! nothing in it is held for a new delivery, which could come too late to be carried.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module.
#[derive(Debug, Clone)]
pub struct Holds(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    start: u64,
    /// What stands before this is leaving.
    leaving: u64,
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
            leaving: start,
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

    /// Holds all that is there, so that what stands at a position can be delivered once more. `None` when
    /// that is leaving.
    pub fn hold_for(&self, position: u64) -> Option<Hold> {
        // Whatever begins to leave after this finds the hold.
        let hold = self.hold();
        let leaving = self.lock().leaving;
        (position >= leaving).then_some(hold)
    }

    /// Says that what stands before a position is leaving. Says whether nobody holds any of it.
    pub fn begin_leaving(&self, end: u64) -> bool {
        let mut inner = self.lock();
        inner.leaving = inner.leaving.max(end);
        inner.held.range(..end).next().is_none()
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
    fn what_is_leaving_is_not_held_for_new_deliveries_and_waits_for_those_who_hold_it() {
        let holds = Holds::new(10);
        let before = holds.hold_for(15).unwrap();
        assert!(!holds.begin_leaving(20));
        assert!(holds.hold_for(19).is_none() && holds.hold_for(20).is_some());
        assert!(!holds.begin_leaving(20), "it is held still");
        drop(before);
        assert!(holds.begin_leaving(20) && holds.advance(20));
    }

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
