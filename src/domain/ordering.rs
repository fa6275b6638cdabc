//! In which order a subscription's deliveries go out.
//!
//! Deliveries that must keep their order share a [`Group`]: within one, the next begins when the one
//! before is delivered, dead or cancelled, so that a failing event blocks those behind it. Between groups,
//! and without one, nothing waits for anything. A delivery's group is found once, when its event is
//! matched, and stays: a change of `ordering` counts for events that are accepted afterwards.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::filter::Body;
use super::filter::path::{self, PathError, Segment};

/// The longest path of a key, in bytes.
pub const MAX_KEY_PATH_BYTES: usize = 1024;

/// What a subscription asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ordering {
    /// As they come; a failure holds nothing up.
    #[default]
    None,
    /// One at a time, in the order of acceptance.
    Strict,
    /// In the order of acceptance among events with the same value at this path; those without one are
    /// among themselves.
    By(KeyPath),
}

/// A path to what events are ordered by. Its written form is the text that it was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPath {
    text: String,
    segments: Vec<Segment>,
}

/// Why a text is no path to order by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyPathError {
    /// It is longer than [`MAX_KEY_PATH_BYTES`].
    #[error("a path has at most {MAX_KEY_PATH_BYTES} bytes")]
    TooLong,
    /// It is no path.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl KeyPath {
    /// Reads a dotted path.
    pub fn parse(text: &str) -> Result<Self, KeyPathError> {
        if text.len() > MAX_KEY_PATH_BYTES {
            return Err(KeyPathError::TooLong);
        }
        Ok(Self {
            segments: path::parse(text, &[])?,
            text: text.to_owned(),
        })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Serialize for KeyPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for KeyPath {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// What deliveries of one subscription share that must keep their order. Of a key it is a digest: keys
/// that happen to share one wait for each other, and nothing worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(pub u32);

impl Group {
    /// All of a subscription's deliveries.
    pub const ALL: Self = Self(0);
}

impl Ordering {
    /// The group of an event's delivery.
    pub fn group(&self, body: &mut Body<'_>) -> Option<Group> {
        match self {
            Self::None => None,
            Self::Strict => Some(Group::ALL),
            Self::By(key) => {
                let mut found = None;
                path::any_at(&key.segments, body.read(), &mut |value| {
                    found = Some(digest(value));
                    true
                });
                Some(found.unwrap_or_else(|| digest(&Value::Null)))
            }
        }
    }
}

/// The same for the same JSON value, in every release: it is on disk.
fn digest(value: &Value) -> Group {
    let hash = Sha256::digest(value.to_string());
    Group(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::event::{Content, Event, EventMeta};
    use crate::domain::ids::{AccountId, EventId, IntegrationId};

    fn group(ordering: &Ordering, body: &str) -> Option<Group> {
        let body = Bytes::from(body.to_owned());
        let meta = EventMeta {
            id: EventId(uuid::Uuid::nil()),
            account: AccountId::from_bits(1),
            integration: IntegrationId::from_bits(1),
            event_type: "a".parse().unwrap(),
            content: Content::Json,
            accepted_at_ms: 0,
            idempotency: None,
            body_bytes: 0,
        };
        ordering.group(&mut Body::of(&Event { meta, body }))
    }

    #[test]
    fn events_with_the_same_key_share_a_group_and_those_without_share_one() {
        let by = Ordering::By(KeyPath::parse("data.order_id").unwrap());
        let of = |body| group(&by, body).unwrap();
        let seven = of(r#"{"data":{"order_id":7,"n":1}}"#);
        assert_eq!(seven, of(r#"{"data":{"n":2,"order_id":7}}"#));
        assert_ne!(seven, of(r#"{"data":{"order_id":8}}"#));
        assert_ne!(seven, of(r#"{"data":{"order_id":"7"}}"#));
        let without = of(r#"{"data":{}}"#);
        assert_eq!(without, of("no JSON"));
        assert_eq!(without, of(r#"{"data":{"order_id":null}}"#));
        assert_ne!(without, seven);
    }

    #[test]
    fn a_path_through_an_array_takes_its_first_value() {
        let by = Ordering::By(KeyPath::parse("data.items.sku").unwrap());
        let of = |body| group(&by, body).unwrap();
        let first = of(r#"{"data":{"items":[{"sku":"a"},{"sku":"b"}]}}"#);
        assert_eq!(first, of(r#"{"data":{"items":[{"n":1},{"sku":"a"}]}}"#));
    }

    #[test]
    fn strict_order_is_one_group_and_no_order_is_none() {
        assert_eq!(group(&Ordering::Strict, "{}"), Some(Group::ALL));
        assert_eq!(group(&Ordering::None, "{}"), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", ".", "a..b", "a.", &"a.".repeat(40)] {
            assert!(KeyPath::parse(text).is_err(), "{text:?}");
        }
        assert!(KeyPath::parse(&"x".repeat(MAX_KEY_PATH_BYTES + 1)).is_err());
    }
}
