//! Questions to the ledger: what waits, what is due, what is open, where an event is.
//!
//! Every answer is bounded by the caller, but for the deliveries of one event, which are bounded by
//! the number of subscriptions.

use super::backlog::{Counts, Entry, Located, Status};
use super::{Ledger, Todo, Trouble};
use crate::domain::event::Place;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::error::StoreError;
use crate::store::state::overlay::Direction;
use crate::store::state::rows::{self, KeyedRequest, Slot};

/// How a subscription stands.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Its failures since the last success.
    pub trouble: Option<Trouble>,
    /// The first delivery that stands in line.
    pub first_in_line: Option<Entry>,
    /// Deliveries that wait for their first attempt.
    pub waiting: usize,
    /// Those that are due at some time.
    pub retrying: usize,
    /// Those that are dead.
    pub dead: usize,
}

/// A delivery that is not settled for good, and whose it is.
pub type Open = (SubscriptionId, Entry);

impl From<Entry> for Todo {
    fn from(entry: Entry) -> Self {
        Self {
            slot: entry.slot,
            at: entry.at,
            event: entry.delivery.event,
            attempts: entry.delivery.attempts,
            forgiven: entry.delivery.forgiven,
            group: entry.delivery.group,
            due_ms: entry.delivery.due_ms(),
        }
    }
}

impl Ledger {
    /// What stands in line after `after`, in order.
    pub fn in_line(
        &self,
        subscription: SubscriptionId,
        after: Option<Slot>,
        limit: usize,
    ) -> Result<Vec<Todo>, StoreError> {
        let entries = self
            .backlog
            .in_line(&self.overlay, subscription, after, limit)?;
        Ok(entries.into_iter().map(Todo::from).collect())
    }

    /// What is due again by now and stands outside of the line, the longest due first.
    pub fn due(
        &self,
        subscription: SubscriptionId,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<Todo>, StoreError> {
        let entries = self
            .backlog
            .due(&self.overlay, subscription, now_ms, limit)?;
        Ok(entries.into_iter().map(Todo::from).collect())
    }

    /// When the next retry of a subscription outside of the line is due that is not due by now.
    pub fn next_due_ms(
        &self,
        subscription: SubscriptionId,
        now_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        self.backlog
            .next_due_ms(&self.overlay, subscription, now_ms)
    }

    /// When the first retry of a subscription outside of the line is or was due.
    pub fn earliest_due_ms(&self, subscription: SubscriptionId) -> Option<u64> {
        self.backlog.earliest_due_ms(subscription)
    }

    /// How many deliveries of a subscription are not settled for good.
    pub fn count_open(&self, subscription: SubscriptionId) -> u64 {
        self.backlog.counts(subscription).open() as u64
    }

    /// How a subscription stands.
    pub fn standing(&self, subscription: SubscriptionId) -> Result<Standing, StoreError> {
        let first = self.backlog.in_line(&self.overlay, subscription, None, 1)?;
        let counts = self.backlog.counts(subscription);
        Ok(Standing {
            trouble: self.trouble(subscription),
            first_in_line: first.first().copied(),
            waiting: counts.waiting,
            retrying: counts.retrying,
            dead: counts.dead,
        })
    }

    /// The subscriptions that have something open.
    pub fn backlogged(&self) -> impl Iterator<Item = SubscriptionId> {
        self.backlog.subscriptions()
    }

    /// The event of the first delivery of a subscription that is to be attempted, replays aside.
    pub fn oldest_pending(&self, subscription: SubscriptionId) -> Option<EventId> {
        self.backlog.oldest_pending(subscription)
    }

    /// How many deliveries of a subscription stand so.
    pub fn count(&self, subscription: SubscriptionId, status: Status) -> usize {
        self.backlog.counts(subscription).of(status)
    }

    /// How the deliveries of a subscription stand.
    pub fn counts(&self, subscription: SubscriptionId) -> Counts {
        self.backlog.counts(subscription)
    }

    /// How all deliveries stand.
    pub fn counts_of_all(&self) -> Counts {
        self.backlog.counts_of_all()
    }

    /// The deliveries of a subscription that are not settled for good, after `after`, in order: a few
    /// pages of them, and none only where there are no more.
    pub fn open_some(
        &self,
        subscription: SubscriptionId,
        after: Option<Slot>,
        pages: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.backlog.some(&self.overlay, subscription, after, pages)
    }

    /// The deliveries of the event that was accepted at a place that are not settled for good.
    pub fn open_of(&self, place: Place) -> Result<Vec<Open>, StoreError> {
        self.backlog.of_event(&self.overlay, place)
    }

    /// Where an open delivery's event stands now.
    pub fn place_of(
        &self,
        subscription: SubscriptionId,
        slot: Slot,
    ) -> Result<Option<Place>, StoreError> {
        let open = self.backlog.get(&self.overlay, subscription, slot)?;
        Ok(open.map(|entry| entry.at))
    }

    /// A delivery of the event of this id for one of these subscriptions that is not settled for good.
    pub fn open_of_id(
        &self,
        among: &[SubscriptionId],
        id: EventId,
    ) -> Result<Option<Entry>, StoreError> {
        self.backlog.of_id(&self.overlay, among, id)
    }

    /// Deliveries for these subscriptions that are not settled for good, those of the newest event
    /// first, strictly before a delivery: at most `limit` of them.
    pub fn open_before(
        &self,
        among: &[SubscriptionId],
        status: Option<Status>,
        before: Option<(SubscriptionId, Slot)>,
        limit: usize,
    ) -> Result<Vec<Open>, StoreError> {
        let overlay = &self.overlay;
        self.backlog.newest(overlay, among, status, before, limit)
    }

    /// The first events accepted after a place that are open for anybody, at most `limit` of them, by
    /// the places that they were accepted at.
    pub fn open_after(&self, after: Option<Place>, limit: usize) -> Result<Located, StoreError> {
        self.backlog.after(&self.overlay, after, limit)
    }

    /// The first idempotency keys after a scope, at most `limit` of them.
    pub fn keys_after(
        &self,
        after: Option<[u8; 16]>,
        limit: usize,
    ) -> Result<Vec<([u8; 16], KeyedRequest)>, StoreError> {
        let mut range = rows::all(b'y');
        if let Some(after) = after {
            range.start = rows::keyed(&after);
            range.start.push(0);
        }
        let rows = self.overlay.scan(&range, Direction::Forward, limit)?;
        let rows = rows.iter().filter_map(|(key, value)| {
            let scope = key.get(1..)?.try_into().ok()?;
            Some((scope, value))
        });
        rows.map(|(scope, value)| Ok((scope, rows::decode("an idempotency key", value)?)))
            .collect()
    }

    /// The first events that stand before a position and are open for anybody, at most `limit` of them.
    pub fn located_before(&self, position: u64, limit: usize) -> Result<Located, StoreError> {
        self.backlog.located_before(&self.overlay, position, limit)
    }

    /// A position at or before the record that holds the event, near it; where the ledger stands, if
    /// the event may be later than that.
    pub fn near(&self, event: EventId) -> Result<Option<u64>, StoreError> {
        if self.last_event().is_none_or(|last| event > last) {
            return Ok(Some(self.applied().position));
        }
        let mut end = rows::indexed(event);
        end.push(0);
        let row = self
            .overlay
            .scan(&(vec![b'x']..end), Direction::Backward, 1)?;
        row.first()
            .map(|(_, value)| rows::decode("an index row", value))
            .transpose()
    }
}
