//! What somebody wants done with single deliveries: attempted again, given up, made once more.

use super::world::World;
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::directory::{Change, Steer, Steered};
use crate::domain::event::Place;
use crate::domain::ids::{DeliveryId, EventId, SubscriptionId};
use crate::store::entry::Entry;
use crate::store::ledger::backlog;

impl World {
    pub(super) fn wish(&mut self, of: SubscriptionId) {
        if self.random.chance(30) {
            return self.replay(of);
        }
        let open = {
            let ledger = self.process().dispatch.ledger();
            ledger.open_some(of, None, 2).unwrap()
        };
        let Some(entry) = self.random.pick(&open).copied() else {
            return;
        };
        let change = if self.random.chance(30) {
            self.cancel(of, &entry)
        } else {
            self.retry(of, &entry)
        };
        self.note(|| format!("{change:?}"));
        self.process().change(vec![change]);
    }

    fn cancel(&mut self, of: SubscriptionId, entry: &backlog::Entry) -> Change {
        let id = entry.id(of);
        self.witness.gives_up(id);
        let (place, number) = (entry.slot.place, entry.delivery.attempts);
        let outcome = Outcome::Cancelled;
        let attempt = Attempt::unmade(id, place, number, outcome, self.now_ms, None);
        Change::Cancelled([attempt].into())
    }

    fn retry(&mut self, of: SubscriptionId, entry: &backlog::Entry) -> Change {
        let steered = Steered {
            delivery: entry.id(of),
            place: entry.slot.place,
            at_ms: self.now_ms,
            steer: Steer::Retry,
        };
        self.witness.steers(&steered);
        Change::Steered([steered].into())
    }

    /// One of the first events that are there is delivered once more, if it is not about to leave.
    fn replay(&mut self, of: SubscriptionId) {
        let Some((event, place)) = self.some_event() else {
            return;
        };
        let log = &self.process.as_ref().unwrap().log;
        let Some(hold) = log.hold_for(place.position) else {
            return;
        };
        self.next_generation += 1;
        let steered = Steered {
            delivery: DeliveryId {
                event,
                subscription: of,
                generation: self.next_generation,
            },
            place,
            at_ms: self.now_ms,
            steer: Steer::Replay(place),
        };
        self.witness.steers(&steered);
        let change = Change::Steered([steered].into());
        self.note(|| format!("{change:?}"));
        self.process().change_with(vec![change], Some(hold));
    }

    fn some_event(&mut self) -> Option<(EventId, Place)> {
        let mut skip = self.random.below(20);
        let log = &self.process.as_ref().unwrap().log;
        let mut position = log.start();
        let mut found = None;
        while let Some(record) = log.next(position).unwrap() {
            position = record.next;
            if let Some(Entry::Accepted(events)) = &record.entry {
                let (position, index) = (record.position, 0);
                found = Some((events[0].meta.id, Place { position, index }));
                if skip == 0 {
                    break;
                }
                skip -= 1;
            }
        }
        found
    }
}
