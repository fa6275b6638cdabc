//! What idempotency keys owe: the same first id for the same key, for a day.

use super::{UNSURE_MS, Witness};
use crate::domain::ids::EventId;
use crate::store::state::rows::IDEMPOTENCY_KEEP_MS;

#[derive(Debug)]
pub(super) struct UsedKey {
    body: [u8; 16],
    /// What it gave is kept for a day from a time between these.
    from_ms: u64,
    to_ms: u64,
    first: Option<EventId>,
}

impl Witness {
    /// Somebody uses an idempotency key.
    pub fn uses_key(&mut self, scope: [u8; 16], body: [u8; 16], now_ms: u64) {
        let latest_ms = self.latest_ms;
        let fresh = UsedKey {
            body,
            from_ms: latest_ms,
            to_ms: latest_ms,
            first: None,
        };
        let key = self.keys.entry(scope).or_insert(fresh);
        if key.body != body {
            assert!(is_over(key, now_ms), "the client uses a key wrongly");
            *key = UsedKey {
                body,
                from_ms: latest_ms,
                first: None,
                to_ms: latest_ms,
            };
        }
        key.to_ms = latest_ms;
    }

    /// Whether a key stands for nothing any more, for sure.
    pub fn key_is_over(&self, scope: &[u8; 16], now_ms: u64) -> bool {
        self.keys.get(scope).is_none_or(|key| is_over(key, now_ms))
    }

    /// Whether a key stands for the body it was used with, for sure.
    pub fn key_holds(&self, scope: &[u8; 16]) -> bool {
        let holds = |key: &UsedKey| key.from_ms + IDEMPOTENCY_KEEP_MS > self.latest_ms + UNSURE_MS;
        self.keys.get(scope).is_some_and(holds)
    }

    /// A request with a key was answered with this first id.
    pub fn key_answered(&mut self, scope: &[u8; 16], first: EventId) {
        let key = self.keys.get_mut(scope).unwrap();
        key.to_ms = self.latest_ms;
        let known = *key.first.get_or_insert(first);
        assert_eq!(known, first, "a key answered with another id");
    }
}

fn is_over(key: &UsedKey, now_ms: u64) -> bool {
    now_ms > key.to_ms + IDEMPOTENCY_KEEP_MS + UNSURE_MS
}
