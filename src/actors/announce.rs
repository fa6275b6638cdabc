//! The announcer: tells operators what becomes of subscriptions, with events like any other.
//!
//! Shared, not an actor: it waits for nobody but the queue, within bounds. News that nobody asked for by
//! name makes no event. What is told twice, because it was read from the log again after a crash, has the
//! same idempotency key, and comes in once.
//!
//! Lost in a crash: news that was found out and not yet accepted; where it came from is in the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::directory::DirectoryHandle;
use super::queue::{Incoming, QueueError, QueueHandle};
use crate::domain::directory::Directory;
use crate::domain::event::{Content, NewEvent};
use crate::domain::event_type::EventType;
use crate::domain::idempotency;
use crate::domain::ids::{AccountId, IntegrationId, SubscriptionId};
use crate::domain::news::News;

/// News that may wait to be accepted. More than a relay that works ever has at once.
pub const MAX_NEWS: usize = 256;
/// How often news that is not let in is tried again, and after which wait: five minutes in all.
const MAX_TRIES: u32 = 60;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// See the module. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Announcer {
    directory: DirectoryHandle,
    queue: QueueHandle,
    room: Arc<Semaphore>,
}

impl Announcer {
    /// Has its events accepted by this queue.
    pub fn new(directory: DirectoryHandle, queue: QueueHandle) -> Self {
        Self {
            directory,
            queue,
            room: Arc::new(Semaphore::new(MAX_NEWS)),
        }
    }

    /// Tells news of a subscription, if anybody asked for it. `number` tells it apart from other news of
    /// the same kind.
    pub async fn tell(self, subscription: SubscriptionId, news: News, number: u64) {
        let Ok(event_type) = news.event_type().parse::<EventType>() else {
            return;
        };
        let wanted = wanted(&self.directory.view().read(), subscription, &event_type);
        let Some(account) = wanted else { return };
        let Ok(_room) = self.room.try_acquire() else {
            log::warn!(subscription:%; "news is not told, because too much waits: {news:?}");
            return;
        };
        for _ in 0..MAX_TRIES {
            let incoming = incoming(account, subscription, &event_type, &news, number);
            match self.accept(incoming).await {
                Err(QueueError::Overloaded | QueueError::NoSpace) => {
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
                Ok(()) | Err(_) => return,
            }
        }
        log::warn!(subscription:%; "news is not told, because it was not let in: {news:?}");
    }

    async fn accept(&self, incoming: Incoming) -> Result<(), QueueError> {
        let permit = self.queue.admit(incoming.bytes())?;
        self.queue.accept(incoming, permit).await.map(|_| ())
    }
}

/// The account in which somebody wants to hear such news of a subscription.
fn wanted(
    directory: &Directory,
    subscription: SubscriptionId,
    event_type: &EventType,
) -> Option<AccountId> {
    let of = directory.subscription(subscription)?;
    let mut others = directory.subscriptions();
    let asked = others.any(|it| {
        it.account == of.account
            && it.integration.is_none()
            && it.events.iter().any(|pattern| pattern.matches(event_type))
    });
    // A laptop that is closed is no news.
    let is_quiet = of.is_operational() || of.listener().is_some();
    (asked && !is_quiet).then_some(of.account)
}

fn incoming(
    account: AccountId,
    subscription: SubscriptionId,
    event_type: &EventType,
    news: &News,
    number: u64,
) -> Incoming {
    let body = news.body(subscription);
    let integration = IntegrationId::RELAY;
    let key = format!("{event_type} {subscription} {number}");
    Incoming {
        account,
        integration,
        idempotency: Some((
            idempotency::scope(account, integration, &key),
            idempotency::body(&body),
        )),
        events: vec![NewEvent {
            event_type: event_type.clone(),
            content: Content::Json,
            body,
        }],
    }
}
