//! What outlives its segment: events with deliveries that are still open, and idempotency keys.
//!
//! Before retention removes the oldest segment, what in it is still needed is appended to the journal
//! again. An event keeps the place that it was accepted at as its name; only where its bytes stand
//! changes. It is never matched again: its deliveries are listed with it, as they stood when the
//! record was made. A ledger that saw them come to be knows better and takes only the new address; one
//! that is rebuilt without their segment takes them from here.

use std::collections::HashSet;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::entry::{decode, encode};
use super::error::StoreError;
use super::state::rows::{KeyedRequest, Slot};
use crate::domain::delivery::{Attempt, OpenDelivery};
use crate::domain::event::{Event, EventMeta, Place};
use crate::domain::ids::{EventId, SubscriptionId};

/// What retention has one commit append.
#[derive(Debug, Clone, Default)]
pub struct Carry {
    /// The position up to which the log says what is in here. What was settled since is left out when
    /// it is written, so that no record ever tells of what is over.
    pub as_of: u64,
    /// Deliveries that end here.
    pub ended: Vec<Attempt>,
    /// Events with what is open of them.
    pub events: Vec<CarriedEvent>,
    /// Idempotency keys that still hold.
    pub keys: Vec<CarriedKey>,
    /// Nothing before this position is needed once this is in a checkpoint: it is the last of what is to
    /// be appended for a segment.
    pub retired: Option<u64>,
}

impl Carry {
    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.ended.is_empty()
            && self.events.is_empty()
            && self.keys.is_empty()
            && self.retired.is_none()
    }

    /// The bytes of its events' bodies.
    pub fn bytes(&self) -> usize {
        let bodies = self.events.iter().map(|carried| carried.event.body.len());
        bodies.sum()
    }

    /// Leaves out deliveries that something happened to since: what is still open of them is found again.
    pub fn leave_out(&mut self, touched: &HashSet<(SubscriptionId, Slot)>) {
        if touched.is_empty() {
            return;
        }
        self.ended
            .retain(|attempt| !touched.contains(&(attempt.subscription, attempt.slot())));
        for carried in &mut self.events {
            let place = carried.place;
            let known =
                |open: &CarriedDelivery| touched.contains(&(open.subscription, open.slot(place)));
            carried.open.retain(|open| !known(open));
        }
        self.events.retain(|carried| !carried.open.is_empty());
    }
}

/// An event that is appended again.
#[derive(Debug, Clone)]
pub struct CarriedEvent {
    /// Where it was accepted. One that another store accepted is at a place before the journal's first
    /// record.
    pub place: Place,
    /// The event.
    pub event: Event,
    /// Its deliveries that are carried with it.
    pub open: Vec<CarriedDelivery>,
}

/// The state of an open delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedDelivery {
    /// For whom.
    pub subscription: SubscriptionId,
    /// Which replay.
    pub generation: u16,
    /// How it stood.
    pub delivery: OpenDelivery,
}

impl CarriedDelivery {
    /// What it is known by, if its event was accepted at this place.
    pub fn slot(&self, place: Place) -> Slot {
        Slot {
            place,
            generation: self.generation,
        }
    }
}

/// An idempotency key that is appended again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedKey {
    /// A digest of account, integration and key.
    pub scope: [u8; 16],
    /// What it answered.
    pub request: KeyedRequest,
    /// The ids that it answered with, in order.
    pub ids: Vec<EventId>,
}

/// `D` is an open delivery as a format has it.
#[derive(Serialize, Deserialize)]
struct Head<D> {
    place: Place,
    meta: EventMeta,
    open: Vec<Open<D>>,
}

#[derive(Serialize, Deserialize)]
struct Open<D> {
    subscription: SubscriptionId,
    generation: u16,
    delivery: D,
}

/// The payload of a record of carried events.
pub(super) fn encode_events(events: &[CarriedEvent]) -> Result<Vec<u8>, StoreError> {
    let open = |it: &CarriedDelivery| Open {
        subscription: it.subscription,
        generation: it.generation,
        delivery: it.delivery,
    };
    let heads: Vec<Head<OpenDelivery>> = events
        .iter()
        .map(|carried| Head {
            place: carried.place,
            meta: carried.event.meta.clone(),
            open: carried.open.iter().map(open).collect(),
        })
        .collect();
    let bodies = events.iter().map(|carried| &carried.event.body);
    super::entry::with_bodies(&encode(&heads)?, bodies)
}

/// Reads the payload of a record of carried events, whose open deliveries are written as a `D`.
pub(super) fn decode_events<D: DeserializeOwned + Into<OpenDelivery>>(
    payload: &Bytes,
) -> Result<Vec<CarriedEvent>, StoreError> {
    const WHAT: &str = "a record of carried events";
    let (heads, bodies) = super::entry::split_bodies(WHAT, payload)?;
    let heads: Vec<Head<D>> = decode(WHAT, &heads)?;
    let lengths = heads.iter().map(|head| head.meta.body_bytes);
    let bodies = super::entry::cut(WHAT, &bodies, lengths)?;
    let carried = |it: Open<D>| CarriedDelivery {
        subscription: it.subscription,
        generation: it.generation,
        delivery: it.delivery.into(),
    };
    let whole = heads
        .into_iter()
        .zip(bodies)
        .map(|(head, body)| CarriedEvent {
            place: head.place,
            event: Event {
                meta: head.meta,
                body,
            },
            open: head.open.into_iter().map(carried).collect(),
        });
    Ok(whole.collect())
}
