//! Checkpoints of the ledger, and sweeping out what nobody needs any more.

use std::sync::Arc;

use super::Ledger;
use crate::domain::ids::SubscriptionId;
use crate::store::error::StoreError;
use crate::store::state::overlay::{Direction, Frozen};
use crate::store::state::rows::{self, KeyedRequest};

impl Ledger {
    /// Removes rows that nobody needs any more, a few at a time: those of deleted subscriptions, and
    /// idempotency keys that are over. Says whether there is more to do.
    pub fn sweep(&mut self, now_ms: u64, limit: usize) -> Result<bool, StoreError> {
        let expired = self
            .overlay
            .scan(&rows::keyed_expired(now_ms), Direction::Forward, limit)?;
        let mut removed = expired.len();
        for (key, _) in expired {
            if let Some(scope) = rows::read_expired_scope(&key) {
                self.forget_expired(&scope, now_ms)?;
            }
            self.overlay.remove(key);
        }
        let Some((gone, _)) = self
            .overlay
            .scan(&rows::all(b'c'), Direction::Forward, 1)?
            .pop()
        else {
            return Ok(removed >= limit);
        };
        let bits = gone
            .get(1..)
            .and_then(|bits| bits.try_into().ok())
            .map_or(0, u64::from_be_bytes);
        let subscription = SubscriptionId::from_bits(bits);
        for list in *b"qrd" {
            let rows = self.overlay.scan(
                &rows::list_of(list, subscription),
                Direction::Forward,
                limit,
            )?;
            removed += rows.len();
            for (key, _) in rows {
                if let Some(slot) = rows::read_slot(&key) {
                    self.overlay.remove(rows::open(subscription, slot));
                }
                self.overlay.remove(key);
            }
        }
        if removed == 0 {
            self.overlay.remove(gone);
        }
        Ok(true)
    }

    /// Forgets an idempotency key, unless it was used anew in the meantime.
    fn forget_expired(&mut self, scope: &[u8; 16], now_ms: u64) -> Result<(), StoreError> {
        let key = rows::keyed(scope);
        if let Some(row) = self.overlay.get(&key)? {
            let known: KeyedRequest = rows::decode("an idempotency key", &row)?;
            if known.expires_at_ms < now_ms {
                self.overlay.remove(key);
            }
        }
        Ok(())
    }

    /// What a checkpoint would have to hold now.
    pub fn unsaved_bytes(&self) -> usize {
        self.overlay.bytes()
    }

    /// Whether a checkpoint is being written.
    pub fn is_saving(&self) -> bool {
        self.overlay.is_frozen()
    }

    /// Takes everything up to [`Self::applied`] for a checkpoint.
    pub fn freeze(&mut self) -> Result<Arc<Frozen>, StoreError> {
        self.overlay
            .put(rows::META.to_vec(), rows::encode(&self.meta)?);
        Ok(self.overlay.freeze())
    }

    /// The checkpoint is synced.
    pub fn thaw(&mut self) {
        self.overlay.thaw();
    }
}
