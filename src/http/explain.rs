//! `GET /v1/events/{uuid}/explain`: why each subscription did or did not get an event.
//!
//! Deliveries are told as they are. Whether a subscription wants the event is judged with the subscription
//! as it is now: how it was when the event was accepted is not kept. What a subscription asks for is shown
//! to those who may read subscriptions; everybody else sees only those that the event was matched to.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::deliveries::{self, DeliveryView};
use super::error::ApiError;
use super::events::EventView;
use super::gate::Caller;
use super::openapi::shapes;
use super::page::PageQuery;
use super::{Answer, Relay, blocking, body, owned, search};
use crate::domain::directory::{Subscription, SubscriptionStatus};
use crate::domain::event::{Event, EventMeta};
use crate::domain::event_type::TypePattern;
use crate::domain::filter::Body;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::domain::permission::Permission;
use crate::domain::time;

/// A page of subscriptions, in the order in which they were made.
#[derive(Serialize, ToSchema)]
struct Explained {
    #[serde(flatten)]
    event: EventView,
    subscriptions: Vec<Explanation>,
    /// Deliveries whose subscriptions are gone.
    #[schema(example = json!([]))]
    unsubscribed: Vec<DeliveryView>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Explanation {
    #[schema(value_type = shapes::SubscriptionId)]
    subscription_id: SubscriptionId,
    #[schema(value_type = shapes::SubscriptionStatus)]
    status: &'static str,
    #[schema(required, example = json!(null))]
    paused_reason: Option<String>,
    /// Its receiver fails, and gets one attempt now and then.
    #[schema(example = false)]
    probing: bool,
    #[schema(value_type = shapes::Time)]
    created_at: String,
    /// It was made after the event was accepted, and so was not asked.
    #[schema(example = false)]
    made_after: bool,
    verdict: Verdict,
    deliveries: Vec<DeliveryView>,
    #[serde(flatten)]
    #[schema(value_type = Wishes)]
    wishes: Option<Wishes>,
}

/// Whether a subscription wants the event as it is now, or the first that speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = "wanted")]
enum Verdict {
    Wanted,
    OtherIntegration,
    OtherType,
    Filtered,
}

/// What it asks for, as far as that explains something; shown to those who may read subscriptions.
#[derive(Serialize, ToSchema)]
struct Wishes {
    #[schema(value_type = shapes::Url, required = false)]
    url: String,
    #[schema(value_type = shapes::TypePatterns, required = false)]
    events: Vec<TypePattern>,
    /// Those members of its filter that do not hold.
    #[schema(value_type = Object, required = false, example = json!({}))]
    unmet: Map<String, Value>,
}

/// Explains why each subscription did or did not get an event
///
/// Deliveries are told as they are; whether a subscription wants the event is judged as the subscription is now.
/// What subscriptions ask for is shown to keys with `subscriptions:read`; others see only those that the event
/// was matched to.
#[utoipa::path(
    get, path = "/v1/events/{uuid}/explain", operation_id = "explainEvent", params(PageQuery),
    responses((status = 200, description = "A page of subscriptions.", body = Explained)),
)]
pub async fn explain(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    uuid: Path<String>,
) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let query: PageQuery = body::query(&request)?;
    let id = Uuid::parse_str(&uuid).map(EventId);
    let id = id.map_err(|_| ApiError::NotFound("Event"))?;
    let found = search::find(&relay, who.clone(), id).await?;
    let mut deliveries: BTreeMap<SubscriptionId, Vec<DeliveryView>> = BTreeMap::new();
    for delivery in deliveries::of_event(&relay, id, found.place).await? {
        let own = deliveries.entry(delivery.subscription_id).or_default();
        own.push(delivery);
    }
    let (mut page, next_cursor) = owned::list::<Subscription>(&relay, &who, &query)?;
    let may_read = who.may(Permission::SubscriptionsRead);
    page.retain(|it| may_read || deliveries.contains_key(&it.id));
    let event = EventView::of(&found.event.meta);
    let accepted_at_ms = found.event.meta.accepted_at_ms;
    // A filter may look at the whole of a large event.
    let judged = blocking(move || Ok(judge(page, &found.event))).await?;
    let explain = |(subscription, verdict, unmet): Judged| Explanation {
        deliveries: deliveries.remove(&subscription.id).unwrap_or_default(),
        probing: relay.probed.contains(&subscription.id),
        made_after: subscription.created_at_ms > accepted_at_ms,
        wishes: may_read.then(|| Wishes {
            url: subscription.url.clone(),
            events: subscription.events.clone(),
            unmet,
        }),
        ..Explanation::of(&subscription, verdict)
    };
    let subscriptions = judged.into_iter().map(explain).collect();
    // What is left are those on other pages, and those that are gone.
    deliveries.retain(|id, _| relay.directory.view().subscription(*id).is_none());
    Ok(HttpResponse::Ok().json(Explained {
        event,
        subscriptions,
        unsubscribed: deliveries.into_values().flatten().collect(),
        next_cursor,
    }))
}

type Judged = (Arc<Subscription>, Verdict, Map<String, Value>);

fn judge(subscriptions: Vec<Arc<Subscription>>, event: &Event) -> Vec<Judged> {
    let mut body = Body::of(event);
    let judged = subscriptions.into_iter().map(|subscription| {
        let verdict = verdict(&subscription, &event.meta, &mut body);
        let filter = subscription.filter.as_ref();
        let filter = filter.filter(|_| verdict == Verdict::Filtered);
        let unmet = filter.map(|filter| filter.unmet(body.read()));
        (subscription, verdict, unmet.unwrap_or_default())
    });
    judged.collect()
}

fn verdict(subscription: &Subscription, event: &EventMeta, body: &mut Body<'_>) -> Verdict {
    let integration = subscription.integration;
    if integration.is_some_and(|only| only != event.integration) {
        Verdict::OtherIntegration
    } else if !subscription.may_want(event) {
        Verdict::OtherType
    } else if !subscription.filter_wants(body) {
        Verdict::Filtered
    } else {
        Verdict::Wanted
    }
}

impl Explanation {
    /// Of what stands in the subscription itself.
    fn of(subscription: &Subscription, verdict: Verdict) -> Self {
        let (status, paused_reason) = match &subscription.status {
            SubscriptionStatus::Active => ("active", None),
            SubscriptionStatus::Paused { reason } => ("paused", Some(reason.clone())),
        };
        Self {
            subscription_id: subscription.id,
            status,
            paused_reason,
            probing: false,
            created_at: time::rfc3339(subscription.created_at_ms),
            made_after: false,
            verdict,
            deliveries: Vec::new(),
            wishes: None,
        }
    }
}
