//! The queue without its mailbox: what goes into the next commit, and who is answered when it is over.
//!
//! Pure bookkeeping. Time is an argument, and writing is somebody else's: [`Core::begin`] says what to
//! commit, [`Core::end`] takes what became of it. Nobody hears of anything before that.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::batch::{Batch, Caller, Riders};
use super::event_ids::EventIds;
use super::handle::{Accept, Accepted, CarryOver, ChangeDirectory, QueueError, Settle};
use super::keys::{Claim, Keys};
use crate::actors::health::Health;
use crate::domain::event::Place;
use crate::domain::ids::EventId;
use crate::store::carried::Carry;
use crate::store::committer::{Commit, Committed};
use crate::store::error::StoreError;
use crate::store::state::State;

/// How many outcomes go without waiting for company.
const MANY_OUTCOMES: usize = 256;

/// See the module.
pub struct Core {
    keys: Keys,
    ids: EventIds,
    health: Health,
    /// Filled from the back, committed from the front.
    batches: VecDeque<Batch>,
    riders: Riders,
    stage: Stage,
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

/// When the next commit should begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not before something else happens.
    Later,
    /// Within a few milliseconds: what waits can wait for company.
    Soon,
    /// At once.
    Now,
}

/// Those whom a commit that is under way concerns.
pub struct UnderWay {
    callers: Vec<Caller>,
    ids: Vec<EventId>,
    riders: Riders,
}

/// What became of a commit.
pub enum Outcome {
    /// It was tried.
    Tried(Result<Committed, StoreError>),
    /// Nobody knows, and nobody will.
    Lost(String),
}

impl Core {
    /// Nothing waits yet. `state` knows the idempotency keys that a checkpoint holds; new ids exceed
    /// `last_event`.
    pub fn new(state: Arc<State>, last_event: Option<EventId>, health: Health) -> Self {
        Self {
            keys: Keys::new(state),
            ids: EventIds::after(last_event),
            health,
            batches: VecDeque::new(),
            riders: Riders::default(),
            stage: Stage::Idle,
            refusing: false,
            look_for_space: true,
        }
    }

    /// Takes a request in, or answers it at once. Says whether it was taken in.
    pub fn accept(&mut self, request: Accept, now_ms: u64) -> bool {
        let key = request.incoming.idempotency;
        let answer = key.and_then(|(scope, body)| self.claim(scope, body, now_ms));
        if self.stage == Stage::Failed {
            let _ = request.reply.send(Err(QueueError::Unavailable));
            return false;
        }
        if let Some(answer) = answer {
            let _ = request.reply.send(answer);
            return false;
        }
        // What was answered before needs no room.
        if self.refusing {
            if let Some((scope, _)) = key {
                self.keys.release(&scope);
            }
            let _ = request.reply.send(Err(QueueError::NoSpace));
            return false;
        }
        self.take(request, now_ms);
        true
    }

    /// Takes directory changes in.
    pub fn change(&mut self, ChangeDirectory { changes, reply }: ChangeDirectory) {
        if self.stage == Stage::Failed {
            let _ = reply.send(Err(QueueError::Unavailable));
            return;
        }
        self.riders.changes.extend(changes);
        self.riders.callers.push(reply);
    }

    /// Takes in what outlives its segment; retention asks for one thing at a time.
    pub fn carry(&mut self, CarryOver { carry, reply }: CarryOver) {
        if self.stage == Stage::Failed || !self.riders.carry.is_empty() {
            let _ = reply.send(Err(QueueError::Unavailable));
            return;
        }
        self.riders.carry = carry;
        self.riders.callers.push(reply);
    }

    /// Takes the outcome of an attempt in.
    pub fn settle(&mut self, Settle { attempt, permit }: Settle) {
        self.riders.attempts.push(attempt);
        self.riders.permits.push(permit);
    }

    /// Reserves an idempotency key, or says what to answer instead.
    fn claim(
        &mut self,
        scope: [u8; 16],
        body: [u8; 16],
        now_ms: u64,
    ) -> Option<Result<Accepted, QueueError>> {
        match self.keys.claim(scope, body, now_ms) {
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
    fn take(&mut self, request: Accept, now_ms: u64) {
        let bytes = request.incoming.bytes();
        let mut batch = match self.batches.pop_back() {
            Some(batch) if batch.has_room_for(bytes) => batch,
            full => {
                self.batches.extend(full);
                Batch::default()
            }
        };
        batch.take(request, &mut self.ids, now_ms);
        self.batches.push_back(batch);
    }

    /// Whether there is something to commit, and none is under way.
    pub fn due(&self) -> Due {
        if self.stage != Stage::Idle {
            return Due::Later;
        }
        let urgent = !self.batches.is_empty()
            || !self.riders.callers.is_empty()
            || self.riders.attempts.len() >= MANY_OUTCOMES;
        match (urgent, self.riders.attempts.is_empty()) {
            (true, _) => Due::Now,
            (false, true) => Due::Later,
            (false, false) => Due::Soon,
        }
    }

    /// Whether a commit should look now if a full disk has room again. To be asked now and then.
    pub fn should_look_for_space(&mut self) -> bool {
        self.look_for_space |= self.refusing;
        self.look_for_space && self.stage == Stage::Idle
    }

    /// Begins a commit of what waits, be it nothing. None may be under way.
    pub fn begin(&mut self, now_ms: u64) -> (Commit, UnderWay) {
        let mut batch = self.batches.pop_front().unwrap_or_default();
        let mut riders = std::mem::take(&mut self.riders);
        let ids = batch.ids();
        let commit = Commit {
            at_ms: now_ms,
            changes: riders.changes.clone(),
            attempts: riders.attempts.clone(),
            carry: std::mem::take(&mut riders.carry),
            events: std::mem::take(&mut batch.events),
            look_for_space: std::mem::take(&mut self.look_for_space),
        };
        self.stage = Stage::Committing;
        let under_way = UnderWay {
            callers: batch.callers,
            ids,
            riders,
        };
        (commit, under_way)
    }

    /// The commit is over: those whom it concerns are answered. Says whether the next one may follow at
    /// once; on a full disk, what waits is looked at again with the space.
    pub fn end(&mut self, under_way: UnderWay, outcome: Outcome, now_ms: u64) -> bool {
        let UnderWay {
            callers,
            ids,
            riders,
        } = under_way;
        let reason = match outcome {
            Outcome::Tried(Ok(committed)) => {
                self.committed(committed, callers, &ids, riders, now_ms);
                return true;
            }
            Outcome::Tried(Err(error)) if error.is_refusal() => {
                self.refused(&error.to_string(), callers, riders);
                return false;
            }
            Outcome::Tried(Err(error)) => error.to_string(),
            Outcome::Lost(reason) => reason,
        };
        self.fail(reason);
        self.answer_all(callers, riders.callers, QueueError::Unavailable);
        false
    }

    /// It is on disk: only now does anybody hear of it.
    fn committed(
        &mut self,
        committed: Committed,
        callers: Vec<Caller>,
        ids: &[EventId],
        riders: Riders,
        now_ms: u64,
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
                    .answered(&mark, ids[caller.events.start], place, now_ms);
            }
            // Whoever hung up gets no answer; the event is accepted all the same.
            let _ = caller
                .reply
                .send(Ok(Accepted::Now(ids[caller.events].to_vec())));
        }
        for caller in riders.callers {
            let _ = caller.send(Ok(()));
        }
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
