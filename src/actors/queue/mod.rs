//! The queue actor: the only door to the log.
//!
//! Mailbox: `queue.capacity` requests, plus the outcomes that may be unjournalled and the directory's
//! changes. It is never full: requests are counted before they are sent, and beyond
//! `queue.capacity` or `queue.max_bytes` the answer is 503 at once, at no cost in memory.
//!
//! One commit is under way at a time; what comes in meanwhile fills the next one, so there is group
//! commit without a timer. Outcomes of attempts ride along; on their own they wait a few milliseconds
//! for company, because nobody waits for them.
//!
//! Lost in a crash: requests that were not answered, and outcomes that were not journalled (those
//! attempts are repeated).

mod batch;
mod event_ids;
mod handle;
mod keys;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler};
use tokio::sync::oneshot;

use self::batch::{Batch, Caller, Riders};
use self::event_ids::EventIds;
use self::handle::{Accept, CarryOver, ChangeDirectory, Settle};
pub use self::handle::{Accepted, Incoming, Limits, Permit, QueueError, QueueHandle};
use self::keys::{Claim, Keys};
use super::health::{Health, Vital};
use super::now_ms;
use crate::domain::event::Place;
use crate::domain::ids::EventId;
use crate::store::carried::Carry;
use crate::store::committer::{Commit, Committed, Committer};
use crate::store::state::State;

/// Outcomes of attempts that may wait to be journalled, over all lanes; at this bound lanes stop
/// sending. It also bounds what is delivered twice after a crash.
pub const MAX_UNJOURNALLED: usize = 4096;
/// Directory changes that may wait. They come one at a time.
const MAX_CHANGES: usize = 64;
/// How many outcomes go without waiting for company.
const MANY_OUTCOMES: usize = 256;
/// How long outcomes wait for company.
const OUTCOME_LINGER: Duration = Duration::from_millis(5);
/// How often a full disk is looked at again.
const LOOK_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);

/// The actor; see the module.
pub struct Queue {
    committer: Committer,
    sync_timeout: Duration,
    keys: Keys,
    ids: EventIds,
    health: Health,
    _vital: Vital,
    /// Filled from the back, committed from the front.
    batches: VecDeque<Batch>,
    riders: Riders,
    stage: Stage,
    lingering: bool,
    /// The disk has no room: events are refused, what was accepted before goes on.
    refusing: bool,
    /// The next commit looks whether there is room again.
    look_for_space: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    Committing,
    /// After an error that is final: nothing is committed any more by this process.
    Failed,
}

/// What the actor is built from.
pub struct Parts {
    /// The thread that commits.
    pub committer: Committer,
    /// A commit that takes longer than this will not come back.
    pub sync_timeout: Duration,
    /// Looks up idempotency keys that a checkpoint holds.
    pub state: Arc<State>,
    /// The last event id given.
    pub last_event: Option<EventId>,
    /// Told of refusals and of the end.
    pub health: Health,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, parts: Parts, limits: Limits) -> QueueHandle {
    let addr = Queue::start_in_arbiter(arbiter, move |ctx| {
        ctx.set_mailbox_capacity(limits.requests + MAX_UNJOURNALLED + MAX_CHANGES);
        Queue {
            committer: parts.committer,
            sync_timeout: parts.sync_timeout,
            keys: Keys::new(parts.state),
            ids: EventIds::after(parts.last_event),
            _vital: parts.health.vital("queue actor"),
            health: parts.health,
            batches: VecDeque::new(),
            riders: Riders::default(),
            stage: Stage::Idle,
            lingering: false,
            refusing: false,
            look_for_space: true,
        }
    });
    QueueHandle::new(addr, limits)
}

impl Actor for Queue {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // A start on a full disk is a start: it says so, and goes on with what is there.
        self.commit(ctx);
        ctx.run_interval(LOOK_FOR_SPACE_EVERY, |queue, ctx| {
            queue.look_for_space |= queue.refusing;
            if queue.look_for_space && queue.stage == Stage::Idle {
                queue.commit(ctx);
            }
        });
    }
}

impl Handler<Accept> for Queue {
    type Result = ();

    fn handle(&mut self, request: Accept, ctx: &mut Self::Context) {
        if self.refusing {
            let _ = request.reply.send(Err(QueueError::NoSpace));
            return;
        }
        let answer = match request.incoming.idempotency {
            Some((scope, body)) => self.claim(scope, body),
            None => None,
        };
        if self.stage == Stage::Failed {
            let _ = request.reply.send(Err(QueueError::Unavailable));
        } else if let Some(answer) = answer {
            let _ = request.reply.send(answer);
        } else {
            self.take(request);
            self.pump(ctx);
        }
    }
}

impl Handler<ChangeDirectory> for Queue {
    type Result = ();

    fn handle(
        &mut self,
        ChangeDirectory { changes, reply }: ChangeDirectory,
        ctx: &mut Self::Context,
    ) {
        if self.stage == Stage::Failed {
            let _ = reply.send(Err(QueueError::Unavailable));
            return;
        }
        self.riders.changes.extend(changes);
        self.riders.callers.push(reply);
        self.pump(ctx);
    }
}

impl Handler<CarryOver> for Queue {
    type Result = ();

    fn handle(&mut self, CarryOver { carry, reply }: CarryOver, ctx: &mut Self::Context) {
        if self.stage == Stage::Failed || !self.riders.carry.is_empty() {
            let _ = reply.send(Err(QueueError::Unavailable));
            return;
        }
        self.riders.carry = carry;
        self.riders.callers.push(reply);
        self.pump(ctx);
    }
}

impl Handler<Settle> for Queue {
    type Result = ();

    fn handle(&mut self, Settle { attempt, permit }: Settle, ctx: &mut Self::Context) {
        self.riders.attempts.push(attempt);
        self.riders.permits.push(permit);
        self.pump(ctx);
    }
}

impl Queue {
    /// Reserves an idempotency key, or says what to answer instead.
    fn claim(&mut self, scope: [u8; 16], body: [u8; 16]) -> Option<Result<Accepted, QueueError>> {
        match self.keys.claim(scope, body, now_ms()) {
            Ok(Claim::New) => None,
            Ok(Claim::Answered(before)) => Some(Ok(Accepted::Before(before))),
            Ok(Claim::NoRoom) => Some(Err(QueueError::Overloaded)),
            Ok(Claim::InFlight) => Some(Err(QueueError::KeyInFlight)),
            Ok(Claim::OtherBody) => Some(Err(QueueError::KeyReused)),
            Err(error) => {
                self.fail(error.to_string());
                Some(Err(QueueError::Unavailable))
            }
        }
    }

    /// Puts a request into the open batch, or into a new one if it would overfill it.
    fn take(&mut self, request: Accept) {
        let bytes = request.incoming.bytes();
        let mut batch = match self.batches.pop_back() {
            Some(batch) if batch.has_room_for(bytes) => batch,
            full => {
                self.batches.extend(full);
                Batch::default()
            }
        };
        batch.take(request, &mut self.ids, now_ms());
        self.batches.push_back(batch);
    }

    /// Begins the next commit, if there is something to commit and none is under way.
    fn pump(&mut self, ctx: &mut Context<Self>) {
        if self.stage != Stage::Idle {
            return;
        }
        let urgent = !self.batches.is_empty()
            || !self.riders.callers.is_empty()
            || self.riders.attempts.len() >= MANY_OUTCOMES;
        if urgent {
            self.commit(ctx);
        } else if !self.riders.attempts.is_empty() {
            self.linger(ctx);
        }
    }

    fn linger(&mut self, ctx: &mut Context<Self>) {
        if !self.lingering {
            self.lingering = true;
            ctx.run_later(OUTCOME_LINGER, |queue, ctx| {
                queue.lingering = false;
                if queue.stage == Stage::Idle && !queue.riders.attempts.is_empty() {
                    queue.commit(ctx);
                }
            });
        }
    }

    fn commit(&mut self, ctx: &mut Context<Self>) {
        let mut batch = self.batches.pop_front().unwrap_or_default();
        let mut riders = std::mem::take(&mut self.riders);
        let ids = batch.ids();
        let commit = Commit {
            at_ms: now_ms(),
            changes: riders.changes.clone(),
            attempts: riders.attempts.clone(),
            carry: std::mem::take(&mut riders.carry),
            events: std::mem::take(&mut batch.events),
            look_for_space: std::mem::take(&mut self.look_for_space),
        };
        self.stage = Stage::Committing;
        let done = tokio::time::timeout(self.sync_timeout, self.committer.submit(commit));
        ctx.spawn(
            wrap_future::<_, Self>(done).map(move |done, queue, ctx| match done {
                Ok(Ok(Ok(committed))) => {
                    queue.committed(committed, batch.callers, &ids, riders, ctx);
                }
                Ok(Ok(Err(error))) if error.is_refusal() => {
                    queue.refused(&error.to_string(), batch.callers, riders);
                }
                failed => {
                    queue.fail(match failed {
                        Ok(Ok(Err(error))) => error.to_string(),
                        Ok(_) => "the thread that writes the journal is gone".to_owned(),
                        Err(_) => {
                            format!("a sync of the journal took over {:?}", queue.sync_timeout)
                        }
                    });
                    queue.answer_all(batch.callers, riders.callers, QueueError::Unavailable);
                }
            }),
        );
    }

    /// It is on disk: only now does anybody hear of it.
    fn committed(
        &mut self,
        committed: Committed,
        callers: Vec<Caller>,
        ids: &[EventId],
        riders: Riders,
        ctx: &mut Context<Self>,
    ) {
        self.stage = Stage::Idle;
        self.refusing = committed.refusal.is_some();
        self.health.set_refusal(committed.refusal);
        self.keys.forget_saved();
        for caller in callers {
            if let Some((mark, position)) = caller.mark.zip(committed.events_at) {
                let index = u32::try_from(caller.events.start).unwrap_or(u32::MAX);
                let place = Place { position, index };
                self.keys
                    .answered(&mark, ids[caller.events.start], place, now_ms());
            }
            // Whoever hung up gets no answer; the event is accepted all the same.
            let _ = caller
                .reply
                .send(Ok(Accepted::Now(ids[caller.events].to_vec())));
        }
        for caller in riders.callers {
            let _ = caller.send(Ok(()));
        }
        self.pump(ctx);
    }

    /// The disk has no room, and nothing was written. Outcomes are facts and wait for room; whoever
    /// waits for an answer hears no.
    fn refused(&mut self, reason: &str, callers: Vec<Caller>, mut riders: Riders) {
        self.stage = Stage::Idle;
        self.refusing = true;
        self.health.set_refusal(Some(reason.to_owned()));
        let waiting_riders = std::mem::take(&mut riders.callers);
        self.riders.put_back(riders);
        self.answer_all(callers, waiting_riders, QueueError::NoSpace);
    }

    fn fail(&mut self, reason: String) {
        self.stage = Stage::Failed;
        self.health.fail(reason);
    }

    /// Answers these callers, and all who wait, with an error.
    fn answer_all(
        &mut self,
        callers: Vec<Caller>,
        waiting_riders: Vec<oneshot::Sender<Result<(), QueueError>>>,
        error: QueueError,
    ) {
        self.riders.changes.clear();
        self.riders.carry = Carry::default();
        let waiting = std::mem::take(&mut self.batches)
            .into_iter()
            .flat_map(|batch| batch.callers);
        for caller in callers.into_iter().chain(waiting) {
            if let Some(mark) = caller.mark {
                self.keys.release(&mark.scope);
            }
            let _ = caller.reply.send(Err(error));
        }
        let waiting = std::mem::take(&mut self.riders.callers);
        for caller in waiting_riders.into_iter().chain(waiting) {
            let _ = caller.send(Err(error));
        }
    }
}
