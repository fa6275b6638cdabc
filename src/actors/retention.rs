//! The retention actor: removes what is older, or more, than is to be kept.
//!
//! No mailbox to speak of: it looks every few seconds, and works on one segment at a time. What is
//! still open in the oldest segment is committed again through the queue, a little at a time, among
//! all other commits; once a checkpoint holds that, and nobody holds the segment, its file is removed.
//!
//! When there is no room for that, or the segment is held, it tries again later. Lost in a crash:
//! nothing; what was carried twice counts once.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context};

use super::dispatch::{DispatchError, DispatchHandle};
use super::health::{Health, Vital};
use super::now_ms;
use super::queue::{QueueError, QueueHandle};
use crate::domain::retention::Retention as Kept;
use crate::store::carried::Carry;
use crate::store::error::StoreError;
use crate::store::journal::Remains;
use crate::store::log::Log;
use crate::store::retention::{self, MAX_CARRIED, Oldest, Why};
use crate::store::state::State;

/// How often it looks whether a segment's time has come.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it looks whether what it waits for has happened.
const WAIT: Duration = Duration::from_millis(10);
/// How long the disk has rest between two pieces of a removed segment. One piece holds up the syncs of
/// some milliseconds, so with one of them in half a second less than a hundredth of all requests notice.
const FREEING_PAUSE: Duration = Duration::from_millis(500);
/// The same when more is to be removed already: still faster than any disk can be filled.
const FREEING_PAUSE_BEHIND: Duration = Duration::from_millis(20);
/// The share of a segment, in quarters, that may be open still where only its size is in the way. To
/// append more than that again would write much to win little.
const MAX_OPEN_QUARTERS: u64 = 3;

/// What the actor is built from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// How long things are kept.
    pub kept: Kept,
    /// What it reads, and removes from.
    pub log: Arc<Log>,
    /// Says how far checkpoints reach.
    pub state: Arc<State>,
    /// Commits what outlives its segment.
    pub queue: QueueHandle,
    /// Knows what is open.
    pub dispatch: DispatchHandle,
}

#[derive(Debug, thiserror::Error)]
enum RetentionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Dispatch(#[from] DispatchError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("reading the journal panicked: {0}")]
    Panicked(#[from] tokio::task::JoinError),
}

/// What became of a look at the oldest segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// It stays.
    Kept,
    /// It went; the next one may be due.
    Removed,
    /// The journal is too large, but most of its oldest segment is undelivered.
    Undelivered,
}

#[derive(Debug)]
struct Retention {
    parts: Parts,
    busy: bool,
    last: Looked,
    _vital: Vital,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, parts: Parts, health: &Health) {
    let vital = health.vital("retention actor");
    Retention::start_in_arbiter(arbiter, |_| Retention {
        parts,
        busy: false,
        last: Looked::Kept,
        _vital: vital,
    });
}

impl Actor for Retention {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(LOOK_EVERY, Self::look);
    }
}

impl Retention {
    fn look(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.busy, true) {
            return;
        }
        let parts = self.parts.clone();
        let work = async move {
            loop {
                match retire(&parts).await {
                    Ok(Looked::Removed) => {}
                    looked => break looked,
                }
            }
        };
        ctx.spawn(wrap_future::<_, Self>(work).map(|looked, retention, _| {
            retention.busy = false;
            match looked {
                Ok(looked) => retention.note(looked),
                Err(error) => log::warn!("nothing is removed from the journal for now: {error}"),
            }
        }));
    }

    fn note(&mut self, looked: Looked) {
        if looked == Looked::Undelivered && self.last != looked {
            log::warn!(
                "the journal is larger than it may be, but its oldest events are undelivered and stay"
            );
        }
        self.last = looked;
    }
}

/// Removes the oldest segment, if its time has come and nothing is in the way.
async fn retire(parts: &Parts) -> Result<Looked, RetentionError> {
    let (log, kept) = (Arc::clone(&parts.log), parts.kept);
    let Some(oldest) = blocking(move || retention::oldest(&log, &kept, now_ms())).await? else {
        return Ok(Looked::Kept);
    };
    if !carry_events(parts, oldest).await? {
        return Ok(Looked::Undelivered);
    }
    carry_keys(parts, oldest).await?;
    checkpointed(parts).await?;
    let log = Arc::clone(&parts.log);
    let Some(remains) = blocking(move || retention::remove(&log, &oldest)).await? else {
        return Ok(Looked::Kept);
    };
    log::info!(
        "segment {} of the journal is removed: {:?}",
        oldest.number,
        oldest.why
    );
    free(parts, remains).await?;
    Ok(Looked::Removed)
}

/// Gives back the space of a removed segment, with pauses in which the disk is everybody else's: long
/// ones, unless another segment's time has come meanwhile.
async fn free(parts: &Parts, remains: Remains) -> Result<(), RetentionError> {
    let remains = Arc::new(remains);
    loop {
        let (log, kept, piece) = (Arc::clone(&parts.log), parts.kept, Arc::clone(&remains));
        let freed = blocking(move || {
            if !piece.free_some()? {
                return Ok(None);
            }
            let next = retention::oldest(&log, &kept, now_ms())?;
            Ok(Some(next.map_or(FREEING_PAUSE, |_| FREEING_PAUSE_BEHIND)))
        });
        let Some(pause) = freed.await? else {
            return Ok(());
        };
        tokio::time::sleep(pause).await;
    }
}

/// Carries over what is open in the segment. `false` if that is too much of it to be worth it.
async fn carry_events(parts: &Parts, oldest: Oldest) -> Result<bool, RetentionError> {
    let mut from = parts.log.start();
    loop {
        let found = parts
            .dispatch
            .located_before(oldest.end, MAX_CARRIED)
            .await?;
        let Some((last, _)) = found.1.last_key_value() else {
            return Ok(true);
        };
        let to = if found.1.len() < MAX_CARRIED {
            oldest.end
        } else {
            last.position
        };
        let (log, kept) = (Arc::clone(&parts.log), parts.kept);
        let carry = blocking(move || retention::carry(&log, &kept, found, now_ms())).await?;
        let open_bytes = carry.bytes() as u64;
        if oldest.why == Why::Size && open_bytes > (to - from) / 4 * MAX_OPEN_QUARTERS {
            return Ok(false);
        }
        commit(parts, carry).await?;
        from = to;
    }
}

async fn carry_keys(parts: &Parts, oldest: Oldest) -> Result<(), RetentionError> {
    let mut from = Some(parts.log.start());
    while let Some(position) = from {
        let log = Arc::clone(&parts.log);
        let found = blocking(move || retention::keys(&log, &oldest, position, now_ms())).await?;
        from = found.next;
        if !found.carry.is_empty() {
            commit(parts, found.carry).await?;
        }
    }
    Ok(())
}

/// Has it committed, and waits until the dispatcher has heard of it: until then it would find the
/// same events again.
async fn commit(parts: &Parts, carry: Carry) -> Result<(), RetentionError> {
    parts.queue.carry(carry).await?;
    Ok(parts.dispatch.caught_up(&parts.log).await?)
}

/// Waits until a checkpoint holds all that is in the log now.
async fn checkpointed(parts: &Parts) -> Result<(), RetentionError> {
    let end = parts.log.end();
    while parts.state.saved_to() < end {
        parts.dispatch.save().await?;
        tokio::time::sleep(WAIT).await;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, RetentionError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}
