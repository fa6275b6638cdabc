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
use uuid::Uuid;

use super::deliveries::{self, DeliveryView};
use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::search::{self, Wanted};
use super::{Answer, Relay, blocking, body};
use crate::domain::event::{EventMeta, Place};
use crate::domain::event_type::EventType;
use crate::domain::ids::{EventId, IntegrationId};
use crate::domain::permission::Permission;
use crate::domain::time;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    limit: Option<usize>,
    cursor: Option<String>,
    r#type: Option<String>,
    integration_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// An event as it is listed.
#[derive(Serialize)]
pub struct EventView {
    uuid: EventId,
    event: EventType,
    /// `null` for the relay's own.
    integration_id: Option<IntegrationId>,
    accepted_at: String,
    size_bytes: u32,
}

#[derive(Serialize)]
struct WholeEvent {
    #[serde(flatten)]
    view: EventView,
    #[serde(flatten)]
    payload: Payload,
    deliveries: Vec<DeliveryView>,
}

/// The body: JSON as it came, anything else in base64.
#[derive(Serialize)]
enum Payload {
    #[serde(rename = "payload")]
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

#[derive(Serialize)]
struct Events {
    events: Vec<EventView>,
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

/// Events, the newest first.
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
    let limit = page.limit()?;
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

/// One event: its payload, and every delivery with its attempts.
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
