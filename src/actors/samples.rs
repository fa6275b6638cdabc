//! Samples: an endpoint is tried with an event that nobody sent.
//!
//! Shared, not an actor: whoever asks makes the attempt himself and is told what came of it. It is signed,
//! guarded and bounded as any delivery is, and leaves nothing behind: no event, no delivery, no retry. It
//! is made only when somebody asks, for what an endpoint does with it is not ours to know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Builder;

use super::attempt::{Target, attempt};
use super::vault::Vault;
use super::{Unavailable, now_ms};
use crate::domain::delivery::Attempt;
use crate::domain::directory::Subscription;
use crate::domain::event::{Content, Event, EventMeta, Place};
use crate::domain::event_type::EventType;
use crate::domain::ids::{EventId, IntegrationId};
use crate::domain::retry::Schedule;
use crate::outbound::Client;
use crate::store::ledger::Todo;
use crate::store::state::rows::Slot;

/// Samples that may be under way at once: people try endpoints, not programs.
pub const MAX_SAMPLES: usize = 16;
/// The type of a sample.
const SAMPLE_TYPE: &str = "postrider.test";

/// Why there was no attempt.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// Too many are under way.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The subscription's secrets or its URL cannot be used; the log says why.
    #[error("the subscription cannot be sent to")]
    Unusable,
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// See the module. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Samples {
    client: Client,
    vault: Vault,
    timeout: Duration,
    room: Arc<Semaphore>,
}

impl Samples {
    /// Sends with this client, within this time.
    pub fn new(client: Client, vault: Vault, timeout: Duration) -> Self {
        Self {
            client,
            vault,
            timeout,
            room: Arc::new(Semaphore::new(MAX_SAMPLES)),
        }
    }

    /// Sends a sample, also to a subscription that is paused; returns what came of it.
    pub async fn send(&self, subscription: Arc<Subscription>) -> Result<Attempt, SampleError> {
        let room = self.room.try_acquire().map_err(|_| Unavailable::Busy)?;
        let event = sample(&subscription)?;
        let target = Target::of(subscription, &self.vault).ok_or(SampleError::Unusable)?;
        let place = Place {
            position: 0,
            index: 0,
        };
        let todo = Todo {
            slot: Slot {
                place,
                generation: 0,
            },
            at: place,
            event: event.meta.id,
            attempts: 0,
            forgiven: 0,
            group: None,
            due_ms: 0,
        };
        let schedule = Schedule::default();
        let made = attempt(&self.client, &target, &event, todo, &schedule, self.timeout).await;
        drop(room);
        Ok(made.0)
    }
}

fn sample(subscription: &Subscription) -> Result<Event, SampleError> {
    let event_type: EventType = SAMPLE_TYPE.parse().map_err(|_| SampleError::Unusable)?;
    let body = json!({
        "event": SAMPLE_TYPE,
        "data": {
            "subscription_id": subscription.id,
            "message": "This is a test: if you can read and verify it, so you can everything else.",
        },
    });
    let body = Bytes::from(body.to_string());
    let now_ms = now_ms();
    let mut random = [0; 10];
    getrandom::fill(&mut random)?;
    let meta = EventMeta {
        id: EventId(Builder::from_unix_timestamp_millis(now_ms, &random).into_uuid()),
        account: subscription.account,
        integration: subscription
            .integration
            .unwrap_or(IntegrationId::from_bits(0)),
        event_type,
        content: Content::Json,
        accepted_at_ms: now_ms,
        idempotency: None,
        body_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
    };
    Ok(Event { meta, body })
}
