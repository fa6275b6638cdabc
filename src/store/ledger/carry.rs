//! What a ledger makes of events and keys that were appended again because their segment goes.

use super::Ledger;
use super::backlog::Entry;
use crate::domain::event::Place;
use crate::store::carried::{CarriedEvent, CarriedKey};
use crate::store::error::StoreError;
use crate::store::state::rows::{self, KeyedRequest};

impl Ledger {
    /// The event stands elsewhere now. Deliveries that were not seen coming to be, because their segment
    /// was gone when the state was begun, are taken from the record.
    pub(super) fn carry(&mut self, carried: &CarriedEvent, at: Place) -> Result<(), StoreError> {
        self.meta.last_event = self.meta.last_event.max(Some(carried.event.meta.id));
        for open in &carried.open {
            let (subscription, slot) = (open.subscription, open.slot(carried.place));
            let moved = |entry| Some(Entry { at, ..entry });
            let overlay = &mut self.overlay;
            let known = self.backlog.change(overlay, subscription, slot, moved)?;
            let unseen = carried.place.position < self.meta.started_at;
            if !known && unseen && self.directory.subscription(subscription).is_some() {
                let delivery = open.delivery;
                let entry = Entry { slot, at, delivery };
                self.backlog.put(&self.overlay, subscription, entry)?;
            }
        }
        Ok(())
    }

    /// An idempotency key's answer stands elsewhere now, unless the key was used anew since.
    pub(super) fn carry_key(&mut self, key: &CarriedKey, place: Place) -> Result<(), StoreError> {
        if let Some(row) = self.overlay.get(&rows::keyed(&key.scope))? {
            let known: KeyedRequest = rows::decode("an idempotency key", &row)?;
            if known.first > key.request.first {
                return Ok(());
            }
        }
        let row = KeyedRequest {
            place,
            ..key.request
        };
        self.put_key(&key.scope, &row)
    }
}
