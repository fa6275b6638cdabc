//! A page: up to [`MAX_ENTRIES`] open deliveries of one subscription, in the order of their events.
//!
//! On disk positions and ids are written as what they add to the entry before, so that a delivery
//! takes some twenty bytes. A page that is not in memory is known by its [`Summary`].

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::delivery::{OpenDelivery, OpenState};
use crate::domain::event::Place;
use crate::domain::ids::{DeliveryId, EventId, SubscriptionId};
use crate::domain::ordering::Group;
use crate::store::error::StoreError;
use crate::store::state::rows::{self, Slot};

/// The most deliveries on one page. More would make the last page of every lane that only grows, which
/// each checkpoint writes anew, cost too much; fewer would make a long backlog many rows.
pub const MAX_ENTRIES: usize = 128;
/// What an entry takes on disk, at most; an estimate, for bounding checkpoints.
pub const ENTRY_BYTES: usize = 40;

/// One open delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which delivery.
    pub slot: Slot,
    /// Where its event stands now.
    pub at: Place,
    /// How it stands.
    pub delivery: OpenDelivery,
}

impl Entry {
    /// The id of this delivery to a subscription.
    pub fn id(&self, subscription: SubscriptionId) -> DeliveryId {
        DeliveryId {
            event: self.delivery.event,
            subscription,
            generation: self.slot.generation,
        }
    }
}

/// What is known of a page that is not in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Its entries.
    pub count: usize,
    /// Those that wait for their first attempt.
    pub waiting: usize,
    /// Those that stand in line.
    pub in_line: usize,
    /// Those that are dead.
    pub dead: usize,
    /// When the first of those is due that are tried again outside of the line.
    pub next_due_ms: Option<u64>,
    /// The event of the first that is to be attempted, replays aside.
    pub first_pending: Option<EventId>,
    /// The lowest position that an event of it stands at.
    pub lowest: u64,
    /// The first entry's event: a page's events are in the order of their ids.
    pub first_event: Option<EventId>,
}

impl Summary {
    /// Sums entries up.
    pub fn of(entries: &[Entry]) -> Self {
        let mut summary = Self {
            count: 0,
            waiting: 0,
            in_line: 0,
            dead: 0,
            next_due_ms: None,
            first_pending: None,
            lowest: u64::MAX,
            first_event: entries.first().map(|entry| entry.delivery.event),
        };
        for entry in entries {
            summary.add(entry);
        }
        summary
    }

    /// Takes one more entry into account, which is not before the others.
    pub fn add(&mut self, entry: &Entry) {
        self.count += 1;
        self.lowest = self.lowest.min(entry.at.position);
        self.first_event = self.first_event.or(Some(entry.delivery.event));
        if entry.delivery.state != OpenState::Dead && entry.slot.generation == 0 {
            self.first_pending.get_or_insert(entry.delivery.event);
        }
        let in_line = entry.delivery.is_in_line();
        self.in_line += usize::from(in_line);
        match entry.delivery.state {
            OpenState::Waiting => self.waiting += 1,
            OpenState::Dead => self.dead += 1,
            OpenState::Retrying { .. } if in_line => {}
            OpenState::Retrying { due_ms } => {
                let earlier = self.next_due_ms.map_or(due_ms, |next| next.min(due_ms));
                self.next_due_ms = Some(earlier);
            }
        }
    }
}

/// An entry as it is stored, but for what it has in common with the one before.
#[derive(Serialize, Deserialize)]
struct Stored {
    position_step: u64,
    index: u32,
    generation: u16,
    /// Where its event stands, if not where it was accepted.
    moved: Option<Place>,
    event_step: u64,
    event_rest: u64,
    attempts: u16,
    forgiven: u16,
    group: Option<Group>,
    state: OpenState,
}

/// The stored form of a page.
pub fn encode(entries: &[Entry]) -> Result<Vec<u8>, StoreError> {
    let (mut position, mut event) = (0, 0);
    let stored: Vec<Stored> = entries
        .iter()
        .map(|entry| {
            let place = entry.slot.place;
            let (high, low) = entry.delivery.event.0.as_u64_pair();
            let stored = Stored {
                position_step: place.position.wrapping_sub(position),
                index: place.index,
                generation: entry.slot.generation,
                moved: (entry.at != place).then_some(entry.at),
                event_step: high.wrapping_sub(event),
                event_rest: low,
                attempts: entry.delivery.attempts,
                forgiven: entry.delivery.forgiven,
                group: entry.delivery.group,
                state: entry.delivery.state,
            };
            (position, event) = (place.position, high);
            stored
        })
        .collect();
    rows::encode(&stored)
}

/// Reads a stored page.
pub fn decode(bytes: &[u8]) -> Result<Vec<Entry>, StoreError> {
    let stored: Vec<Stored> = rows::decode("a page of open deliveries", bytes)?;
    let (mut position, mut event) = (0_u64, 0_u64);
    let entries = stored.into_iter().map(|stored| {
        position = position.wrapping_add(stored.position_step);
        event = event.wrapping_add(stored.event_step);
        let place = Place {
            position,
            index: stored.index,
        };
        Entry {
            slot: Slot {
                place,
                generation: stored.generation,
            },
            at: stored.moved.unwrap_or(place),
            delivery: OpenDelivery {
                event: EventId(Uuid::from_u64_pair(event, stored.event_rest)),
                attempts: stored.attempts,
                forgiven: stored.forgiven,
                group: stored.group,
                state: stored.state,
            },
        }
    });
    Ok(entries.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64, state: OpenState) -> Entry {
        let place = Place {
            position: n * 1_000,
            index: 7,
        };
        Entry {
            slot: Slot {
                place,
                generation: 1,
            },
            at: place,
            delivery: OpenDelivery {
                event: EventId(Uuid::from_u64_pair(n << 20, n.wrapping_mul(u64::MAX / 3))),
                attempts: 3,
                forgiven: 2,
                group: Some(Group(u32::MAX)).filter(|_| n.is_multiple_of(2)),
                state,
            },
        }
    }

    #[test]
    fn a_page_is_read_as_it_was_written() {
        let moved = Place {
            position: 1 << 40,
            index: 2,
        };
        let entries = [
            entry(1, OpenState::Waiting),
            Entry {
                at: moved,
                ..entry(2, OpenState::Dead)
            },
            entry(9, OpenState::Retrying { due_ms: u64::MAX }),
        ];
        assert_eq!(decode(&encode(&entries).unwrap()).unwrap(), entries);
        assert_eq!(decode(&encode(&[]).unwrap()).unwrap(), []);
    }

    #[test]
    fn a_full_page_takes_no_more_than_is_reckoned_with() {
        let now_ms = 1_900_000_000_000;
        let entries: Vec<_> = (0..MAX_ENTRIES as u64)
            .map(|n| entry(n, OpenState::Retrying { due_ms: now_ms + n }))
            .collect();
        let bytes = encode(&entries).unwrap().len();
        assert!(bytes <= MAX_ENTRIES * ENTRY_BYTES, "{bytes} bytes");
    }

    #[test]
    fn a_summary_grown_by_entries_is_that_of_all_of_them() {
        let entries = [
            entry(5, OpenState::Retrying { due_ms: 50 }),
            entry(7, OpenState::Waiting),
            // In line.
            entry(8, OpenState::Retrying { due_ms: 30 }),
            entry(9, OpenState::Retrying { due_ms: 40 }),
            entry(11, OpenState::Dead),
        ];
        let mut grown = Summary::of(&entries[..1]);
        entries[1..].iter().for_each(|entry| grown.add(entry));
        assert_eq!(grown, Summary::of(&entries));
        assert_eq!((grown.next_due_ms, grown.lowest), (Some(40), 5_000));
        assert_eq!(grown.in_line, 2);
    }
}
