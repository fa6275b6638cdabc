//! The delivery actors: a lane for each subscription.
//!
//! Mailbox: offers of deliveries (never more in all than [`WINDOW`], because the dispatcher counts
//! them), attempts that ended (never more than are in flight), and news of changes. An attempt runs in
//! a task of its own and sends its end as a message, so a slow receiver holds up nothing but its own
//! lane (until so many receivers are slow at once that the bound on all outcomes is reached), and a
//! panic in one attempt ends that attempt.
//!
//! A lane sends within its limits: attempts in flight, the order that was asked for, its rate, a pause that
//! the receiver asked for, its breaker, and the bound on outcomes that are not journalled yet. What it was
//! offered it keeps in memory; what it was not offered stays in the ledger.
//!
//! Lost in a crash: nothing; what was in flight is attempted again.

pub mod core;
mod making;
mod ready;
pub mod turns;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::fut::wrap_future;
use actix::prelude::SendError;
use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler,
    Message, SpawnHandle,
};
use dashmap::DashSet;
use futures_util::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, watch};

use self::core::{Core, Moment, Next, Stance};
use self::making::make;
use self::turns::Turns;
use super::attempt::{Target, log_attempt, not_attempted};
use super::directory::DirectoryHandle;
use super::dispatch::{DispatchHandle, Instruction};
use super::listeners::Carrier;
use super::mailbox::{Mail, Mailbox};
use super::metrics::{LaneMeter, Mailed, Metrics};
use super::outcomes::Outcomes;
use super::queue::QueueHandle;
use super::reads::Reads;
use super::vault::Vault;
use super::{now_ms, pause};
use crate::domain::delivery::Verdict;
use crate::domain::ids::SubscriptionId;
use crate::domain::retry::Schedule;
use crate::store::ledger::Todo;
use crate::store::log::Log;
use crate::store::state::rows::Slot;

/// Deliveries that one lane may have been offered and not settled. Large enough that a lane never
/// runs dry while outcomes are being journalled, small enough that ten thousand lanes fit in memory.
pub const WINDOW: usize = 1024;
/// The most attempts a subscription may have in flight.
pub const MAX_IN_FLIGHT: u16 = 1000;
/// The most attempts a second that a subscription may be limited to.
pub const MAX_RATE: u32 = 10_000;
/// News that may wait beside offers and ended attempts.
const MAX_NEWS: usize = 64;

/// What holds where a subscription says nothing else.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// When failures are tried again.
    pub schedule: Schedule,
    /// How long an attempt may take in all.
    pub timeout: Duration,
    /// How many attempts may be under way at once.
    pub max_in_flight: u16,
    /// Failures in a row after which a receiver is only probed; never, if it is 0.
    pub probe_after: u32,
}

/// What all lanes share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Where events are read.
    pub log: Arc<Log>,
    /// The bound on how many are read at once.
    pub reads: Reads,
    /// Where a lane looks up its subscription at every attempt, and has it paused.
    pub directory: DirectoryHandle,
    /// Where outcomes go.
    pub queue: QueueHandle,
    /// Opens the secrets.
    pub vault: Vault,
    /// What holds where a subscription says nothing else.
    pub defaults: Arc<Defaults>,
    /// The bound on attempts in flight and outcomes not journalled, over all lanes.
    pub outcomes: Outcomes,
    /// Subscriptions whose receivers fail and are only probed.
    pub probed: Arc<DashSet<SubscriptionId>>,
    /// Counts attempts.
    pub metrics: Metrics,
}

/// Sends to a lane.
#[derive(Debug, Clone)]
pub struct LaneHandle {
    mailbox: Mailbox<Lane>,
}

impl LaneHandle {
    /// Tells it what to do; the dispatcher keeps count of what it has. What comes back is to be told again:
    /// a lane that has not begun to run yet takes only a few messages.
    pub fn tell(&self, instructions: Vec<Instruction>) -> Option<Vec<Instruction>> {
        match self.mailbox.post(Told(instructions)) {
            Err(SendError::Full(Told(instructions))) => Some(instructions),
            // A lane that has ended needs no offers: its subscription is gone.
            Ok(()) | Err(SendError::Closed(_)) => None,
        }
    }

    /// The subscription is gone.
    pub fn stop(&self) {
        // Without the message the lane notices at its next look at the directory.
        let _ = self.mailbox.post(Stop);
    }
}

struct Told(Vec<Instruction>);

struct Stop;

#[derive(Message)]
#[rtype(result = "()")]
struct Ended {
    slot: Slot,
    /// `None` when it was not attempted after all.
    verdict: Option<Verdict>,
}

/// The actor; see the module.
#[derive(Debug)]
pub struct Lane {
    id: SubscriptionId,
    shared: Shared,
    /// Where an event is looked for that is not where it was.
    dispatch: DispatchHandle,
    carrier: Carrier,
    turns: Turns,
    target: Option<Target>,
    core: Core,
    meter: LaneMeter,
    /// The timer that will have it look again, and when.
    armed: Option<(Instant, SpawnHandle)>,
    /// A permit will have it look again.
    waiting: bool,
    /// One that it waited for.
    permit: Option<OwnedSemaphorePermit>,
    changes: watch::Receiver<()>,
    /// The next change of a subscription will have it look again.
    watching: bool,
}

/// Where lanes run: a thread, and what they share on it.
#[derive(Debug, Clone)]
pub struct Home {
    /// The thread.
    pub arbiter: ArbiterHandle,
    /// Brings requests to receivers, with a pool of connections of its own.
    pub carrier: Carrier,
    /// The turns of its attempts.
    pub turns: Turns,
}

/// Starts a lane.
pub fn start(
    home: &Home,
    id: SubscriptionId,
    shared: Shared,
    dispatch: DispatchHandle,
) -> LaneHandle {
    let (carrier, turns) = (home.carrier.clone(), home.turns.clone());
    let meter = shared.metrics.mailbox(Mailed::Lane);
    let addr = Lane::start_in_arbiter(&home.arbiter, move |ctx| {
        let changes = shared.directory.view().subscription_changes();
        let probe_after = shared.defaults.probe_after;
        let meter = shared.metrics.lane_meter(id);
        ctx.set_mailbox_capacity(WINDOW + usize::from(MAX_IN_FLIGHT) + MAX_NEWS);
        Lane {
            id,
            shared,
            dispatch,
            carrier,
            turns,
            target: None,
            core: Core::new(probe_after),
            meter,
            armed: None,
            waiting: false,
            permit: None,
            changes,
            watching: false,
        }
    });
    let mailbox = Mailbox::new(addr, meter);
    LaneHandle { mailbox }
}

impl Actor for Lane {
    type Context = Context<Self>;
}

impl Handler<Mail<Told>> for Lane {
    type Result = ();

    fn handle(&mut self, mail: Mail<Told>, ctx: &mut Self::Context) {
        let Told(instructions) = mail.open();
        self.core.follow(instructions);
        self.pump(ctx);
    }
}

impl Handler<Ended> for Lane {
    type Result = ();

    fn handle(&mut self, Ended { slot, verdict }: Ended, ctx: &mut Self::Context) {
        let before = self.core.stance();
        self.core.ended(slot, verdict.as_ref(), Instant::now());
        let stance = self.core.stance();
        if stance != before {
            self.tell(stance);
        }
        self.pump(ctx);
    }
}

impl Handler<Mail<Stop>> for Lane {
    type Result = ();

    fn handle(&mut self, _: Mail<Stop>, ctx: &mut Self::Context) {
        self.shared.probed.remove(&self.id);
        ctx.stop();
    }
}

impl Lane {
    /// Begins as many attempts as the limits allow.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        self.changes.mark_unchanged();
        self.meter.clock.look();
        while self.core.has_ready() {
            let target = self.target();
            let subscription = target.as_ref().map(|target| &*target.subscription);
            let max_in_flight = self.shared.defaults.max_in_flight;
            let now = Moment {
                at: Instant::now(),
                unix_ms: now_ms(),
            };
            match self.core.next(subscription, max_in_flight, now) {
                Next::Wait => return,
                Next::WaitForChange => return self.look_again_after_a_change(ctx),
                Next::WaitFor(wait) => return self.look_again_after(wait, ctx),
                Next::Begin => {}
            }
            let Some(permit) = self.permit.take().or_else(|| self.shared.outcomes.begin()) else {
                return self.look_again_with_a_permit(ctx);
            };
            let Some(target) = target else { return };
            let rate_limit = target.subscription.rate_limit;
            if let Some(todo) = self.core.begin(rate_limit, now) {
                self.begin(target, todo, permit, ctx.address());
            }
        }
        self.meter.clock.nothing_ready(self.core.is_under_way());
    }

    /// The subscription as it is now: a change counts from the next attempt on. `None` also while its
    /// account is suspended, or nobody listens who should.
    fn target(&mut self) -> Option<Target> {
        let view = self.shared.directory.view();
        let current = view.subscription(self.id)?;
        if view.is_suspended(current.account) || !self.carrier.reaches(&current) {
            return None;
        }
        let fresh = self
            .target
            .as_ref()
            .is_some_and(|target| Arc::ptr_eq(&target.subscription, &current));
        if !fresh {
            if self.target.is_some() {
                self.core.begin_anew();
            }
            self.target = Target::of(current, &self.shared.vault);
        }
        self.target.clone()
    }

    /// Says how the lane stands now.
    fn tell(&self, stance: Stance) {
        match stance {
            Stance::Probing => {
                self.shared.probed.insert(self.id);
                log::info!(subscription:% = self.id; "its receiver fails, and is only probed");
            }
            Stance::Open => {
                self.shared.probed.remove(&self.id);
                log::info!(subscription:% = self.id; "its receiver is back");
            }
        }
    }

    fn look_again_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        let at = Instant::now() + wait;
        self.meter.clock.free_in(wait, now_ms());
        if let Some((armed_at, timer)) = self.armed {
            if armed_at <= at {
                return;
            }
            ctx.cancel_future(timer);
        }
        let timer = ctx.run_later(wait, |lane, ctx| {
            lane.armed = None;
            lane.pump(ctx);
        });
        self.armed = Some((at, timer));
    }

    /// Lanes get permits in the order in which they asked.
    fn look_again_with_a_permit(&mut self, ctx: &mut Context<Self>) {
        self.meter
            .clock
            .kept_waiting(self.core.due_since_ms(), now_ms());
        if !self.waiting {
            self.waiting = true;
            let permit = self.shared.outcomes.clone().wait();
            ctx.spawn(wrap_future::<_, Self>(permit).map(|permit, lane, ctx| {
                lane.waiting = false;
                lane.permit = permit;
                if lane.permit.is_some() {
                    lane.pump(ctx);
                    // Others wait for what is not needed here after all.
                    lane.permit = None;
                }
            }));
        }
    }

    fn look_again_after_a_change(&mut self, ctx: &mut Context<Self>) {
        if !self.watching {
            self.watching = true;
            let mut changes = self.changes.clone();
            let change = async move { changes.changed().await };
            ctx.spawn(wrap_future::<_, Self>(change).map(|change, lane, ctx| {
                lane.watching = false;
                if change.is_ok() {
                    lane.pump(ctx);
                }
            }));
        }
    }

    fn begin(&self, target: Target, todo: Todo, permit: OwnedSemaphorePermit, lane: Addr<Self>) {
        let shared = self.shared.clone();
        let dispatch = self.dispatch.clone();
        let (carrier, turns) = (self.carrier.clone(), self.turns.clone());
        let meter = self.meter.attempts(target.subscription.account);
        actix::spawn(async move {
            let schedule = target.subscription.retry_schedule.clone();
            let schedule = schedule.unwrap_or_else(|| shared.defaults.schedule.clone());
            let made = make(
                &shared, &dispatch, &carrier, &target, todo, &schedule, &turns,
            );
            let made = AssertUnwindSafe(made).catch_unwind().await.unwrap_or_else(|_| {
                log::error!(subscription:% = target.subscription.id, event:% = todo.event; "an attempt panicked");
                Some(not_attempted(&target, todo, "internal_error", &schedule))
            });
            let verdict = match made {
                Some((record, verdict)) => {
                    meter.count(&record);
                    log_attempt(&record);
                    shared.queue.settle(record, permit);
                    if verdict.gone {
                        let id = target.subscription.id;
                        let reason = "the receiver answered 410 Gone".to_owned();
                        pause::pause(&shared.directory, id, reason).await;
                    }
                    Some(verdict)
                }
                None => None,
            };
            let slot = todo.slot;
            // A lane that is gone needs no news.
            let _ = lane.send(Ended { slot, verdict }).await;
        });
    }
}
