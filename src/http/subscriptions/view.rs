//! A subscription as it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::reading::HIDDEN;
use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::domain::duration::format_duration;
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{EventId, IntegrationId, SubscriptionId};
use crate::domain::ordering::Ordering;
use crate::domain::time;
use crate::store::ledger::Standing;

/// Everything but its secrets.
#[derive(Serialize)]
pub struct SubscriptionView {
    id: SubscriptionId,
    url: String,
    events: Vec<TypePattern>,
    integration_id: Option<IntegrationId>,
    filter: Option<Value>,
    description: Option<String>,
    format: &'static str,
    /// Names, and that there is a value.
    headers: BTreeMap<String, &'static str>,
    max_in_flight: Option<u16>,
    rate_limit: Option<u32>,
    ordering: Ordering,
    retry_schedule: Option<Vec<String>>,
    status: &'static str,
    paused_reason: Option<String>,
    created_at: String,
}

/// One, and how its deliveries stand.
#[derive(Serialize)]
pub struct WholeSubscription {
    #[serde(flatten)]
    view: SubscriptionView,
    standing: StandingView,
}

#[derive(Serialize)]
struct StandingView {
    pending: usize,
    retrying: usize,
    dead: usize,
    /// Its receiver fails, and gets one attempt now and then.
    probing: bool,
    /// The first of nothing but failures.
    failing_since: Option<String>,
    failures: u32,
    /// What holds up everything behind it, where an order is kept.
    blocked_by: Option<Blocking>,
}

#[derive(Serialize)]
struct Blocking {
    delivery_id: String,
    event_uuid: EventId,
    attempts: u16,
    next_attempt_at: String,
}

impl WholeSubscription {
    pub fn of(subscription: &Subscription, standing: &Standing, probing: bool) -> Self {
        let blocking = standing.first_in_line.filter(|it| it.delivery.attempts > 0);
        let blocking = blocking.map(|entry| Blocking {
            delivery_id: entry.id(subscription.id).to_string(),
            event_uuid: entry.delivery.event,
            attempts: entry.delivery.attempts,
            next_attempt_at: time::rfc3339(entry.delivery.due_ms()),
        });
        let trouble = standing.trouble;
        Self {
            view: SubscriptionView::of(subscription),
            standing: StandingView {
                pending: standing.waiting,
                retrying: standing.retrying,
                dead: standing.dead,
                probing,
                failing_since: trouble.map(|it| time::rfc3339(it.since_ms)),
                failures: trouble.map_or(0, |it| it.failures),
                blocked_by: blocking,
            },
        }
    }
}

/// One that was just made.
#[derive(Serialize)]
pub struct NewSubscription {
    #[serde(flatten)]
    pub view: SubscriptionView,
    pub secret: String,
    /// What receivers verify with, if the secret is a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

/// A new secret, and until when the one before it signs, too.
#[derive(Serialize)]
pub struct NewSecret {
    pub secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    pub previous_expires_at: Option<String>,
}

/// A page of them.
#[derive(Serialize)]
pub struct Subscriptions {
    pub subscriptions: Vec<SubscriptionView>,
    pub next_cursor: Option<String>,
}

impl SubscriptionView {
    pub fn of(subscription: &Subscription) -> Self {
        let paused_reason = match &subscription.status {
            SubscriptionStatus::Active => None,
            SubscriptionStatus::Paused { reason } => Some(reason.clone()),
        };
        let wait = |ms: &u64| format_duration(Duration::from_millis(*ms));
        let schedule = subscription.retry_schedule.as_ref();
        let filter = subscription.filter.as_ref();
        let headers = subscription.headers.iter();
        Self {
            id: subscription.id,
            url: subscription.url.clone(),
            events: subscription.events.clone(),
            integration_id: subscription.integration,
            filter: filter.map(|filter| filter.source().clone()),
            description: subscription.description.clone(),
            format: subscription.format.name(),
            headers: headers.map(|it| (it.name.clone(), HIDDEN)).collect(),
            max_in_flight: subscription.max_in_flight,
            rate_limit: subscription.rate_limit,
            ordering: subscription.ordering.clone(),
            retry_schedule: schedule.map(|it| it.waits_ms().iter().map(wait).collect()),
            status: subscription.status.name(),
            paused_reason,
            created_at: time::rfc3339(subscription.created_at_ms),
        }
    }
}
