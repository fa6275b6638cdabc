//! A lane without its mailbox: what it was offered, and what may begin now.
//!
//! Time is an argument; the subscription, permits and attempts themselves are somebody else's.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ready::Ready;
use crate::actors::dispatch::Instruction;
use crate::domain::breaker::{Breaker, Leave};
use crate::domain::delivery::{Outcome, Verdict};
use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::store::ledger::Todo;
use crate::store::state::rows::Slot;

/// How much earlier than its turn a paced attempt may begin: timers count milliseconds.
const BUNCH: Duration = Duration::from_millis(2);

/// A moment by both clocks: the one that never goes back, and milliseconds of Unix time.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// For waits.
    pub at: Instant,
    /// For what the log says is due.
    pub unix_ms: u64,
}

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

/// How a lane stands, for those who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// It sends what it has.
    Open,
    /// Its receiver fails, and is only probed.
    Probing,
}

/// See the module.
#[derive(Debug)]
pub struct Core {
    ready: Ready,
    under_way: HashMap<Slot, Begun>,
    breaker: Breaker,
    held_until: Option<Instant>,
    /// When the next attempt would begin if they all kept the same distance.
    paced_to: Option<Instant>,
}

#[derive(Debug)]
struct Begun {
    todo: Todo,
    is_probe: bool,
    /// Whatever comes of it, it does not come back.
    is_withdrawn: bool,
    /// Its next attempt, which was due before the lane heard of the end of this one.
    next: Option<Todo>,
}

impl Core {
    /// A lane without anything. After so many failures in a row its receiver is only probed; never, if it
    /// is 0.
    pub fn new(probe_after: u32) -> Self {
        Self {
            ready: Ready::default(),
            under_way: HashMap::new(),
            breaker: Breaker::new(probe_after),
            held_until: None,
            paced_to: None,
        }
    }

    /// The subscription is another than it was: what was found out about its receiver counts no more.
    pub fn begin_anew(&mut self) {
        self.breaker.succeeded();
        self.held_until = None;
    }

    /// Does what it is told.
    pub fn follow(&mut self, instructions: Vec<Instruction>) {
        for instruction in instructions {
            if instruction.is_asked_for() {
                self.breaker.hurry();
            }
            match instruction {
                Instruction::Attempt(todo) => self.take(todo),
                Instruction::Hurry(todo) => self.ready.hurry(todo),
                Instruction::LetBe(slot) => self.let_be(slot),
            }
        }
    }

    fn take(&mut self, todo: Todo) {
        match self.under_way.get_mut(&todo.slot) {
            None => self.ready.add(todo),
            // The log knows already how the attempt under way ended, and the lane does not.
            Some(begun) if todo.attempts > begun.todo.attempts => begun.next = Some(todo),
            // The attempt under way settles it, whichever way it ends.
            Some(_) => {}
        }
    }

    /// An attempt that is under way goes on, and is the last.
    fn let_be(&mut self, slot: Slot) {
        if let Some(begun) = self.under_way.get_mut(&slot) {
            begun.is_withdrawn = true;
        } else {
            self.ready.withdraw(slot);
        }
    }

    /// Whether there is anything to attempt, now or later.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether any attempt is under way.
    pub fn is_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Since when the first of what may begin has been due, in milliseconds of Unix time.
    pub fn due_since_ms(&self) -> u64 {
        self.ready.due_since_ms()
    }

    /// How it stands.
    pub fn stance(&self) -> Stance {
        if self.breaker.is_open() {
            Stance::Probing
        } else {
            Stance::Open
        }
    }

    /// What to do, given the subscription as it is now. `max_in_flight` is for one that says nothing.
    pub fn next(
        &mut self,
        subscription: Option<&Subscription>,
        max_in_flight: u16,
        now: Moment,
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
        let max_in_flight = subscription.max_in_flight.unwrap_or(max_in_flight);
        if self.under_way.len() >= usize::from(max_in_flight) {
            return Next::Wait;
        }
        if !self.ready.has_due(now.unix_ms) {
            let wait_ms = self.ready.next_due_ms().map_or(0, |due_ms| {
                // Never no time at all: the two clocks need not agree to the millisecond.
                due_ms.saturating_sub(now.unix_ms).max(1)
            });
            return Next::WaitFor(Duration::from_millis(wait_ms));
        }
        let probe_at = match self.breaker.leave(now.at) {
            Leave::Any | Leave::Probe => None,
            Leave::NotBefore(probe_at) => Some(probe_at),
            Leave::NotYet => return Next::Wait,
        };
        self.held_until = self.held_until.filter(|held| *held > now.at);
        let paced_to = self.paced_to.filter(|_| subscription.rate_limit.is_some());
        let paced_to = paced_to.and_then(|next| next.checked_sub(BUNCH));
        let until = self.held_until.max(paced_to).max(probe_at);
        match until.filter(|until| *until > now.at) {
            Some(until) => Next::WaitFor(until - now.at),
            None => Next::Begin,
        }
    }

    /// Begins an attempt. `rate_limit` is how many may begin in a second.
    pub fn begin(&mut self, rate_limit: Option<u32>, now: Moment) -> Option<Todo> {
        let todo = self.ready.take(now.unix_ms)?;
        let begun = Begun {
            todo,
            is_probe: self.breaker.begin(),
            is_withdrawn: false,
            next: None,
        };
        self.under_way.insert(todo.slot, begun);
        // The generic cell rate algorithm (ITU-T I.371): no window to begin anew, and nothing to count.
        self.paced_to = rate_limit.map(|rate| {
            let apart = Duration::from_secs(1) / rate.max(1);
            self.paced_to.map_or(now.at, |next| next.max(now.at)) + apart
        });
        Some(todo)
    }

    /// What was begun is over. Without a verdict it was not attempted after all, and is next again.
    pub fn ended(&mut self, slot: Slot, verdict: Option<&Verdict>, now: Instant) {
        let Some(begun) = self.under_way.remove(&slot) else {
            return;
        };
        let Begun { todo, is_probe, .. } = begun;
        match verdict.map(|verdict| verdict.outcome) {
            None | Some(Outcome::Cancelled) => self.breaker.let_be(is_probe),
            Some(Outcome::Delivered) => self.breaker.succeeded(),
            Some(Outcome::Retry { .. } | Outcome::Dead) => self.breaker.failed(is_probe, now),
        }
        if let Some(hold_ms) = verdict.and_then(|verdict| verdict.hold_ms) {
            let until = now + Duration::from_millis(hold_ms);
            self.held_until = Some(self.held_until.map_or(until, |held| held.max(until)));
        }
        let again = match verdict.map(|verdict| verdict.outcome) {
            None => Some(todo),
            // In line it keeps its place; any other goes, and is offered again when it is due.
            Some(Outcome::Retry { due_ms }) if todo.group.is_some() => Some(Todo {
                attempts: todo.attempts.saturating_add(1),
                due_ms,
                ..todo
            }),
            Some(_) => None,
        };
        match (again.filter(|_| !begun.is_withdrawn), todo.group) {
            (Some(todo), _) => self.ready.put_back(todo),
            (None, Some(group)) => self.ready.release(group),
            (None, None) => {}
        }
        if let Some(next) = begun.next {
            self.ready.add(next);
        }
    }
}

/// Deliveries for tests.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::domain::event::Place;
    use crate::domain::ids::EventId;

    /// The delivery of the event that was accepted at a position, which nobody has attempted.
    pub fn todo(position: u64) -> Todo {
        let place = Place { position, index: 0 };
        Todo {
            slot: Slot::of(place, 0),
            at: place,
            event: EventId(uuid::Uuid::nil()),
            attempts: 0,
            forgiven: 0,
            group: None,
            due_ms: 0,
        }
    }
}

#[cfg(test)]
mod tests;
