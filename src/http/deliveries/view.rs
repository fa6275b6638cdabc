//! Deliveries and attempts as they are asked for and shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::actors::deliveries::Known;
use crate::domain::delivery::{Attempt, OpenState, Status};
use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::domain::event_type::EventType;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::domain::time;
use crate::http::openapi::shapes;
use crate::http::page::Limit;

/// Which deliveries are asked for.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Query {
    /// How many entries the page may have.
    #[serde(default)]
    #[param(value_type = Option<shapes::Limit>)]
    pub limit: Limit,
    /// Where the last page ended.
    #[param(value_type = Option<shapes::Cursor>)]
    pub cursor: Option<String>,
    /// Only those that stand so.
    #[param(value_type = Option<shapes::DeliveryStatus>)]
    pub status: Option<Status>,
    /// Only those to this subscription.
    #[param(value_type = Option<shapes::SubscriptionId>)]
    pub subscription_id: Option<String>,
    /// Only those of events of these types.
    #[param(value_type = Option<shapes::TypePattern>)]
    pub event_type: Option<String>,
    /// Only those of events that were accepted then or later.
    #[param(value_type = Option<shapes::Time>)]
    pub since: Option<String>,
    /// Only those of events that were accepted then or earlier.
    #[param(value_type = Option<shapes::Time>)]
    pub until: Option<String>,
}

/// An attempt as it is shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptView {
    /// 1 for the first.
    #[schema(example = 1)]
    number: u16,
    #[schema(value_type = shapes::Time)]
    started_at: String,
    #[schema(example = 42)]
    duration_ms: u32,
    /// Of that: looking up the name, and connecting; absent where a connection was open already, and where
    /// it did not come to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 3)]
    resolve_ms: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 12)]
    connect_ms: Option<u32>,
    /// From the beginning to the head of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 41)]
    first_byte_ms: Option<u32>,
    /// What the endpoint answered with; `null` where there was no whole response.
    #[schema(required, example = 204)]
    status_code: Option<u16>,
    /// Why there was no whole response, in a word: `address_not_allowed`, `resolve`, `connect`, `tls`,
    /// `timeout`, `closed`, `invalid_response`, `event_unreadable` or `internal_error`.
    #[schema(required, example = json!(null))]
    error: Option<String>,
    /// The beginning of a response that was a failure, with `***` in place of secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    response: Option<String>,
}

/// A delivery and its attempts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventDelivery)]
pub struct DeliveryView {
    /// Its id.
    #[schema(value_type = shapes::DeliveryId)]
    pub id: String,
    #[schema(value_type = shapes::EventUuid)]
    event_uuid: EventId,
    /// To whom.
    #[schema(value_type = shapes::SubscriptionId)]
    pub subscription_id: SubscriptionId,
    /// How it stands.
    #[schema(value_type = shapes::DeliveryStatus)]
    pub status: Status,
    /// When it is tried again, if it failed and its subscription is active.
    #[schema(value_type = Option<shapes::Time>, required)]
    next_attempt_at: Option<String>,
    attempts: Vec<AttemptView>,
}

/// A delivery and its attempts, with the type of its event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct ListedDelivery {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// The type of its event.
    #[schema(value_type = shapes::EventType)]
    pub event: EventType,
}

/// A page of deliveries.
#[derive(Serialize, ToSchema)]
pub struct Deliveries {
    /// Those of the newest event first.
    pub deliveries: Vec<ListedDelivery>,
    /// Where to go on, if there is more.
    #[schema(value_type = Option<shapes::Cursor>, required)]
    pub next_cursor: Option<String>,
}

impl DeliveryView {
    /// What is known of it.
    pub fn of(known: &Known, subscription: Option<&Subscription>) -> Self {
        let active = subscription.is_some_and(|it| it.status == SubscriptionStatus::Active);
        let due_ms = match known.open.map(|entry| entry.delivery.state) {
            Some(OpenState::Retrying { due_ms }) if active => Some(due_ms),
            _ => None,
        };
        let made = known.attempts.iter().filter(|attempt| attempt.was_made());
        Self {
            id: known.id.to_string(),
            event_uuid: known.id.event,
            subscription_id: known.id.subscription,
            status: known.status(subscription.is_some()),
            next_attempt_at: due_ms.map(time::rfc3339),
            attempts: made.map(AttemptView::of).collect(),
        }
    }
}

impl AttemptView {
    /// What an attempt met.
    pub fn of(attempt: &Attempt) -> Self {
        let head = &attempt.response_head;
        Self {
            number: attempt.number,
            started_at: time::rfc3339(attempt.started_at_ms),
            duration_ms: attempt.duration_ms,
            resolve_ms: attempt.timing.resolve_ms,
            connect_ms: attempt.timing.connect_ms,
            first_byte_ms: attempt.timing.first_byte_ms,
            status_code: attempt.status,
            error: attempt.error.clone(),
            response: (!head.is_empty()).then(|| String::from_utf8_lossy(head).into_owned()),
        }
    }
}
