//! Reading `CloudEvents` 1.0 on ingest: structured, batched and binary mode of the HTTP binding.
//!
//! An event is checked, and only its type is taken from it: the bytes stay what they are. Only the
//! JSON event format is known. `source` and `id` must be there but identify nothing here.
//!
//! Invariants: an attribute does not appear twice; two readers could disagree about which one is
//! meant. Whatever is malformed is reported as such, even if something well formed before it is
//! wrong, as long as no limit was met on the way. What an error quotes of an event is cut short.

mod batch;
mod binary;
mod error;
mod structured;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::domain::event_type::EventType;

pub use batch::{BatchError, BatchItem, parse_batch};
pub use binary::{
    BinaryEvent, HEADER_PREFIX, MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES, decode_header_value,
    parse_binary,
};
pub use error::CloudEventError;
pub use structured::parse_structured;

/// How a request carries its events (HTTP binding, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not as `CloudEvents`.
    Plain,
    /// One event, its attributes and data in one JSON object: [`parse_structured`].
    Structured,
    /// A JSON array of such objects: [`parse_batch`].
    Batch,
    /// One event, its attributes in `ce-` headers, the body being its data: [`parse_binary`].
    Binary,
}

const BATCH: &str = "application/cloudevents-batch";
const STRUCTURED: &str = "application/cloudevents";
const JSON_FORMAT: &str = "+json";

/// Tells the mode from the request's media type (without parameters; empty if there is none) and
/// from whether any header starts with [`HEADER_PREFIX`].
pub fn mode(media_type: &str, has_ce_headers: bool) -> Result<Mode, CloudEventError> {
    let after = |prefix: &str| {
        let (head, rest) = media_type.split_at_checked(prefix.len())?;
        head.eq_ignore_ascii_case(prefix).then_some(rest)
    };
    // The longer prefix first, as it begins with the other.
    let found = [(BATCH, Mode::Batch), (STRUCTURED, Mode::Structured)]
        .into_iter()
        .find_map(|(prefix, mode)| Some((after(prefix)?, mode)));
    match found {
        Some((format, mode)) if format.eq_ignore_ascii_case(JSON_FORMAT) => Ok(mode),
        Some(_) => Err(CloudEventError::unsupported_format(media_type)),
        None if has_ce_headers => Ok(Mode::Binary),
        None => Ok(Mode::Plain),
    }
}

const SPECVERSION: &str = "specversion";
const ID: &str = "id";
const SOURCE: &str = "source";
const TYPE: &str = "type";
/// The required attributes, in the order in which they are looked at: what the others mean depends
/// on the version.
const REQUIRED: [&str; 4] = [SPECVERSION, ID, SOURCE, TYPE];

/// Where the JSON format has the data; no attribute can be called so, in no mode.
const DATA: &str = "data";
/// Where it has data that are bytes, in Base64.
const DATA_BASE64: &str = "data_base64";

/// The only version there is of `CloudEvents` 1.0, patches included.
const VERSION: &str = "1.0";

/// The attributes of one event, as they are met.
#[derive(Default)]
struct Attributes<'a> {
    names: BTreeSet<Cow<'a, str>>,
    required: [Option<Cow<'a, str>>; REQUIRED.len()],
}

impl<'a> Attributes<'a> {
    /// Takes note of a name, which must not have been met before.
    fn meet(&mut self, name: Cow<'a, str>) -> Result<(), CloudEventError> {
        if self.names.contains(&name) {
            return Err(CloudEventError::duplicate(&name));
        }
        self.names.insert(name);
        Ok(())
    }

    /// Takes note of a value, if it is one that matters here.
    fn hold(&mut self, name: &str, value: Cow<'a, str>) {
        if let Some(index) = REQUIRED.iter().position(|required| *required == name) {
            self.required[index] = Some(value);
        }
    }

    /// The event's type, if all that is required is there.
    fn judge(&self) -> Result<EventType, CloudEventError> {
        for (attribute, value) in REQUIRED.into_iter().zip(&self.required) {
            match value.as_deref() {
                None => return Err(CloudEventError::Missing { attribute }),
                Some("") => return Err(CloudEventError::Empty { attribute }),
                Some(found) if attribute == SPECVERSION && found != VERSION => {
                    return Err(CloudEventError::version(found));
                }
                Some(_) => {}
            }
        }
        let [.., event_type] = &self.required;
        Ok(event_type.as_deref().unwrap_or_default().parse()?)
    }
}

/// Attribute names are made of a-z and 0-9 (`CloudEvents` 1.0, "Naming Conventions"). That they
/// should have at most 20 characters is advice to senders and not enforced.
fn check_name(name: &str) -> Result<(), CloudEventError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(CloudEventError::name(name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_decides_and_headers_only_where_it_does_not() {
        for (media_type, plain_headers, ce_headers) in [
            (
                "application/cloudevents+json",
                Mode::Structured,
                Mode::Structured,
            ),
            (
                "Application/CloudEvents+JSON",
                Mode::Structured,
                Mode::Structured,
            ),
            (
                "application/cloudevents-batch+json",
                Mode::Batch,
                Mode::Batch,
            ),
            (
                "APPLICATION/CLOUDEVENTS-BATCH+JSON",
                Mode::Batch,
                Mode::Batch,
            ),
            ("application/json", Mode::Plain, Mode::Binary),
            ("application/cloudevent+json", Mode::Plain, Mode::Binary),
            ("text/application/cloudevents", Mode::Plain, Mode::Binary),
            ("", Mode::Plain, Mode::Binary),
            ("application/cloudevent\u{e9}", Mode::Plain, Mode::Binary),
        ] {
            assert_eq!(mode(media_type, false), Ok(plain_headers), "{media_type}");
            assert_eq!(mode(media_type, true), Ok(ce_headers), "{media_type}");
        }
    }

    #[test]
    fn formats_other_than_json_are_unsupported_and_named() {
        for media_type in [
            "application/cloudevents",
            "application/cloudevents-batch",
            "application/cloudevents+protobuf",
            "application/CloudEvents-Batch+avro",
            "application/cloudevents+json5",
            "application/cloudevents-batches+json",
            "application/cloudevents\u{e9}",
        ] {
            for ce_headers in [false, true] {
                let error = mode(media_type, ce_headers).unwrap_err();
                assert!(error.is_unsupported_format() && !error.is_malformed());
                let message = error.to_string();
                assert!(message.contains(media_type), "{message}");
                assert!(message.contains("application/cloudevents+json"));
            }
        }
    }
}
