//! Lanes and their attempts, as the actors of the deliveries go about them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::process::Process;
use crate::actors::attempt::{Exchange, Target, cancelled, conclude};
use crate::actors::delivery::core::{Core as LaneCore, Moment, Next};
use crate::actors::dispatch::lanes::{Instruction, Outlet};
use crate::actors::queue::Settle;
use crate::actors::vault::{Source, Vault};
use crate::domain::delivery::{Attempt, Outcome, Reply, Timing, Verdict};
use crate::domain::event::Event;
use crate::domain::ids::SubscriptionId;
use crate::domain::sealed::Keyring;
use crate::store::error::StoreError;
use crate::store::ledger::Todo;

/// What a subscription that says nothing may have in flight.
pub const MAX_IN_FLIGHT: u16 = 3;

/// Failures in a row after which a receiver is only probed.
const PROBE_AFTER: u32 = 5;

/// The lanes, which may be too busy to be offered anything.
#[derive(Debug, Default)]
pub struct Lanes {
    pub by_id: BTreeMap<SubscriptionId, LaneCore>,
    pub are_busy: bool,
}

impl Outlet for Lanes {
    fn tell(
        &mut self,
        subscription: SubscriptionId,
        instructions: Vec<Instruction>,
    ) -> Option<Vec<Instruction>> {
        if self.are_busy {
            return Some(instructions);
        }
        let lane = self.by_id.entry(subscription);
        let lane = lane.or_insert_with(|| LaneCore::new(PROBE_AFTER));
        lane.follow(instructions);
        None
    }

    fn stop(&mut self, subscription: SubscriptionId) {
        self.by_id.remove(&subscription);
    }
}

/// An attempt on its way.
pub struct Running {
    pub target: Target,
    pub todo: Todo,
    permit: Option<OwnedSemaphorePermit>,
    pub stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its event is still to be read.
    Begun,
    /// It is at the receiver.
    Sent { started_at_ms: u64 },
    /// The receiver is gone for good: the subscription is to be paused.
    Pausing { verdict: Verdict },
}

impl Process {
    /// Has all lanes begin what they may begin. Returns how long a held one still waits, at least.
    pub fn pump(&mut self, now: Moment) -> Option<Duration> {
        let mut wait = None;
        let lanes = &mut self.dispatch.outlet().by_id;
        for (id, lane) in lanes {
            loop {
                let subscription = self.view.subscription(*id);
                match lane.next(subscription.as_deref(), MAX_IN_FLIGHT, now) {
                    Next::Wait | Next::WaitForChange => break,
                    Next::WaitFor(left) => {
                        wait = Some(wait.map_or(left, |wait| left.min(wait)));
                        break;
                    }
                    Next::Begin => {}
                }
                let Some(permit) = self.outcomes.begin() else {
                    break;
                };
                let vault = Vault::new(Keyring::default(), Source::Given);
                let target = subscription.and_then(|it| Target::of(it, &vault)).unwrap();
                let rate_limit = target.subscription.rate_limit;
                let todo = lane.begin(rate_limit, now).unwrap();
                self.running.push(Running {
                    target,
                    todo,
                    permit: Some(permit),
                    stage: Stage::Begun,
                });
            }
        }
        wait
    }

    /// Reads the event of an attempt that has begun. `None` when there is nothing to be sent, which is
    /// settled.
    pub fn read(&mut self, at: usize, now: Instant) -> Result<Option<Event>, StoreError> {
        let (id, todo) = (
            self.running[at].target.subscription.id,
            self.running[at].todo,
        );
        let event = match self.log.event(todo.at) {
            Ok(Some(event)) => Some(event),
            // Retention may have moved it since the delivery was offered.
            Ok(None) | Err(StoreError::Gone { .. }) => {
                match self.dispatch.ledger().place_of(id, todo.slot)? {
                    Some(place) => Some(self.log.event(place)?.expect("an open event is gone")),
                    None => None,
                }
            }
            Err(error) => return Err(error),
        };
        // Reading may have taken a while: no attempt begins after a deletion was answered.
        if event.is_none() || self.view.subscription(id).is_none() {
            let (record, verdict) = cancelled(&self.running[at].target, todo);
            self.settle(at, record, verdict, now);
            return Ok(None);
        }
        Ok(event)
    }

    /// The receiver answered, or did not.
    pub fn end(
        &mut self,
        at: usize,
        reply: Reply,
        times: (u64, u64),
        jitter: f64,
        now: Instant,
    ) -> Outcome {
        let Running { target, todo, .. } = &self.running[at];
        let own = target.subscription.retry_schedule.clone();
        let schedule = own.unwrap_or_else(|| self.schedule.clone());
        let exchange = Exchange {
            started_at_ms: times.0,
            ended_at_ms: times.1,
            timing: Timing::default(),
            reply,
            head: Vec::new(),
        };
        let id = target.subscription.id;
        let (record, verdict) = conclude(id, *todo, exchange, &schedule, jitter);
        self.settle(at, record, verdict, now);
        verdict.outcome
    }

    fn settle(&mut self, at: usize, attempt: Attempt, verdict: Verdict, now: Instant) {
        if let Some(permit) = self.running[at].permit.take() {
            self.queue.settle(Settle { attempt, permit });
        }
        if verdict.gone {
            self.running[at].stage = Stage::Pausing { verdict };
        } else {
            self.leave(at, &verdict, now);
        }
    }

    /// An attempt is over for its lane.
    pub fn leave(&mut self, at: usize, verdict: &Verdict, now: Instant) {
        let Running { target, todo, .. } = self.running.swap_remove(at);
        let lanes = &mut self.dispatch.outlet().by_id;
        if let Some(lane) = lanes.get_mut(&target.subscription.id) {
            lane.ended(todo.slot, Some(verdict), now);
        }
    }
}
