//! What somebody asked for single deliveries, and the order that some of them keep.

use bytes::Bytes;

use super::{Delivery, Fate, Subscribed, Witness, key_of, must_get};
use crate::domain::directory::{Steer, Steered};
use crate::domain::event::Event;
use crate::domain::filter::Body;
use crate::domain::ids::DeliveryId;

impl Witness {
    /// Somebody asks for an attempt.
    pub fn steers(&mut self, steered: &Steered) {
        self.tick();
        self.deliveries
            .entry(key_of(steered.delivery))
            .or_default()
            .steered = true;
    }

    /// And was told that it will be made.
    pub fn steered(&mut self, all: &[Steered]) {
        self.tick();
        for steered in all {
            let delivery = self.deliveries.entry(key_of(steered.delivery));
            delivery.or_default().owed |= steered.steer != Steer::Retry;
        }
    }

    /// Somebody asks for the end of a delivery.
    pub fn gives_up(&mut self, id: DeliveryId) {
        self.tick();
        let delivery = self.deliveries.entry(key_of(id)).or_default();
        delivery.fates.insert(Fate::GivenUp);
    }

    /// What keeps its order comes after what comes before it is over.
    pub(super) fn check_order(&self, event: &Event, of: &Subscribed) {
        let group = |body: &Bytes| {
            let event = Event {
                body: body.clone(),
                ..event.clone()
            };
            of.record.ordering.group(&mut Body::of(&event))
        };
        let Some(own) = group(&event.body) else {
            return;
        };
        let subscription = of.record.id;
        for (id, body) in self.by_id.range(..event.meta.id) {
            if must_get(of, &self.events[body]) && group(body) == Some(own) {
                let before = self.deliveries.get(&(*id, subscription, 0));
                let is_over = before.is_some_and(Delivery::is_over);
                let later = event.meta.id;
                assert!(
                    is_over,
                    "{later} for {subscription} before {id}: {before:?}"
                );
            }
        }
    }
}
