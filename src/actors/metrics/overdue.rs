//! How long what is due has waited for lanes that were free to send it.
//!
//! Each lane keeps one number, the time since which something is due that it is free to send and has not
//! begun; it may be in the future. A lane that is forgotten, or gets no thread, leaves its number standing,
//! and so shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use crate::domain::ids::SubscriptionId;

/// Nothing waits, or the lane is not free to send it.
const NEVER: u64 = u64::MAX;
/// The lane has nothing, and is at nothing.
const IDLE: u64 = u64::MAX - 1;

/// The lanes' numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct Overdue(Arc<DashMap<SubscriptionId, Arc<AtomicU64>>>);

impl Overdue {
    /// The number of a lane that begins.
    pub fn clock(&self, lane: SubscriptionId) -> LaneClock {
        let since_ms = Arc::new(AtomicU64::new(NEVER));
        self.0.insert(lane, Arc::clone(&since_ms));
        LaneClock {
            lane,
            all: self.clone(),
            since_ms,
            was_free_ms: None,
            is_free_ms: None,
        }
    }

    /// Whether a lane has nothing and is at nothing, be it that it has not begun: should the ledger hold
    /// something that is due, nobody is about to send it.
    pub fn is_idle(&self, lane: SubscriptionId) -> bool {
        let own = self.0.get(&lane);
        own.is_none_or(|since_ms| since_ms.load(Ordering::Relaxed) == IDLE)
    }

    /// How long the longest has waited.
    pub fn longest_ms(&self, now_ms: u64) -> u64 {
        let since = self.0.iter().map(|lane| lane.load(Ordering::Relaxed)).min();
        since.map_or(0, |since_ms| now_ms.saturating_sub(since_ms))
    }
}

/// A lane's own number. It goes with the lane.
#[derive(Debug)]
pub struct LaneClock {
    lane: SubscriptionId,
    all: Overdue,
    since_ms: Arc<AtomicU64>,
    /// Since when, or from when on, the lane was free at its last look.
    was_free_ms: Option<u64>,
    is_free_ms: Option<u64>,
}

impl LaneClock {
    /// The lane looks what it can begin. Unless it says more, nothing waits that it is free to send.
    pub fn look(&mut self) {
        self.was_free_ms = self.is_free_ms.take();
        self.since_ms.store(NEVER, Ordering::Relaxed);
    }

    /// The lane has nothing more to begin.
    pub fn nothing_ready(&mut self, is_under_way: bool) {
        if !is_under_way {
            self.since_ms.store(IDLE, Ordering::Relaxed);
        }
    }

    /// There will be something to send, and the lane free to send it, after this wait.
    pub fn free_in(&mut self, wait: Duration, now_ms: u64) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let at_ms = now_ms.saturating_add(wait_ms);
        self.is_free_ms = Some(at_ms);
        self.since_ms.store(at_ms, Ordering::Relaxed);
    }

    /// The lane is free to send what has been due since `due_ms`, and cannot.
    pub fn kept_waiting(&mut self, due_ms: u64, now_ms: u64) {
        let free_ms = self.was_free_ms.unwrap_or(now_ms).min(now_ms);
        self.is_free_ms = Some(free_ms);
        self.since_ms.store(due_ms.max(free_ms), Ordering::Relaxed);
    }
}

impl Drop for LaneClock {
    fn drop(&mut self) {
        let own = &self.since_ms;
        self.all
            .0
            .remove_if(&self.lane, |_, it| Arc::ptr_eq(it, own));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_is_since_when_it_is_due_and_the_lane_free() {
        let overdue = Overdue::default();
        let mut lane = overdue.clock(SubscriptionId::from_bits(1));
        lane.look();
        assert_eq!(overdue.longest_ms(1_000), 0);
        lane.free_in(Duration::from_millis(500), 1_000);
        assert_eq!(overdue.longest_ms(1_500), 0, "its time has not come");
        assert_eq!(overdue.longest_ms(1_700), 200, "nobody woke the lane");
        // It was due long before the lane was free.
        lane.look();
        lane.kept_waiting(100, 1_800);
        assert_eq!(overdue.longest_ms(2_000), 500);
        // The first was begun, the next has been due for less long.
        lane.look();
        lane.kept_waiting(1_900, 2_000);
        assert_eq!(overdue.longest_ms(2_000), 100);
        lane.look();
        assert_eq!(overdue.longest_ms(9_000), 0);
        lane.look();
        lane.kept_waiting(1_900, 9_000);
        assert_eq!(overdue.longest_ms(9_001), 1, "it was not free meanwhile");
    }

    #[test]
    fn a_lane_is_idle_that_has_nothing_and_is_at_nothing() {
        let overdue = Overdue::default();
        let id = SubscriptionId::from_bits(1);
        assert!(overdue.is_idle(id), "it has not begun");
        let mut lane = overdue.clock(id);
        lane.look();
        lane.nothing_ready(true);
        assert!(!overdue.is_idle(id), "an attempt is under way");
        lane.look();
        lane.nothing_ready(false);
        assert!(overdue.is_idle(id));
        assert_eq!(overdue.longest_ms(1_000), 0);
        lane.look();
        assert!(!overdue.is_idle(id));
    }

    #[test]
    fn the_longest_of_all_lanes_counts_and_one_that_is_gone_does_not() {
        let overdue = Overdue::default();
        let mut lanes = [1, 2].map(|id| overdue.clock(SubscriptionId::from_bits(id)));
        lanes[0].free_in(Duration::ZERO, 100);
        lanes[1].free_in(Duration::ZERO, 300);
        assert_eq!(overdue.longest_ms(1_000), 900);
        let [first, _second] = lanes;
        drop(first);
        assert_eq!(overdue.longest_ms(1_000), 700);
    }
}
