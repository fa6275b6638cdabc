//! An accepted event: what is known about it, and the bytes that came in.
//!
//! The body is never parsed again and never re-serialised: the bytes received are the bytes stored
//! and the bytes delivered.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::event_type::EventType;
use super::ids::{AccountId, EventId, IntegrationId};

/// An event's place in the journal: the record that holds it, and where in that record. Places are
/// ordered as the events were accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The record's position.
    pub position: u64,
    /// The event's number in the record, from 0.
    pub index: u32,
}

/// The mark that an `Idempotency-Key` leaves on the first event of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyMark {
    /// A digest of account, integration and key.
    pub scope: [u8; 16],
    /// A digest of the request's body: the same key with another body is a mistake.
    pub body: [u8; 16],
    /// How many events the request held, this one and those that follow it.
    pub events: u32,
}

/// What a body is, and so what is sent along with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    /// A JSON object with `event` and `data`.
    Json,
    /// A `CloudEvents` 1.0 event in structured mode: a JSON object.
    Structured,
    /// A `CloudEvents` 1.0 event in binary mode: any bytes, described by headers.
    Binary {
        /// The `Content-Type` that it came with.
        content_type: Option<String>,
        /// Its `ce-` headers, without the prefix, with the values as they came.
        attributes: Vec<(String, String)>,
    },
}

/// An event that was read and is not accepted yet.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Its type name.
    pub event_type: EventType,
    /// What the body is.
    pub content: Content,
    /// The bytes received.
    pub body: Bytes,
}

/// What is known about an event beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventMeta {
    /// Its id.
    pub id: EventId,
    /// Whose it is.
    pub account: AccountId,
    /// The door it came in by.
    pub integration: IntegrationId,
    /// Its type name.
    pub event_type: EventType,
    /// What its body is.
    pub content: Content,
    /// When it was accepted, in milliseconds of Unix time.
    pub accepted_at_ms: u64,
    /// Set on the first event of a request that had an idempotency key.
    pub idempotency: Option<IdempotencyMark>,
    /// The length of its body.
    pub body_bytes: u32,
}

/// An event and its body.
#[derive(Debug, Clone)]
pub struct Event {
    /// What is known about it.
    pub meta: EventMeta,
    /// The bytes received.
    pub body: Bytes,
}
