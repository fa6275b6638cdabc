//! The directory as all may read it: what a request shows is found without a lock that a change holds.
//!
//! Only the directory actor writes it, and only what is on disk.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use dashmap::{DashMap, DashSet};
use tokio::sync::watch;

use crate::domain::api_key::KeyHash;
use crate::domain::directory::{Change, Directory, Integration, KeyRecord, Subscription};
use crate::domain::ids::{AccountId, SubscriptionId};

/// The directory as all may read it.
#[derive(Debug, Default)]
pub struct View {
    directory: RwLock<Directory>,
    keys: DashMap<KeyHash, Arc<KeyRecord>>,
    doors: DashMap<String, Arc<Integration>>,
    suspended: DashSet<AccountId>,
    subscription_changes: watch::Sender<()>,
}

impl View {
    /// The view of this directory.
    pub fn new(directory: Directory) -> Self {
        let view = Self::default();
        for account in directory.accounts().filter(|account| account.suspended) {
            view.suspended.insert(account.id);
        }
        for key in directory.keys() {
            view.show_key(key);
        }
        for integration in directory.integrations() {
            view.doors
                .insert(integration.ingest_key.clone(), Arc::clone(integration));
        }
        *view
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner) = directory;
        view
    }

    /// The directory. Not to be held across an await.
    pub fn read(&self) -> RwLockReadGuard<'_, Directory> {
        self.directory
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The key with this hash.
    pub fn key(&self, hash: &KeyHash) -> Option<Arc<KeyRecord>> {
        self.keys.get(hash).map(|key| Arc::clone(&key))
    }

    /// Whether an account's keys open nothing for now.
    pub fn is_suspended(&self, account: AccountId) -> bool {
        self.suspended.contains(&account)
    }

    /// The integration whose ingest URL ends like this.
    pub fn integration(&self, ingest_key: &str) -> Option<Arc<Integration>> {
        self.doors
            .get(ingest_key)
            .map(|integration| Arc::clone(&integration))
    }

    /// The subscription of this id.
    pub fn subscription(&self, id: SubscriptionId) -> Option<Arc<Subscription>> {
        self.read().subscription(id).cloned()
    }

    /// Tells of every change of a subscription or an account, once it can be read here.
    pub fn subscription_changes(&self) -> watch::Receiver<()> {
        self.subscription_changes.subscribe()
    }

    /// Shows a change, which is on disk.
    pub fn apply(&self, change: &Change) {
        let mut directory = self
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        match change {
            Change::PutKey(key) => {
                // First what opens from now on: a key that is only changed is never unknown.
                self.show_key(key);
                if let Some(old) = directory.key(key.id) {
                    let new: Vec<KeyHash> = secrets(key).collect();
                    for hash in secrets(old).filter(|hash| !new.contains(hash)) {
                        self.keys.remove(&hash);
                    }
                }
            }
            Change::DeleteKey(id) => {
                if let Some(key) = directory.key(*id) {
                    for hash in secrets(key) {
                        self.keys.remove(&hash);
                    }
                }
            }
            Change::PutAccount(account) if account.suspended => {
                self.suspended.insert(account.id);
            }
            Change::PutAccount(account) => {
                self.suspended.remove(&account.id);
            }
            Change::DeleteAccount(id) => {
                self.keys.retain(|_, key| key.account != *id);
                self.doors.retain(|_, door| door.account != *id);
                self.suspended.remove(id);
            }
            Change::PutIntegration(integration) => {
                self.doors
                    .insert(integration.ingest_key.clone(), Arc::clone(integration));
                let old = directory.integration(integration.id);
                if let Some(old) = old.filter(|old| old.ingest_key != integration.ingest_key) {
                    self.doors.remove(&old.ingest_key);
                }
            }
            Change::DeleteIntegration(id) => {
                if let Some(integration) = directory.integration(*id) {
                    self.doors.remove(&integration.ingest_key);
                }
                self.keys.retain(|_, key| key.integration != Some(*id));
            }
            Change::KeysUsed(_)
            | Change::PutSubscription(_)
            | Change::DeleteSubscription(_)
            | Change::Audited(_)
            | Change::PutTask(_)
            | Change::DeleteTask(_)
            | Change::Steered(_)
            | Change::Cancelled(_) => {}
        }
        directory.apply(change);
        drop(directory);
        if matches!(change, Change::PutSubscription(_) | Change::PutAccount(_)) {
            self.subscription_changes.send_replace(());
        }
    }

    fn show_key(&self, key: &Arc<KeyRecord>) {
        for hash in secrets(key) {
            self.keys.insert(hash, Arc::clone(key));
        }
    }
}

/// What opens a key: its secret, and the one before it was rotated.
fn secrets(key: &KeyRecord) -> impl Iterator<Item = KeyHash> + use<> {
    let previous = key.previous.map(|previous| previous.hash);
    std::iter::once(key.hash).chain(previous)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::PreviousSecret;
    use crate::domain::directory::fixtures::key;
    use crate::domain::ids::{IntegrationId, KeyId};

    fn door() -> IntegrationId {
        IntegrationId::from_bits(5)
    }

    fn integration(name: &str, ingest_key: &str) -> Change {
        let made = Integration {
            id: door(),
            account: AccountId::from_bits(1),
            name: name.to_owned(),
            ingest_key: ingest_key.to_owned(),
            enabled: true,
            created_at_ms: 0,
        };
        Change::PutIntegration(made.into())
    }

    /// A view with one door, a key bound to it and one that is not: made by changes, and made at once
    /// from the directory that they add up to.
    fn views() -> [View; 2] {
        let mut bound = key(1, 1);
        bound.integration = Some(door());
        let view = View::default();
        for change in [
            integration("shop", "in_shop"),
            Change::PutKey(bound.into()),
            Change::PutKey(key(2, 1).into()),
        ] {
            view.apply(&change);
        }
        let restarted = View::new(view.read().clone());
        [view, restarted]
    }

    fn hash(id: u64) -> KeyHash {
        key(id, 1).hash
    }

    #[test]
    fn keys_and_doors_are_found_by_what_a_request_shows() {
        for view in views() {
            assert_eq!(view.key(&hash(1)).unwrap().id, KeyId::from_bits(1));
            assert_eq!(view.key(&hash(2)).unwrap().id, KeyId::from_bits(2));
            assert!(view.key(&hash(3)).is_none());
            assert_eq!(view.integration("in_shop").unwrap().id, door());
            assert!(view.integration("in_other").is_none());
        }
    }

    #[test]
    fn a_deleted_integration_takes_its_door_and_its_keys_with_it() {
        for view in views() {
            view.apply(&Change::DeleteIntegration(door()));
            assert!(view.integration("in_shop").is_none());
            assert!(view.key(&hash(1)).is_none(), "a bound key still opens");
            assert!(view.key(&hash(2)).is_some());
            assert!(view.read().key(KeyId::from_bits(1)).is_none());
        }
    }

    #[test]
    fn a_deleted_key_opens_nothing_from_then_on() {
        for view in views() {
            view.apply(&Change::DeleteKey(KeyId::from_bits(2)));
            assert!(view.key(&hash(2)).is_none());
            assert!(view.key(&hash(1)).is_some());
        }
    }

    #[test]
    fn a_renamed_integration_keeps_its_door() {
        for view in views() {
            view.apply(&integration("store", "in_shop"));
            assert_eq!(view.integration("in_shop").unwrap().name, "store");
            assert!(view.key(&hash(1)).is_some());
        }
    }

    #[test]
    fn a_new_ingest_key_closes_the_old_one() {
        for view in views() {
            view.apply(&integration("shop", "in_new"));
            assert!(view.integration("in_shop").is_none());
            assert_eq!(view.integration("in_new").unwrap().id, door());
        }
    }

    #[test]
    fn a_changed_key_is_seen_changed_and_one_with_a_new_secret_closes_the_old_one() {
        for view in views() {
            let mut changed = key(2, 1);
            changed.name = "renamed".to_owned();
            view.apply(&Change::PutKey(changed.clone().into()));
            assert_eq!(view.key(&hash(2)).unwrap().name, "renamed");
            changed.hash = hash(9);
            view.apply(&Change::PutKey(changed.into()));
            assert!(view.key(&hash(9)).is_some());
            assert!(view.key(&hash(2)).is_none(), "the old secret still opens");
        }
    }

    #[test]
    fn a_rotated_key_is_found_by_both_secrets_and_gone_with_both() {
        for view in views() {
            let mut rotated = key(2, 1);
            rotated.hash = hash(9);
            rotated.previous = Some(PreviousSecret {
                hash: hash(2),
                ends_at_ms: 5,
            });
            view.apply(&Change::PutKey(rotated.into()));
            for secret in [2, 9] {
                assert_eq!(view.key(&hash(secret)).unwrap().id, KeyId::from_bits(2));
            }
            view.apply(&Change::DeleteKey(KeyId::from_bits(2)));
            assert!(view.key(&hash(2)).is_none() && view.key(&hash(9)).is_none());
        }
    }

    #[test]
    fn a_deleted_account_takes_all_that_it_owned_with_it() {
        for view in views() {
            view.apply(&Change::DeleteAccount(AccountId::from_bits(1)));
            assert!(view.key(&hash(1)).is_none() && view.key(&hash(2)).is_none());
            assert!(view.integration("in_shop").is_none());
            assert_eq!(view.read().keys().count(), 0);
        }
    }
}
