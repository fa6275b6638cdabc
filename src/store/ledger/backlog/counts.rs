//! How many deliveries stand how: kept as they come, change and go, so that nobody has to count them.

use std::collections::HashMap;

use super::Status;
use crate::domain::ids::SubscriptionId;

/// Deliveries by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that wait for their first attempt.
    pub waiting: usize,
    /// Those that are due at some time.
    pub retrying: usize,
    /// Those that are dead.
    pub dead: usize,
}

impl Counts {
    /// How many stand so.
    pub fn of(&self, status: Status) -> usize {
        match status {
            Status::Waiting => self.waiting,
            Status::Retrying => self.retrying,
            Status::Dead => self.dead,
        }
    }

    /// All of them.
    pub fn open(&self) -> usize {
        self.waiting + self.retrying + self.dead
    }

    /// Adds others.
    pub fn add(&mut self, other: Self) {
        self.waiting += other.waiting;
        self.retrying += other.retrying;
        self.dead += other.dead;
    }

    fn take(&mut self, other: Self) {
        self.waiting -= other.waiting;
        self.retrying -= other.retrying;
        self.dead -= other.dead;
    }
}

/// The counts of each subscription that has any, and of all together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub all: Counts,
    by_subscription: HashMap<SubscriptionId, Counts>,
}

impl Tally {
    pub fn of(&self, subscription: SubscriptionId) -> Counts {
        let own = self.by_subscription.get(&subscription);
        own.copied().unwrap_or_default()
    }

    /// Deliveries came to be.
    pub fn add(&mut self, subscription: SubscriptionId, some: impl Into<Counts>) {
        let some = some.into();
        self.all.add(some);
        self.by_subscription
            .entry(subscription)
            .or_default()
            .add(some);
    }

    /// Deliveries that were there are no more, or no more as they were.
    pub fn take(&mut self, subscription: SubscriptionId, some: impl Into<Counts>) {
        let some = some.into();
        self.all.take(some);
        if let Some(own) = self.by_subscription.get_mut(&subscription) {
            own.take(some);
            if own.open() == 0 {
                self.by_subscription.remove(&subscription);
            }
        }
    }
}
