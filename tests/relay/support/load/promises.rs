//! What was promised: every uuid that a 202 gave, and what it was given for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

/// What an event is about; a subscription names one of these or takes them all.
pub const TYPES: [&str; 4] = ["load.plain", "load.churn", "load.doomed", "load.plain"];

/// An event that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Stands for its body: all of them together would not fit into memory.
    pub mark: u64,
    /// Its type.
    pub event_type: &'static str,
    /// When the request that was answered was sent: it was accepted no earlier.
    pub sent_at: Instant,
}

/// Every accepted uuid.
pub type Promises = BTreeMap<String, Promise>;

/// An event as it is sent.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub event_type: &'static str,
    pub body: Vec<u8>,
}

/// Stands for a body.
pub fn mark(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
