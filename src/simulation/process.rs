//! The relay in one thread: the cores that the actors are shells of, wired as `app` wires the actors.
//!
//! What is a message, a timer or a thread there is a step here, and somebody else says which comes
//! next. An error is the end of the process.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::attempts::{Lanes, Running};
use super::retire::Retire;
use crate::actors::directory::View;
use crate::actors::dispatch::core::{Bounds, Checkpoint, Core as DispatchCore};
use crate::actors::dispatch::watch::{Patience, Watch};
use crate::actors::health::Health;
use crate::actors::outcomes::Outcomes;
use crate::actors::queue::core::{Core as QueueCore, Due, Outcome as Done, UnderWay};
use crate::actors::queue::{
    Accept, Accepted, ChangeDirectory, Incoming, Limits, Places, QueueError,
};
use crate::domain::delivery::Attempt;
use crate::domain::directory::{Change, Subscription, SubscriptionStatus};
use crate::domain::ids::{EventId, SubscriptionId};
use crate::domain::retry::Schedule;
use crate::store::committer::{Commit, Committed, Work};
use crate::store::error::StoreError;
use crate::store::holds::Hold;
use crate::store::log::Log;
use crate::store::opening::Opened;
use crate::store::state::{State, checkpoint};

/// Small bounds, so that they are reached.
const REQUESTS: usize = 4;
const WINDOW: usize = 4;
pub const UNJOURNALLED: usize = 6;
const RECORDS_A_TURN: usize = 3;
const UNSAVED_BYTES: usize = 4 << 10;

/// What the dispatcher finds out about subscriptions that are not well, nobody hears here.
const NO_PATIENCE_NEEDED: Patience = Patience {
    disable_after_ms: u64::MAX,
    old_backlog_ms: u64::MAX,
};

/// A commit on its way.
enum Committing {
    Asked(Box<Commit>, UnderWay),
    Over(UnderWay, Result<Committed, StoreError>),
}

/// What a commit held, and whether it is on disk.
pub struct Written {
    pub attempts: Vec<Attempt>,
    pub ids: Vec<EventId>,
    pub on_disk: OnDisk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisk {
    Surely,
    Maybe,
    No,
}

/// A checkpoint on its way.
enum Saving {
    Asked(Checkpoint),
    Over(Checkpoint),
}

/// A directory change on its way; one at a time.
pub struct Changing {
    pub changes: Vec<Change>,
    /// Keeps what is to be delivered once more until the dispatcher knows of it.
    pub hold: Option<Hold>,
    answer: oneshot::Receiver<Result<(), QueueError>>,
}

/// See the module.
pub struct Process {
    pub(super) work: Work,
    pub(super) log: Arc<Log>,
    pub state: Arc<State>,
    pub queue: QueueCore,
    pub(super) places: Places,
    pub(super) health: Health,
    pub dispatch: DispatchCore<Lanes>,
    pub view: View,
    pub(super) outcomes: Outcomes,
    pub(super) schedule: Schedule,
    committing: Option<Committing>,
    saving: Option<Saving>,
    pub running: Vec<Running>,
    pub changing: Option<Changing>,
    pub retire: Retire,
    /// Until the dispatcher has come so far.
    held: Vec<(u64, Hold)>,
}

impl Process {
    pub fn start(opened: Opened, schedule: Schedule) -> Self {
        let Opened {
            work,
            log,
            state,
            ledger,
            ..
        } = opened;
        let health = Health::default();
        health.set_ready();
        let last_event = ledger.last_event();
        let view = View::new(ledger.directory().clone());
        let bounds = Bounds {
            window: WINDOW,
            records_a_turn: RECORDS_A_TURN,
            unsaved_bytes: UNSAVED_BYTES,
        };
        let mut process = Self {
            queue: QueueCore::new(Arc::clone(&state), last_event, health.clone()),
            dispatch: DispatchCore::new(
                Arc::clone(&log),
                ledger,
                Arc::clone(&state),
                Lanes::default(),
                bounds,
                Watch::new(NO_PATIENCE_NEEDED),
            ),
            work,
            log,
            state,
            places: Places::new(Limits {
                requests: REQUESTS,
                bytes: usize::MAX,
            }),
            health,
            view,
            outcomes: Outcomes::new(UNJOURNALLED),
            schedule,
            committing: None,
            saving: None,
            running: Vec::new(),
            changing: None,
            retire: Retire::default(),
            held: Vec::new(),
        };
        process.begin_commit(0);
        process
    }

    /// Why the process has to end, if it has to.
    pub fn failure(&self) -> Option<String> {
        self.health.failed().now_or_never()
    }

    // Requests.

    /// Hands a request to the queue, as `http` does.
    pub fn request(
        &mut self,
        incoming: Incoming,
        now_ms: u64,
    ) -> oneshot::Receiver<Result<Accepted, QueueError>> {
        let (reply, answer) = oneshot::channel();
        match self.places.admit(incoming.bytes()) {
            Ok(permit) => {
                let request = Accept {
                    incoming,
                    permit,
                    reply,
                };
                self.queue.accept(request, now_ms);
            }
            Err(error) => drop(reply.send(Err(error))),
        }
        answer
    }

    /// Begins a change of the directory, as its actor does. None may be on its way.
    pub fn change(&mut self, changes: Vec<Change>) {
        self.change_with(changes, None);
    }

    /// Begins a change while the journal is held.
    pub fn change_with(&mut self, changes: Vec<Change>, hold: Option<Hold>) {
        let (reply, answer) = oneshot::channel();
        self.queue.change(ChangeDirectory {
            changes: changes.clone(),
            reply,
        });
        self.changing = Some(Changing {
            changes,
            hold,
            answer,
        });
    }

    /// The change that is over, if it is: shown if it was made, and only then answered.
    pub fn changed(&mut self) -> Option<(Vec<Change>, Result<(), QueueError>)> {
        let result = self.changing.as_mut()?.answer.try_recv().ok()?;
        let Changing { changes, hold, .. } = self.changing.take()?;
        self.held
            .extend(hold.into_iter().map(|hold| (self.log.end(), hold)));
        if result.is_ok() {
            for change in &changes {
                self.view.apply(change);
            }
        }
        Some((changes, result))
    }

    // Commits.

    /// Begins the next commit if it is due; if there is only a little, that is up to the one who asks.
    pub fn commit(&mut self, soon: bool, now_ms: u64) -> bool {
        let due = match self.queue.due() {
            Due::Now => true,
            Due::Soon => soon,
            Due::Later => false,
        };
        if due {
            self.begin_commit(now_ms);
        }
        due
    }

    /// Looks whether a full disk has room again.
    pub fn look_for_space(&mut self, now_ms: u64) {
        if self.queue.should_look_for_space() {
            self.begin_commit(now_ms);
        }
    }

    fn begin_commit(&mut self, now_ms: u64) {
        let (commit, under_way) = self.queue.begin(now_ms);
        self.committing = Some(Committing::Asked(Box::new(commit), under_way));
    }

    /// Has the commit thread do its work, if there is any. Says what it was about.
    pub fn write_commit(&mut self) -> Option<Written> {
        let (commit, under_way) = match self.committing.take()? {
            Committing::Asked(commit, under_way) => (commit, under_way),
            over @ Committing::Over(..) => {
                self.committing = Some(over);
                return None;
            }
        };
        let ended = commit.carry.ended.iter();
        let attempts = commit.attempts.iter().chain(ended).cloned().collect();
        let ids = commit.events.iter().map(|event| event.meta.id).collect();
        let done = self.work.commit(*commit);
        let on_disk = match &done {
            Ok(_) => OnDisk::Surely,
            Err(error) if error.is_refusal() => OnDisk::No,
            Err(_) => OnDisk::Maybe,
        };
        self.committing = Some(Committing::Over(under_way, done));
        Some(Written {
            attempts,
            ids,
            on_disk,
        })
    }

    /// Has the queue hear of the end of a commit.
    pub fn end_commit(&mut self, now_ms: u64) -> bool {
        match self.committing.take() {
            Some(Committing::Over(under_way, done)) => {
                self.queue.end(under_way, Done::Tried(done), now_ms);
                true
            }
            other => {
                self.committing = other;
                false
            }
        }
    }

    // The dispatcher.

    /// A turn of the dispatcher. Says whether there is more.
    pub fn turn(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        let turn = self.dispatch.turn(now_ms)?;
        let applied = self.dispatch.ledger().applied().position;
        self.held.retain(|(end, _)| applied < *end);
        if let Some(checkpoint) = turn.checkpoint {
            self.saving = Some(Saving::Asked(checkpoint));
        }
        Ok(turn.more)
    }

    /// Begins a checkpoint, unless one is on its way.
    pub fn save(&mut self) -> Result<(), StoreError> {
        if let Some(checkpoint) = self.dispatch.save()? {
            self.saving = Some(Saving::Asked(checkpoint));
        }
        Ok(())
    }

    /// Has the checkpoint thread do its work, or the dispatcher hear of it.
    pub fn go_on_saving(&mut self) -> Result<bool, StoreError> {
        match self.saving.take() {
            Some(Saving::Asked(asked)) => {
                checkpoint::write(&self.state, &asked.rows)?;
                self.saving = Some(Saving::Over(asked));
            }
            Some(Saving::Over(saved)) => self.dispatch.saved(saved),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// What pauses a subscription or has it go on, if it is not so already.
    pub fn with_status(&self, id: SubscriptionId, active: bool) -> Option<Change> {
        let now = self.view.subscription(id)?;
        if (now.status == SubscriptionStatus::Active) == active {
            return None;
        }
        let paused = SubscriptionStatus::Paused {
            reason: "somebody asked for it".to_owned(),
        };
        let status = if active {
            SubscriptionStatus::Active
        } else {
            paused
        };
        Some(Change::PutSubscription(Arc::new(Subscription {
            status,
            ..Subscription::clone(&now)
        })))
    }
}
