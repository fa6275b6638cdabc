//! What waits for the next commits: events with those who wait for them, and riders.

use std::ops::Range;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::event_ids::EventIds;
use super::handle::{Accept, Accepted, Permit, QueueError};
use crate::domain::delivery::Attempt;
use crate::domain::directory::Change;
use crate::domain::event::{Event, EventMeta, IdempotencyMark, NewEvent};
use crate::domain::ids::EventId;
use crate::store::carried::Carry;

/// Event bytes after which a batch is full and the next one is begun.
const MAX_BATCH_BYTES: usize = 4 << 20;

/// A request in a batch: which of the batch's events are its own, and who waits for them.
pub struct Caller {
    /// The batch's events that are its own; never empty.
    pub events: Range<usize>,
    /// Its idempotency mark, if it has a key.
    pub mark: Option<IdempotencyMark>,
    /// Who waits.
    pub reply: oneshot::Sender<Result<Accepted, QueueError>>,
    /// Its place in the queue, given back with the answer.
    pub _permit: Permit,
}

/// The events of one commit.
#[derive(Default)]
pub struct Batch {
    /// In the order of their ids.
    pub events: Vec<Event>,
    /// Whose they are.
    pub callers: Vec<Caller>,
    bytes: usize,
}

impl Batch {
    /// Whether so many bytes more would overfill the batch. A request that is larger than a batch has
    /// one to itself.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes + bytes <= MAX_BATCH_BYTES
    }

    /// Takes a request's events in, and gives them their ids.
    pub fn take(
        &mut self,
        Accept {
            incoming,
            permit,
            reply,
        }: Accept,
        ids: &mut EventIds,
        now_ms: u64,
    ) {
        let start = self.events.len();
        let count = u32::try_from(incoming.events.len()).unwrap_or(u32::MAX);
        let mark = incoming.idempotency.map(|(scope, body)| IdempotencyMark {
            scope,
            body,
            events: count,
        });
        for (index, new) in incoming.events.into_iter().enumerate() {
            let NewEvent {
                event_type,
                content,
                body,
            } = new;
            self.bytes += body.len();
            let meta = EventMeta {
                id: ids.next(now_ms),
                account: incoming.account,
                integration: incoming.integration,
                event_type,
                content,
                accepted_at_ms: now_ms,
                idempotency: mark.filter(|_| index == 0),
                body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            };
            self.events.push(Event { meta, body });
        }
        self.callers.push(Caller {
            events: start..self.events.len(),
            mark,
            reply,
            _permit: permit,
        });
    }

    /// The ids of its events.
    pub fn ids(&self) -> Vec<EventId> {
        self.events.iter().map(|event| event.meta.id).collect()
    }
}

/// What rides along with events: directory changes, outcomes of attempts, what outlives its segment.
#[derive(Default)]
pub struct Riders {
    /// To be journalled; somebody waits.
    pub changes: Vec<Change>,
    /// To be journalled; retention waits, and asks one thing at a time.
    pub carry: Carry,
    /// Who waits for the changes, or for retention.
    pub callers: Vec<oneshot::Sender<Result<(), QueueError>>>,
    /// To be journalled; nobody waits.
    pub attempts: Vec<Attempt>,
    /// What counts the attempts until then.
    pub permits: Vec<OwnedSemaphorePermit>,
}

impl Riders {
    /// Puts attempts that could not be journalled before those that came since.
    pub fn put_back(&mut self, earlier: Self) {
        self.attempts.splice(..0, earlier.attempts);
        self.permits.splice(..0, earlier.permits);
    }
}
