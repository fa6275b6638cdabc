//! What the journal's records hold.
//!
//! Kinds 3 and 4 are the directory as formats 1 and 2 had it, 8 and 9 as format 3 did, 10 and 11 as format
//! 4; 2 are attempts as formats 1 to 3 had them, 5 carried events as all four did (`legacy`). The others
//! are as they are today.
//! Metadata is bincode; event bodies stand behind it as the bytes they were, and a decoded event's
//! body shares the memory that the record was read into or written from.

mod legacy;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::legacy::{plain, unordered, unsealed};
use super::carried::{self, CarriedEvent, CarriedKey};
use super::error::StoreError;
use super::journal::Raw;
use crate::domain::delivery::{Attempt, OpenDelivery};
use crate::domain::directory::Change;
use crate::domain::event::{Event, EventMeta};
use crate::domain::ids::EventId;

const ACCEPTED: u8 = 1;
const UNTIMED_SETTLED: u8 = 2;
const UNSEALED_DIRECTORY: u8 = 3;
const UNSEALED_SNAPSHOT: u8 = 4;
const UNORDERED_CARRIED: u8 = 5;
const KEYS: u8 = 6;
const RETIRED: u8 = 7;
const PLAIN_DIRECTORY: u8 = 8;
const PLAIN_SNAPSHOT: u8 = 9;
const UNORDERED_DIRECTORY: u8 = 10;
const UNORDERED_SNAPSHOT: u8 = 11;
const SETTLED: u8 = 12;
const DIRECTORY: u8 = 13;
const SNAPSHOT: u8 = 14;
const CARRIED: u8 = 15;

/// What an error calls a record of directory changes, and one of a whole directory.
const CHANGES: &str = "a directory change";
const WHOLE: &str = "a directory snapshot";
const ATTEMPTS: &str = "a record of attempts";

/// What a record may claim to hold: no length is believed beyond it.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// How many directory entries go into one record of a snapshot.
const SNAPSHOT_CHUNK: usize = 1024;

/// What is wrong with a record whose checksum is right and that cannot be read all the same. It is
/// nothing that the journal could heal.
pub const UNDECODABLE: &str =
    "a record's checksum is right, but it does not hold what its kind says";

/// One entry of the log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Events came in, together.
    Accepted(Vec<Event>),
    /// Attempts were made.
    Settled(Vec<Attempt>),
    /// The directory changed.
    Directory(Vec<Change>),
    /// Part of the whole directory, at the head of a segment.
    Snapshot(Vec<Change>),
    /// Events outlive their segment.
    Carried(Vec<CarriedEvent>),
    /// Idempotency keys outlive their segment.
    Keys(Vec<CarriedKey>),
    /// Segments may be gone: nothing in them is needed.
    Retired(Retired),
}

/// That segments may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retired {
    /// Those before this position.
    pub before: u64,
    /// The last event that was accepted until then, which may have been in one of them: ids go on after it.
    /// The first releases did not say.
    pub last_event: Option<EventId>,
}

impl Entry {
    /// The record of events that came in together.
    pub fn encode_accepted(events: &[Event]) -> Result<Raw, StoreError> {
        let metas: Vec<&EventMeta> = events.iter().map(|event| &event.meta).collect();
        let bodies = events.iter().map(|event| &event.body);
        Ok(Raw {
            kind: ACCEPTED,
            payload: with_bodies(&encode(&metas)?, bodies)?,
        })
    }

    /// The record of attempts.
    pub fn encode_settled(attempts: &[Attempt]) -> Result<Raw, StoreError> {
        Ok(Raw {
            kind: SETTLED,
            payload: encode(&attempts)?,
        })
    }

    /// The record of directory changes.
    pub fn encode_directory(changes: &[Change]) -> Result<Raw, StoreError> {
        Ok(Raw {
            kind: DIRECTORY,
            payload: encode(&changes)?,
        })
    }

    /// The records of a whole directory.
    pub fn encode_snapshot(changes: &[Change]) -> Result<Vec<Raw>, StoreError> {
        let chunks = changes.chunks(SNAPSHOT_CHUNK);
        chunks
            .map(|chunk| {
                Ok(Raw {
                    kind: SNAPSHOT,
                    payload: encode(&chunk)?,
                })
            })
            .collect()
    }

    /// The record of events that outlive their segment.
    pub fn encode_carried(events: &[CarriedEvent]) -> Result<Raw, StoreError> {
        Ok(Raw {
            kind: CARRIED,
            payload: carried::encode_events(events)?,
        })
    }

    /// The record of idempotency keys that outlive their segment.
    pub fn encode_keys(keys: &[CarriedKey]) -> Result<Raw, StoreError> {
        Ok(Raw {
            kind: KEYS,
            payload: encode(&keys)?,
        })
    }

    /// The record of segments that may go.
    pub fn encode_retired(retired: Retired) -> Result<Raw, StoreError> {
        Ok(Raw {
            kind: RETIRED,
            payload: encode(&(retired.before, retired.last_event))?,
        })
    }

    /// The attempts that it tells of, and the ends without one.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        let settled: &[Attempt] = match self {
            Self::Settled(attempts) => attempts,
            _ => &[],
        };
        let changes: &[Change] = match self {
            Self::Directory(changes) => changes,
            _ => &[],
        };
        let cancelled = changes.iter().flat_map(|change| match change {
            Change::Cancelled(attempts) => &attempts[..],
            _ => &[],
        });
        settled.iter().chain(cancelled)
    }

    /// Reads a record. `None` when its kind is not one of ours.
    pub fn decode(kind: u8, payload: &Bytes) -> Result<Option<Self>, StoreError> {
        Ok(Some(match kind {
            ACCEPTED => Self::Accepted(decode_accepted(payload)?),
            UNTIMED_SETTLED => Self::Settled(older::<plain::Attempt, _>(ATTEMPTS, payload)?),
            SETTLED => Self::Settled(decode(ATTEMPTS, payload)?),
            UNSEALED_DIRECTORY => Self::Directory(older::<unsealed::Change, _>(CHANGES, payload)?),
            UNSEALED_SNAPSHOT => Self::Snapshot(older::<unsealed::Change, _>(WHOLE, payload)?),
            PLAIN_DIRECTORY => Self::Directory(older::<plain::Change, _>(CHANGES, payload)?),
            PLAIN_SNAPSHOT => Self::Snapshot(older::<plain::Change, _>(WHOLE, payload)?),
            UNORDERED_DIRECTORY => {
                Self::Directory(older::<unordered::Change, _>(CHANGES, payload)?)
            }
            UNORDERED_SNAPSHOT => Self::Snapshot(older::<unordered::Change, _>(WHOLE, payload)?),
            DIRECTORY => Self::Directory(decode(CHANGES, payload)?),
            SNAPSHOT => Self::Snapshot(decode(WHOLE, payload)?),
            UNORDERED_CARRIED => {
                Self::Carried(carried::decode_events::<unordered::OpenDelivery>(payload)?)
            }
            CARRIED => Self::Carried(carried::decode_events::<OpenDelivery>(payload)?),
            KEYS => Self::Keys(decode("a record of idempotency keys", payload)?),
            RETIRED => Self::Retired(decode_retired(payload)?),
            _ => return Ok(None),
        }))
    }
}

/// What an older format wrote as a `T`.
fn older<T: DeserializeOwned + Into<U>, U>(
    what: &'static str,
    payload: &Bytes,
) -> Result<Vec<U>, StoreError> {
    let written: Vec<T> = decode(what, payload)?;
    Ok(written.into_iter().map(T::into).collect())
}

/// What was added to it stands at its end, where older releases do not look.
fn decode_retired(payload: &Bytes) -> Result<Retired, StoreError> {
    const WHAT: &str = "a record of retired segments";
    let before = decode(WHAT, payload)?;
    let is_alone = encode(&before)?.len() == payload.len();
    let (before, last_event) = if is_alone {
        (before, None)
    } else {
        decode(WHAT, payload)?
    };
    Ok(Retired { before, last_event })
}

fn decode_accepted(payload: &Bytes) -> Result<Vec<Event>, StoreError> {
    const WHAT: &str = "a record of events";
    let (metas, bodies) = split_bodies(WHAT, payload)?;
    let metas: Vec<EventMeta> = decode(WHAT, &metas)?;
    let bodies = cut(WHAT, &bodies, metas.iter().map(|meta| meta.body_bytes))?;
    let events = metas.into_iter().zip(bodies);
    Ok(events.map(|(meta, body)| Event { meta, body }).collect())
}

/// A payload of metadata and bodies: the length of the metadata, the metadata, the bodies.
pub(super) fn with_bodies<'a>(
    metas: &[u8],
    bodies: impl Iterator<Item = &'a Bytes> + Clone,
) -> Result<Vec<u8>, StoreError> {
    let bodies_bytes: usize = bodies.clone().map(Bytes::len).sum();
    let length =
        u32::try_from(metas.len()).map_err(|_| StoreError::TooLarge { bytes: metas.len() })?;
    let mut payload = Vec::with_capacity(4 + metas.len() + bodies_bytes);
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(metas);
    for body in bodies {
        payload.extend_from_slice(body);
    }
    Ok(payload)
}

/// The metadata and the bodies of a payload made by [`with_bodies`].
pub(super) fn split_bodies(
    what: &'static str,
    payload: &Bytes,
) -> Result<(Bytes, Bytes), StoreError> {
    let (length, rest) = payload
        .split_first_chunk::<4>()
        .ok_or_else(|| cut_off(what))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > rest.len() {
        return Err(cut_off(what));
    }
    Ok((payload.slice(4..4 + length), payload.slice(4 + length..)))
}

/// Cuts bodies of these lengths from the bytes that hold them one after the other.
pub(super) fn cut(
    what: &'static str,
    bodies: &Bytes,
    lengths: impl Iterator<Item = u32>,
) -> Result<Vec<Bytes>, StoreError> {
    let mut at = 0;
    lengths
        .map(|length| {
            let end = at + length as usize;
            let body = (end <= bodies.len()).then(|| bodies.slice(at..end));
            at = end;
            body.ok_or_else(|| cut_off(what))
        })
        .collect()
}

fn cut_off(what: &'static str) -> StoreError {
    StoreError::Decode {
        what,
        source: bincode::error::DecodeError::UnexpectedEnd { additional: 1 },
    }
}

/// Writes a value as bincode.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    Ok(bincode::serde::encode_to_vec(
        value,
        bincode::config::standard(),
    )?)
}

/// Reads a value from bincode.
pub(super) fn decode<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    let config = bincode::config::standard().with_limit::<MAX_DECODED_BYTES>();
    bincode::serde::decode_from_slice(bytes, config)
        .map(|(value, _)| value)
        .map_err(|source| StoreError::Decode { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Content;
    use crate::domain::ids::{AccountId, IntegrationId};

    #[test]
    fn what_retired_segments_leave_behind_is_read_also_where_the_last_event_is_not_told() {
        let id = EventId(uuid::Uuid::from_u128(7));
        for (before, last_event) in [(0, None), (1 << 40, Some(id)), (64, None)] {
            let retired = Retired { before, last_event };
            let raw = Entry::encode_retired(retired).unwrap();
            let read = Entry::decode(RETIRED, &raw.payload.into()).unwrap();
            assert!(matches!(read, Some(Entry::Retired(it)) if it == retired));
            let first = Bytes::from(encode(&before).unwrap());
            let read = Entry::decode(RETIRED, &first).unwrap();
            let untold = Retired {
                before,
                last_event: None,
            };
            assert!(matches!(read, Some(Entry::Retired(it)) if it == untold));
        }
        let cut = Bytes::from(encode(&(1_u64, Some(id))).unwrap()).slice(..9);
        assert!(Entry::decode(RETIRED, &cut).is_err());
    }

    #[test]
    fn events_survive_being_written_and_read() {
        let events: Vec<Event> = (0..3_u8)
            .map(|n| {
                let body = Bytes::from(vec![n; usize::from(n) * 10]);
                let meta = EventMeta {
                    id: EventId(uuid::Uuid::from_u128(u128::from(n))),
                    account: AccountId::from_bits(1),
                    integration: IntegrationId::from_bits(2),
                    event_type: "a.b".parse().unwrap(),
                    content: Content::Json,
                    accepted_at_ms: 3,
                    idempotency: None,
                    body_bytes: u32::try_from(body.len()).unwrap(),
                };
                Event { meta, body }
            })
            .collect();
        let raw = Entry::encode_accepted(&events).unwrap();
        let payload = Bytes::from(raw.payload);
        let Some(Entry::Accepted(read)) = Entry::decode(raw.kind, &payload).unwrap() else {
            panic!("not a record of events");
        };
        assert_eq!(read.len(), 3);
        for (read, written) in read.iter().zip(&events) {
            assert_eq!((&read.meta, &read.body), (&written.meta, &written.body));
        }
        for cut in 0..payload.len() {
            assert!(
                Entry::decode(ACCEPTED, &payload.slice(..cut)).is_err(),
                "cut at {cut}"
            );
        }
    }
}
