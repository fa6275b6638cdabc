//! `/v1/events`: what came in.
//!
//! A page is read backwards from the journal's end or from a cursor, and reads a bounded number of
//! records, so a page may be shorter than its limit while there is more to come.

use std::sync::Arc;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::deliveries::{self, DeliveryView};
use super::error::ApiError;
use super::gate::Caller;
use super::page::{self, PageQuery};
use super::{Answer, Relay, blocking, body, time};
use crate::actors::auth::Principal;
use crate::domain::event::{Event, EventMeta, Place};
use crate::domain::event_type::{EventType, TypePattern};
use crate::domain::ids::{EventId, IntegrationId};
use crate::domain::permission::Permission;
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::log::Log;

/// Payload bytes that one page may read.
const MAX_PAGE_BYTES: usize = 16 << 20;
/// Records that one page may read.
const MAX_PAGE_RECORDS: usize = 4000;

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

/// Which events are wanted. Everything that is visible to the caller, if nothing else is said.
#[derive(Debug, Clone)]
pub struct Wanted {
    who: Principal,
    event_type: Option<TypePattern>,
    integration: Option<IntegrationId>,
    since_ms: u64,
    until_ms: u64,
}

impl Wanted {
    /// Reads the parameters that lists of events and deliveries share.
    pub fn parse(
        who: Principal,
        event_type: Option<&str>,
        integration_id: Option<&str>,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<Self, ApiError> {
        let moment = |name: &str, text: Option<&str>, otherwise| match text {
            None => Ok(otherwise),
            Some(text) => time::parse(text).ok_or_else(|| {
                ApiError::Invalid(format!(
                    "{name} must be a time in the form 2030-01-31T12:00:00Z"
                ))
            }),
        };
        let pattern = event_type.map(str::parse).transpose();
        let integration = integration_id.map(str::parse).transpose();
        Ok(Self {
            who,
            event_type: pattern.map_err(|error| ApiError::Invalid(format!("type: {error}")))?,
            integration: integration
                .map_err(|error| ApiError::Invalid(format!("integration_id: {error}")))?,
            since_ms: moment("since", since, 0)?,
            until_ms: moment("until", until, u64::MAX)?,
        })
    }

    /// Whether an event is wanted.
    pub fn holds(&self, event: &EventMeta) -> bool {
        event.account == self.who.account()
            && self.who.reaches(Some(event.integration))
            && self
                .integration
                .is_none_or(|only| only == event.integration)
            && self
                .event_type
                .as_ref()
                .is_none_or(|pattern| pattern.matches(&event.event_type))
            && (self.since_ms..=self.until_ms).contains(&event.accepted_at_ms)
    }
}

#[derive(Serialize)]
struct EventView {
    uuid: EventId,
    event: EventType,
    integration_id: IntegrationId,
    accepted_at: String,
    size_bytes: u32,
}

#[derive(Serialize)]
struct WholeEvent {
    #[serde(flatten)]
    view: EventView,
    payload: Box<RawValue>,
    deliveries: Vec<DeliveryView>,
}

#[derive(Serialize)]
struct Events {
    events: Vec<EventView>,
    next_cursor: Option<String>,
}

impl EventView {
    fn of(event: &EventMeta) -> Self {
        Self {
            uuid: event.id,
            event: event.event_type.clone(),
            integration_id: event.integration,
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
    let wanted = Wanted::parse(
        who,
        r#type.as_deref(),
        integration_id.as_deref(),
        since.as_deref(),
        until.as_deref(),
    )?;
    let page = PageQuery::new(limit, cursor);
    let limit = page.limit()?;
    let before = page.cursor()?.map(place_of);
    let log = Arc::clone(&relay.log);
    let found = blocking(move || newest(&log, &wanted, before, limit)).await?;
    let events = found
        .events
        .iter()
        .map(|(_, event)| EventView::of(&event.meta))
        .collect();
    let next_cursor = found
        .next
        .map(|place| page::cursor(&[place.position, u64::from(place.index)]));
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

/// Part of the log, read backwards.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest first.
    pub events: Vec<(Place, Event)>,
    /// Everything at and after this place was looked at. `None` when all was.
    pub next: Option<Place>,
}

/// The newest events strictly before a place.
pub fn newest(
    log: &Log,
    wanted: &Wanted,
    before: Option<Place>,
    limit: usize,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut bytes = 0;
    let mut at = match before {
        // A cursor from elsewhere may point anywhere; only a place that holds a record is read.
        Some(place) if place.position < log.end() => {
            log.at(place.position).ok().map(|it| it.position)
        }
        Some(_) => None,
        None => log.last(),
    };
    for _ in 0..MAX_PAGE_RECORDS {
        let Some(position) = at else { return Ok(found) };
        let record = log.at(position)?;
        bytes += record.payload_bytes;
        if let Some(Entry::Accepted(events)) = &record.entry {
            for (index, event) in events.iter().enumerate().rev() {
                let place = Place {
                    position,
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                };
                if before.is_some_and(|before| place >= before) || !wanted.holds(&event.meta) {
                    continue;
                }
                found.events.push((place, event.clone()));
                if found.events.len() == limit {
                    found.next = Some(place);
                    return Ok(found);
                }
            }
        }
        found.next = Some(Place { position, index: 0 });
        if bytes > MAX_PAGE_BYTES {
            return Ok(found);
        }
        at = record.previous;
    }
    Ok(found)
}

/// One event: its payload, and every delivery with its attempts.
pub async fn show(caller: Caller, relay: Data<Relay>, uuid: Path<String>) -> Answer {
    let who = caller.with(Permission::EventsRead)?;
    let id = Uuid::parse_str(&uuid)
        .map(EventId)
        .map_err(|_| ApiError::NotFound("Event"))?;
    let (place, event) = find(&relay, who, id).await?;
    let deliveries = deliveries::of_event(&relay, id, place).await?;
    let text = String::from_utf8_lossy(&event.body).into_owned();
    let payload = RawValue::from_string(text).map_err(|error| ApiError::internal(&error))?;
    let view = EventView::of(&event.meta);
    Ok(HttpResponse::Ok().json(WholeEvent {
        view,
        payload,
        deliveries,
    }))
}

/// The event of this id, if the caller may see it.
pub async fn find(relay: &Relay, who: Principal, id: EventId) -> Result<(Place, Event), ApiError> {
    let missing = || ApiError::NotFound("Event");
    let near = relay.dispatch.near(id).await?.ok_or_else(missing)?;
    let log = Arc::clone(&relay.log);
    let found = blocking(move || search(&log, near, id)).await?;
    let everything = Wanted::parse(who, None, None, None, None)?;
    found
        .filter(|(_, event)| everything.holds(&event.meta))
        .ok_or_else(missing)
}

/// Reads forwards until the event or a later one is found: ids grow in the order of the log.
fn search(log: &Log, near: u64, id: EventId) -> Result<Option<(Place, Event)>, StoreError> {
    let mut position = near;
    while let Some(record) = log.next(position)? {
        position = record.next;
        let Some(Entry::Accepted(events)) = &record.entry else {
            continue;
        };
        if let Ok(index) = events.binary_search_by(|event| event.meta.id.cmp(&id)) {
            let place = Place {
                position: record.position,
                index: u32::try_from(index).unwrap_or(u32::MAX),
            };
            return Ok(Some((place, events[index].clone())));
        }
        if events.last().is_some_and(|last| last.meta.id > id) {
            break;
        }
    }
    Ok(None)
}
