//! `POST /api/webhooks/{integration_key}` and its batch: events come in here.
//!
//! The caller is recognised and counted before a byte of the body is read; the body goes through one
//! validating pass and is then handed on as the bytes it was. The 202 is sent when the queue actor
//! says that the events are on disk. Whoever is refused because too much waits already is answered at
//! once, and heard again a moment later ([`tarpit`]).

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::{ApiError, Dialect};
use super::openapi::shapes;
use super::{Relay, access, blocking, content, gate, tarpit};
use crate::actors::auth::Principal;
use crate::actors::metrics::Door;
use crate::actors::queue::{Accepted, Incoming};
use crate::actors::rate_limit::Class;
use crate::domain::directory::Integration;
use crate::domain::idempotency;
use crate::domain::ids::EventId;
use crate::domain::permission::Permission;
use crate::domain::rate::Decision;
use crate::store::entry::Entry;
use crate::store::state::rows::KeyedRequest;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

#[derive(Serialize, ToSchema)]
#[schema(as = Accepted)]
struct One {
    #[schema(value_type = shapes::EventUuid)]
    uuid: EventId,
}

#[derive(Serialize, ToSchema)]
#[schema(as = AcceptedBatch)]
struct Many {
    /// In the order of the events.
    #[schema(value_type = Vec<shapes::EventUuid>)]
    uuids: Vec<EventId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Batch,
}

/// Sends an event
///
/// The answer comes after the event is on disk, and says its uuid: the `webhook-id` of its deliveries.
///
/// The body is delivered as it came. At most 256 KiB (the operator's `ingest.max_body_bytes`), nested at most 64 deep.
///
/// `CloudEvents` 1.0 come structured (`application/cloudevents+json`) or binary: then the attributes are in `ce-`
/// headers (`ce-specversion`, `ce-id`, `ce-source`, `ce-type`), and the body is the data, of any media type.
/// `source` and `id` don't deduplicate; an `Idempotency-Key` does.
#[utoipa::path(
    post, path = "/api/webhooks/{integration_key}", operation_id = "sendEvent",
    request_body(
        content(
            (shapes::Event = "application/json"),
            (shapes::CloudEvent = "application/cloudevents+json"),
        ),
        description = "The event.",
    ),
    responses(
        (status = 202, description = "The event is on disk.", body = One),
        (status = 409, description = "A request with this `Idempotency-Key` is under way: ask again in a moment."),
    ),
)]
pub async fn one(
    request: HttpRequest,
    relay: Data<Relay>,
    door: Path<String>,
    payload: Payload,
) -> HttpResponse {
    answer(Shape::One, &request, &relay, &door, payload).await
}

/// Sends many events, all or none
///
/// Up to 1000 events in at most 4 MiB (the operator's `ingest.max_batch_bytes`), each as large as one that is sent
/// alone: as JSON, as lines of JSON (`application/x-ndjson`), or as a batch of `CloudEvents`. An error names the
/// index of the first event that it is about. A batch counts its events against the rate limit.
#[utoipa::path(
    post, path = "/api/webhooks/{integration_key}/batch", operation_id = "sendBatch",
    request_body(
        content(
            (shapes::Events = "application/json"),
            (shapes::EventLines = "application/x-ndjson"),
            (shapes::CloudEvents = "application/cloudevents-batch+json"),
        ),
        description = "The events.",
    ),
    responses(
        (status = 202, description = "All events are on disk.", body = Many),
        (status = 409, description = "A request with this `Idempotency-Key` is under way: ask again in a moment."),
    ),
)]
pub async fn batch(
    request: HttpRequest,
    relay: Data<Relay>,
    door: Path<String>,
    payload: Payload,
) -> HttpResponse {
    answer(Shape::Batch, &request, &relay, &door, payload).await
}

async fn answer(
    shape: Shape,
    request: &HttpRequest,
    relay: &Relay,
    door: &str,
    payload: Payload,
) -> HttpResponse {
    let mut decision = None;
    let taken = take(shape, request, relay, door, payload, &mut decision).await;
    let mut response = taken.unwrap_or_else(|error| {
        relay.metrics.refused(Door::Ingest, error.counted_as());
        let refusal = error.response(Dialect::Ingest);
        match error {
            ApiError::Overloaded => tarpit::slowed(refusal),
            _ => refusal,
        }
    });
    gate::tell(response.headers_mut(), Class::Ingest, decision);
    response
}

async fn take(
    shape: Shape,
    request: &HttpRequest,
    relay: &Relay,
    door: &str,
    payload: Payload,
    decision: &mut Option<Decision>,
) -> Result<HttpResponse, ApiError> {
    let who = gate::recognise(request, relay)?;
    access::note(request, &who);
    let mut count = |permits| {
        let (window, counted) = gate::count(relay, &who, Class::Ingest, permits);
        *decision = window;
        counted
    };
    // A batch is counted when its events are; before that it needs one permit to be worth reading.
    count(u32::from(shape == Shape::One))?;
    let integration = enter(relay, &who, door)?;
    let key = idempotency_key(request)?;
    let (body, events) = match shape {
        Shape::One => content::one(request, relay, payload).await?,
        Shape::Batch => content::batch(request, relay, payload).await?,
    };
    if shape == Shape::Batch {
        count(u32::try_from(events.len()).unwrap_or(u32::MAX))?;
    }
    let permit = relay.queue.admit(body.len())?;
    let scope = |key: String| {
        (
            idempotency::scope(integration.account, integration.id, &key),
            idempotency::body(&body),
        )
    };
    let incoming = Incoming {
        account: integration.account,
        integration: integration.id,
        events,
        idempotency: key.map(scope),
    };
    let mut response = HttpResponse::build(StatusCode::ACCEPTED);
    let uuids = match relay.queue.accept(incoming, permit).await? {
        Accepted::Now(uuids) => uuids,
        Accepted::Before(known) => {
            response.insert_header((IDEMPOTENT_REPLAYED, "true"));
            answered_before(relay, known).await?
        }
    };
    Ok(match (shape, uuids.first()) {
        (Shape::One, Some(&uuid)) => response.json(One { uuid }),
        _ => response.json(Many { uuids }),
    })
}

/// The integration that a caller sends to. Another account's does not exist for him.
fn enter(
    relay: &Relay,
    who: &Principal,
    door: &str,
) -> Result<std::sync::Arc<Integration>, ApiError> {
    let integration = relay
        .directory
        .view()
        .integration(door)
        .filter(|integration| integration.account == who.account())
        .ok_or(ApiError::NotFound("Integration"))?;
    if !who.may(Permission::EventsWrite) || !who.reaches(Some(integration.id)) {
        return Err(ApiError::Forbidden);
    }
    if !integration.enabled {
        return Err(ApiError::Disabled);
    }
    Ok(integration)
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut values = request.headers().get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ApiError::Invalid(
            "Idempotency-Key must be given once".to_owned(),
        ));
    }
    let key = idempotency::parse(value.as_bytes())
        .map_err(|error| ApiError::Invalid(error.to_string()))?;
    Ok(Some(key.to_owned()))
}

/// The ids that an idempotency key was answered with.
async fn answered_before(relay: &Relay, known: KeyedRequest) -> Result<Vec<EventId>, ApiError> {
    if known.events == 1 {
        return Ok(vec![known.first]);
    }
    let log = std::sync::Arc::clone(&relay.log);
    let record = blocking(move || log.at(known.place.position)).await?;
    let index = known.place.index as usize;
    let count = known.events as usize;
    match &record.entry {
        Some(Entry::Accepted(events)) => {
            let own = events.iter().skip(index).take(count);
            Ok(own.map(|event| event.meta.id).collect())
        }
        Some(Entry::Keys(keys)) if index < keys.len() => Ok(keys[index].ids.clone()),
        _ => Err(ApiError::internal(
            &"an idempotency key points at no events",
        )),
    }
}
