//! `/v1/events`: what came in.
//!
//! A page is read backwards from the journal's end or from a cursor, and reads a bounded number of
//! records, so a page may be shorter than its limit while there is more to come.

use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::deliveries::{self, DeliveryView};
use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::page::{Limit, PageQuery};
use super::search::{self, Wanted};
use super::{Answer, Relay, blocking, body};
use crate::domain::event::{EventMeta, Place};
use crate::domain::event_type::EventType;
use crate::domain::ids::{EventId, IntegrationId};
use crate::domain::permission::Permission;
use crate::domain::time;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Query {
    /// How many entries the page may have.
    #[serde(default)]
    #[param(value_type = Option<shapes::Limit>)]
    limit: Limit,
    /// Where the last page ended.
    #[param(value_type = Option<shapes::Cursor>)]
    cursor: Option<String>,
    /// Only events of these types.
    #[param(value_type = Option<shapes::TypePattern>)]
    r#type: Option<String>,
    /// Only events that came in by this integration.
    #[param(value_type = Option<shapes::IntegrationId>)]
    integration_id: Option<String>,
    /// Only events that were accepted then or later.
    #[param(value_type = Option<shapes::Time>)]
    since: Option<String>,
    /// Only events that were accepted then or earlier.
    #[param(value_type = Option<shapes::Time>)]
    until: Option<String>,
}

/// An event as it is listed.
#[derive(Serialize, ToSchema)]
#[schema(as = ListedEvent)]
pub struct EventView {
    #[schema(value_type = shapes::EventUuid)]
    uuid: EventId,
    #[schema(value_type = shapes::EventType)]
    event: EventType,
    /// `null` for the relay's own.
    #[schema(value_type = Option<shapes::IntegrationId>, required)]
    integration_id: Option<IntegrationId>,
    #[schema(value_type = shapes::Time)]
    accepted_at: String,
    #[schema(example = 65)]
    size_bytes: u32,
}

/// An event with its payload and its deliveries.
#[derive(Serialize, ToSchema)]
struct WholeEvent {
    #[serde(flatten)]
    view: EventView,
    #[serde(flatten)]
    payload: Payload,
    deliveries: Vec<DeliveryView>,
}

/// The body: JSON as it came, anything else in base64.
#[derive(Serialize, ToSchema)]
enum Payload {
    #[serde(rename = "payload")]
    #[schema(value_type = Value, example = json!({
        "payload": { "event": "order.completed", "data": { "order_id": 67890, "total": 99.99 } },
    }))]
    Json(Box<RawValue>),
    #[serde(rename = "payload_base64")]
    Bytes(String),
}

impl Payload {
    fn of(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).map(str::to_owned);
        match text.map(RawValue::from_string) {
            Ok(Ok(json)) => Self::Json(json),
            _ => Self::Bytes(STANDARD.encode(body)),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = ListedEvents)]
struct Events {
    events: Vec<EventView>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
    next_cursor: Option<String>,
}

impl EventView {
    /// What is known about it.
    pub fn of(event: &EventMeta) -> Self {
        Self {
            uuid: event.id,
            event: event.event_type.clone(),
            integration_id: Some(event.integration).filter(|id| *id != IntegrationId::RELAY),
            accepted_at: time::rfc3339(event.accepted_at_ms),
            size_bytes: event.body_bytes,
        }
    }
}

/// Lists events
///
/// The newest first. A page reads a bounded number of records, so it may be shorter than its limit, or empty,
/// while there is more to come: go on as long as there is a `next_cursor`.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "listEvents", params(Query),
    responses((status = 200, description = "A page of events.", body = Events)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let Query {
        limit,
        cursor,
        r#type,
        integration_id,
        since,
        until,
    } = body::query(&request)?;
    let account = who.account();
    let wanted = Wanted::parse(
        who,
        ("type", r#type.as_deref()),
        integration_id.as_deref(),
        since.as_deref(),
        until.as_deref(),
    )?;
    let page = PageQuery::new(limit, cursor);
    let limit = page.limit();
    let before = page.cursor(&relay.cursors, account)?.map(place_of);
    let log = Arc::clone(&relay.log);
    let found = blocking(move || search::newest(&log, &wanted, before, limit)).await?;
    let events = found
        .events
        .iter()
        .map(|(_, event)| EventView::of(&event.meta))
        .collect();
    let end = found
        .next
        .map(|place| [place.position, u64::from(place.index)]);
    let next_cursor = end
        .map(|end| relay.cursors.seal(account, &end))
        .transpose()?;
    Ok(HttpResponse::Ok().json(Events {
        events,
        next_cursor,
    }))
}

fn place_of([position, index]: [u64; 2]) -> Place {
    Place {
        position,
        index: u32::try_from(index).unwrap_or(u32::MAX),
    }
}

/// Shows an event
///
/// Its payload as it came in, and every delivery with its attempts. A payload that is no JSON is in
/// `payload_base64`.
#[utoipa::path(
    get, path = "/v1/events/{uuid}", operation_id = "showEvent",
    responses((status = 200, description = "The event.", body = WholeEvent)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>, uuid: Path<String>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let id = Uuid::parse_str(&uuid)
        .map(EventId)
        .map_err(|_| ApiError::NotFound("Event"))?;
    let search::FoundEvent { place, event, .. } = search::find(&relay, who, id).await?;
    let deliveries = deliveries::of_event(&relay, id, place).await?;
    let payload = Payload::of(&event.body);
    let view = EventView::of(&event.meta);
    Ok(HttpResponse::Ok().json(WholeEvent {
        view,
        payload,
        deliveries,
    }))
}
