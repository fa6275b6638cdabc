//! A lane without its mailbox: what it was offered, and what may begin now.
//!
//! Time is an argument; the subscription, permits and attempts themselves are somebody else's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::store::ledger::Todo;

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
        match self.held_until {
            Some(held) => Next::WaitFor(held - now),
            None => Next::Begin,
        }
    }

    /// Begins an attempt at what has waited longest.
    pub fn begin(&mut self) -> Option<Todo> {
        let todo = self.ready.pop_front()?;
        self.in_flight += 1;
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
