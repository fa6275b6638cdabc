//! Event type names such as `user.created`, and the patterns that select them.
//!
//! A name is dot-separated, non-empty segments of `[a-zA-Z0-9_-]`. In a pattern a segment may also
//! be `*`, standing for exactly one segment, or `**`, standing for any number of them, none
//! included.
//!
//! Invariants: a value of either type is valid, whichever way it came in (parsed or deserialised),
//! and is at most [`EventType::MAX_BYTES`] long. Matching allocates nothing and takes time bounded
//! by the product of the two lengths. Case matters; nothing is trimmed or normalised.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The first segment of the relay's own events.
pub const OPERATIONAL: &str = "postrider";

fn is_operational(name: &str) -> bool {
    name.split('.').next() == Some(OPERATIONAL)
}

/// Why a text is not an event type name or a type pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EventTypeError {
    /// There is no text at all.
    #[error("a type name must not be empty")]
    Empty,
    /// The text is longer than [`EventType::MAX_BYTES`].
    #[error(
        "a type name must be at most {max} bytes long, not {bytes}",
        max = EventType::MAX_BYTES
    )]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// Two dots meet, or one stands at an end.
    #[error("a type name must not begin or end with a dot, nor have two in a row")]
    EmptySegment,
    /// A character outside the alphabet.
    #[error(
        "a type name is made of a-z, A-Z, 0-9, `_`, `-` and dots; {character:?} is not allowed"
    )]
    Character {
        /// The first such character.
        character: char,
    },
    /// A `*` in a pattern that shares its segment with something else.
    #[error("`*` and `**` must stand alone between dots, as in `order.*`")]
    PartialWildcard,
}

/// The name of a kind of event. Cloning is cheap: the text is shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EventType(Arc<str>);

impl EventType {
    /// The longest name, and the longest pattern, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the relay's own: nobody may send such an event, and only those hear of it who ask
    /// for it by name.
    pub fn is_operational(&self) -> bool {
        is_operational(&self.0)
    }
}

/// Selects event types: `order.*`, `**.deleted`, or a plain name for itself alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct TypePattern(Arc<str>);

impl TypePattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it asks for the relay's own events by name.
    pub fn is_operational(&self) -> bool {
        is_operational(&self.0)
    }

    /// Whether the pattern selects this type. The relay's own are not meant by a wildcard in their first
    /// segment.
    pub fn matches(&self, event_type: &EventType) -> bool {
        self.is_operational() == event_type.is_operational() && self.selects(event_type)
    }

    fn selects(&self, event_type: &EventType) -> bool {
        let mut pattern = self.0.split('.');
        let mut name = event_type.0.split('.');
        // What follows the last `**`, and the part of the name it has not swallowed. Going back to
        // the last one is enough: whatever an earlier one could give, a later one can take as well.
        let mut retry = None;
        loop {
            let segment = pattern.next();
            if segment == Some("**") {
                retry = Some((pattern.clone(), name.clone()));
                continue;
            }
            match (segment, name.next()) {
                (None, None) => return true,
                (Some(wanted), Some(found)) if wanted == "*" || wanted == found => continue,
                _ => {}
            }
            let Some((after, unswallowed)) = &mut retry else {
                return false;
            };
            if unswallowed.next().is_none() {
                return false;
            }
            pattern = after.clone();
            name = unswallowed.clone();
        }
    }
}

/// The rules that names and patterns share; `segment` has the last word on each segment.
fn check(
    text: &str,
    segment: impl Fn(&str) -> Result<(), EventTypeError>,
) -> Result<(), EventTypeError> {
    if text.is_empty() {
        return Err(EventTypeError::Empty);
    }
    if text.len() > EventType::MAX_BYTES {
        return Err(EventTypeError::TooLong { bytes: text.len() });
    }
    text.split('.').try_for_each(segment)
}

fn check_plain(segment: &str) -> Result<(), EventTypeError> {
    if segment.is_empty() {
        return Err(EventTypeError::EmptySegment);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    match segment.chars().find(|&c| !allowed(c)) {
        Some(character) => Err(EventTypeError::Character { character }),
        None => Ok(()),
    }
}

fn check_wildcard_or_plain(segment: &str) -> Result<(), EventTypeError> {
    match segment {
        "*" | "**" => Ok(()),
        _ if segment.contains('*') => Err(EventTypeError::PartialWildcard),
        _ => check_plain(segment),
    }
}

impl FromStr for EventType {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text, check_plain)?;
        Ok(Self(text.into()))
    }
}

impl FromStr for TypePattern {
    type Err = EventTypeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check(text, check_wildcard_or_plain)?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for EventType {
    type Error = EventTypeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for TypePattern {
    type Error = EventTypeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event_type(text: &str) -> EventType {
        text.parse().unwrap()
    }

    fn pattern(text: &str) -> TypePattern {
        text.parse().unwrap()
    }

    #[test]
    fn valid_names_are_kept_as_written() {
        let longest = "a".repeat(EventType::MAX_BYTES);
        for text in [
            "a",
            "user.created",
            "Order_1.line-item.UPDATED",
            "-._.0",
            &longest,
        ] {
            assert_eq!(event_type(text).as_str(), text);
            assert_eq!(event_type(text).to_string(), text);
            assert!(pattern(text).matches(&event_type(text)), "{text}");
        }
    }

    #[test]
    fn invalid_names_are_refused_with_their_reason() {
        use EventTypeError::{Character, Empty, EmptySegment, TooLong};
        let long = "a".repeat(129);
        let table = [
            ("", Empty),
            (long.as_str(), TooLong { bytes: 129 }),
            (".", EmptySegment),
            (".user", EmptySegment),
            ("user.", EmptySegment),
            ("user..created", EmptySegment),
            ("user created", Character { character: ' ' }),
            ("user.créé", Character { character: 'é' }),
            ("user.*", Character { character: '*' }),
            ("user\n", Character { character: '\n' }),
        ];
        for (text, reason) in table {
            assert_eq!(text.parse::<EventType>(), Err(reason), "{text:?}");
        }
    }

    #[test]
    fn wildcards_stand_alone_and_patterns_are_bounded() {
        for text in ["a*", "*a", "***", "a.b*.c", "a.*b"] {
            assert_eq!(
                text.parse::<TypePattern>(),
                Err(EventTypeError::PartialWildcard),
                "{text}"
            );
        }
        assert_eq!(
            "**.".parse::<TypePattern>(),
            Err(EventTypeError::EmptySegment)
        );
        assert_eq!(
            "*".repeat(129).parse::<TypePattern>(),
            Err(EventTypeError::TooLong { bytes: 129 })
        );
    }

    #[test]
    fn patterns_select_what_their_wildcards_say() {
        let table = [
            ("user.created", "user.created", true),
            ("user.created", "User.created", false),
            ("user.created", "user", false),
            ("user", "user.created", false),
            ("*", "user", true),
            ("*", "user.created", false),
            ("user.*", "user.created", true),
            ("user.*", "user", false),
            ("user.*", "user.email.changed", false),
            ("*.created", "order.created", true),
            ("**", "user", true),
            ("**", "a.b.c.d", true),
            ("user.**", "user", true),
            ("user.**", "user.email.changed", true),
            ("user.**", "users.created", false),
            ("**.created", "created", true),
            ("**.created", "a.created.b.created", true),
            ("**.created", "a.created.b", false),
            ("a.**.z", "a.z", true),
            ("a.**.z", "a.b.c.z", true),
            ("a.**.z", "a", false),
            ("**.*", "a", true),
            ("*.**.*", "a", false),
            ("**.b.**.b.*", "a.b.b.b.c", true),
        ];
        for (text, name, expected) in table {
            assert_eq!(
                pattern(text).matches(&event_type(name)),
                expected,
                "{text} on {name}"
            );
        }
    }

    #[test]
    fn many_wildcards_do_not_explode() {
        let hostile = pattern(&format!("{}b", "**.a.".repeat(25)));
        let name = event_type(&["a"; 64].join("."));
        assert!(!hostile.matches(&name));
    }

    #[test]
    fn serde_uses_the_plain_text_and_refuses_what_parsing_refuses() {
        let json =
            serde_json::to_string(&(event_type("user.created"), pattern("user.**"))).unwrap();
        assert_eq!(json, r#"["user.created","user.**"]"#);
        let back: (EventType, TypePattern) = serde_json::from_str(&json).unwrap();
        assert_eq!(back, (event_type("user.created"), pattern("user.**")));
        assert!(serde_json::from_str::<EventType>(r#""user.*""#).is_err());
        assert!(serde_json::from_str::<TypePattern>(r#""us*r""#).is_err());
    }

    /// The obvious, exponential definition of matching.
    fn matches_naively(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            (["**", rest @ ..], _) => (0..=name.len()).any(|n| matches_naively(rest, &name[n..])),
            ([wanted, rest @ ..], [found, others @ ..]) => {
                (*wanted == "*" || wanted == found) && matches_naively(rest, others)
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(
            wanted in prop::collection::vec(prop::sample::select(vec!["a", "b", "*", "**"]), 1..7),
            found in prop::collection::vec(prop::sample::select(vec!["a", "b"]), 1..8),
        ) {
            let matched = pattern(&wanted.join(".")).matches(&event_type(&found.join(".")));
            prop_assert_eq!(matched, matches_naively(&wanted, &found));
        }
    }
}
