//! Structured mode: one event in the JSON event format of `CloudEvents` 1.0.
//!
//! Invariants: one pass over the body; what `data` holds need only be well formed. Every other
//! member is an attribute and checked like one, known or not.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Attributes, CloudEventError, DATA, DATA_BASE64, REQUIRED, check_name};
use crate::domain::batch::ReadEvent;
use crate::domain::event_type::EventType;
use crate::domain::json::{self, JsonError, Kind, Scanner, Value};

const A_STRING: &str = "a string";
const A_SCALAR: &str = "a string, a number, a boolean or null";

/// Reads a body that is one event, nested at most `max_depth` deep, itself counting as 1
/// ([`json::DEPTH_CEILING`] is the most that can be allowed).
pub fn parse_structured(body: &[u8], max_depth: usize) -> Result<EventType, CloudEventError> {
    let mut scanner = Scanner::new(json::text(body)?, max_depth);
    let (_, event_type) = read_event(&mut scanner)?;
    scanner.finish()?;
    event_type
}

/// Reads one event to its end, well formed but wrong ones too; the range is the scanner's.
pub(super) fn read_event(
    scanner: &mut Scanner<'_>,
) -> Result<ReadEvent<EventType, CloudEventError>, JsonError> {
    let found = scanner.peek()?;
    let start = scanner.position();
    if found != Kind::Object {
        let value = scanner.value()?;
        return Ok((value.range, Err(CloudEventError::NotAnObject { found })));
    }
    scanner.open()?;
    let mut attributes = Attributes::default();
    let mut members = Ok(());
    while let Some(key) = scanner.next_slot()? {
        let value = scanner.value()?;
        if members.is_ok() {
            members = take_member(&mut attributes, scanner, &key, &value);
        }
    }
    let event_type = members.and_then(|()| {
        if attributes.names.contains(DATA) && attributes.names.contains(DATA_BASE64) {
            return Err(CloudEventError::DataTwice);
        }
        attributes.judge()
    });
    Ok((start..scanner.position(), event_type))
}

fn take_member<'a>(
    attributes: &mut Attributes<'a>,
    scanner: &Scanner<'a>,
    key: &Range<usize>,
    value: &Value,
) -> Result<(), CloudEventError> {
    // A lone surrogate stands for no character; what replaces it is outside a name's alphabet too.
    let name = scanner.string_at(key).unwrap_or("\u{fffd}".into());
    if name != DATA_BASE64 {
        check_name(&name)?;
    }
    attributes.meet(name.clone())?;
    match (&*name, value.kind) {
        (DATA_BASE64, Kind::String) => check_base64(scanner, value),
        (DATA_BASE64, found) => Err(CloudEventError::wrong_type(&name, A_STRING, found)),
        // In the JSON format an attribute that is null is one that is not there.
        (DATA, _) | (_, Kind::Null) => Ok(()),
        (_, Kind::String) => {
            let text = scanner.string_at(&value.range);
            let text = text.ok_or_else(|| CloudEventError::not_text(&name))?;
            attributes.hold(&name, text);
            Ok(())
        }
        (required, found) if REQUIRED.contains(&required) => {
            Err(CloudEventError::wrong_type(&name, A_STRING, found))
        }
        (_, Kind::Number | Kind::Boolean) => Ok(()),
        (_, found) => Err(CloudEventError::wrong_type(&name, A_SCALAR, found)),
    }
}

/// The decoded bytes are not kept: they are smaller than the body, and so within its limit.
fn check_base64(scanner: &Scanner<'_>, value: &Value) -> Result<(), CloudEventError> {
    let text = scanner.string_at(&value.range);
    match text.map(|text| BASE64.decode(&*text)) {
        Some(Ok(_)) => Ok(()),
        _ => Err(CloudEventError::InvalidBase64),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json, json};

    use super::*;
    use crate::domain::envelope::MAX_DEPTH;

    const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/s","type":"a.b"}"#;

    fn parse(body: &str) -> Result<EventType, CloudEventError> {
        parse_structured(body.as_bytes(), MAX_DEPTH)
    }

    /// An event with further members.
    fn with(members: &str) -> String {
        EVENT.replace('}', &format!(",{members}}}"))
    }

    #[test]
    fn valid_events_give_their_type() {
        for members in [
            r#""data":{"id":1,"id":2,"Not a name":[]}"#,
            r#""data":null"#,
            r#""data_base64":"""#,
            r#""data_base64":"+\/8=""#,
            r#""subject":"Euro € 😀","time":"2026-11-21T19:00:00Z","datacontenttype":"text/xml""#,
            r#""n":1e999,"yes":true,"no":null,"empty":"","0":-1"#,
            r#""averyveryverylongnameofmorethantwentycharacters":1"#,
            r#""d\u0061ta":1"#,
        ] {
            let body = with(members);
            assert_eq!(parse(&body).unwrap().as_str(), "a.b", "{body}");
        }
        let escaped = r#"
            {"t\u0079pe" : "a\u002eb", "id":" ", "source":"\ud83d\ude00", "specversion":"1\u002E0"}
        "#;
        assert_eq!(parse(escaped).unwrap().as_str(), "a.b");
    }

    #[test]
    fn required_attributes_are_non_empty_strings() {
        for name in REQUIRED {
            let refused = |value: Json, message: &str| {
                let mut event: Json = serde_json::from_str(EVENT).unwrap();
                event[name] = value;
                let error = parse(&event.to_string()).unwrap_err();
                assert_eq!(error.field(), Some(name), "{event}");
                assert_eq!(error.to_string(), message.replace("NAME", name));
            };
            refused(json!(null), "The attribute `NAME` is missing");
            refused(json!(""), "The attribute `NAME` must not be empty");
            refused(json!(1.0), "`NAME` must be a string, not a number");
            refused(json!(true), "`NAME` must be a string, not a boolean");
            refused(json!({}), "`NAME` must be a string, not an object");
            let body = EVENT.replace(&format!(r#""{name}":""#), &format!(r#""{name}":"\ud800"#));
            let error = parse(&body).unwrap_err();
            assert_eq!(error, CloudEventError::not_text(name), "{body}");
        }
    }

    #[test]
    fn version_and_type_must_be_ours() {
        for (from, to, field, message) in [
            (
                "1.0",
                "0.3",
                "specversion",
                r#"The attribute `specversion` must be "1.0", not "0.3""#,
            ),
            (
                "1.0",
                "1",
                "specversion",
                r#"The attribute `specversion` must be "1.0", not "1""#,
            ),
            (
                "a.b",
                "a/b",
                "type",
                "The attribute `type` is not a valid event type: a type name is made of a-z, A-Z, \
                 0-9, `_`, `-` and dots; '/' is not allowed",
            ),
        ] {
            let error = parse(&EVENT.replace(from, to)).unwrap_err();
            assert_eq!(error.field(), Some(field));
            assert_eq!(error.to_string(), message);
        }
    }

    /// `NAME` in a message stands for the field.
    fn assert_refused<const N: usize>(table: [(&str, &str, &str); N]) {
        for (members, field, message) in table {
            let error = parse(&with(members)).unwrap_err();
            assert_eq!(error.field(), Some(field), "{members}");
            assert_eq!(error.to_string(), message.replace("NAME", field));
            assert!(!error.is_malformed() && !error.is_unsupported_format());
        }
    }

    #[test]
    fn names_that_no_attribute_can_have_are_refused() {
        let message = r#""NAME" cannot be an attribute's name: names are made of a-z and 0-9"#;
        assert_refused([
            (r#""Id":1"#, "Id", message),
            (r#""":1"#, "", message),
            (r#""a_b":1"#, "a_b", message),
            (r#""a-b":1"#, "a-b", message),
            (r#""é":null"#, "é", message),
            (r#""\ud800":1"#, "\u{fffd}", message),
        ]);
    }

    #[test]
    fn attributes_hold_text_numbers_or_truth_values_and_appear_once() {
        let scalar = "`NAME` must be a string, a number, a boolean or null, not";
        let text = "The attribute `NAME` does not hold valid text";
        let once = "`NAME` appears more than once";
        assert_refused([
            (r#""ext":{}"#, "ext", &format!("{scalar} an object")),
            (r#""ext":[1]"#, "ext", &format!("{scalar} an array")),
            (r#""ext":"\ud800""#, "ext", text),
            (r#""ext":1,"ext":1"#, "ext", once),
            (r#""\u0069d":null"#, "id", once),
        ]);
    }

    #[test]
    fn data_comes_in_one_form_and_once() {
        let base64 = "`NAME` is not valid Base64";
        let both = "`data` and `NAME` must not both be present";
        let field = DATA_BASE64;
        assert_refused([
            (
                r#""data":1,"data":1"#,
                "data",
                "`NAME` appears more than once",
            ),
            (r#""data":null,"data_base64":"""#, field, both),
            (r#""data_base64":"","data":1"#, field, both),
            (
                r#""data_base64":null"#,
                field,
                "`NAME` must be a string, not null",
            ),
            (r#""data_base64":"a""#, field, base64),
            (r#""data_base64":"YQ""#, field, base64),
            (r#""data_base64":"_w==""#, field, base64),
            (r#""data_base64":"\ud800""#, field, base64),
        ]);
    }

    #[test]
    fn malformed_bodies_are_told_from_wrong_ones() {
        for body in ["", "[1,", &format!("{EVENT}x"), &with(r#""X":1,"y":"#)] {
            assert!(parse(body).unwrap_err().is_malformed(), "{body}");
        }
        for end in 0..EVENT.len() {
            assert!(parse(&EVENT[..end]).unwrap_err().is_malformed(), "{end}");
        }
        assert!(
            parse_structured(b"{\"\xff\":1}", 9)
                .unwrap_err()
                .is_malformed()
        );
        let error = parse("[]").unwrap_err();
        assert_eq!(error.to_string(), "A JSON object is expected, not an array");
        assert!(!error.is_malformed());
    }

    #[test]
    fn nesting_counts_the_event_itself() {
        let nested = |depth| {
            with(&format!(
                r#""data":{}{}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            ))
        };
        assert!(parse(&nested(MAX_DEPTH - 1)).is_ok());
        let error = parse(&nested(MAX_DEPTH)).unwrap_err();
        assert!(matches!(error, CloudEventError::TooDeep(_)), "{error}");
    }

    fn scalar() -> impl Strategy<Value = Json> {
        prop_oneof![
            any::<String>().prop_map(Json::from),
            any::<i32>().prop_map(Json::from),
            any::<bool>().prop_map(Json::from),
            Just(Json::Null),
        ]
    }

    proptest! {
        #[test]
        fn any_event_with_its_required_attributes_is_accepted_and_none_without(
            extensions in prop::collection::btree_map("[a-z0-9]{1,24}", scalar(), 0..8),
            (id, source) in (any::<String>(), any::<String>()),
            name in "[a-zA-Z0-9_-]{1,9}(\\.[a-zA-Z0-9_-]{1,9}){0,3}",
        ) {
            let mut event: Map<String, Json> = extensions.into_iter().collect();
            event.insert("specversion".into(), json!("1.0"));
            event.insert("id".into(), json!(id + "i"));
            event.insert("source".into(), json!(source + "s"));
            event.insert("type".into(), json!(name));
            let event_type = parse(&json!(event).to_string());
            prop_assert_eq!(event_type.map(|found| found.to_string()), Ok(name));
            for attribute in REQUIRED {
                let mut without = event.clone();
                without.remove(attribute);
                let error = parse(&json!(without).to_string());
                prop_assert_eq!(error, Err(CloudEventError::Missing { attribute }));
            }
        }
    }
}
