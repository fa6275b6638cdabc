//! The directory actor: the only one that changes who there is.
//!
//! Mailbox: 64 changes; full is 503. One change at a time is decided on the directory as it stands,
//! journalled and synced by the queue actor, applied to the shared view, and only then answered: a
//! request that begins after the answer sees it. The shared view is what the hot path reads; nobody
//! but this actor writes it.
//!
//! Lost in a crash: changes that were not answered.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, Addr, ArbiterHandle, AsyncContext, Context, Handler, Message};
use dashmap::DashMap;
use tokio::sync::{oneshot, watch};

use super::Unavailable;
use super::health::{Health, Vital};
use super::queue::{QueueError, QueueHandle};
use crate::domain::api_key::KeyHash;
use crate::domain::directory::{Change, Directory, Integration, KeyRecord, Subscription};
use crate::domain::ids::SubscriptionId;

const MAILBOX: usize = 64;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The directory as it stands does not allow it.
    #[error("{0}")]
    Refused(E),
    /// It could not be journalled.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The actor does not take more.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The directory as all may read it.
#[derive(Debug, Default)]
pub struct View {
    directory: RwLock<Directory>,
    keys: DashMap<KeyHash, Arc<KeyRecord>>,
    doors: DashMap<String, Arc<Integration>>,
    subscription_changes: watch::Sender<()>,
}

impl View {
    /// The view of this directory.
    pub fn new(directory: Directory) -> Self {
        let view = Self::default();
        for key in directory.keys() {
            view.keys.insert(key.hash, Arc::clone(key));
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

    /// Tells of every change of a subscription, once it can be read here.
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
                if let Some(old) = directory.key(key.id) {
                    self.keys.remove(&old.hash);
                }
                self.keys.insert(key.hash, Arc::clone(key));
            }
            Change::DeleteKey(id) => {
                if let Some(key) = directory.key(*id) {
                    self.keys.remove(&key.hash);
                }
            }
            Change::PutIntegration(integration) => {
                if let Some(old) = directory.integration(integration.id) {
                    self.doors.remove(&old.ingest_key);
                }
                self.doors
                    .insert(integration.ingest_key.clone(), Arc::clone(integration));
            }
            Change::DeleteIntegration(id) => {
                if let Some(integration) = directory.integration(*id) {
                    self.doors.remove(&integration.ingest_key);
                }
                self.keys.retain(|_, key| key.integration != Some(*id));
            }
            Change::PutAccount(_)
            | Change::KeysUsed(_)
            | Change::PutSubscription(_)
            | Change::DeleteSubscription(_) => {}
        }
        directory.apply(change);
        drop(directory);
        if matches!(change, Change::PutSubscription(_)) {
            self.subscription_changes.send_replace(());
        }
    }
}

/// Reads and changes the directory.
#[derive(Debug, Clone)]
pub struct DirectoryHandle {
    addr: Addr<DirectoryActor>,
    view: Arc<View>,
}

type Decide = Box<dyn FnOnce(&Directory) -> Vec<Change> + Send>;

impl DirectoryHandle {
    /// The directory as all may read it.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Decides on the directory as it stands, and makes what was decided durable before it returns.
    pub async fn change<T, E>(
        &self,
        decide: impl FnOnce(&Directory) -> Result<(Vec<Change>, T), E> + Send + 'static,
    ) -> Result<T, ChangeError<E>>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let (tell, decision) = oneshot::channel();
        let decide: Decide = Box::new(move |directory| match decide(directory) {
            Ok((changes, value)) => {
                let _ = tell.send(Ok(value));
                changes
            }
            Err(refusal) => {
                let _ = tell.send(Err(refusal));
                Vec::new()
            }
        });
        let (reply, done) = oneshot::channel();
        self.addr
            .try_send(Make { decide, reply })
            .map_err(Unavailable::from)?;
        done.await.map_err(|_| Unavailable::Stopped)??;
        decision
            .await
            .map_err(|_| Unavailable::Stopped)?
            .map_err(ChangeError::Refused)
    }
}

struct DirectoryActor {
    view: Arc<View>,
    queue: QueueHandle,
    _vital: Vital,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Make {
    decide: Decide,
    reply: oneshot::Sender<Result<(), QueueError>>,
}

/// Starts the actor.
pub fn start(
    arbiter: &ArbiterHandle,
    directory: Directory,
    queue: QueueHandle,
    health: &Health,
) -> DirectoryHandle {
    let vital = health.vital("directory actor");
    let view = Arc::new(View::new(directory));
    let shared = Arc::clone(&view);
    let addr = DirectoryActor::start_in_arbiter(arbiter, move |ctx| {
        ctx.set_mailbox_capacity(MAILBOX);
        DirectoryActor {
            view: shared,
            queue,
            _vital: vital,
        }
    });
    DirectoryHandle { addr, view }
}

impl Actor for DirectoryActor {
    type Context = Context<Self>;
}

impl Handler<Make> for DirectoryActor {
    type Result = ();

    fn handle(&mut self, Make { decide, reply }: Make, ctx: &mut Self::Context) {
        let changes = decide(&self.view.read());
        let queue = self.queue.clone();
        let journalled = async move {
            if changes.is_empty() {
                return (Ok(()), changes);
            }
            (queue.change(changes.clone()).await, changes)
        };
        // No other change is decided until this one is in the view.
        ctx.wait(
            wrap_future::<_, Self>(journalled).map(|(result, changes), actor, _| {
                if result.is_ok() {
                    for change in &changes {
                        actor.view.apply(change);
                    }
                }
                let _ = reply.send(result);
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::directory::fixtures::key;
    use crate::domain::ids::{AccountId, IntegrationId, KeyId};

    fn door() -> IntegrationId {
        IntegrationId::from_bits(5)
    }

    fn integration(name: &str, ingest_key: &str) -> Change {
        let made = Integration {
            id: door(),
            account: AccountId::from_bits(1),
            name: name.to_owned(),
            ingest_key: ingest_key.to_owned(),
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
}
