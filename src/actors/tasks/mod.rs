//! The task actor: does what somebody asked to be done with many deliveries, a step at a time.
//!
//! Mailbox: the default; all it is told is to look for tasks again, and one look is as good as two. Tasks
//! stand in the directory, and so does how far each is: a step's work and the task as it stands after it
//! are one change, which is made only while the task is still open. So a task that was stopped does nothing
//! more, and one that was under way when the process ended goes on where it was.
//!
//! Lost in a crash: steps that were not journalled, which are taken again.

mod open;
mod replay;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context, Handler};

use super::Unavailable;
use super::directory::{ChangeError, DirectoryHandle};
use super::dispatch::{DispatchError, DispatchHandle};
use super::health::{Health, Vital};
use super::mailbox::{Mail, Mailbox};
use super::metrics::MailboxMeter;
use super::now_ms;
use super::queue::QueueError;
use crate::domain::directory::Change;
use crate::domain::ids::TaskId;
use crate::domain::task::{State, Task, Work};
use crate::store::error::StoreError;
use crate::store::holds::Hold;
use crate::store::log::Log;

/// Tasks that are under way at once; others wait for their turn.
pub const MAX_RUNNING: usize = 2;
/// How soon a step is tried again that the relay had no room for.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What the actor is built from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Where tasks stand.
    pub directory: DirectoryHandle,
    /// Knows what is open.
    pub dispatch: DispatchHandle,
    /// Knows what happened.
    pub log: Arc<Log>,
}

/// Has the actor look for tasks.
#[derive(Debug, Clone)]
pub struct TasksHandle {
    mailbox: Mailbox<Tasks>,
}

impl TasksHandle {
    /// There is a new task.
    pub fn wake(&self) {
        // A full mailbox holds others that say the same.
        let _ = self.mailbox.post(Look);
    }
}

/// The actor; see the module.
#[derive(Debug)]
pub struct Tasks {
    parts: Parts,
    running: HashSet<TaskId>,
    _vital: Vital,
}

struct Look;

/// Starts the actor.
pub fn start(
    arbiter: &ArbiterHandle,
    parts: Parts,
    health: &Health,
    meter: MailboxMeter,
) -> TasksHandle {
    let vital = health.vital("task actor");
    let addr = Tasks::start_in_arbiter(arbiter, |_| Tasks {
        parts,
        running: HashSet::new(),
        _vital: vital,
    });
    let mailbox = Mailbox::new(addr, meter);
    TasksHandle { mailbox }
}

impl Actor for Tasks {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<Mail<Look>> for Tasks {
    type Result = ();

    fn handle(&mut self, _: Mail<Look>, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Tasks {
    /// Begins with those that have waited longest, as many as may be under way.
    fn look(&mut self, ctx: &mut Context<Self>) {
        let mut waiting: Vec<(u64, TaskId)> = {
            let directory = self.parts.directory.view().read();
            let open = directory.tasks().filter(|task| task.is_open());
            open.map(|task| (task.created_at_ms, task.id)).collect()
        };
        waiting.retain(|(_, id)| !self.running.contains(id));
        waiting.sort_unstable();
        let room = MAX_RUNNING.saturating_sub(self.running.len());
        for (_, id) in waiting.into_iter().take(room) {
            self.running.insert(id);
            let run = run(self.parts.clone(), id);
            ctx.spawn(wrap_future::<_, Self>(run).map(move |(), tasks, ctx| {
                tasks.running.remove(&id);
                tasks.look(ctx);
            }));
        }
    }
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Change(#[from] ChangeError<Stopped>),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("reading the journal panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// The task is not open any more.
#[derive(Debug, thiserror::Error)]
#[error("the task was stopped")]
struct Stopped;

/// What one step comes to.
struct Step {
    /// The task after it.
    task: Task,
    /// What is done.
    changes: Vec<Change>,
    /// Keeps events that are to be delivered once more.
    hold: Option<Hold>,
}

impl Step {
    /// Nothing is left to look at.
    fn last(mut task: Task) -> Self {
        task.state = State::Done;
        task.ended_at_ms = Some(now_ms());
        Self {
            task,
            changes: Vec::new(),
            hold: None,
        }
    }
}

/// Takes a task's steps until it is over.
async fn run(parts: Parts, id: TaskId) {
    loop {
        let task = parts.directory.view().read().task(id).cloned();
        let Some(task) = task.filter(|task| task.is_open()) else {
            return;
        };
        match step(&parts, &task).await {
            Ok(()) => {}
            Err(StepError::Change(ChangeError::Refused(Stopped))) => return,
            Err(error) if is_passing(&error) => tokio::time::sleep(TRY_AGAIN_AFTER).await,
            Err(error) => return fail(&parts, &task, &error).await,
        }
    }
}

async fn step(parts: &Parts, task: &Task) -> Result<(), StepError> {
    let step = match task.work {
        Work::Retry | Work::Cancel => open::step(parts, task).await?,
        Work::Replay(subscription) => replay::step(parts, task, subscription).await?,
    };
    let Step {
        task,
        changes,
        hold,
    } = step;
    commit(parts, task, changes).await?;
    // Until then what is held could be removed before it is known to be needed.
    parts.dispatch.caught_up(&parts.log).await?;
    drop(hold);
    Ok(())
}

async fn commit(
    parts: &Parts,
    task: Task,
    mut changes: Vec<Change>,
) -> Result<(), ChangeError<Stopped>> {
    let change = parts.directory.change(move |directory| {
        if !directory.task(task.id).is_some_and(|it| it.is_open()) {
            return Err(Stopped);
        }
        changes.push(Change::PutTask(task.into()));
        Ok((changes, ()))
    });
    change.await
}

/// Whether it is worth trying again: the relay is busy, the disk is full.
fn is_passing(error: &StepError) -> bool {
    match error {
        StepError::Dispatch(DispatchError::Unavailable(why))
        | StepError::Change(ChangeError::Unavailable(why)) => *why == Unavailable::Busy,
        StepError::Change(ChangeError::Queue(why)) => *why != QueueError::Unavailable,
        _ => false,
    }
}

async fn fail(parts: &Parts, task: &Task, error: &StepError) {
    log::error!(task:% = task.id; "a task cannot go on: {error}");
    let failed = Task {
        state: State::Failed {
            reason: "the journal or the state could not be read".to_owned(),
        },
        ended_at_ms: Some(now_ms()),
        ..task.clone()
    };
    // If that cannot be said either, the next start finds out again.
    let _ = commit(parts, failed, Vec::new()).await;
}
