//! What the rest of the relay sees of the queue actor: its handle, and the bounds on what may wait.
//!
//! A request is counted before it is sent and until it is answered, so the bounds hold however many
//! ask at once, and a refusal costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::Handler;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Queue;
use crate::actors::mailbox::{Mail, Mailbox};
use crate::domain::delivery::Attempt;
use crate::domain::directory::Change;
use crate::domain::event::NewEvent;
use crate::domain::ids::{AccountId, EventId, IntegrationId};
use crate::store::carried::Carry;
use crate::store::state::rows::KeyedRequest;

/// How much may wait for a commit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests.
    pub requests: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Why nothing was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// As much is waiting as may wait.
    #[error("the relay is overloaded; try again shortly")]
    Overloaded,
    /// The disk has no room.
    #[error("the relay has no disk space left for events; try again later")]
    NoSpace,
    /// The store failed or the relay is stopping.
    #[error("the relay cannot store events right now")]
    Unavailable,
    /// A request with the same idempotency key is under way.
    #[error("a request with this Idempotency-Key is still being processed")]
    KeyInFlight,
    /// The idempotency key came before with another body.
    #[error("this Idempotency-Key was used before with a different body")]
    KeyReused,
}

/// Events of one request: all are accepted, or none.
#[derive(Debug)]
pub struct Incoming {
    /// Whose they are.
    pub account: AccountId,
    /// The door they came in by.
    pub integration: IntegrationId,
    /// What was read.
    pub events: Vec<NewEvent>,
    /// Digests of the request's idempotency key and body, if it has a key.
    pub idempotency: Option<([u8; 16], [u8; 16])>,
}

impl Incoming {
    /// What its bodies take.
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.body.len()).sum()
    }
}

/// What became of a request that was taken in, now or before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// The ids of its events, which are on disk.
    Now(Vec<EventId>),
    /// Its idempotency key was answered before; here is that answer's first event.
    Before(KeyedRequest),
}

/// Sends things to be committed.
#[derive(Debug, Clone)]
pub struct QueueHandle {
    mailbox: Mailbox<Queue>,
    places: Places,
}

/// Counts what waits.
#[derive(Debug, Clone)]
pub struct Places {
    waiting: Arc<Waiting>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Waiting {
    requests: AtomicUsize,
    bytes: AtomicUsize,
}

/// A place in the queue; given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.waiting.requests.fetch_sub(1, Ordering::Relaxed);
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Places {
    /// As many as this.
    pub fn new(limits: Limits) -> Self {
        Self {
            waiting: Arc::default(),
            limits,
        }
    }

    /// A place for a request of so many bytes.
    pub fn admit(&self, bytes: usize) -> Result<Permit, QueueError> {
        let requests = self.waiting.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let waiting_bytes = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let permit = Permit {
            waiting: Arc::clone(&self.waiting),
            bytes,
        };
        if requests > self.limits.requests || waiting_bytes > self.limits.bytes {
            return Err(QueueError::Overloaded);
        }
        Ok(permit)
    }
}

impl QueueHandle {
    pub(super) fn new(mailbox: Mailbox<Queue>, limits: Limits) -> Self {
        Self {
            mailbox,
            places: Places::new(limits),
        }
    }

    /// A place in the queue for a request of so many bytes.
    pub fn admit(&self, bytes: usize) -> Result<Permit, QueueError> {
        let admitted = self.places.admit(bytes);
        admitted.inspect_err(|_| self.mailbox.refuse())
    }

    /// Requests that wait for a commit.
    pub fn waiting(&self) -> usize {
        self.places.waiting.requests.load(Ordering::Relaxed)
    }

    /// Has events committed. Returns once they are on disk.
    pub async fn accept(&self, incoming: Incoming, permit: Permit) -> Result<Accepted, QueueError> {
        let (reply, answer) = oneshot::channel();
        self.send(Accept {
            incoming,
            permit,
            reply,
        })?;
        answer.await.map_err(|_| QueueError::Unavailable)?
    }

    /// Has directory changes committed. Returns once they are on disk.
    pub async fn change(&self, changes: Vec<Change>) -> Result<(), QueueError> {
        let (reply, answer) = oneshot::channel();
        self.send(ChangeDirectory { changes, reply })?;
        answer.await.map_err(|_| QueueError::Unavailable)?
    }

    /// Has what outlives its segment committed, and the deliveries that end with it. Returns once they
    /// are on disk.
    pub async fn carry(&self, carry: Carry) -> Result<(), QueueError> {
        let (reply, answer) = oneshot::channel();
        self.send(CarryOver { carry, reply })?;
        answer.await.map_err(|_| QueueError::Unavailable)?
    }

    /// Has the outcome of an attempt committed, some time soon. The permit counts it until then.
    pub fn settle(&self, attempt: Attempt, permit: OwnedSemaphorePermit) {
        // Refused only when the relay is stopping; the attempt is repeated after the restart.
        let _ = self.send(Settle { attempt, permit });
    }

    fn send<M>(&self, message: M) -> Result<(), QueueError>
    where
        M: Send + 'static,
        Queue: Handler<Mail<M>>,
    {
        self.mailbox.post(message).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => QueueError::Overloaded,
            actix::prelude::SendError::Closed(_) => QueueError::Unavailable,
        })
    }
}

/// A request that wants in.
#[derive(Debug)]
pub struct Accept {
    /// Its events.
    pub incoming: Incoming,
    /// Its place in the queue.
    pub permit: Permit,
    /// Hears once they are on disk, or that they will not be.
    pub reply: oneshot::Sender<Result<Accepted, QueueError>>,
}

/// Directory changes to be committed.
#[derive(Debug)]
pub struct ChangeDirectory {
    /// In their order.
    pub changes: Vec<Change>,
    /// Hears once they are on disk, or that they will not be.
    pub reply: oneshot::Sender<Result<(), QueueError>>,
}

/// What outlives its segment, to be committed.
#[derive(Debug)]
pub struct CarryOver {
    /// What that is.
    pub carry: Carry,
    /// Hears once it is on disk, or that it will not be.
    pub reply: oneshot::Sender<Result<(), QueueError>>,
}

/// The outcome of an attempt, to be committed.
#[derive(Debug)]
pub struct Settle {
    /// What was done and what came of it.
    pub attempt: Attempt,
    /// Counts it until then.
    pub permit: OwnedSemaphorePermit,
}
