//! What a request to send events holds: by its media type and headers, the plain dialect or one of the
//! three modes of `CloudEvents` 1.0 (HTTP binding).
//!
//! Whatever it is, it goes through one validating pass, and the bytes stay as they came.

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, Payload};

use super::error::ApiError;
use super::{Relay, body};
use crate::domain::cloudevents::{self, BinaryEvent, Mode};
use crate::domain::envelope::{self, MAX_DEPTH};
use crate::domain::event::{Content, NewEvent};
use crate::domain::event_type::OPERATIONAL;

/// The most events in one batch.
pub const MAX_BATCH_EVENTS: usize = 1000;

const JSON: &str = "application/json";
const NDJSON: [&str; 3] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
];

/// A body, and the events in it.
pub type Read = (Bytes, Vec<NewEvent>);

/// Reads one event.
pub async fn one(request: &HttpRequest, relay: &Relay, payload: Payload) -> Result<Read, ApiError> {
    let media_type = body::media_type(request);
    let mode = mode(request, &media_type)?;
    match mode {
        Mode::Plain if media_type.is_empty() || media_type == JSON => {}
        Mode::Plain => {
            let message = "Content-Type must be application/json or application/cloudevents+json";
            return Err(ApiError::MediaType(message.to_owned()));
        }
        Mode::Batch => {
            let message = "Send a batch of events to this path followed by /batch";
            return Err(ApiError::MediaType(message.to_owned()));
        }
        Mode::Structured | Mode::Binary => {}
    }
    let binary = (mode == Mode::Binary)
        .then(|| binary(request))
        .transpose()?;
    let body = body::read(
        request,
        payload,
        relay.limits.max_body_bytes,
        &relay.arriving,
    )
    .await?;
    let (event_type, content) = match binary {
        Some((event, content_type)) => {
            let attributes = event.attributes;
            (
                event.event_type,
                Content::Binary {
                    content_type,
                    attributes,
                },
            )
        }
        None if mode == Mode::Structured => (
            cloudevents::parse_structured(&body, MAX_DEPTH)?,
            Content::Structured,
        ),
        None => (envelope::parse(&body, MAX_DEPTH)?.event_type, Content::Json),
    };
    if event_type.is_operational() {
        return Err(operational("event"));
    }
    Ok((
        body.clone(),
        vec![NewEvent {
            event_type,
            content,
            body,
        }],
    ))
}

/// A type that only the relay itself sends.
fn operational(field: &str) -> ApiError {
    ApiError::Invalid(format!(
        "{field}: types that begin with `{OPERATIONAL}.` are the relay's own"
    ))
}

/// Reads up to [`MAX_BATCH_EVENTS`] events.
pub async fn batch(
    request: &HttpRequest,
    relay: &Relay,
    payload: Payload,
) -> Result<Read, ApiError> {
    let media_type = body::media_type(request);
    let events: fn(&Bytes, usize) -> Result<Vec<NewEvent>, ApiError> =
        match mode(request, &media_type)? {
            Mode::Plain if media_type.is_empty() || media_type == JSON => array,
            Mode::Plain if NDJSON.contains(&media_type.as_str()) => lines,
            Mode::Batch => cloud_events,
            Mode::Plain | Mode::Structured | Mode::Binary => {
                let message = "Content-Type must be application/json, application/x-ndjson or \
                               application/cloudevents-batch+json";
                return Err(ApiError::MediaType(message.to_owned()));
            }
        };
    let body = body::read(
        request,
        payload,
        relay.limits.max_batch_bytes,
        &relay.arriving,
    )
    .await?;
    let events = events(&body, relay.limits.max_body_bytes)?;
    let own = events.iter().position(|it| it.event_type.is_operational());
    match own {
        Some(index) => Err(operational(&format!("events[{index}].event"))),
        None => Ok((body, events)),
    }
}

fn array(body: &Bytes, max_event_bytes: usize) -> Result<Vec<NewEvent>, ApiError> {
    Ok(plain(
        body,
        envelope::parse_batch(body, MAX_BATCH_EVENTS, max_event_bytes, MAX_DEPTH)?,
    ))
}

fn lines(body: &Bytes, max_event_bytes: usize) -> Result<Vec<NewEvent>, ApiError> {
    Ok(plain(
        body,
        envelope::parse_ndjson(body, MAX_BATCH_EVENTS, max_event_bytes, MAX_DEPTH)?,
    ))
}

fn plain(body: &Bytes, items: Vec<envelope::BatchItem>) -> Vec<NewEvent> {
    let event = |item: envelope::BatchItem| NewEvent {
        event_type: item.envelope.event_type,
        content: Content::Json,
        body: body.slice(item.range),
    };
    items.into_iter().map(event).collect()
}

fn cloud_events(body: &Bytes, max_event_bytes: usize) -> Result<Vec<NewEvent>, ApiError> {
    let items = cloudevents::parse_batch(body, MAX_BATCH_EVENTS, max_event_bytes, MAX_DEPTH)?;
    let event = |item: cloudevents::BatchItem| NewEvent {
        event_type: item.event_type,
        content: Content::Structured,
        body: body.slice(item.range),
    };
    Ok(items.into_iter().map(event).collect())
}

fn mode(request: &HttpRequest, media_type: &str) -> Result<Mode, ApiError> {
    let described = request
        .headers()
        .keys()
        .any(|name| name.as_str().starts_with(cloudevents::HEADER_PREFIX));
    Ok(cloudevents::mode(media_type, described)?)
}

/// The headers that describe a binary event, its own `Content-Type` among them.
fn binary(request: &HttpRequest) -> Result<(BinaryEvent, Option<String>), ApiError> {
    let headers = request.headers().iter();
    let event =
        cloudevents::parse_binary(headers.map(|(name, value)| (name.as_str(), value.as_bytes())))?;
    let content_type = request
        .headers()
        .get(CONTENT_TYPE)
        .map(|value| value.to_str());
    let content_type = content_type.transpose().map_err(|_| {
        ApiError::MediaType("Content-Type must be visible ASCII characters".to_owned())
    })?;
    Ok((event, content_type.map(str::to_owned)))
}
