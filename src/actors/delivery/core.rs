//! A lane without its mailbox: what it was offered, and what may begin now.
//!
//! Time is an argument; the subscription, permits and attempts themselves are somebody else's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::store::ledger::Todo;

/// How much earlier than its turn a paced attempt may begin: timers count milliseconds.
const BUNCH: Duration = Duration::from_millis(2);

/// What a lane can do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing before it is offered more or an attempt ends.
    Wait,
    /// Look again when the subscription has changed.
    WaitForChange,
    /// Look again after this long.
    WaitFor(Duration),
    /// Begin an attempt, given a permit.
    Begin,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Core {
    ready: VecDeque<Todo>,
    in_flight: u16,
    held_until: Option<Instant>,
    /// When the next attempt would begin if they all kept the same distance.
    paced_to: Option<Instant>,
}

impl Core {
    /// Takes an offer.
    pub fn offer(&mut self, todos: Vec<Todo>) {
        self.ready.extend(todos);
    }

    /// Whether there is anything to attempt.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What to do, given the subscription as it is now. `max_in_flight` is for one that says nothing.
    pub fn next(
        &mut self,
        subscription: Option<&Subscription>,
        max_in_flight: u16,
        now: Instant,
    ) -> Next {
        if !self.has_ready() {
            return Next::Wait;
        }
        // The log may be ahead of the view: the subscription is not there yet. One that is gone ends
        // the lane.
        let Some(subscription) = subscription else {
            return Next::WaitForChange;
        };
        if subscription.status != SubscriptionStatus::Active {
            return Next::WaitForChange;
        }
        if self.in_flight >= subscription.max_in_flight.unwrap_or(max_in_flight) {
            return Next::Wait;
        }
        self.held_until = self.held_until.filter(|held| *held > now);
        let paced_to = self.paced_to.filter(|_| subscription.rate_limit.is_some());
        let paced_to = paced_to.and_then(|next| next.checked_sub(BUNCH));
        match self.held_until.max(paced_to).filter(|until| *until > now) {
            Some(until) => Next::WaitFor(until - now),
            None => Next::Begin,
        }
    }

    /// Begins an attempt at what has waited longest. `rate_limit` is how many may begin in a second.
    pub fn begin(&mut self, rate_limit: Option<u32>, now: Instant) -> Option<Todo> {
        let todo = self.ready.pop_front()?;
        self.in_flight += 1;
        // The generic cell rate algorithm (ITU-T I.371): no window to begin anew, and nothing to count.
        self.paced_to = rate_limit.map(|rate| {
            let apart = Duration::from_secs(1) / rate.max(1);
            self.paced_to.map_or(now, |next| next.max(now)) + apart
        });
        Some(todo)
    }

    /// Takes back what was begun and not attempted after all: it is next again.
    pub fn put_back(&mut self, todo: Option<Todo>) {
        self.ready.extend(todo);
        if todo.is_some() {
            self.ready.rotate_right(1);
        }
    }

    /// An attempt ended. `hold_ms` is how long its receiver asked to be left alone.
    pub fn ended(&mut self, hold_ms: Option<u64>, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(hold_ms) = hold_ms {
            let until = now + Duration::from_millis(hold_ms);
            self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::fixtures::subscription;
    use crate::domain::event::Place;
    use crate::domain::ids::EventId;
    use crate::store::state::rows::Slot;

    fn todo(position: u64) -> Todo {
        let place = Place { position, index: 0 };
        Todo {
            slot: Slot {
                place,
                generation: 0,
            },
            at: place,
            event: EventId(uuid::Uuid::nil()),
            attempts: 0,
        }
    }

    #[test]
    fn what_was_not_attempted_after_all_is_next() {
        let mut core = Core::default();
        let now = Instant::now();
        core.offer(vec![todo(1), todo(2), todo(3)]);
        let first = core.begin(None, now);
        core.ended(None, now);
        core.put_back(first);
        for position in 1..=3 {
            assert_eq!(core.begin(None, now), Some(todo(position)));
        }
        core.put_back(None);
        assert!(!core.has_ready());
    }

    #[test]
    fn no_second_sees_more_attempts_than_its_rate_allows() {
        for rate in [1, 7, 50, 400, 3_000] {
            let mut paced = subscription(1, 1, &["**"]);
            paced.rate_limit = Some(rate);
            let mut core = Core::default();
            core.offer((0..u64::from(rate) * 5).map(todo).collect());
            let start = Instant::now();
            let (mut now, mut began) = (start, Vec::new());
            while now < start + Duration::from_secs(3) {
                match core.next(Some(&paced), u16::MAX, now) {
                    // A timer is never early, and late by up to a millisecond.
                    Next::WaitFor(wait) => now += wait.max(Duration::from_millis(1)),
                    Next::Begin => {
                        core.begin(Some(rate), now);
                        began.push(now);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let bunched = usize::try_from(rate / 500 + 1).unwrap();
            for (at, first) in began.iter().enumerate() {
                let within = began[at..]
                    .iter()
                    .take_while(|it| **it < *first + Duration::from_secs(1));
                let within = within.count();
                assert!(within <= rate as usize + bunched, "{within} at {rate}/s");
            }
            let least = rate as usize * 29 / 10;
            assert!(
                began.len() >= least,
                "{} of {least} at {rate}/s",
                began.len()
            );
        }
    }

    #[test]
    fn a_rate_that_is_lifted_holds_nothing_up() {
        let mut core = Core::default();
        let now = Instant::now();
        core.offer(vec![todo(1), todo(2)]);
        core.begin(Some(1), now);
        let mut free = subscription(1, 1, &["**"]);
        assert_eq!(core.next(Some(&free), 10, now), Next::Begin);
        free.rate_limit = Some(1);
        assert!(matches!(core.next(Some(&free), 10, now), Next::WaitFor(_)));
    }
}
