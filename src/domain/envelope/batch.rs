//! Many events in one body: `{"events": [...]}`, or one event per line.
//!
//! Invariants: those of every batch (`domain/batch.rs`), and that the range of an event's data is
//! relative to its own bytes, so that it can be stored and read like one sent alone.

use std::ops::Range;

use super::{Envelope, EnvelopeError, read_event};
use crate::domain::batch::{self, Batch, ReadEvent};
use crate::domain::json::{self, JsonError, Kind, Scanner};

const EVENTS: &str = "events";

/// One event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// The event's own bytes within the batch's body, without white space around them.
    pub range: Range<usize>,
    /// What the event says; its `data` is relative to `range.start`.
    pub envelope: Envelope,
}

/// Why a batch is refused, all of it; in [`batch::BatchError::Body`] the field to blame can be
/// `events`.
pub type BatchError = batch::BatchError<EnvelopeError>;

impl From<EnvelopeError> for BatchError {
    fn from(error: EnvelopeError) -> Self {
        Self::Body(error)
    }
}

/// Reads a batch in the form `{"events": [{"event": …, "data": …}, …]}`. Each event is nested at
/// most `max_depth` deep, itself counting as 1; further members beside `events` are checked and
/// then ignored.
pub fn parse_batch(
    body: &[u8],
    max_events: usize,
    max_event_bytes: usize,
    max_depth: usize,
) -> Result<Vec<BatchItem>, BatchError> {
    let mut scanner = Scanner::new(json::text(body)?, max_depth);
    let found = scanner.peek()?;
    if found != Kind::Object {
        scanner.value()?;
        scanner.finish()?;
        return Err(EnvelopeError::NotAnObject { found }.into());
    }
    scanner.open()?;
    let mut batch = Batch::new(max_events, max_event_bytes);
    let mut events = None;
    let mut repeated = false;
    while let Some(key) = scanner.next_slot()? {
        if scanner.string_at(&key).as_deref() != Some(EVENTS) {
            scanner.value()?;
            continue;
        }
        let kind = scanner.peek()?;
        repeated |= events.replace(kind).is_some();
        if repeated || kind != Kind::Array {
            scanner.value()?;
            continue;
        }
        scanner.open()?;
        while scanner.next_slot()?.is_some() {
            batch.read(|| scanner.document(read_item))?;
        }
    }
    scanner.finish()?;
    match events {
        _ if repeated => Err(EnvelopeError::Duplicate { field: EVENTS }.into()),
        None => Err(EnvelopeError::Missing { field: EVENTS }.into()),
        Some(Kind::Array) => batch.finish(),
        Some(found) => {
            let (field, expected) = (EVENTS, Kind::Array);
            Err(EnvelopeError::WrongType {
                field,
                expected,
                found,
            }
            .into())
        }
    }
}

/// Reads a batch of one event per line. Blank lines do not count, and a line may end in CR LF.
/// Each event is nested at most `max_depth` deep.
pub fn parse_ndjson(
    body: &[u8],
    max_events: usize,
    max_event_bytes: usize,
    max_depth: usize,
) -> Result<Vec<BatchItem>, BatchError> {
    let text = json::text(body)?;
    let mut batch = Batch::new(max_events, max_event_bytes);
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let start = end;
        end += line.len();
        if line.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
            continue;
        }
        batch.read(|| {
            let mut scanner = Scanner::within(text, start..end, max_depth);
            let event = read_item(&mut scanner)?;
            scanner.finish()?;
            Ok(event)
        })?;
    }
    batch.finish()
}

fn read_item(scanner: &mut Scanner<'_>) -> Result<ReadEvent<BatchItem, EnvelopeError>, JsonError> {
    let (range, envelope) = read_event(scanner)?;
    let item = envelope.map(|Envelope { event_type, data }| {
        let data = data.start - range.start..data.end - range.start;
        BatchItem {
            range: range.clone(),
            envelope: Envelope { event_type, data },
        }
    });
    Ok((range, item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::envelope::{MAX_DEPTH, parse};

    const A: &str = r#"{"event":"a.b","data":{"n":[1]}}"#;
    const B: &str = r#"{ "data" : null, "event" : "\u0062" }"#;

    fn array(body: &str) -> Result<Vec<BatchItem>, BatchError> {
        parse_batch(body.as_bytes(), 3, 100, MAX_DEPTH)
    }

    fn lines(body: &str) -> Result<Vec<BatchItem>, BatchError> {
        parse_ndjson(body.as_bytes(), 3, 100, MAX_DEPTH)
    }

    /// The events' own bytes, having checked that each reads like an event sent alone.
    fn events(body: &str, batch: Result<Vec<BatchItem>, BatchError>) -> Vec<&str> {
        let alone = |item: BatchItem| {
            let own = &body[item.range];
            assert_eq!(parse(own.as_bytes(), MAX_DEPTH), Ok(item.envelope), "{own}");
            own
        };
        batch.unwrap().into_iter().map(alone).collect()
    }

    #[test]
    fn each_event_keeps_its_exact_bytes() {
        for body in [
            format!(r#"{{"events":[{A},{B}]}}"#),
            format!(" {{ \"x\":[1], \"\\u0065vents\" : [\r\n{A} ,\t{B} ] , \"events2\":{{}} }}\n"),
        ] {
            assert_eq!(events(&body, array(&body)), [A, B], "{body}");
        }
        for body in [
            format!("{A}\n{B}"),
            format!("{A}\r\n{B}\r\n"),
            format!("\n \t\r\n  {A} \n\n{B}\t\n\n"),
        ] {
            assert_eq!(events(&body, lines(&body)), [A, B], "{body}");
        }
    }

    #[test]
    fn the_failing_event_is_named() {
        for (body, index, message) in [
            ("7", 0, "A JSON object is expected, not a number"),
            (r#"{"event":"a"}"#, 0, "The field `data` is missing"),
            (
                r#"{"event":"a","data":1},{"data":1},[]"#,
                1,
                "The field `event` is missing",
            ),
        ] {
            let message = format!("Event at index {index}: {message}");
            let in_array = array(&format!(r#"{{"events":[{body}]}}"#)).unwrap_err();
            assert_eq!(
                (in_array.index(), in_array.to_string()),
                (Some(index), message.clone())
            );
            let in_lines = lines(&body.replace("},", "}\n\n").replace(",[]", "\n[]")).unwrap_err();
            assert_eq!(
                (in_lines.index(), in_lines.to_string()),
                (Some(index), message)
            );
        }
    }

    #[test]
    fn malformed_events_are_named_with_their_place_in_the_body() {
        let offset = |error: BatchError| match error {
            BatchError::Event {
                index,
                source: EnvelopeError::Malformed(source),
            } => match source {
                JsonError::Malformed { offset, .. } => (index, offset),
                JsonError::TooDeep { .. } => panic!("{source}"),
            },
            other => panic!("{other}"),
        };
        let body = format!(r#"{{"events":[{A},{{,}}]}}"#);
        assert_eq!(offset(array(&body).unwrap_err()), (1, body.len() - 4));
        let body = format!("{A}\n\n{{,}}\n{A}");
        assert_eq!(offset(lines(&body).unwrap_err()), (1, A.len() + 3));
        assert_eq!(offset(lines("{\n}").unwrap_err()), (0, 2));
        assert_eq!(offset(lines(&format!("{A}{A}")).unwrap_err()), (0, A.len()));
        let late = r#"{"events":[{"event":"a"},{"event":}]}"#;
        assert_eq!(
            offset(array(late).unwrap_err()),
            (1, 34),
            "malformed outranks wrong"
        );
    }

    #[test]
    fn limits_hold_for_the_number_size_and_depth_of_events() {
        let in_array = |events: &[&str]| array(&format!(r#"{{"events":[{}]}}"#, events.join(",")));
        let in_lines = |events: &[&str]| lines(&events.join("\n"));
        let large =
            |bytes: usize| format!(r#"{{"event":"a","data":"{}"}}"#, "x".repeat(bytes - 23));
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            format!(r#"{{"event":"a","data":{open}{close}}}"#)
        };
        let wide = |body: &str| parse_batch(body.as_bytes(), 3, 1000, MAX_DEPTH);
        for read in [&in_array as &dyn Fn(&[&str]) -> _, &in_lines] {
            assert_eq!(read(&[A; 3]).map(|items| items.len()), Ok(3));
            assert_eq!(read(&[A; 4]), Err(BatchError::TooMany { limit: 3 }));
            assert_eq!(read(&[]), Err(BatchError::Empty));
            assert_eq!(read(&["\r\n "]), Err(BatchError::Empty));
            assert!(read(&[A, &large(100)]).is_ok());
            let too_large = BatchError::TooLarge {
                index: 1,
                limit: 100,
            };
            assert_eq!(read(&[A, &large(101)]), Err(too_large));
        }
        assert!(wide(&format!(r#"{{"events":[{}]}}"#, nested(64))).is_ok());
        let error = wide(&format!(r#"{{"events":[{A},{}]}}"#, nested(65))).unwrap_err();
        let (offset, limit) = (r#"{"events":["#.len() + A.len() + 1 + 20 + 63, 64);
        let source = EnvelopeError::TooDeep(JsonError::TooDeep { offset, limit });
        assert_eq!(error, BatchError::Event { index: 1, source });
    }

    #[test]
    fn what_surrounds_the_events_is_checked_too() {
        for (body, field) in [
            ("[]", None),
            ("{}", Some("events")),
            (r#"{"events":{}}"#, Some("events")),
            (r#"{"events":null}"#, Some("events")),
            (r#"{"events":[],"events":[]}"#, Some("events")),
            (r#"{"events":1,"event\u0073":[]}"#, Some("events")),
        ] {
            match array(body).unwrap_err() {
                BatchError::Body(error) => assert_eq!(error.field(), field, "{body}: {error}"),
                other => panic!("{body}: {other}"),
            }
        }
        let whole = format!(r#"{{"x":1,"events":[{A}]}}"#);
        let malformed = [
            "",
            "{",
            "[1",
            r#"{"events":[]"#,
            r#"{"events":[]}x"#,
            &whole[..whole.len() - 1],
        ];
        for body in malformed.map(String::from).into_iter().chain([
            format!(r#"{{"events":[{A} {A}]}}"#),
            format!(r#"{{"events":[{A}],}}"#),
            String::from(r#"{"events":[7],"x":}"#),
        ]) {
            let error = array(&body).unwrap_err();
            assert!(
                matches!(error, BatchError::Body(EnvelopeError::Malformed(_))),
                "{body}: {error}"
            );
        }
    }

    #[test]
    fn a_batch_cut_off_anywhere_is_refused_as_malformed() {
        let body = format!(r#"{{"events":[{A},{B}]}}"#);
        for end in 0..body.len() {
            let error = array(&body[..end]).unwrap_err();
            let (BatchError::Body(source) | BatchError::Event { source, .. }) = error else {
                panic!("{end}: {error}");
            };
            assert!(
                matches!(source, EnvelopeError::Malformed(_)),
                "{end}: {source}"
            );
        }
    }
}
