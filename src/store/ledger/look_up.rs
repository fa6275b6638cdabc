//! Questions to the ledger: what waits, what is due, what is open, where an event is.
//!
//! Every answer is bounded by the caller, but for the deliveries of one event, which are bounded by
//! the number of subscriptions.

use std::ops::Range;

use super::{Ledger, Todo};
use crate::domain::delivery::OpenDelivery;
use crate::domain::event::Place;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::error::StoreError;
use crate::store::state::overlay::Direction;
use crate::store::state::rows::{self, Slot};

/// A delivery that is not settled for good.
pub type Open = (SubscriptionId, Slot, OpenDelivery);

impl Ledger {
    /// What waits for its first attempt after `after`, in order.
    pub fn waiting(
        &self,
        subscription: SubscriptionId,
        after: Option<Slot>,
        limit: usize,
    ) -> Result<Vec<Todo>, StoreError> {
        let mut range = rows::list_of(b'q', subscription);
        if let Some(after) = after {
            range.start = rows::listed(b'q', subscription, after);
            range.start.push(0);
        }
        self.todos(subscription, &range, limit)
    }

    /// What is due again by now, the longest due first.
    pub fn due(
        &self,
        subscription: SubscriptionId,
        now_ms: u64,
        limit: usize,
    ) -> Result<Vec<Todo>, StoreError> {
        self.todos(subscription, &rows::due_until(subscription, now_ms), limit)
    }

    /// When the next retry of a subscription is due that is not due by now.
    pub fn next_due_ms(
        &self,
        subscription: SubscriptionId,
        now_ms: u64,
    ) -> Result<Option<u64>, StoreError> {
        let range =
            rows::due_until(subscription, now_ms).end..rows::list_of(b'r', subscription).end;
        let first = self.overlay.scan(&range, Direction::Forward, 1)?;
        Ok(first.first().and_then(|(key, _)| rows::read_due_ms(key)))
    }

    fn todos(
        &self,
        subscription: SubscriptionId,
        range: &Range<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Todo>, StoreError> {
        let mut todos = Vec::new();
        for (key, _) in self.overlay.scan(range, Direction::Forward, limit)? {
            let Some(slot) = rows::read_slot(&key) else {
                continue;
            };
            let Some(row) = self.overlay.get(&rows::open(subscription, slot))? else {
                continue;
            };
            let open: OpenDelivery = rows::decode("an open delivery", &row)?;
            todos.push(Todo {
                slot,
                event: open.event,
                attempts: open.attempts,
            });
        }
        Ok(todos)
    }

    /// The deliveries of an event that are not settled for good.
    pub fn open_of(&self, place: Place) -> Result<Vec<Open>, StoreError> {
        let rows = self
            .overlay
            .scan(&rows::open_of(place), Direction::Forward, usize::MAX)?;
        rows.into_iter()
            .map(|(key, value)| read_open(&key, &value))
            .filter_map(Result::transpose)
            .collect()
    }

    /// Deliveries that are not settled for good, the newest event first, strictly before a delivery:
    /// at most `limit` of them.
    pub fn open_before(
        &self,
        before: Option<(SubscriptionId, Slot)>,
        limit: usize,
    ) -> Result<Vec<Open>, StoreError> {
        let end = before.map_or_else(
            || vec![b'e' + 1],
            |(subscription, slot)| rows::open(subscription, slot),
        );
        let rows = self
            .overlay
            .scan(&(vec![b'e']..end), Direction::Backward, limit)?;
        rows.into_iter()
            .map(|(key, value)| read_open(&key, &value))
            .filter_map(Result::transpose)
            .collect()
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

fn read_open(
    key: &[u8],
    value: &[u8],
) -> Result<Option<(SubscriptionId, Slot, OpenDelivery)>, StoreError> {
    let Some((subscription, slot)) = rows::read_open(key) else {
        return Ok(None);
    };
    Ok(Some((
        subscription,
        slot,
        rows::decode("an open delivery", value)?,
    )))
}
