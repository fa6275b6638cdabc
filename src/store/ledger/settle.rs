//! What a ledger makes of attempts, and of deliveries that end without one.

use super::backlog::Entry;
use super::{Effect, Ledger, Todo};
use crate::domain::delivery::{Attempt, OpenDelivery, OpenState, Outcome};
use crate::store::error::StoreError;

impl Ledger {
    /// Takes an attempt into account, or the end of a delivery.
    pub(super) fn settle(
        &mut self,
        attempt: &Attempt,
        effects: &mut Vec<Effect>,
    ) -> Result<(), StoreError> {
        let (subscription, slot) = (attempt.subscription, attempt.slot());
        let deleted = self.directory.subscription(subscription).is_none();
        let state = match attempt.outcome {
            Outcome::Retry { due_ms } if !deleted => Some(OpenState::Retrying { due_ms }),
            Outcome::Dead if !deleted => Some(OpenState::Dead),
            _ => None,
        };
        let mut settled = None;
        let change = |entry: Entry| {
            let next = state.map(|state| Entry {
                delivery: OpenDelivery {
                    attempts: attempt.number,
                    // It died of age while the attempt was under way, and stays dead.
                    state: match entry.delivery.state {
                        OpenState::Dead => OpenState::Dead,
                        _ => state,
                    },
                    ..entry.delivery
                },
                ..entry
            });
            settled = Some(next);
            next
        };
        let overlay = &mut self.overlay;
        self.backlog.change(overlay, subscription, slot, change)?;
        let next = settled.flatten();
        let next = next.filter(|entry| entry.delivery.state != OpenState::Dead);
        effects.push(Effect::Settled {
            subscription,
            slot,
            next: next.map(Todo::from),
            unasked: !attempt.was_made(),
        });
        if settled.is_some() && !deleted {
            self.note_trouble(attempt, effects)?;
        }
        Ok(())
    }
}
