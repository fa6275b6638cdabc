//! Binary mode: attributes in `ce-` headers, the body being the data, whatever it is.
//!
//! Headers are decoded for checking only: an event keeps them exactly as they came.
//!
//! Invariants: names are valid attribute names, none twice; values are visible ASCII and spaces, so
//! that they can be sent on as headers. At most [`MAX_ATTRIBUTES`] of them, of
//! [`MAX_ATTRIBUTES_BYTES`] in all.

use std::borrow::Cow;

use super::{Attributes, CloudEventError, DATA, check_name};
use crate::domain::event_type::EventType;

/// What the names of headers that hold attributes start with.
pub const HEADER_PREFIX: &str = "ce-";

/// The most attributes an event in binary mode can have.
pub const MAX_ATTRIBUTES: usize = 64;

/// The most that the names (without `ce-`) and values of all attributes can take up together, in
/// bytes as received.
pub const MAX_ATTRIBUTES_BYTES: usize = 8 * 1024;

/// What the headers say about an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BinaryEvent {
    /// The value of `type`, decoded.
    pub event_type: EventType,
    /// All attributes, `type` among them, in the order received: names without `ce-`, values as
    /// they came ([`decode_header_value`] has their meaning).
    pub attributes: Vec<(String, String)>,
}

/// Reads the attributes out of all headers of a request, whose names must be in lower case.
pub fn parse_binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<BinaryEvent, CloudEventError> {
    let mut read = Attributes::default();
    let mut attributes = Vec::new();
    let mut attributes_bytes = 0;
    for (header, value) in headers {
        let Some(name) = header.strip_prefix(HEADER_PREFIX) else {
            continue;
        };
        attributes_bytes += name.len() + value.len();
        if attributes.len() == MAX_ATTRIBUTES {
            return Err(CloudEventError::TooManyAttributes);
        }
        if attributes_bytes > MAX_ATTRIBUTES_BYTES {
            return Err(CloudEventError::AttributesTooLarge);
        }
        match name {
            "datacontenttype" => return Err(CloudEventError::ContentTypeAttribute),
            DATA => return Err(CloudEventError::DataAttribute),
            _ => check_name(name)?,
        }
        read.meet(name.into())?;
        let value = visible_ascii(value).ok_or_else(|| CloudEventError::header_character(name))?;
        let text = decode_header_value(value).ok_or_else(|| CloudEventError::not_text(name))?;
        read.hold(name, text);
        attributes.push((name.to_owned(), value.to_owned()));
    }
    let event_type = read.judge()?;
    Ok(BinaryEvent {
        event_type,
        attributes,
    })
}

fn visible_ascii(value: &[u8]) -> Option<&str> {
    let text = str::from_utf8(value).ok()?;
    text.bytes()
        .all(|b| b == b' ' || b.is_ascii_graphic())
        .then_some(text)
}

/// What a header's value stands for (HTTP binding, 3.1.3.2): the inside of a quoted string, if it
/// is one, then decoded once from its percent-encoding. `None` if a quotation is not closed at the
/// end, or the outcome is not UTF-8.
pub fn decode_header_value(value: &str) -> Option<Cow<'_, str>> {
    let text = unquote(value)?;
    if text.contains('%') {
        let bytes = decode_percents(&text);
        String::from_utf8(bytes).ok().map(Cow::Owned)
    } else {
        Some(text)
    }
}

fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return Some(value.into());
    };
    let mut text = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.as_str().is_empty().then_some(text.into()),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

/// A percent sign without two hexadecimal digits after it stands for itself.
fn decode_percents(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let encoded = match after {
            [high, low, ..] if *first == b'%' => hex_pair(*high, *low),
            _ => None,
        };
        bytes.push(encoded.unwrap_or(*first));
        rest = if encoded.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    bytes
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::cloudevents::REQUIRED;

    const EVENT: [(&str, &str); 4] = [
        ("ce-specversion", "1.0"),
        ("ce-id", "7"),
        ("ce-source", "/s"),
        ("ce-type", "a.b"),
    ];

    fn parse(headers: &[(&str, &str)]) -> Result<BinaryEvent, CloudEventError> {
        parse_binary(
            headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes())),
        )
    }

    fn with(headers: &[(&str, &str)]) -> Result<BinaryEvent, CloudEventError> {
        parse(&[&EVENT, headers].concat())
    }

    /// The encoding as senders do it (HTTP binding, 3.1.3.2).
    fn encode(text: &str) -> String {
        text.bytes().fold(String::new(), |mut encoded, byte| {
            match byte {
                b'"' | b'%' => write!(encoded, "%{byte:02X}").unwrap(),
                0x21..=0x7e => encoded.push(char::from(byte)),
                _ => write!(encoded, "%{byte:02X}").unwrap(),
            }
            encoded
        })
    }

    #[test]
    fn attributes_are_kept_in_order_and_as_they_came() {
        let event = parse(&[
            ("content-type", "text/plain"),
            ("ce-type", r#""a%2Eb""#),
            ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("x-ce-id", "no attribute"),
            ("ce-id", r#""%22\\""#),
            ("ce-source", "with space"),
            ("ce-empty", ""),
            ("ce-specversion", "%31.0"),
        ])
        .unwrap();
        assert_eq!(event.event_type.as_str(), "a.b");
        let expected = [
            ("type", r#""a%2Eb""#),
            ("subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("id", r#""%22\\""#),
            ("source", "with space"),
            ("empty", ""),
            ("specversion", "%31.0"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(event.attributes, expected);
    }

    #[test]
    fn values_are_unquoted_and_then_decoded_once() {
        for (value, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            ("%e2%82%aC", Some("€")),
            ("plain text", Some("plain text")),
            ("", Some("")),
            ("%2541", Some("%41")),
            (r#""a \"b\" \\""#, Some(r#"a "b" \"#)),
            (r#""%22\%41""#, Some("\"A")),
            ("%22a%22", Some("\"a\"")),
            (r#"a"b"#, Some(r#"a"b"#)),
            ("100%", Some("100%")),
            ("%4", Some("%4")),
            ("%zz%+1%41", Some("%zz%+1A")),
            ("\"\"", Some("")),
            ("\"", None),
            ("\"a", None),
            ("\"a\\\"", None),
            ("\"a\"b", None),
            ("%FF", None),
            ("%C3%28", None),
            ("%ED%A0%80", None),
        ] {
            assert_eq!(decode_header_value(value).as_deref(), text, "{value}");
        }
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
    }

    #[test]
    fn wrong_headers_are_named() {
        for (header, value, field, message) in [
            (
                "ce-datacontenttype",
                "text/plain",
                "datacontenttype",
                "The header `ce-datacontenttype` is not allowed: send the data's type as \
                 `Content-Type`",
            ),
            (
                "ce-data",
                "1",
                "data",
                "The header `ce-data` is not allowed: in binary mode the data is the body",
            ),
            (
                "ce-",
                "1",
                "",
                "\"\" cannot be an attribute's name: names are made of a-z and 0-9",
            ),
            (
                "ce-a-b",
                "1",
                "a-b",
                "\"a-b\" cannot be an attribute's name: names are made of a-z and 0-9",
            ),
            ("ce-id", "8", "id", "`id` appears more than once"),
            (
                "ce-x",
                "%FF",
                "x",
                "The attribute `x` does not hold valid text",
            ),
            (
                "ce-x",
                "é",
                "x",
                "The header `ce-x` must hold visible ASCII characters and spaces only; anything \
                 else is percent-encoded",
            ),
        ] {
            let error = with(&[(header, value)]).unwrap_err();
            assert_eq!(error.field(), Some(field), "{header}: {value}");
            assert_eq!(error.to_string(), message, "{header}: {value}");
        }
        for byte in (0..=0x1f).chain(0x7f..=0xff) {
            let error = parse_binary([("ce-x", &[byte][..])].into_iter()).unwrap_err();
            assert_eq!(error, CloudEventError::header_character("x"), "{byte}");
        }
    }

    #[test]
    fn required_attributes_are_not_empty_once_decoded() {
        for (index, attribute) in REQUIRED.into_iter().enumerate() {
            let mut headers = EVENT.to_vec();
            for empty in ["", "\"\""] {
                headers[index].1 = empty;
                let error = parse(&headers).unwrap_err();
                assert_eq!(error, CloudEventError::Empty { attribute });
            }
            headers.remove(index);
            let error = parse(&headers).unwrap_err();
            assert_eq!(error, CloudEventError::Missing { attribute });
        }
        for (header, value, field) in [
            ("ce-specversion", "1.0.2", "specversion"),
            ("ce-type", "a%2Fb", "type"),
        ] {
            let headers = EVENT.map(|own| {
                if own.0 == header {
                    (header, value)
                } else {
                    own
                }
            });
            assert_eq!(parse(&headers).unwrap_err().field(), Some(field));
        }
    }

    #[test]
    fn attributes_are_bounded_in_number_and_size() {
        let names: Vec<_> = (0..=MAX_ATTRIBUTES - EVENT.len())
            .map(|number| format!("ce-x{number}"))
            .collect();
        let headers: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert!(with(&headers[1..]).is_ok());
        assert_eq!(with(&headers), Err(CloudEventError::TooManyAttributes));

        let used: usize = EVENT.iter().map(|(n, v)| n.len() - 3 + v.len()).sum();
        let rest = "x".repeat(MAX_ATTRIBUTES_BYTES - used);
        assert!(with(&[("ce-x", &rest[1..])]).is_ok());
        let error = with(&[("ce-x", &rest)]);
        assert_eq!(error, Err(CloudEventError::AttributesTooLarge));
        let unrelated = [("ce-x", &rest[1..]), ("cookie", &*rest)];
        assert!(with(&unrelated).is_ok(), "only attributes count");
    }

    proptest! {
        #[test]
        fn any_text_survives_its_encoding(text in any::<String>()) {
            let encoded = encode(&text);
            let quoted = format!("\"{encoded}\"").replace('\\', "\\\\");
            for value in [encoded, quoted] {
                let decoded = decode_header_value(&value);
                prop_assert_eq!(decoded.as_deref(), Some(&*text));
            }
        }

        #[test]
        fn no_bytes_are_too_strange(value in any::<Vec<u8>>(), text in r#"["%\\0-9a-fA-F]{0,12}"#) {
            let text = text.as_str();
            let headers = [("ce-x", value.as_slice()), ("ce-y", text.as_bytes())];
            prop_assert!(parse_binary(headers.into_iter()).is_err());
            if let Some(decoded) = decode_header_value(text) {
                prop_assert!(decoded.len() <= text.len());
            }
        }
    }
}
