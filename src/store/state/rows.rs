//! Keys and values of the state's one tree.
//!
//! ```text
//! m                                       Meta: format, store id, how far the journal was applied
//! A account · I integration · K key · S subscription      the directory's records
//! e place subscription generation         OpenDelivery: every delivery that is not settled for good
//! q subscription place generation         … that waits for its first attempt, in order
//! r subscription due place generation     … that is due again
//! d subscription place generation         … that is dead
//! c subscription                          a deleted subscription whose rows are still being removed
//! y scope                                 KeyedRequest: an idempotency key and what it answered
//! z expiry scope                          when that is forgotten
//! x event                                 a sparse index from event ids to journal positions
//! ```
//! Numbers in keys are big endian, so that the order of keys is the order of numbers. A value starts
//! with its format version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::event::Place;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::entry;
use crate::store::error::StoreError;

/// The format of all values that this release writes.
pub const VERSION: u8 = 1;
/// The key of [`Meta`].
pub const META: &[u8] = b"m";

/// What the state is a state of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The store it belongs to.
    pub store_id: [u8; 16],
    /// Everything before this place of the journal is applied, and nothing after it.
    pub applied: Place,
    /// The id of the last event that was applied: ids given later exceed it.
    pub last_event: Option<EventId>,
}

/// The answer that an idempotency key has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyedRequest {
    /// A digest of the body that came with the key.
    pub body: [u8; 16],
    /// The first event of the request.
    pub first: EventId,
    /// Where it stands.
    pub place: Place,
    /// How many events the request held.
    pub events: u32,
    /// When the key may be used anew, in milliseconds of Unix time.
    pub expires_at_ms: u64,
}

/// Which delivery of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Where the event stands.
    pub place: Place,
    /// Which replay.
    pub generation: u16,
}

impl Slot {
    const BYTES: usize = 14;

    fn push(self, key: &mut Vec<u8>) {
        push_place(key, self.place);
        key.extend_from_slice(&self.generation.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (place, generation) = bytes.split_first_chunk::<12>()?;
        Some(Self {
            place: read_place(place)?,
            generation: u16::from_be_bytes(*generation.first_chunk()?),
        })
    }
}

fn push_place(key: &mut Vec<u8>, place: Place) {
    key.extend_from_slice(&place.position.to_be_bytes());
    key.extend_from_slice(&place.index.to_be_bytes());
}

fn read_place(bytes: &[u8]) -> Option<Place> {
    let (position, index) = bytes.split_first_chunk()?;
    Some(Place {
        position: u64::from_be_bytes(*position),
        index: u32::from_be_bytes(*index.first_chunk()?),
    })
}

fn start(prefix: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.push(prefix);
    key
}

/// A directory record, `prefix` one of `A I K S`.
pub fn record(prefix: u8, id: u64) -> Vec<u8> {
    let mut key = start(prefix);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

/// All keys of one prefix.
pub fn all(prefix: u8) -> std::ops::Range<Vec<u8>> {
    vec![prefix]..vec![prefix + 1]
}

/// A delivery, by event.
pub fn open(subscription: SubscriptionId, slot: Slot) -> Vec<u8> {
    let mut key = start(b'e');
    push_place(&mut key, slot.place);
    key.extend_from_slice(&subscription.to_bits().to_be_bytes());
    key.extend_from_slice(&slot.generation.to_be_bytes());
    key
}

/// All deliveries of the event at a place.
pub fn open_of(place: Place) -> std::ops::Range<Vec<u8>> {
    let after = Place {
        position: place.position,
        index: place.index + 1,
    };
    open_before(place)..open_before(after)
}

/// The lowest key of the deliveries of an event.
pub fn open_before(place: Place) -> Vec<u8> {
    let mut key = start(b'e');
    push_place(&mut key, place);
    key
}

/// Reads the key of a delivery.
pub fn read_open(key: &[u8]) -> Option<(SubscriptionId, Slot)> {
    let (place, rest) = key.get(1..)?.split_first_chunk::<12>()?;
    let (subscription, generation) = rest.split_first_chunk()?;
    let slot = Slot {
        place: read_place(place)?,
        generation: u16::from_be_bytes(*generation.first_chunk()?),
    };
    Some((
        SubscriptionId::from_bits(u64::from_be_bytes(*subscription)),
        slot,
    ))
}

/// A lane's list: `q` waiting or `d` dead.
pub fn listed(list: u8, subscription: SubscriptionId, slot: Slot) -> Vec<u8> {
    let mut key = record(list, subscription.to_bits());
    slot.push(&mut key);
    key
}

/// A delivery that is due again.
pub fn due(subscription: SubscriptionId, due_ms: u64, slot: Slot) -> Vec<u8> {
    let mut key = record(b'r', subscription.to_bits());
    key.extend_from_slice(&due_ms.to_be_bytes());
    slot.push(&mut key);
    key
}

/// Everything of one subscription in one list.
pub fn list_of(list: u8, subscription: SubscriptionId) -> std::ops::Range<Vec<u8>> {
    let bits = subscription.to_bits();
    record(list, bits)..record(list, bits + 1)
}

/// What is due up to a time, that time included.
pub fn due_until(subscription: SubscriptionId, now_ms: u64) -> std::ops::Range<Vec<u8>> {
    let mut end = record(b'r', subscription.to_bits());
    end.extend_from_slice(&now_ms.saturating_add(1).to_be_bytes());
    record(b'r', subscription.to_bits())..end
}

/// Reads the delivery at the end of a list's key.
pub fn read_slot(key: &[u8]) -> Option<Slot> {
    Slot::read(key.get(key.len().checked_sub(Slot::BYTES)?..)?)
}

/// Reads the due time of a key made by [`due`].
pub fn read_due_ms(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.get(9..)?.first_chunk()?))
}

/// The row of an idempotency key.
pub fn keyed(scope: &[u8; 16]) -> Vec<u8> {
    let mut key = start(b'y');
    key.extend_from_slice(scope);
    key
}

/// When the row of an idempotency key is forgotten.
pub fn keyed_expiry(expires_at_ms: u64, scope: &[u8; 16]) -> Vec<u8> {
    let mut key = start(b'z');
    key.extend_from_slice(&expires_at_ms.to_be_bytes());
    key.extend_from_slice(scope);
    key
}

/// The idempotency keys that are to be forgotten by now.
pub fn keyed_expired(now_ms: u64) -> std::ops::Range<Vec<u8>> {
    let mut end = start(b'z');
    end.extend_from_slice(&now_ms.to_be_bytes());
    vec![b'z']..end
}

/// Reads the scope of a key made by [`keyed_expiry`].
pub fn read_expired_scope(key: &[u8]) -> Option<[u8; 16]> {
    key.get(9..)?.try_into().ok()
}

/// A row of the sparse index.
pub fn indexed(event: EventId) -> Vec<u8> {
    let mut key = start(b'x');
    key.extend_from_slice(event.as_bytes());
    key
}

/// A value as it is stored.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    let mut bytes = entry::encode(value)?;
    bytes.insert(0, VERSION);
    Ok(bytes)
}

/// Reads a stored value.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => entry::decode(what, rest),
        _ => Err(StoreError::Decode {
            what,
            source: bincode::error::DecodeError::Other("its format version is not known"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        let subscription = SubscriptionId::from_bits(77);
        let slot = Slot {
            place: Place {
                position: 1 << 40,
                index: 9,
            },
            generation: 3,
        };
        assert_eq!(
            read_open(&open(subscription, slot)),
            Some((subscription, slot))
        );
        assert_eq!(read_slot(&listed(b'q', subscription, slot)), Some(slot));
        let key = due(subscription, 1234, slot);
        assert_eq!(
            (read_due_ms(&key), read_slot(&key)),
            (Some(1234), Some(slot))
        );
        assert_eq!(
            read_expired_scope(&keyed_expiry(5, &[8; 16])),
            Some([8; 16])
        );
    }

    #[test]
    fn ranges_hold_their_own_and_nothing_else() {
        let slot = |position| Slot {
            place: Place { position, index: 0 },
            generation: 0,
        };
        let (one, two) = (SubscriptionId::from_bits(1), SubscriptionId::from_bits(2));
        assert!(list_of(b'q', one).contains(&listed(b'q', one, slot(u64::MAX))));
        assert!(!list_of(b'q', one).contains(&listed(b'q', two, slot(0))));
        assert!(due_until(one, 100).contains(&due(one, 100, slot(u64::MAX))));
        assert!(!due_until(one, 100).contains(&due(one, 101, slot(0))));
        let place = Place {
            position: 5,
            index: 1,
        };
        assert!(open_of(place).contains(&open(
            two,
            Slot {
                place,
                generation: 9
            }
        )));
        assert!(!open_of(place).contains(&open(one, slot(6))));
        assert!(keyed_expired(100).contains(&keyed_expiry(99, &[255; 16])));
        assert!(!keyed_expired(100).contains(&keyed_expiry(100, &[0; 16])));
    }
}
