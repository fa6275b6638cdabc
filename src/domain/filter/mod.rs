//! Payload filters: which events a subscription wants, by what is in them.
//!
//! A filter is a JSON object over the event's body, as Convoy's and Hookdeck's users know it:
//! `{"data.total": {"$gte": 100}, "$or": [{"data.vip": true}, {"data.tags": "gold"}]}`. It is compiled
//! when it is saved, which is also when every mistake is found and named with its path, and it is bounded
//! in length, depth and conditions. To judge an event never fails: what is not there, or of another kind,
//! does not match.
//!
//! A [`path`] that leads through an array matches if any element does.

mod compile;
mod judge;
pub mod path;

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use self::path::Segment;
use super::event::Event;

/// The longest filter, in bytes of JSON.
pub const MAX_FILTER_BYTES: usize = 16 << 10;
/// How deep conditions may be nested.
pub const MAX_FILTER_DEPTH: usize = 16;
/// The most conditions, values of lists included: each may look at the whole of an event.
pub const MAX_CONDITIONS: usize = 256;
/// The most names in a path.
pub const MAX_PATH_SEGMENTS: usize = 32;

/// What is wrong with a filter, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct FilterError {
    /// From `filter` on, the names that lead to the fault.
    pub path: String,
    /// What is wrong there.
    pub what: String,
}

/// A compiled filter. Its written form is the JSON that it was made of.
#[derive(Clone, PartialEq)]
pub struct Filter {
    source: Value,
    condition: Condition,
}

/// What a filter wants.
#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// Whether any value at a path passes a test.
    At(Vec<Segment>, Test),
    /// Whether there is a value at a path.
    Exists(Vec<Segment>, bool),
}

/// What is asked of one value.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(Value),
    In(Vec<Value>),
    Order(Order, Value),
    StartsWith(String),
    EndsWith(String),
    Contains(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Filter {
    /// Compiles a filter.
    pub fn new(source: Value) -> Result<Self, FilterError> {
        let condition = compile::compile(&source)?;
        Ok(Self { source, condition })
    }

    /// As it was written.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Whether it wants a body.
    pub fn wants(&self, body: &Value) -> bool {
        judge::holds(&self.condition, body)
    }

    /// Those of its members that do not hold for a body. All of them must, so each one is a filter.
    pub fn unmet(&self, body: &Value) -> Map<String, Value> {
        let members = self.source.as_object().into_iter().flatten();
        let unmet = members.filter(|(name, wanted)| {
            let alone = Map::from_iter([((*name).clone(), (*wanted).clone())]);
            Self::new(Value::Object(alone)).is_ok_and(|filter| !filter.wants(body))
        });
        unmet
            .map(|(name, wanted)| (name.clone(), wanted.clone()))
            .collect()
    }
}

impl Eq for Filter {}

/// An event's body as filters see it, read once and only if it is looked at: JSON as it came in. Of a
/// binary `CloudEvents` event that is the data alone; what is no JSON is `null`.
#[derive(Debug)]
pub struct Body<'a> {
    bytes: &'a [u8],
    value: Option<Value>,
}

impl<'a> Body<'a> {
    /// The body of an event.
    pub fn of(event: &'a Event) -> Self {
        Self {
            bytes: &event.body,
            value: None,
        }
    }

    /// The body.
    pub fn read(&mut self) -> &Value {
        let bytes = self.bytes;
        let read = || serde_json::from_slice(bytes).unwrap_or(Value::Null);
        self.value.get_or_insert_with(read)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({})", self.source)
    }
}

/// As text, so that any format can hold it.
impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.source)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let source = serde_json::from_str(&text).map_err(D::Error::custom)?;
        Self::new(source).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
