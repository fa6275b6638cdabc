//! How much has happened to each account since this start: events that were accepted, and attempts that
//! were settled.
//!
//! Counted as it is published, so that whoever leaves out a part of the log can say how much that was
//! without reading it. A few numbers for each account; forgotten at the end of the process.

use std::collections::HashMap;

use super::entry::Entry;
use crate::domain::directory::Directory;
use crate::domain::ids::AccountId;

/// See the module.
#[derive(Debug, Default)]
pub struct Census {
    end: u64,
    steps: HashMap<AccountId, u64>,
}

impl Census {
    /// Nothing has happened up to this position.
    pub fn new(end: u64) -> Self {
        Self {
            end,
            steps: HashMap::new(),
        }
    }

    /// Counts an entry, whose subscriptions are those of a directory, up to this position. Attempts for
    /// a subscription that is gone are nobody's.
    pub fn add(&mut self, entry: &Entry, directory: &Directory, end: u64) {
        match entry {
            Entry::Accepted(events) => {
                for event in events {
                    *self.steps.entry(event.meta.account).or_default() += 1;
                }
            }
            Entry::Settled(attempts) => {
                for attempt in attempts {
                    if let Some(subscription) = directory.subscription(attempt.subscription) {
                        *self.steps.entry(subscription.account).or_default() += 1;
                    }
                }
            }
            _ => {}
        }
        self.end = end;
    }

    /// How far was counted, and how much of this account there was.
    pub fn of(&self, account: AccountId) -> (u64, u64) {
        (self.end, self.steps.get(&account).copied().unwrap_or(0))
    }
}
