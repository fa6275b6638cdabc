//! Samples: an endpoint is tried with an event that nobody sent, or asked whether it wants any.
//!
//! Shared, not an actor: whoever asks makes the attempt himself and is told what came of it. It is
//! guarded and bounded as any delivery is, a sample is signed like one, and neither leaves anything behind:
//! no event, no delivery, no retry. It is made only when somebody asks, for what an endpoint does with it
//! is not ours to know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde_json::json;
use tokio::sync::Semaphore;
use uuid::Builder;

use super::attempt::{Target, attempt};
use super::listeners::Carrier;
use super::vault::Vault;
use super::{Unavailable, now_ms};
use crate::domain::delivery::Attempt;
use crate::domain::directory::Subscription;
use crate::domain::event::{Content, Event, EventMeta, Place};
use crate::domain::event_type::EventType;
use crate::domain::handshake::{
    ALLOWED_ORIGIN, ALLOWED_RATE, Consent, Origin, REQUEST_ORIGIN, REQUEST_RATE, consent,
};
use crate::domain::ids::{EventId, IntegrationId};
use crate::domain::retry::Schedule;
use crate::outbound::{Outgoing, SendError};
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

/// What an endpoint said when it was asked whether it wants events.
#[derive(Debug)]
pub struct Shaken {
    /// What that means.
    pub consent: Consent,
    /// Its status code, which means nothing here, or the class of what went wrong.
    pub answered: Result<u16, &'static str>,
    /// How long it took.
    pub duration_ms: u64,
}

/// See the module. Clones share the bound.
#[derive(Debug, Clone)]
pub struct Samples {
    carrier: Carrier,
    vault: Vault,
    timeout: Duration,
    room: Arc<Semaphore>,
}

impl Samples {
    /// Sends in this way, within this time.
    pub fn new(carrier: Carrier, vault: Vault, timeout: Duration) -> Self {
        Self {
            carrier,
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
        let made = attempt(
            &self.carrier,
            &target,
            &event,
            todo,
            &schedule,
            self.timeout,
        )
        .await;
        drop(room);
        Ok(made.0)
    }

    /// Asks the endpoint whether it wants to be sent to by this sender, also where the subscription is
    /// paused; see [`crate::domain::handshake`].
    pub async fn shake_hands(
        &self,
        subscription: Arc<Subscription>,
        origin: &Origin,
    ) -> Result<Shaken, SampleError> {
        let room = self.room.try_acquire().map_err(|_| Unavailable::Busy)?;
        let target = Target::of(subscription, &self.vault).ok_or(SampleError::Unusable)?;
        let started_at_ms = now_ms();
        let outgoing = invitation(&target, origin, self.timeout);
        let sent = self.carrier.send(&target, outgoing).await;
        drop(room);
        let reply = sent.reply.as_ref();
        let said = |name| {
            let value = reply.ok().and_then(|reply| reply.headers.get(name));
            value.and_then(|value| value.to_str().ok())
        };
        Ok(Shaken {
            consent: consent(origin, said(ALLOWED_ORIGIN), said(ALLOWED_RATE)),
            answered: reply.map(|reply| reply.status).map_err(SendError::class),
            duration_ms: now_ms().saturating_sub(started_at_ms),
        })
    }
}

fn invitation(target: &Target, origin: &Origin, timeout: Duration) -> Outgoing {
    let mut headers = target.headers.clone();
    // A subscription's own header of the name would ask for another.
    if let Ok(origin) = HeaderValue::from_str(origin.as_str()) {
        headers.insert(REQUEST_ORIGIN, origin);
    }
    if let Some(per_second) = target.subscription.rate_limit {
        let per_minute = u64::from(per_second) * 60;
        headers.insert(REQUEST_RATE, per_minute.into());
    }
    Outgoing {
        method: Method::OPTIONS,
        url: target.url.clone(),
        headers,
        body: Bytes::new(),
        timeout,
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
