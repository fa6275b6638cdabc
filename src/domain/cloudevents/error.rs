//! Why an event is refused, in words for whoever sent it.
//!
//! Invariant: what comes from the event is quoted in part only ([`MAX_QUOTED_CHARS`]), and what may
//! hold any character is quoted with its escapes.

use thiserror::Error;

use super::{DATA, DATA_BASE64, MAX_ATTRIBUTES, MAX_ATTRIBUTES_BYTES, SPECVERSION, TYPE, VERSION};
use crate::domain::event_type::EventTypeError;
use crate::domain::json::{JsonError, Kind};

/// The most characters of a name or value that an error repeats.
const MAX_QUOTED_CHARS: usize = 64;

/// Why an event, or what surrounds it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CloudEventError {
    /// The media type asks for an event format other than JSON.
    #[error(
        "The media type `{media_type}` is not supported; CloudEvents are accepted as \
         `application/cloudevents+json`, as `application/cloudevents-batch+json` or in binary mode"
    )]
    UnsupportedFormat {
        /// The media type.
        media_type: String,
    },
    /// It is not JSON.
    #[error("The body is not valid JSON: {0}")]
    Malformed(#[source] JsonError),
    /// It is nested too deeply.
    #[error("The body is nested too deeply: {0}")]
    TooDeep(#[source] JsonError),
    /// The event is JSON, but not an object.
    #[error("A JSON object is expected, not {found}")]
    NotAnObject {
        /// What it is.
        found: Kind,
    },
    /// The batch is JSON, but not an array.
    #[error("A JSON array of events is expected, not {found}")]
    NotAnArray {
        /// What it is.
        found: Kind,
    },
    /// A required attribute is absent.
    #[error("The attribute `{attribute}` is missing")]
    Missing {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// A required attribute has no value.
    #[error("The attribute `{attribute}` must not be empty")]
    Empty {
        /// The attribute's name.
        attribute: &'static str,
    },
    /// An attribute, or the data, is there more than once.
    #[error("`{name}` appears more than once")]
    Duplicate {
        /// The attribute's or member's name.
        name: String,
    },
    /// A name that no attribute can have.
    #[error("{name:?} cannot be an attribute's name: names are made of a-z and 0-9")]
    Name {
        /// The name.
        name: String,
    },
    /// An attribute, or `data_base64`, is of a type it cannot have.
    #[error("`{name}` must be {expected}, not {found}")]
    WrongType {
        /// The attribute's or member's name.
        name: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: Kind,
    },
    /// An attribute's value stands for no text: half of a surrogate pair, an unfinished quotation,
    /// or percent-encoded bytes that are not UTF-8.
    #[error("The attribute `{attribute}` does not hold valid text")]
    NotText {
        /// The attribute's name.
        attribute: String,
    },
    /// Another version of the specification.
    #[error("The attribute `specversion` must be \"{VERSION}\", not {found:?}")]
    Version {
        /// The version.
        found: String,
    },
    /// The value of `type` is not a type name.
    #[error("The attribute `type` is not a valid event type: {0}")]
    InvalidType(#[from] EventTypeError),
    /// The data is there in both forms.
    #[error("`data` and `data_base64` must not both be present")]
    DataTwice,
    /// The value of `data_base64` is not Base64 (RFC 4648, section 4).
    #[error("`data_base64` is not valid Base64")]
    InvalidBase64,
    /// In binary mode, an attribute that has a header of its own.
    #[error(
        "The header `ce-datacontenttype` is not allowed: send the data's type as `Content-Type`"
    )]
    ContentTypeAttribute,
    /// In binary mode, an attribute that the JSON format could not tell from the data.
    #[error("The header `ce-data` is not allowed: in binary mode the data is the body")]
    DataAttribute,
    /// A header's value holds a byte that must be percent-encoded.
    #[error(
        "The header `ce-{attribute}` must hold visible ASCII characters and spaces only; anything \
         else is percent-encoded"
    )]
    HeaderCharacter {
        /// The attribute's name.
        attribute: String,
    },
    /// There are more headers with attributes than are accepted.
    #[error("There are more than {MAX_ATTRIBUTES} headers with attributes")]
    TooManyAttributes,
    /// The attributes in headers are too large together.
    #[error(
        "The names and values of all attributes take up more than {MAX_ATTRIBUTES_BYTES} bytes"
    )]
    AttributesTooLarge,
}

impl CloudEventError {
    /// Whether the body is not JSON at all.
    pub fn is_malformed(&self) -> bool {
        matches!(self, Self::Malformed(_))
    }

    /// Whether the request's media type is to blame.
    pub fn is_unsupported_format(&self) -> bool {
        matches!(self, Self::UnsupportedFormat { .. })
    }

    /// The attribute or member to blame, if one is; a long name is cut short.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Missing { attribute } | Self::Empty { attribute } => Some(attribute),
            Self::NotText { attribute } | Self::HeaderCharacter { attribute } => Some(attribute),
            Self::Duplicate { name } | Self::Name { name } | Self::WrongType { name, .. } => {
                Some(name)
            }
            Self::Version { .. } => Some(SPECVERSION),
            Self::InvalidType(_) => Some(TYPE),
            Self::DataTwice | Self::InvalidBase64 => Some(DATA_BASE64),
            Self::ContentTypeAttribute => Some("datacontenttype"),
            Self::DataAttribute => Some(DATA),
            Self::UnsupportedFormat { .. }
            | Self::Malformed(_)
            | Self::TooDeep(_)
            | Self::NotAnObject { .. }
            | Self::NotAnArray { .. }
            | Self::TooManyAttributes
            | Self::AttributesTooLarge => None,
        }
    }

    pub(super) fn unsupported_format(media_type: &str) -> Self {
        let media_type = shortened(media_type);
        Self::UnsupportedFormat { media_type }
    }

    pub(super) fn duplicate(name: &str) -> Self {
        let name = shortened(name);
        Self::Duplicate { name }
    }

    pub(super) fn name(name: &str) -> Self {
        let name = shortened(name);
        Self::Name { name }
    }

    pub(super) fn wrong_type(name: &str, expected: &'static str, found: Kind) -> Self {
        let name = shortened(name);
        Self::WrongType {
            name,
            expected,
            found,
        }
    }

    pub(super) fn not_text(attribute: &str) -> Self {
        let attribute = shortened(attribute);
        Self::NotText { attribute }
    }

    pub(super) fn header_character(attribute: &str) -> Self {
        let attribute = shortened(attribute);
        Self::HeaderCharacter { attribute }
    }

    pub(super) fn version(found: &str) -> Self {
        let found = shortened(found);
        Self::Version { found }
    }
}

impl From<JsonError> for CloudEventError {
    fn from(error: JsonError) -> Self {
        match error {
            JsonError::Malformed { .. } => Self::Malformed(error),
            JsonError::TooDeep { .. } => Self::TooDeep(error),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_quotations_are_cut_between_characters() {
        assert_eq!(shortened(&"é".repeat(64)), "é".repeat(64));
        assert_eq!(shortened(&"é".repeat(65)), "é".repeat(64) + "…");
        let error = CloudEventError::name(&"X".repeat(1_000_000));
        assert!(error.to_string().len() < 200);
        assert_eq!(error.field().map(|name| name.chars().count()), Some(65));
    }

    #[test]
    fn control_characters_are_quoted_with_their_escapes() {
        let error = CloudEventError::name("a\n\u{1b}[31m");
        assert!(!error.to_string().contains(char::is_control), "{error}");
        let error = CloudEventError::version("1\r\n");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}
