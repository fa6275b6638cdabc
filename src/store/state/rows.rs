//! Keys and values of the state's one tree.
//!
//! ```text
//! m                                       Meta: format, store id, how far the journal was applied
//! A account · I integration · K key · S subscription · T task      the directory's records
//! o subscription slot                     a page of deliveries that are not settled for good
//! f subscription                          Trouble: nothing but failures, since when
//! u account number                        Deed: what was done to an account
//! y scope                                 KeyedRequest: an idempotency key and what it answered
//! z expiry scope                          when that is forgotten
//! x event                                 a sparse index from event ids to journal positions
//! ```
//! Numbers in keys are big endian, so that the order of keys is the order of numbers. A value starts
//! with its format version.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::delivery::Attempt;
use crate::domain::event::{EventMeta, IdempotencyMark, Place};
use crate::domain::ids::{AccountId, EventId, SubscriptionId};
use crate::store::entry;
use crate::store::error::StoreError;

/// How long an idempotency key is kept: 24 hours.
pub const IDEMPOTENCY_KEEP_MS: u64 = 24 * 3600 * 1000;
/// The format of all values that this release writes.
pub const VERSION: u8 = 5;
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
    /// Where the journal started when the state was begun: it knows all that was accepted from there on.
    pub started_at: u64,
    /// Segments before this position may be gone.
    pub retired: u64,
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

impl KeyedRequest {
    /// The answer to a request with this mark, whose first event is this one.
    pub fn of(mark: &IdempotencyMark, first: &EventMeta, place: Place) -> Self {
        Self {
            body: mark.body,
            first: first.id,
            place,
            events: mark.events,
            expires_at_ms: first.accepted_at_ms.saturating_add(IDEMPOTENCY_KEEP_MS),
        }
    }
}

/// Which delivery of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Where the event stands.
    pub place: Place,
    /// Which replay.
    pub generation: u16,
}

impl Attempt {
    /// The delivery that this is an attempt of, as its subscription's lane knows it.
    pub fn slot(&self) -> Slot {
        Slot {
            place: self.place,
            generation: self.generation,
        }
    }
}

impl Slot {
    /// None is before it.
    pub const FIRST: Self = Self {
        place: Place {
            position: 0,
            index: 0,
        },
        generation: 0,
    };

    /// Of the event that was accepted at a place.
    pub fn of(place: Place, generation: u16) -> Self {
        Self { place, generation }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (place, generation) = bytes.split_first_chunk::<12>()?;
        Some(Self {
            place: read_place(place)?,
            generation: u16::from_be_bytes(*generation.first_chunk()?),
        })
    }
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

/// A directory record, `prefix` one of `A I K S T`.
pub fn record(prefix: u8, id: u64) -> Vec<u8> {
    let mut key = start(prefix);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

/// All keys of one prefix.
pub fn all(prefix: u8) -> std::ops::Range<Vec<u8>> {
    vec![prefix]..vec![prefix + 1]
}

/// A page of open deliveries, by the slot that it was begun with.
pub fn page(subscription: SubscriptionId, first: Slot) -> Vec<u8> {
    let mut key = record(b'o', subscription.to_bits());
    key.extend_from_slice(&first.place.position.to_be_bytes());
    key.extend_from_slice(&first.place.index.to_be_bytes());
    key.extend_from_slice(&first.generation.to_be_bytes());
    key
}

/// Reads a key made by [`page`].
pub fn read_page(key: &[u8]) -> Option<(SubscriptionId, Slot)> {
    let (subscription, slot) = key.get(1..)?.split_first_chunk()?;
    let subscription = SubscriptionId::from_bits(u64::from_be_bytes(*subscription));
    Some((subscription, Slot::read(slot)?))
}

/// The failures of a subscription.
pub fn trouble(subscription: SubscriptionId) -> Vec<u8> {
    record(b'f', subscription.to_bits())
}

/// Reads a key made by [`trouble`].
pub fn read_trouble(key: &[u8]) -> Option<SubscriptionId> {
    let bits = key.get(1..)?.first_chunk()?;
    Some(SubscriptionId::from_bits(u64::from_be_bytes(*bits)))
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

/// A deed of an account, by its number.
pub fn deed(account: AccountId, number: u64) -> Vec<u8> {
    let mut key = record(b'u', account.to_bits());
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The deeds of an account with these numbers.
pub fn deeds(account: AccountId, numbers: std::ops::Range<u64>) -> std::ops::Range<Vec<u8>> {
    deed(account, numbers.start)..deed(account, numbers.end)
}

/// Reads the number of a key made by [`deed`].
pub fn read_deed(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*key.get(9..)?.first_chunk()?))
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
        let key = page(subscription, slot);
        assert_eq!(read_page(&key), Some((subscription, slot)));
        let key = keyed_expiry(5, &[8; 16]);
        assert_eq!(read_expired_scope(&key), Some([8; 16]));
    }

    #[test]
    fn ranges_hold_their_own_and_nothing_else() {
        assert!(keyed_expired(100).contains(&keyed_expiry(99, &[255; 16])));
        assert!(!keyed_expired(100).contains(&keyed_expiry(100, &[0; 16])));
        assert!(all(b'o').contains(&page(SubscriptionId::from_bits(u64::MAX), Slot::FIRST)));
        assert!(!all(b'o').contains(&record(b'p', 0)));
    }
}
