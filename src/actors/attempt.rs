//! One attempt: what is sent, and how the reply is judged.
//!
//! Composes the signed request, posts it, and turns what comes back into the attempt's record, without the
//! secrets that the receiver may have repeated. It never decides when to send; that is the lane's work.

mod lines;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use zeroize::Zeroizing;

pub use self::lines::log_attempt;
use self::lines::log_failure;
use super::listeners::Carrier;
use super::now_ms;
use super::vault::Vault;
use crate::domain::delivery::{
    Attempt, KEPT_RESPONSE_BYTES, Outcome, Reply, Timing, Verdict, judge,
};
use crate::domain::directory::Subscription;
use crate::domain::event::{Content, Event, EventMeta};
use crate::domain::format::{Composed, compose};
use crate::domain::ids::{DeliveryId, SubscriptionId};
use crate::domain::retry::Schedule;
use crate::domain::scrub::{Secrets, scrub};
use crate::domain::sealed::SealError;
use crate::domain::signature::{SigningKey, sign_all};
use crate::outbound::Outgoing;
use crate::store::ledger::Todo;

/// What the relay calls itself to receivers.
pub const USER_AGENT_VALUE: &str = concat!("Postrider/", env!("CARGO_PKG_VERSION"));

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const X_POSTRIDER_EVENT: HeaderName = HeaderName::from_static("x-postrider-event");
const X_POSTRIDER_ATTEMPT: HeaderName = HeaderName::from_static("x-postrider-attempt");

/// Where a subscription's deliveries go, parsed once.
#[derive(Debug, Clone)]
pub struct Target {
    /// As it was when the target was parsed.
    pub subscription: Arc<Subscription>,
    /// The keys in the order of the subscription's, with when they stop signing.
    keys: Vec<(SigningKey, Option<u64>)>,
    /// What is sent with every attempt.
    pub(super) headers: HeaderMap,
    pub(super) url: Uri,
}

/// Stands where a receiver has no URL.
const NO_URL: &str = "http://listener/";

impl Target {
    /// Parses a subscription's URL and opens what is secret in it. Both were vetted, the one when it was
    /// saved and the other at the start, so `None` is not expected.
    pub fn of(subscription: Arc<Subscription>, vault: &Vault) -> Option<Self> {
        let opened = Self::opened(&subscription, vault);
        let (keys, mut headers) = opened
            .map_err(|error| log::error!(subscription:% = subscription.id; "its secrets cannot be used: {error}"))
            .ok()?;
        let url = match subscription.listener() {
            Some(_) => Uri::from_static(NO_URL),
            None => subscription.url.parse().ok()?,
        };
        headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE));
        if let Some(host) = url.authority() {
            headers.insert(HOST, HeaderValue::from_str(host.as_str()).ok()?);
        }
        Some(Self {
            subscription,
            keys,
            headers,
            url,
        })
    }

    fn opened(subscription: &Subscription, vault: &Vault) -> Result<Opened, SealError> {
        let id = subscription.id;
        let keys = subscription.keys.iter();
        let keys = keys.map(|key| Ok((vault.open(&key.secret, id)?, key.ends_at_ms)));
        let mut headers = HeaderMap::with_capacity(16);
        for header in &subscription.headers {
            let value = vault.open_header(header, id)?;
            let name = HeaderName::try_from(&header.name);
            if let (Ok(name), Ok(mut value)) = (name, HeaderValue::from_bytes(&value)) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Ok((keys.collect::<Result<_, _>>()?, headers))
    }

    /// The value of `webhook-signature`: by every key that signs at this time.
    fn sign(&self, id: &str, now_ms: u64, body: &[u8]) -> String {
        let live = self.keys.iter();
        let live = live.filter(|(_, ends_at_ms)| ends_at_ms.is_none_or(|end| now_ms < end));
        sign_all(live.map(|(key, _)| key), id, now_ms / 1000, body)
    }

    /// What the receiver was sent with this signature and must not be seen elsewhere.
    fn secrets(&self, signature: Option<&HeaderValue>) -> Secrets {
        let mut secrets = Secrets::default();
        let own = self.headers.values().filter(|value| value.is_sensitive());
        for value in own {
            secrets.add_header(value.as_bytes());
        }
        for (key, _) in &self.keys {
            let written = Zeroizing::new(key.reveal());
            let bare = written.split_once('_').map_or("", |(_, bare)| bare);
            secrets.add(bare.as_bytes());
        }
        let signatures = signature.and_then(|value| value.to_str().ok());
        for signature in signatures.unwrap_or_default().split(' ') {
            let bare = signature.split_once(',').map_or("", |(_, bare)| bare);
            secrets.add(bare.as_bytes());
        }
        secrets
    }
}

type Opened = (Vec<(SigningKey, Option<u64>)>, HeaderMap);

/// Makes an attempt. Never fails: what goes wrong is the attempt's outcome.
pub async fn attempt(
    carrier: &Carrier,
    target: &Target,
    event: &Event,
    todo: Todo,
    schedule: &Schedule,
    timeout: Duration,
) -> (Attempt, Verdict) {
    let number = todo.attempts.saturating_add(1);
    let started_at_ms = now_ms();
    let composed = compose(target.subscription.format, event);
    let headers = headers(target, &event.meta, &composed, number, started_at_ms);
    let signature = headers.get(&WEBHOOK_SIGNATURE).cloned();
    let body = composed.body;
    let outgoing = Outgoing {
        method: Method::POST,
        url: target.url.clone(),
        headers,
        body,
        timeout,
    };
    let sent = carrier.send(target, outgoing).await;
    let ended_at_ms = now_ms();
    let timing = Timing {
        resolve_ms: sent.timing.resolve.map(millis),
        connect_ms: sent.timing.connect.map(millis),
        first_byte_ms: sent.timing.first_byte.map(millis),
    };
    let (reply, head) = match sent.reply {
        Ok(reply) => {
            let retry_after_ms = reply
                .retry_after
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
            (
                Reply::Status {
                    code: reply.status,
                    retry_after_ms,
                },
                reply.head,
            )
        }
        Err(error) => {
            log_failure(target, &error);
            (Reply::Error(error.class()), Vec::new())
        }
    };
    let exchange = Exchange {
        started_at_ms,
        ended_at_ms,
        timing,
        reply,
        head,
    };
    let (mut record, verdict) =
        conclude(target.subscription.id, todo, exchange, schedule, jitter());
    let head = &mut record.response_head;
    if !head.is_empty() {
        let is_cut = head.len() >= KEPT_RESPONSE_BYTES;
        *head = scrub(head, &target.secrets(signature.as_ref()), is_cut);
    }
    (record, verdict)
}

/// What an attempt met, and when.
#[derive(Debug)]
pub struct Exchange {
    /// When it began, in milliseconds of Unix time.
    pub started_at_ms: u64,
    /// When it was over.
    pub ended_at_ms: u64,
    /// Where the time went.
    pub timing: Timing,
    /// What came back.
    pub reply: Reply,
    /// The head of its body.
    pub head: Vec<u8>,
}

/// The record of an attempt that was made, and what follows from it.
pub fn conclude(
    subscription: SubscriptionId,
    todo: Todo,
    exchange: Exchange,
    schedule: &Schedule,
    jitter: f64,
) -> (Attempt, Verdict) {
    let Exchange {
        started_at_ms,
        ended_at_ms,
        timing,
        reply,
        head,
    } = exchange;
    let number = todo.attempts.saturating_add(1);
    let of_schedule = number.saturating_sub(todo.forgiven);
    let verdict = judge(of_schedule, &reply, schedule, ended_at_ms, jitter);
    let kept = if verdict.outcome == Outcome::Delivered {
        0
    } else {
        KEPT_RESPONSE_BYTES
    };
    let record = Attempt {
        event: todo.event,
        place: todo.slot.place,
        subscription,
        generation: todo.slot.generation,
        number,
        started_at_ms,
        duration_ms: u32::try_from(ended_at_ms.saturating_sub(started_at_ms)).unwrap_or(u32::MAX),
        timing,
        outcome: verdict.outcome,
        status: match reply {
            Reply::Status { code, .. } => Some(code),
            Reply::Error(_) => None,
        },
        error: match reply {
            Reply::Status { .. } => None,
            Reply::Error(class) => Some(class.to_owned()),
        },
        response_head: head.into_iter().take(kept).collect(),
    };
    (record, verdict)
}

/// The record of a delivery that the relay itself could not attempt.
pub fn not_attempted(
    target: &Target,
    todo: Todo,
    error: &'static str,
    schedule: &Schedule,
) -> (Attempt, Verdict) {
    let number = todo.attempts.saturating_add(1);
    let of_schedule = number.saturating_sub(todo.forgiven);
    let reply = Reply::Error(error);
    let verdict = judge(of_schedule, &reply, schedule, now_ms(), jitter());
    let record = unsent(target, todo, number, verdict.outcome, Some(error));
    (record, verdict)
}

/// The record of a delivery whose subscription went before it could be attempted.
pub fn cancelled(target: &Target, todo: Todo) -> (Attempt, Verdict) {
    let outcome = Outcome::Cancelled;
    let record = unsent(target, todo, todo.attempts, outcome, None);
    (
        record,
        Verdict {
            outcome,
            hold_ms: None,
            gone: false,
        },
    )
}

fn unsent(
    target: &Target,
    todo: Todo,
    number: u16,
    outcome: Outcome,
    error: Option<&str>,
) -> Attempt {
    let id = DeliveryId {
        event: todo.event,
        subscription: target.subscription.id,
        generation: todo.slot.generation,
    };
    Attempt::unmade(id, todo.slot.place, number, outcome, now_ms(), error)
}

fn headers(
    target: &Target,
    event: &EventMeta,
    composed: &Composed,
    number: u16,
    now_ms: u64,
) -> HeaderMap {
    let id = event.id.to_string();
    let signature = target.sign(&id, now_ms, &composed.body);
    let mut headers = target.headers.clone();
    let mut put = |name, value: Bytes| {
        // Every value is ASCII that we made; one that is no header value would be left out, and the
        // receiver would refuse the delivery.
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.insert(name, value);
        }
    };
    put(WEBHOOK_ID, id.into());
    put(WEBHOOK_TIMESTAMP, (now_ms / 1000).to_string().into());
    put(WEBHOOK_SIGNATURE, signature.into());
    put(
        X_POSTRIDER_EVENT,
        event.event_type.as_str().to_owned().into(),
    );
    put(X_POSTRIDER_ATTEMPT, number.to_string().into());
    match composed.content_type {
        Some(content_type) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        None => describe(&event.content, &mut headers),
    }
    headers
}

/// What the body is, in the words it came with. A `ce-` header cannot take the place of one of ours.
fn describe(content: &Content, headers: &mut HeaderMap) {
    let content_type = match content {
        Content::Json => Some(HeaderValue::from_static("application/json")),
        Content::Structured => Some(HeaderValue::from_static("application/cloudevents+json")),
        Content::Binary {
            content_type,
            attributes,
        } => {
            for (name, value) in attributes {
                let name = HeaderName::try_from(format!("ce-{name}"));
                if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
                    headers.insert(name, value);
                }
            }
            content_type
                .as_deref()
                .and_then(|value| HeaderValue::from_str(value).ok())
        }
    };
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, content_type);
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// A number from 0 to 1. It spreads retries; it need not be a secret.
fn jitter() -> f64 {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    f64::from(random) / f64::from(u32::MAX)
}
