//! What an ingest body must look like: `{"event": "user.created", "data": …}`, alone or many at once.
//!
//! A body is checked in one pass, and only the event's type and the place of its data are taken
//! from it; the bytes stay what they are, further members included. A member that counts must not
//! appear twice: two readers could disagree about which one is meant.
//!
//! Invariants: ranges lie within the body they were read from and are whole JSON values. Whatever
//! is malformed is reported as such, even if something well formed before it is wrong, as long as
//! no limit was met on the way. Offsets in errors count from the beginning of the body.

mod batch;

use std::ops::Range;

use thiserror::Error;

use crate::domain::batch::ReadEvent;
use crate::domain::event_type::{EventType, EventTypeError};
use crate::domain::json::{self, JsonError, Kind, Scanner, Value};

pub use batch::{BatchError, BatchItem, parse_batch, parse_ndjson};

/// The deepest nesting of objects and arrays in an event by default; the event itself counts as 1.
pub const MAX_DEPTH: usize = 64;

/// What a valid event says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The value of `event`.
    pub event_type: EventType,
    /// Where the value of `data` is, in bytes from the beginning of the body (of the event's own
    /// bytes, if it is part of a batch).
    pub data: Range<usize>,
}

/// Why a body, or an event in it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// It is not JSON.
    #[error("The body is not valid JSON: {0}")]
    Malformed(#[source] JsonError),
    /// It is nested too deeply.
    #[error("The body is nested too deeply: {0}")]
    TooDeep(#[source] JsonError),
    /// It is JSON, but not an object.
    #[error("A JSON object is expected, not {found}")]
    NotAnObject {
        /// What it is.
        found: Kind,
    },
    /// A member that must be there is not.
    #[error("The field `{field}` is missing")]
    Missing {
        /// The member's name.
        field: &'static str,
    },
    /// A member is there more than once.
    #[error("The field `{field}` appears more than once")]
    Duplicate {
        /// The member's name.
        field: &'static str,
    },
    /// A member's value is not what it must be.
    #[error("The field `{field}` must be {expected}, not {found}")]
    WrongType {
        /// The member's name.
        field: &'static str,
        /// What it must be.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// The value of `event` is not a type name.
    #[error("The field `event` is not a valid event type: {0}")]
    InvalidType(#[from] EventTypeError),
}

impl EnvelopeError {
    /// The member to blame, if one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Missing { field } | Self::Duplicate { field } | Self::WrongType { field, .. } => {
                Some(field)
            }
            Self::InvalidType(_) => Some(EVENT),
            Self::Malformed(_) | Self::TooDeep(_) | Self::NotAnObject { .. } => None,
        }
    }
}

impl From<JsonError> for EnvelopeError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed { .. } => Self::Malformed(error),
            JsonError::TooDeep { .. } => Self::TooDeep(error),
        }
    }
}

const EVENT: &str = "event";
const DATA: &str = "data";

/// Reads a body that is one event, nested at most `max_depth` deep ([`json::DEPTH_CEILING`] is the
/// most that can be allowed).
pub fn parse(body: &[u8], max_depth: usize) -> Result<Envelope, EnvelopeError> {
    let mut scanner = Scanner::new(json::text(body)?, max_depth);
    let (_, envelope) = read_event(&mut scanner)?;
    scanner.finish()?;
    envelope
}

/// Reads one event to its end, well formed but wrong ones too; ranges are those of the scanner.
fn read_event(scanner: &mut Scanner<'_>) -> Result<ReadEvent<Envelope, EnvelopeError>, JsonError> {
    let found = scanner.peek()?;
    let start = scanner.position();
    if found != Kind::Object {
        let value = scanner.value()?;
        return Ok((value.range, Err(EnvelopeError::NotAnObject { found })));
    }
    scanner.open()?;
    let (mut event, mut data, mut repeated) = (None, None, None);
    while let Some(key) = scanner.next_slot()? {
        let value = scanner.value()?;
        let (field, place) = match scanner.string_at(&key).as_deref() {
            Some(EVENT) => (EVENT, &mut event),
            Some(DATA) => (DATA, &mut data),
            _ => continue,
        };
        if place.replace(value).is_some() {
            repeated.get_or_insert(field);
        }
    }
    let envelope = match repeated {
        Some(field) => Err(EnvelopeError::Duplicate { field }),
        None => judge(scanner, event, data),
    };
    Ok((start..scanner.position(), envelope))
}

fn judge(
    scanner: &Scanner<'_>,
    event: Option<Value>,
    data: Option<Value>,
) -> Result<Envelope, EnvelopeError> {
    let event = event.ok_or(EnvelopeError::Missing { field: EVENT })?;
    if event.kind != Kind::String {
        let (expected, found) = (Kind::String, event.kind);
        return Err(EnvelopeError::WrongType {
            field: EVENT,
            expected,
            found,
        });
    }
    // A lone surrogate stands for no character; what replaces it is outside a name's alphabet too.
    let name = scanner.string_at(&event.range).unwrap_or("\u{fffd}".into());
    let event_type = name.parse()?;
    let data = data.ok_or(EnvelopeError::Missing { field: DATA })?.range;
    Ok(Envelope { event_type, data })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse_str(body: &str) -> Result<Envelope, EnvelopeError> {
        parse(body.as_bytes(), MAX_DEPTH)
    }

    #[test]
    fn an_event_gives_its_type_and_the_place_of_its_data() {
        for (body, event_type, data) in [
            (
                r#"{"event":"user.created","data":{"id":1}}"#,
                "user.created",
                r#"{"id":1}"#,
            ),
            ("\r\n{ \"data\" : null ,\"event\" : \"a\" }\n", "a", "null"),
            (
                r#"{"event":"user\u002ecreated","data":1e999}"#,
                "user.created",
                "1e999",
            ),
            (
                r#"{"\u0065vent":"a","d\u0061ta":"\ud800"}"#,
                "a",
                r#""\ud800""#,
            ),
            (
                r#"{"id":7,"event":"a","meta":{"event":1,"data":[]},"data":[]}"#,
                "a",
                "[]",
            ),
            (
                r#"{"x":1,"x":2,"Event":0,"":0,"\ud800":0,"event":"a","data":0}"#,
                "a",
                "0",
            ),
            (
                r#"{"event":"a","data":{"k":1,"k":2}}"#,
                "a",
                r#"{"k":1,"k":2}"#,
            ),
        ] {
            let envelope = parse_str(body).unwrap();
            assert_eq!(envelope.event_type.as_str(), event_type, "{body}");
            assert_eq!(&body[envelope.data], data, "{body}");
        }
    }

    #[test]
    fn well_formed_but_wrong_events_name_the_field() {
        for (body, field, message) in [
            ("[]", None, "A JSON object is expected, not an array"),
            ("\"a\"", None, "A JSON object is expected, not a string"),
            ("null", None, "A JSON object is expected, not null"),
            ("{}", Some("event"), "The field `event` is missing"),
            (
                r#"{"data":1}"#,
                Some("event"),
                "The field `event` is missing",
            ),
            (
                r#"{"event":"a"}"#,
                Some("data"),
                "The field `data` is missing",
            ),
            (
                r#"{"event":7,"data":1}"#,
                Some("event"),
                "The field `event` must be a string, not a number",
            ),
            (
                r#"{"event":null,"data":1}"#,
                Some("event"),
                "The field `event` must be a string, not null",
            ),
            (
                r#"{"event":"a","data":1,"event":"a"}"#,
                Some("event"),
                "The field `event` appears more than once",
            ),
            (
                r#"{"event":"a","data":1,"\u0064ata":1}"#,
                Some("data"),
                "The field `data` appears more than once",
            ),
            (
                r#"{"event":"","data":1}"#,
                Some("event"),
                "The field `event` is not a valid event type: a type name must not be empty",
            ),
        ] {
            let error = parse_str(body).unwrap_err();
            assert_eq!(
                (error.field(), error.to_string().as_str()),
                (field, message),
                "{body}"
            );
        }
        for name in [
            "user..created",
            "user created",
            "user.*",
            "\\ud800",
            "\\u0000",
            "é",
        ] {
            let error = parse_str(&format!(r#"{{"event":"{name}","data":1}}"#)).unwrap_err();
            assert!(
                matches!(error, EnvelopeError::InvalidType(_)),
                "{name}: {error}"
            );
        }
    }

    #[test]
    fn malformed_bodies_are_told_from_wrong_ones() {
        for body in [
            "",
            "{",
            r#"{"event":"a","data":1}}"#,
            r#"{"event":"a","data":1,}"#,
            r#"{"event":"a","data":01}"#,
            r#"{"event":"a","event":"a",}"#,
            r#"{"event":7,"data":[1,}"#,
            "[1,2",
            "\u{feff}{\"event\":\"a\",\"data\":1}",
        ] {
            let error = parse_str(body).unwrap_err();
            assert!(
                matches!(error, EnvelopeError::Malformed(_)),
                "{body}: {error}"
            );
            assert_eq!(error.field(), None);
        }
        let error = parse(b"{\"event\":\"a\",\"data\":\"\xff\"}", MAX_DEPTH).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The body is not valid JSON: invalid UTF-8 at byte 21"
        );
    }

    #[test]
    fn nesting_counts_the_event_itself() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"event":"a","data":{open}{close}}}"#)
        };
        assert!(parse_str(&nested(63)).is_ok());
        for depth in [64, 1_000_000] {
            let error = parse_str(&nested(depth)).unwrap_err();
            assert!(
                matches!(error, EnvelopeError::TooDeep(_)),
                "{depth}: {error}"
            );
        }
    }

    #[test]
    fn an_event_cut_off_anywhere_is_malformed() {
        let body = r#"{"event":"a.b","data":{"é":[1,"\u00e9"]},"more":true}"#.as_bytes();
        assert!(parse(body, MAX_DEPTH).is_ok());
        for end in 0..body.len() {
            let error = parse(&body[..end], MAX_DEPTH).unwrap_err();
            assert!(
                matches!(error, EnvelopeError::Malformed(_)),
                "{end}: {error}"
            );
        }
    }

    proptest! {
        /// Keys and values are spelled with and without escapes, and may repeat or be wrong.
        #[test]
        fn an_envelope_is_what_serde_json_sees(
            members in prop::collection::vec(
                (
                    prop::sample::select(vec!["event", "\\u0065vent", "data", "dat\\u0061", "x"]),
                    prop::sample::select(vec![
                        r#""a.b""#, r#""a\u002eb-1""#, r#""a b""#, "[ 1 ]", "{\"k\":\"\\n\"}", "null",
                    ]),
                ),
                0..4,
            ),
        ) {
            let members: Vec<_> = members.iter().map(|(k, v)| format!("\"{k}\" : {v}")).collect();
            let body = format!(" {{ {} }}\n", members.join(","));
            let seen: serde_json::Value = serde_json::from_str(&body).unwrap();
            match parse_str(&body) {
                Ok(Envelope { event_type, data }) => {
                    let fields = members.iter().filter(|member| !member.starts_with("\"x"));
                    prop_assert_eq!(fields.count(), 2);
                    prop_assert_eq!(event_type.as_str(), &seen["event"]);
                    let data: serde_json::Value = serde_json::from_str(&body[data]).unwrap();
                    prop_assert_eq!(&data, &seen["data"]);
                }
                Err(EnvelopeError::Duplicate { .. }) => {
                    prop_assert!(members.len() > seen.as_object().unwrap().len());
                }
                Err(EnvelopeError::Missing { field }) => prop_assert!(seen.get(field).is_none()),
                Err(EnvelopeError::WrongType { .. }) => prop_assert!(!seen["event"].is_string()),
                Err(error) => prop_assert_eq!(&seen["event"], "a b", "{}", error),
            }
        }
    }
}
