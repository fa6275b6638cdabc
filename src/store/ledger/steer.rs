//! What a ledger makes of deliveries that somebody wants attempted.

use super::backlog::Entry;
use super::{Effect, Ledger};
use crate::domain::delivery::{OpenDelivery, OpenState};
use crate::domain::directory::{Steer, Steered};
use crate::domain::event::Place;
use crate::store::error::StoreError;
use crate::store::state::rows::Slot;

impl Ledger {
    pub(super) fn steer(
        &mut self,
        steered: &Steered,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let subscription = steered.delivery.subscription;
        if self.directory.subscription(subscription).is_none() {
            return Ok(());
        }
        match steered.steer {
            Steer::Retry => self.retry(steered, effects),
            Steer::Replay(at) => self.replay(steered, at, effects),
        }
    }

    /// An open delivery begins its schedule anew. One that was dead stands in no line any more: those that
    /// were behind it have gone on.
    fn retry(&mut self, steered: &Steered, effects: &mut Vec<Effect>) -> Result<(), StoreError> {
        let subscription = steered.delivery.subscription;
        let due_ms = steered.at_ms;
        let mut hurried = None;
        let change = |entry: Entry| {
            let was = entry.delivery;
            let changed = match was.state {
                // It will be attempted as soon as its lane can.
                OpenState::Waiting => entry,
                OpenState::Retrying { .. } | OpenState::Dead => Entry {
                    delivery: OpenDelivery {
                        forgiven: was.attempts,
                        group: was.group.filter(|_| was.state != OpenState::Dead),
                        state: OpenState::Retrying { due_ms },
                        ..was
                    },
                    ..entry
                },
            };
            hurried = (changed != entry).then_some(changed);
            Some(changed)
        };
        let overlay = &mut self.overlay;
        let slot = slot(steered);
        self.backlog.change(overlay, subscription, slot, change)?;
        effects.extend(hurried.map(|entry| Effect::Hurried(subscription, entry.into())));
        Ok(())
    }

    /// A delivery comes to be once more, in no line.
    fn replay(
        &mut self,
        steered: &Steered,
        at: Place,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let (subscription, slot) = (steered.delivery.subscription, slot(steered));
        let known = self.backlog.get(&self.overlay, subscription, slot)?;
        if known.is_some() {
            return Ok(());
        }
        let delivery = OpenDelivery {
            state: OpenState::Retrying {
                due_ms: steered.at_ms,
            },
            ..OpenDelivery::waiting(steered.delivery.event)
        };
        let entry = Entry { slot, at, delivery };
        self.backlog.put(&self.overlay, subscription, entry)?;
        effects.push(Effect::Created(subscription, entry.into()));
        Ok(())
    }
}

fn slot(steered: &Steered) -> Slot {
    Slot::of(steered.place, steered.delivery.generation)
}
