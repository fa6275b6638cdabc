//! How an event's body is sent.
//!
//! `raw` sends the bytes that came in, and is what everything else is measured by. The others put the
//! event's data into an envelope; the data itself is copied as it stands, so that no number and no order
//! of members changes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::event::{Content, Event};
use super::time;

/// How a body is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The bytes that came in.
    #[default]
    Raw,
    /// `{"type", "timestamp", "data"}`, as Standard Webhooks recommends.
    Standard,
    /// A `CloudEvents` 1.0 event in structured mode; one that came in as `CloudEvents` is sent as it came.
    CloudEvents,
}

/// The formats by their names.
pub const NAMES: [(Format, &str); 3] = [
    (Format::Raw, "raw"),
    (Format::Standard, "standard"),
    (Format::CloudEvents, "cloudevents"),
];

impl Format {
    /// Its name.
    pub fn name(self) -> &'static str {
        let known = NAMES.iter().find(|(format, _)| *format == self);
        known.map_or("raw", |(_, name)| name)
    }

    /// The format of this name.
    pub fn parse(text: &str) -> Option<Self> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map(|(format, _)| *format)
    }
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The bytes.
    pub body: Bytes,
    /// What they are, if they are not what came in.
    pub content_type: Option<&'static str>,
}

#[derive(Serialize)]
struct Standard<'a> {
    r#type: &'a str,
    timestamp: &'a str,
    data: &'a RawValue,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    r#type: &'a str,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    data_base64: Option<&'a RawValue>,
}

/// An event in a format.
pub fn compose(format: Format, event: &Event) -> Composed {
    let came_in = Composed {
        body: event.body.clone(),
        content_type: None,
    };
    let is_cloud_event = event.meta.content != Content::Json;
    if format == Format::Raw || (format == Format::CloudEvents && is_cloud_event) {
        return came_in;
    }
    let data = data(event);
    let timestamp = &*time::rfc3339(event.meta.accepted_at_ms);
    let r#type = event.meta.event_type.as_str();
    let (body, content_type) = match format {
        Format::CloudEvents => (
            serde_json::to_vec(&CloudEvent {
                specversion: "1.0",
                id: event.meta.id.to_string(),
                source: format!("/integrations/{}", event.meta.integration),
                r#type,
                time: timestamp,
                datacontenttype: "application/json",
                data: &data,
            }),
            "application/cloudevents+json",
        ),
        Format::Raw | Format::Standard => (
            serde_json::to_vec(&Standard {
                r#type,
                timestamp,
                data: &data,
            }),
            "application/json",
        ),
    };
    // Strings and raw JSON can always be written.
    body.map_or(came_in, |body| Composed {
        body: body.into(),
        content_type: Some(content_type),
    })
}

/// An event's data as JSON, as it stands in the body. Bytes that are no JSON become a text, and in base64
/// if they are no text.
fn data(event: &Event) -> Box<RawValue> {
    let body: &[u8] = &event.body;
    let inside = match &event.meta.content {
        Content::Json | Content::Structured => serde_json::from_slice::<Data<'_>>(body)
            .ok()
            .and_then(|it| it.data.or(it.data_base64))
            .map(ToOwned::to_owned),
        Content::Binary { .. } => serde_json::from_slice::<&RawValue>(body)
            .ok()
            .map(ToOwned::to_owned),
    };
    inside.unwrap_or_else(|| match &event.meta.content {
        Content::Binary { .. } => text(body),
        _ => RawValue::NULL.to_owned(),
    })
}

fn text(body: &[u8]) -> Box<RawValue> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let text = std::str::from_utf8(body).map_or_else(|_| STANDARD.encode(body), str::to_owned);
    serde_json::value::to_raw_value(&text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::EventMeta;
    use crate::domain::ids::{AccountId, EventId, IntegrationId};

    fn event(content: Content, body: &str) -> Event {
        let meta = EventMeta {
            id: EventId(uuid::Uuid::nil()),
            account: AccountId::from_bits(1),
            integration: IntegrationId::from_bits(2),
            event_type: "order.paid".parse().unwrap(),
            content,
            accepted_at_ms: 0,
            idempotency: None,
            body_bytes: 0,
        };
        Event {
            meta,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    fn composed(format: Format, event: &Event) -> (String, Option<&'static str>) {
        let composed = compose(format, event);
        let body = String::from_utf8(composed.body.to_vec()).unwrap();
        (body, composed.content_type)
    }

    const BODY: &str =
        r#"{"event":"order.paid", "data": {"b": 1.50, "a": 12345678901234567890123}}"#;

    #[test]
    fn raw_sends_the_bytes_that_came_in() {
        let event = event(Content::Json, BODY);
        assert_eq!(composed(Format::Raw, &event), (BODY.to_owned(), None));
    }

    #[test]
    fn an_envelope_keeps_the_data_to_the_letter() {
        let event = event(Content::Json, BODY);
        let data = r#"{"b": 1.50, "a": 12345678901234567890123}"#;
        let standard = format!(
            r#"{{"type":"order.paid","timestamp":"1970-01-01T00:00:00.000Z","data":{data}}}"#
        );
        assert_eq!(
            composed(Format::Standard, &event),
            (standard, Some("application/json"))
        );
        let (body, content_type) = composed(Format::CloudEvents, &event);
        assert_eq!(content_type, Some("application/cloudevents+json"));
        assert!(body.ends_with(&format!(r#""data":{data}}}"#)), "{body}");
        for member in ["specversion", "id", "source", "type", "time"] {
            let read: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(read[member].as_str().is_some_and(|it| !it.is_empty()));
        }
    }

    #[test]
    fn a_cloud_event_is_sent_as_one_and_its_data_is_found() {
        let body = r#"{"specversion":"1.0","id":"1","source":"s","type":"order.paid","data":[1]}"#;
        let structured = event(Content::Structured, body);
        assert_eq!(
            composed(Format::CloudEvents, &structured),
            (body.to_owned(), None)
        );
        assert!(
            composed(Format::Standard, &structured)
                .0
                .ends_with(r#""data":[1]}"#)
        );
        let binary = |body| {
            let content = Content::Binary {
                content_type: None,
                attributes: Vec::new(),
            };
            composed(Format::Standard, &event(content, body)).0
        };
        assert!(binary("[1 , 2]").ends_with(r#""data":[1 , 2]}"#));
        assert!(binary("plain \"text\"").ends_with(r#""data":"plain \"text\""}"#));
    }

    #[test]
    fn every_format_has_a_name() {
        for (format, name) in NAMES {
            assert_eq!((format.name(), Format::parse(name)), (name, Some(format)));
        }
        assert_eq!(Format::parse("xml"), None);
    }
}
