//! Checkpoints of the ledger, and sweeping out what nobody needs any more.

use std::sync::Arc;

use super::Ledger;
use super::backlog::MAX_ENTRIES;
use crate::store::error::StoreError;
use crate::store::state::overlay::{Direction, Frozen};
use crate::store::state::rows::{self, KeyedRequest};

impl Ledger {
    /// Removes rows that nobody needs any more, a few at a time: those of deleted subscriptions,
    /// idempotency keys that are over, and what tells of the log before its start. Says whether there is
    /// more to do.
    pub fn sweep(&mut self, now_ms: u64, log_start: u64, limit: usize) -> Result<bool, StoreError> {
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
        removed += self.sweep_index(log_start, limit)?;
        if let Some(&gone) = self.gone.last() {
            let pages = limit.div_ceil(MAX_ENTRIES);
            if self.backlog.forget(&mut self.overlay, gone, pages) == 0 {
                self.gone.pop();
            }
        }
        Ok(removed >= limit || !self.gone.is_empty())
    }

    /// Of the sparse index, the rows of what was removed.
    fn sweep_index(&mut self, log_start: u64, limit: usize) -> Result<usize, StoreError> {
        let first = self
            .overlay
            .scan(&rows::all(b'x'), Direction::Forward, limit)?;
        let mut removed = 0;
        for (key, value) in first {
            let position: u64 = rows::decode("an index row", &value)?;
            if position >= log_start {
                break;
            }
            self.overlay.remove(key);
            removed += 1;
        }
        Ok(removed)
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
        self.overlay.bytes() + self.backlog.dirty_bytes()
    }

    /// Whether a checkpoint is being written.
    pub fn is_saving(&self) -> bool {
        self.overlay.is_frozen()
    }

    /// Takes everything up to [`Self::applied`] for a checkpoint.
    pub fn freeze(&mut self) -> Result<Arc<Frozen>, StoreError> {
        self.backlog.save(&mut self.overlay)?;
        self.overlay
            .put(rows::META.to_vec(), rows::encode(&self.meta)?);
        Ok(self.overlay.freeze())
    }

    /// The checkpoint is synced.
    pub fn thaw(&mut self) {
        self.overlay.thaw();
    }
}
