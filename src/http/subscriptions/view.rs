//! A subscription as it is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::reading::HIDDEN;
use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::domain::duration::format_duration;
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{EventId, IntegrationId, SubscriptionId};
use crate::domain::ordering::Ordering;
use crate::domain::time;
use crate::http::openapi::shapes;
use crate::store::ledger::Standing;

/// Everything but its secrets.
#[derive(Serialize, ToSchema)]
#[schema(as = Subscription)]
pub struct SubscriptionView {
    #[schema(value_type = shapes::SubscriptionId)]
    id: SubscriptionId,
    #[schema(value_type = shapes::Url)]
    url: String,
    #[schema(value_type = shapes::TypePatterns)]
    events: Vec<TypePattern>,
    /// Only events that come in by this integration; `null` for all.
    #[schema(value_type = Option<shapes::IntegrationId>, required)]
    integration_id: Option<IntegrationId>,
    #[schema(value_type = Option<shapes::Filter>, required)]
    filter: Option<Value>,
    #[schema(value_type = Option<shapes::Description>, required)]
    description: Option<String>,
    #[schema(value_type = shapes::Format)]
    format: &'static str,
    /// Names, and that there is a value.
    #[schema(value_type = shapes::HiddenHeaders)]
    headers: BTreeMap<String, &'static str>,
    /// `null` for the relay's `delivery.max_in_flight`.
    #[schema(value_type = Option<shapes::MaxInFlight>, required)]
    max_in_flight: Option<u16>,
    /// `null` for no limit.
    #[schema(value_type = Option<shapes::AttemptRate>, required)]
    rate_limit: Option<u32>,
    #[schema(value_type = shapes::Ordering)]
    ordering: Ordering,
    /// `null` for the relay's `delivery.retry_schedule`.
    #[schema(value_type = Option<shapes::RetrySchedule>, required)]
    retry_schedule: Option<Vec<String>>,
    #[schema(value_type = shapes::SubscriptionStatus)]
    status: &'static str,
    #[schema(required, example = json!(null))]
    paused_reason: Option<String>,
    #[schema(value_type = shapes::Time)]
    created_at: String,
}

/// One, and how its deliveries stand.
#[derive(Serialize, ToSchema)]
pub struct WholeSubscription {
    #[serde(flatten)]
    view: SubscriptionView,
    /// What receivers verify with, if the secret is a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = shapes::PublicKey, required = false)]
    public_key: Option<String>,
    standing: StandingView,
}

/// How a subscription's deliveries stand.
#[derive(Serialize, ToSchema)]
#[schema(as = Standing)]
struct StandingView {
    #[schema(example = 3)]
    pending: usize,
    #[schema(example = 1)]
    retrying: usize,
    #[schema(example = 0)]
    dead: usize,
    /// Its receiver fails, and gets one attempt now and then.
    #[schema(example = false)]
    probing: bool,
    /// The first of nothing but failures.
    #[schema(value_type = Option<shapes::Time>, required)]
    failing_since: Option<String>,
    #[schema(example = 0)]
    failures: u32,
    /// What holds up everything behind it, where an order is kept.
    #[schema(required, example = json!(null))]
    blocked_by: Option<Blocking>,
}

#[derive(Serialize, ToSchema)]
struct Blocking {
    #[schema(value_type = shapes::DeliveryId)]
    delivery_id: String,
    #[schema(value_type = shapes::EventUuid)]
    event_uuid: EventId,
    #[schema(example = 2)]
    attempts: u16,
    #[schema(value_type = shapes::Time)]
    next_attempt_at: String,
}

impl WholeSubscription {
    pub fn of(
        subscription: &Subscription,
        public_key: Option<String>,
        standing: &Standing,
        probing: bool,
    ) -> Self {
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
            public_key,
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
#[derive(Serialize, ToSchema)]
pub struct NewSubscription {
    #[serde(flatten)]
    pub view: SubscriptionView,
    #[schema(value_type = shapes::ShownSecret)]
    pub secret: String,
    /// What receivers verify with, if the secret is a private key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = shapes::PublicKey, required = false)]
    pub public_key: Option<String>,
}

/// A new secret, and until when the one before it signs, too.
#[derive(Serialize, ToSchema)]
pub struct NewSecret {
    #[schema(value_type = shapes::ShownSecret)]
    pub secret: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = shapes::PublicKey, required = false)]
    pub public_key: Option<String>,
    #[schema(value_type = Option<shapes::Time>, required)]
    pub previous_expires_at: Option<String>,
}

/// A page of them.
#[derive(Serialize, ToSchema)]
pub struct Subscriptions {
    pub subscriptions: Vec<SubscriptionView>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
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
