//! What is known of the deliveries of an event: how they stand, and every attempt.
//!
//! Shared, not an actor: what is open the dispatcher knows, what was attempted stands in the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Unavailable;
use super::dispatch::{DispatchError, DispatchHandle};
use crate::domain::delivery::{Attempt, Outcome, Status};
use crate::domain::event::Place;
use crate::domain::ids::{DeliveryId, EventId, SubscriptionId};
use crate::store::ledger::backlog::Entry;
use crate::store::log::Log;

/// A delivery.
#[derive(Debug, Clone)]
pub struct Known {
    /// Which.
    pub id: DeliveryId,
    /// How it stands, if it is not settled for good.
    pub open: Option<Entry>,
    /// What was tried, and an end without an attempt.
    pub attempts: Vec<Attempt>,
}

impl Known {
    /// How it stands, given whether its subscription is there still.
    pub fn status(&self, is_subscribed: bool) -> Status {
        let delivered = |attempt: &Attempt| attempt.outcome == Outcome::Delivered;
        match &self.open {
            Some(entry) if is_subscribed => entry.delivery.status(),
            None if self.attempts.iter().any(delivered) => Status::Delivered,
            _ => Status::Cancelled,
        }
    }
}

/// Every delivery of the event that was accepted at a place, by subscription and generation.
pub async fn of_event(
    dispatch: &DispatchHandle,
    log: &Arc<Log>,
    id: EventId,
    place: Place,
) -> Result<Vec<Known>, DispatchError> {
    let open = dispatch.open_of(place).await?;
    let log = Arc::clone(log);
    let attempts = tokio::task::spawn_blocking(move || log.attempts_of(id, place)).await;
    let attempts = attempts.map_err(|_| Unavailable::Stopped)??;
    let mut all: BTreeMap<DeliveryId, Known> = BTreeMap::new();
    let unknown = |id| Known {
        id,
        open: None,
        attempts: Vec::new(),
    };
    for (subscription, entry) in open {
        let id = entry.id(subscription);
        all.entry(id).or_insert_with(|| unknown(id)).open = Some(entry);
    }
    for attempt in attempts {
        let id = attempt.delivery();
        let known = all.entry(id).or_insert_with(|| unknown(id));
        known.attempts.push(attempt);
    }
    Ok(all.into_values().collect())
}

/// The generation that a replay of an event to a subscription has, given what is known of its deliveries.
pub fn next_generation(known: &[Known], subscription: SubscriptionId) -> u16 {
    let own = known.iter().filter(|it| it.id.subscription == subscription);
    let last = own.map(|it| it.id.generation).max();
    last.unwrap_or(0).saturating_add(1)
}
