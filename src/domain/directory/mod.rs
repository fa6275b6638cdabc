//! Who there is: accounts, integrations, keys, subscriptions; and what somebody asked for.
//!
//! A directory is what its changes, applied in order, add up to. The same changes in the same order
//! give the same directory wherever they are applied: in the live view, in the dispatcher's view as
//! of an event's place in the journal, in the snapshot at the head of a journal segment. Records are
//! shared, never copied.

mod records;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::records::{
    Account, CustomHeader, Integration, KeyRecord, LiveKey, NOBODY_LISTENS, PreviousSecret,
    Subscription, SubscriptionStatus, listener,
};
use super::audit::Deed;
use super::delivery::Attempt;
use super::event::Place;
use super::ids::{AccountId, DeliveryId, IntegrationId, KeyId, SubscriptionId, TaskId};
use super::sealed::SealingKeyId;
use super::task::Task;

/// The most subscriptions one account may have: the bound on the fan-out of an event.
pub const MAX_SUBSCRIPTIONS: usize = 10_000;
/// The most accounts there may be.
pub const MAX_ACCOUNTS: usize = 1_000;
/// The most integrations one account may have.
pub const MAX_INTEGRATIONS: usize = 10_000;
/// The most keys one account may have.
pub const MAX_KEYS: usize = 100_000;
/// The most type patterns one subscription may list.
pub const MAX_PATTERNS: usize = 64;
/// The longest name or description, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// One step of the directory's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// An account was made or changed.
    PutAccount(Arc<Account>),
    /// An integration was made or changed.
    PutIntegration(Arc<Integration>),
    /// An integration is gone, and with it the keys bound to it.
    DeleteIntegration(IntegrationId),
    /// A key was made or changed.
    PutKey(Arc<KeyRecord>),
    /// A key is gone.
    DeleteKey(KeyId),
    /// Keys were used at these times (milliseconds of Unix time).
    KeysUsed(Vec<(KeyId, u64)>),
    /// A subscription was made or changed.
    PutSubscription(Arc<Subscription>),
    /// A subscription is gone; what was open for it is cancelled.
    DeleteSubscription(SubscriptionId),
    /// An account is gone, and with it everything that it owned.
    DeleteAccount(AccountId),
    /// Somebody did something. It changes nobody's standing; it is kept to be told.
    Audited(Arc<Deed>),
    /// A task was asked for, went on or ended.
    PutTask(Arc<Task>),
    /// A task that is over is forgotten.
    DeleteTask(TaskId),
    /// Deliveries are to be attempted again, or come to be once more. It changes nobody's standing.
    Steered(Arc<[Steered]>),
    /// Deliveries were given up. It changes nobody's standing.
    Cancelled(Arc<[Attempt]>),
}

/// A delivery that somebody wants attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steered {
    /// Which.
    pub delivery: DeliveryId,
    /// The place that its event was accepted at.
    pub place: Place,
    /// When it is to be attempted, in milliseconds of Unix time.
    pub at_ms: u64,
    /// What is to be done.
    pub steer: Steer,
}

/// How a delivery is steered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Steer {
    /// One that is open begins its schedule anew. Any other stays as it is.
    Retry,
    /// One that is not there comes to be; its event stands at this place now.
    Replay(Place),
}

impl Change {
    /// The id of what it changes, as it is written.
    pub fn target(&self) -> String {
        match self {
            Self::PutAccount(it) => it.id.to_string(),
            Self::PutIntegration(it) => it.id.to_string(),
            Self::PutKey(it) => it.id.to_string(),
            Self::PutSubscription(it) => it.id.to_string(),
            Self::DeleteAccount(id) => id.to_string(),
            Self::DeleteIntegration(id) => id.to_string(),
            Self::DeleteKey(id) => id.to_string(),
            Self::DeleteSubscription(id) => id.to_string(),
            Self::Audited(deed) => deed.target.clone(),
            Self::PutTask(it) => it.id.to_string(),
            Self::DeleteTask(id) => id.to_string(),
            Self::Steered(all) => all
                .first()
                .map_or_else(String::new, |it| it.delivery.to_string()),
            Self::Cancelled(all) => {
                let first = all.first().map(Attempt::delivery);
                first.map_or_else(String::new, |id| id.to_string())
            }
            Self::KeysUsed(_) => String::new(),
        }
    }
}

/// Everything that the changes so far add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    accounts: BTreeMap<AccountId, Arc<Account>>,
    integrations: BTreeMap<IntegrationId, Arc<Integration>>,
    keys: BTreeMap<KeyId, Arc<KeyRecord>>,
    subscriptions: BTreeMap<SubscriptionId, Arc<Subscription>>,
    tasks: BTreeMap<TaskId, Arc<Task>>,
}

impl Directory {
    /// Takes one more step.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::PutAccount(account) => {
                self.accounts.insert(account.id, Arc::clone(account));
            }
            Change::PutIntegration(integration) => {
                self.integrations
                    .insert(integration.id, Arc::clone(integration));
            }
            Change::DeleteIntegration(id) => {
                self.integrations.remove(id);
                self.keys.retain(|_, key| key.integration != Some(*id));
            }
            Change::PutKey(key) => {
                self.keys.insert(key.id, Arc::clone(key));
            }
            Change::DeleteKey(id) => {
                self.keys.remove(id);
            }
            Change::KeysUsed(uses) => {
                for (id, at_ms) in uses {
                    if let Some(key) = self.keys.get_mut(id) {
                        Arc::make_mut(key).last_used_at_ms = Some(*at_ms);
                    }
                }
            }
            Change::PutSubscription(subscription) => {
                self.subscriptions
                    .insert(subscription.id, Arc::clone(subscription));
            }
            Change::DeleteSubscription(id) => {
                self.subscriptions.remove(id);
            }
            Change::DeleteAccount(id) => {
                self.accounts.remove(id);
                self.integrations.retain(|_, it| it.account != *id);
                self.keys.retain(|_, it| it.account != *id);
                self.subscriptions.retain(|_, it| it.account != *id);
                self.tasks.retain(|_, it| it.account != *id);
            }
            Change::PutTask(task) => {
                self.tasks.insert(task.id, Arc::clone(task));
            }
            Change::DeleteTask(id) => {
                self.tasks.remove(id);
            }
            Change::Audited(_) | Change::Steered(_) | Change::Cancelled(_) => {}
        }
    }

    /// Whether a change would leave everything as it is.
    pub fn has(&self, change: &Change) -> bool {
        match change {
            Change::PutAccount(it) => self.accounts.get(&it.id) == Some(it),
            Change::PutIntegration(it) => self.integrations.get(&it.id) == Some(it),
            Change::PutKey(it) => self.keys.get(&it.id) == Some(it),
            Change::PutSubscription(it) => self.subscriptions.get(&it.id) == Some(it),
            Change::PutTask(it) => self.tasks.get(&it.id) == Some(it),
            _ => false,
        }
    }

    /// The changes that lead from nothing to this directory.
    pub fn to_changes(&self) -> Vec<Change> {
        let accounts = self
            .accounts
            .values()
            .map(|it| Change::PutAccount(Arc::clone(it)));
        let integrations = self
            .integrations
            .values()
            .map(|it| Change::PutIntegration(Arc::clone(it)));
        let keys = self.keys.values().map(|it| Change::PutKey(Arc::clone(it)));
        let subscriptions = self
            .subscriptions
            .values()
            .map(|it| Change::PutSubscription(Arc::clone(it)));
        let tasks = self
            .tasks
            .values()
            .map(|it| Change::PutTask(Arc::clone(it)));
        accounts
            .chain(integrations)
            .chain(keys)
            .chain(subscriptions)
            .chain(tasks)
            .collect()
    }

    /// The account of this id.
    pub fn account(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.accounts.get(&id)
    }

    /// The integration of this id.
    pub fn integration(&self, id: IntegrationId) -> Option<&Arc<Integration>> {
        self.integrations.get(&id)
    }

    /// The key of this id.
    pub fn key(&self, id: KeyId) -> Option<&Arc<KeyRecord>> {
        self.keys.get(&id)
    }

    /// The subscription of this id.
    pub fn subscription(&self, id: SubscriptionId) -> Option<&Arc<Subscription>> {
        self.subscriptions.get(&id)
    }

    /// The task of this id.
    pub fn task(&self, id: TaskId) -> Option<&Arc<Task>> {
        self.tasks.get(&id)
    }

    /// All tasks, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// All accounts, by id.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    /// Whether a subscription is sent to: neither it nor its account is paused.
    pub fn is_going(&self, id: SubscriptionId) -> bool {
        let subscription = self.subscription(id);
        subscription.is_some_and(|it| {
            let account = self.account(it.account);
            it.status == SubscriptionStatus::Active && account.is_some_and(|it| !it.suspended)
        })
    }

    /// All integrations, by id.
    pub fn integrations(&self) -> impl Iterator<Item = &Arc<Integration>> {
        self.integrations.values()
    }

    /// All keys, by id.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<KeyRecord>> {
        self.keys.values()
    }

    /// All subscriptions, by id.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.subscriptions.values()
    }

    /// The keys that secrets are sealed under, one for each secret.
    pub fn sealed_under(&self) -> impl Iterator<Item = SealingKeyId> {
        let subscriptions = self.subscriptions.values();
        subscriptions.flat_map(|it| it.sealed_under().flatten())
    }
}

/// Records for tests.
#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;
    use crate::domain::api_key::KeyHash;
    use crate::domain::sealed::SecretAtRest;
    use crate::domain::signature::SigningSecret;

    /// A subscription of this account to these patterns.
    pub fn subscription(id: u64, account: u64, patterns: &[&str]) -> Subscription {
        let (id, account) = (SubscriptionId::from_bits(id), AccountId::from_bits(account));
        let events = patterns.iter().map(|pattern| pattern.parse().unwrap());
        let secret = SecretAtRest::Clear(SigningSecret::from_bytes(&[1; 32]).unwrap());
        let url = "http://127.0.0.1:9/".to_owned();
        Subscription::new(id, account, url, events.collect(), secret, 0)
    }

    /// A key of this account that may do everything.
    pub fn key(id: u64, account: u64) -> KeyRecord {
        let (key, account) = (KeyId::from_bits(id), AccountId::from_bits(account));
        let hash = KeyHash::of(&id.to_string());
        KeyRecord::new(key, account, format!("key {id}"), hash, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{key, subscription};
    use super::*;

    #[test]
    fn a_snapshot_leads_to_the_same_directory() {
        let mut directory = Directory::default();
        for change in [
            Change::PutKey(key(1, 1).into()),
            Change::PutKey(key(2, 1).into()),
            Change::PutSubscription(subscription(3, 1, &["a.*"]).into()),
            Change::KeysUsed(vec![(KeyId::from_bits(2), 77), (KeyId::from_bits(9), 78)]),
            Change::DeleteKey(KeyId::from_bits(1)),
        ] {
            directory.apply(&change);
        }
        let mut copy = Directory::default();
        for change in directory.to_changes() {
            copy.apply(&change);
        }
        assert_eq!(copy, directory);
        assert!(
            copy.key(KeyId::from_bits(1)).is_none(),
            "a revoked key stays revoked"
        );
        assert_eq!(
            copy.key(KeyId::from_bits(2)).unwrap().last_used_at_ms,
            Some(77)
        );
    }

    #[test]
    fn the_keys_of_an_integration_go_with_it() {
        let integration = IntegrationId::from_bits(5);
        let mut bound = key(1, 1);
        bound.integration = Some(integration);
        let mut directory = Directory::default();
        directory.apply(&Change::PutKey(bound.into()));
        directory.apply(&Change::PutKey(key(2, 1).into()));
        directory.apply(&Change::DeleteIntegration(integration));
        assert_eq!(
            directory
                .keys()
                .map(|key| key.id.to_bits())
                .collect::<Vec<_>>(),
            [2]
        );
    }
}
