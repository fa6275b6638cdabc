//! A breaker for each lane: a receiver that only fails is probed instead of hammered.
//!
//! ```text
//!             so many failures in a row                    the wait is over
//!  ┌────────┐ ───────────────────────────▶ ┌──────┐ ─────────────────────▶ ┌─────────┐
//!  │ closed │                              │ open │                        │ probing │
//!  └────────┘ ◀─────── any success ─────── └──────┘ ◀── it failed: twice ─ └─────────┘
//!                                                       the wait
//! ```
//! While it is open only the probe begins, and so only the probe uses up an attempt; everything else
//! waits for the next one. Pure: time is an argument. It is forgotten with the process, and found anew at
//! the cost of that many attempts.

use std::time::{Duration, Instant};

/// The wait before the first probe; each that fails doubles it.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two probes, and so the longest that a receiver that is back goes unnoticed.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// What may begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// Any attempt.
    Any,
    /// One attempt, as the probe.
    Probe,
    /// None before this time.
    NotBefore(Instant),
    /// None before the probe that is under way has ended.
    NotYet,
}

/// See the module.
#[derive(Debug)]
pub struct Breaker {
    /// Failures in a row after which a receiver is only probed; never, if it is 0.
    opens_after: u32,
    /// In a row.
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    /// When it opened, or the last probe failed.
    failed_at: Instant,
    probe_at: Instant,
    wait: Duration,
    probing: bool,
}

impl Breaker {
    /// One that opens after so many failures in a row; never, if it is 0.
    pub fn new(opens_after: u32) -> Self {
        Self {
            opens_after,
            failures: 0,
            open: None,
        }
    }

    /// What may begin.
    pub fn leave(&self, now: Instant) -> Leave {
        match &self.open {
            None => Leave::Any,
            Some(open) if open.probing => Leave::NotYet,
            Some(open) if open.probe_at > now => Leave::NotBefore(open.probe_at),
            Some(_) => Leave::Probe,
        }
    }

    /// An attempt begins. Says whether it is the probe.
    pub fn begin(&mut self) -> bool {
        self.open
            .as_mut()
            .is_some_and(|open| !std::mem::replace(&mut open.probing, true))
    }

    /// What was begun is not attempted after all.
    pub fn let_be(&mut self, was_probe: bool) {
        if let Some(open) = &mut self.open {
            open.probing &= !was_probe;
        }
    }

    /// An attempt succeeded, whichever it was: the receiver is back.
    pub fn succeeded(&mut self) {
        *self = Self::new(self.opens_after);
    }

    /// An attempt failed.
    pub fn failed(&mut self, was_probe: bool, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            None if self.opens_after > 0 && self.failures >= self.opens_after => {
                self.open = Some(Open {
                    failed_at: now,
                    probe_at: now + FIRST_WAIT,
                    wait: FIRST_WAIT,
                    probing: false,
                });
            }
            Some(open) if was_probe => {
                open.wait = (open.wait * 2).min(MAX_WAIT);
                open.failed_at = now;
                open.probe_at = now + open.wait;
                open.probing = false;
            }
            // One that was under way when it opened says nothing new.
            _ => {}
        }
    }

    /// Somebody asks for an attempt: the next probe is due as early as the first one would be.
    pub fn hurry(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe_at = open.probe_at.min(open.failed_at + FIRST_WAIT);
        }
    }

    /// Whether only probes begin.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENS_AFTER: u32 = 20;

    /// A breaker that has just opened.
    fn open(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(OPENS_AFTER);
        for _ in 0..OPENS_AFTER {
            assert_eq!(breaker.leave(now), Leave::Any);
            assert!(!breaker.begin());
            breaker.failed(false, now);
        }
        breaker
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let now = Instant::now();
        let mut breaker = Breaker::new(OPENS_AFTER);
        for _ in 0..10 * OPENS_AFTER {
            for _ in 1..OPENS_AFTER {
                breaker.failed(false, now);
            }
            breaker.succeeded();
        }
        assert_eq!(breaker.leave(now), Leave::Any);
        assert_eq!(open(now).leave(now), Leave::NotBefore(now + FIRST_WAIT));
        let mut never = Breaker::new(0);
        (0..10 * OPENS_AFTER).for_each(|_| never.failed(false, now));
        assert_eq!(never.leave(now), Leave::Any);
    }

    #[test]
    fn one_probe_begins_at_a_time_and_each_that_fails_doubles_the_wait_up_to_a_bound() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        let mut wait = FIRST_WAIT;
        for _ in 0..10 {
            assert_eq!(breaker.leave(now), Leave::NotBefore(now + wait));
            // Those that were under way when it opened change nothing.
            breaker.failed(false, now);
            now += wait;
            assert_eq!(breaker.leave(now), Leave::Probe);
            assert!(breaker.begin());
            assert_eq!(breaker.leave(now), Leave::NotYet);
            breaker.failed(true, now);
            wait = (wait * 2).min(MAX_WAIT);
        }
        assert_eq!(wait, MAX_WAIT);
    }

    #[test]
    fn any_success_closes_it() {
        let now = Instant::now();
        let mut breaker = open(now);
        breaker.succeeded();
        assert_eq!(breaker.leave(now), Leave::Any);
        assert!(!breaker.begin());
    }

    #[test]
    fn whoever_asks_is_not_made_to_wait_for_a_late_probe_nor_can_he_hammer() {
        let mut now = Instant::now();
        let mut breaker = open(now);
        for _ in 0..10 {
            now += MAX_WAIT;
            breaker.begin();
            breaker.failed(true, now);
        }
        assert_eq!(breaker.leave(now), Leave::NotBefore(now + MAX_WAIT));
        breaker.hurry();
        breaker.hurry();
        assert_eq!(breaker.leave(now), Leave::NotBefore(now + FIRST_WAIT));
    }

    #[test]
    fn a_probe_that_is_not_made_leaves_its_place_to_another() {
        let now = Instant::now();
        let mut breaker = open(now);
        assert!(breaker.begin());
        breaker.let_be(true);
        assert_eq!(breaker.leave(now + FIRST_WAIT), Leave::Probe);
    }
}
