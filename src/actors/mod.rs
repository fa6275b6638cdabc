//! Floor 2: the actors. Thin shells around the cores below; each is a mailbox, a handle and a few
//! short handlers.
//!
//! ```text
//!                        capacity on every arrow, and what happens when it is full
//!
//!  http ──(map look-up)──▶ auth ──(64: uses are noted with the next ones)──▶ directory
//!  http ──(map look-up)──▶ rate limit
//!  http ──(64: 503)──────▶ directory ──(64: 503)──▶ queue
//!  http ──(queue.capacity requests, queue.max_bytes: 503)──▶ queue
//!                          queue ──(1 under way, 1 waiting)──▶ commit thread ──▶ the log
//!  the log ──(only the latest end: nothing is lost, it is read from the log)──▶ dispatch
//!                          dispatch ──(WINDOW deliveries per lane: they stay in the ledger)──▶ lane
//!                          dispatch ──(1)──▶ checkpoint thread
//!  the log ──(only the latest end)──▶ who reads along (MAX_READERS: 503)
//!  tasks ──(one step at a time: tried again later)──▶ directory
//!  retention ──(one step at a time: tried again later)──▶ queue
//!  retention ──(256: tried again later)──▶ dispatch
//!                          lane ──(MAX_UNJOURNALLED outcomes in all: lanes stop sending)──▶ queue
//! ```
//!
//! What all of them count goes into [`metrics`]: atomics, which nobody waits for.
//!
//! All bounds, these among them, are in one table with their reasons: `docs/bounds.md`.
//!
//! Messages between actors are posted to a [`mailbox`], which counts them; nothing is sent with `do_send`: a
//! full mailbox is an answer, never a loss. Nobody
//! waits for an actor that may wait for him: the log closes the circle between queue, dispatch and
//! lanes. In a crash an actor loses nothing that was acknowledged, because all that matters is in the
//! log before anyone hears of it.

pub mod announce;
pub mod attempt;
pub mod auth;
pub mod deliveries;
pub mod delivery;
pub mod directory;
pub mod dispatch;
pub mod health;
pub mod listeners;
pub mod mailbox;
pub mod metrics;
pub mod outcomes;
pub mod pause;
pub mod queue;
pub mod rate_limit;
pub mod reads;
pub mod retention;
pub mod samples;
pub mod tail;
pub mod tasks;
pub mod vault;

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds of Unix time.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The other side is gone or does not take more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Its mailbox is full.
    #[error("too many requests are waiting; try again shortly")]
    Busy,
    /// It has stopped.
    #[error("the relay is stopping")]
    Stopped,
}

impl<M> From<actix::prelude::SendError<M>> for Unavailable {
    fn from(error: actix::prelude::SendError<M>) -> Self {
        match error {
            actix::prelude::SendError::Full(_) => Self::Busy,
            actix::prelude::SendError::Closed(_) => Self::Stopped,
        }
    }
}
