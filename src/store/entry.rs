//! What the journal's records hold.
//!
//! Metadata is bincode; event bodies stand behind it as the bytes they were, and a decoded event's
//! body shares the memory that the record was read into or written from.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::StoreError;
use super::journal::Raw;
use crate::domain::delivery::Attempt;
use crate::domain::directory::Change;
use crate::domain::event::{Event, EventMeta};

const ACCEPTED: u8 = 1;
const SETTLED: u8 = 2;
const DIRECTORY: u8 = 3;
const SNAPSHOT: u8 = 4;

/// What a record may claim to hold: no length is believed beyond it.
const MAX_DECODED_BYTES: usize = 64 << 20;

/// How many directory entries go into one record of a snapshot.
const SNAPSHOT_CHUNK: usize = 1024;

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
}

impl Entry {
    /// The record of events that came in together.
    pub fn encode_accepted(events: &[Event]) -> Result<Raw, StoreError> {
        let metas: Vec<&EventMeta> = events.iter().map(|event| &event.meta).collect();
        let metas = encode(&metas)?;
        let bodies: usize = events.iter().map(|event| event.body.len()).sum();
        let mut payload = Vec::with_capacity(4 + metas.len() + bodies);
        payload.extend_from_slice(&u32::try_from(metas.len()).unwrap_or(u32::MAX).to_le_bytes());
        payload.extend_from_slice(&metas);
        for event in events {
            payload.extend_from_slice(&event.body);
        }
        Ok(Raw {
            kind: ACCEPTED,
            payload,
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

    /// Reads a record. `None` when its kind is not one of ours.
    pub fn decode(kind: u8, payload: &Bytes) -> Result<Option<Self>, StoreError> {
        Ok(Some(match kind {
            ACCEPTED => Self::Accepted(decode_accepted(payload)?),
            SETTLED => Self::Settled(decode("a record of attempts", payload)?),
            DIRECTORY => Self::Directory(decode("a directory change", payload)?),
            SNAPSHOT => Self::Snapshot(decode("a directory snapshot", payload)?),
            _ => return Ok(None),
        }))
    }
}

fn decode_accepted(payload: &Bytes) -> Result<Vec<Event>, StoreError> {
    const WHAT: &str = "a record of events";
    let cut = || StoreError::Decode {
        what: WHAT,
        source: bincode::error::DecodeError::UnexpectedEnd { additional: 1 },
    };
    let (length, rest) = payload.split_first_chunk::<4>().ok_or_else(cut)?;
    let metas_bytes = u32::from_le_bytes(*length) as usize;
    let metas: Vec<EventMeta> = decode(WHAT, rest.get(..metas_bytes).ok_or_else(cut)?)?;
    let mut at = 4 + metas_bytes;
    let mut events = Vec::with_capacity(metas.len());
    for meta in metas {
        let end = at + meta.body_bytes as usize;
        if end > payload.len() {
            return Err(cut());
        }
        events.push(Event {
            meta,
            body: payload.slice(at..end),
        });
        at = end;
    }
    Ok(events)
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
    use crate::domain::ids::{AccountId, EventId, IntegrationId};

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
