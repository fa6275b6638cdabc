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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::Outcome;
    use crate::domain::directory::{Change, fixtures::subscription};
    use crate::domain::event::Place;
    use crate::domain::ids::SubscriptionId;
    use crate::store::fixtures::{attempt, event, event_id};

    #[test]
    fn what_happened_to_an_account_is_counted_and_nothing_else() {
        let mut directory = Directory::default();
        directory.apply(&Change::PutSubscription(subscription(7, 2, &["**"]).into()));
        let tried = |subscription| {
            let subscription = SubscriptionId::from_bits(subscription);
            let place = Place {
                position: 64,
                index: 0,
            };
            attempt(event_id(1), place, subscription, 1, Outcome::Delivered)
        };
        let mut census = Census::new(64);
        let accepted = Entry::Accepted(vec![event(1, 8), event(2, 8)]);
        census.add(&accepted, &directory, 200);
        let of = |census: &Census, account| census.of(AccountId::from_bits(account));
        assert_eq!([1, 2].map(|it| of(&census, it)), [(200, 2), (200, 0)]);

        let settled = Entry::Settled(vec![tried(7), tried(8), tried(7)]);
        census.add(&settled, &directory, 300);
        assert_eq!([1, 2].map(|it| of(&census, it)), [(300, 2), (300, 2)]);

        census.add(&Entry::Directory(Vec::new()), &directory, 400);
        assert_eq!(of(&census, 1), (400, 2));
    }
}
