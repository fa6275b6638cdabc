//! What a ledger makes of events and keys that were appended again because their segment goes.

use serde::{Deserialize, Serialize};

use super::backlog::Entry;
use super::{Ledger, rows};
use crate::domain::delivery::{Attempt, OpenDelivery, OpenState};
use crate::domain::event::Place;
use crate::store::carried::{CarriedEvent, CarriedKey};
use crate::store::error::StoreError;
use crate::store::state::overlay::Direction;
use crate::store::state::rows::{KeyedRequest, Slot};

/// How much journal there can be between what a carried event tells and its record: it is written at
/// once.
const MAX_OUTRUN_BYTES: u64 = 64 << 20;

/// What became of a delivery whose event was accepted before the state was begun. The record that
/// carries it may come later, and tell of an earlier time.
#[derive(Debug, Serialize, Deserialize)]
struct Outrun {
    /// Where that stands.
    position: u64,
    attempts: u16,
    /// `None`: it is settled for good.
    state: Option<OpenState>,
}

impl Ledger {
    /// The event stands elsewhere now. Deliveries that were not seen coming to be, because their segment
    /// was gone when the state was begun, are taken from the record, unless it was outrun by what became
    /// of them.
    pub(super) fn carry(&mut self, carried: &CarriedEvent, at: Place) -> Result<(), StoreError> {
        self.meta.last_event = self.meta.last_event.max(Some(carried.event.meta.id));
        for open in &carried.open {
            let (subscription, slot) = (open.subscription, open.slot(carried.place));
            let moved = |entry| Some(Entry { at, ..entry });
            let overlay = &mut self.overlay;
            let known = self.backlog.change(overlay, subscription, slot, moved)?;
            let deleted = self.directory.subscription(subscription).is_none();
            if known || deleted || carried.place.position >= self.meta.started_at {
                continue;
            }
            let mut delivery = open.delivery;
            let outrun = rows::outcome(subscription, slot);
            if let Some(row) = self.overlay.get(&outrun)? {
                let Outrun {
                    attempts, state, ..
                } = rows::decode("an outcome", &row)?;
                let Some(state) = state else { continue };
                self.overlay.remove(outrun);
                delivery = OpenDelivery {
                    attempts,
                    state,
                    ..delivery
                };
            }
            let entry = Entry { slot, at, delivery };
            self.backlog.put(&self.overlay, subscription, entry)?;
        }
        Ok(())
    }

    /// An idempotency key's answer stands elsewhere now.
    pub(super) fn carry_key(&mut self, key: &CarriedKey, place: Place) -> Result<(), StoreError> {
        let row = KeyedRequest {
            place,
            ..key.request
        };
        self.put_key(&key.scope, &row)
    }

    /// Notes what became of a delivery that a record to come may carry as it stood before.
    pub(super) fn note_outrun(
        &mut self,
        attempt: &Attempt,
        state: Option<OpenState>,
    ) -> Result<(), StoreError> {
        let slot = Slot {
            place: attempt.place,
            generation: attempt.generation,
        };
        let row = Outrun {
            position: self.meta.applied.position,
            attempts: attempt.number,
            state,
        };
        let key = rows::outcome(attempt.subscription, slot);
        self.overlay.put(key, rows::encode(&row)?);
        Ok(())
    }

    /// Forgets outcomes that no carried event can follow any more. Says how many.
    pub(super) fn sweep_outrun(&mut self, limit: usize) -> Result<usize, StoreError> {
        let mut removed = 0;
        let all = rows::all(b't');
        for (key, value) in self.overlay.scan(&all, Direction::Forward, limit)? {
            let Outrun { position, .. } = rows::decode("an outcome", &value)?;
            if self.meta.applied.position > position.saturating_add(MAX_OUTRUN_BYTES) {
                self.overlay.remove(key);
                removed += 1;
            }
        }
        Ok(removed)
    }
}
