//! Many events in one body: `{"events": [...]}`, or one event per line.
//!
//! Invariants: all or none. Each event is held to the limits of an event sent alone, and its data's
//! range is relative to its own bytes, so that it can be stored and read like one. Nothing is
//! allocated ahead on the sender's word.

use std::ops::Range;

use thiserror::Error;

use super::{Envelope, EnvelopeError, ReadEvent, read_event};
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

/// Why a batch is refused, all of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// What surrounds the events is wrong; the field to blame can be `events`.
    #[error(transparent)]
    Body(#[from] EnvelopeError),
    /// One of the events is wrong.
    #[error("Event at index {index}: {source}")]
    Event {
        /// Which one, the first being 0.
        index: usize,
        /// What is wrong with it.
        source: EnvelopeError,
    },
    /// One of the events is too large.
    #[error("Event at index {index}: it is larger than {limit} bytes")]
    TooLarge {
        /// Which one, the first being 0.
        index: usize,
        /// The largest size of an event, in bytes.
        limit: usize,
    },
    /// There are more events than a batch may hold.
    #[error("The batch holds more than {limit} events")]
    TooMany {
        /// The largest number of events.
        limit: usize,
    },
    /// There is no event at all.
    #[error("The batch holds no events")]
    Empty,
}

impl BatchError {
    /// The failing event's index, if one is to blame, the first being 0.
    pub fn index(&self) -> Option<usize> {
        match self {
            Self::Event { index, .. } | Self::TooLarge { index, .. } => Some(*index),
            Self::Body(_) | Self::TooMany { .. } | Self::Empty => None,
        }
    }
}

impl From<JsonError> for BatchError {
    fn from(error: JsonError) -> Self {
        Self::Body(error.into())
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
            batch.read(|| scanner.document(read_event))?;
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
            let event = read_event(&mut scanner)?;
            scanner.finish()?;
            Ok(event)
        })?;
    }
    batch.finish()
}

/// A batch in the making.
struct Batch {
    items: Vec<BatchItem>,
    seen: usize,
    /// The first event that is well formed but wrong: no longer a batch, unless it turns out that
    /// it never was JSON.
    refused: Option<BatchError>,
    max_events: usize,
    max_event_bytes: usize,
}

impl Batch {
    fn new(max_events: usize, max_event_bytes: usize) -> Self {
        Self {
            items: Vec::new(),
            seen: 0,
            refused: None,
            max_events,
            max_event_bytes,
        }
    }

    /// Takes in the next event.
    fn read(
        &mut self,
        read_event: impl FnOnce() -> Result<ReadEvent, JsonError>,
    ) -> Result<(), BatchError> {
        let index = self.seen;
        if index == self.max_events {
            return Err(BatchError::TooMany {
                limit: self.max_events,
            });
        }
        self.seen += 1;
        let (range, envelope) = read_event().map_err(|error| BatchError::Event {
            index,
            source: error.into(),
        })?;
        match envelope {
            _ if self.refused.is_some() => {}
            _ if range.len() > self.max_event_bytes => {
                self.refused = Some(BatchError::TooLarge {
                    index,
                    limit: self.max_event_bytes,
                });
            }
            Err(source) => self.refused = Some(BatchError::Event { index, source }),
            Ok(Envelope { event_type, data }) => {
                let data = data.start - range.start..data.end - range.start;
                self.items.push(BatchItem {
                    range,
                    envelope: Envelope { event_type, data },
                });
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Vec<BatchItem>, BatchError> {
        match self.refused {
            Some(error) => Err(error),
            None if self.items.is_empty() => Err(BatchError::Empty),
            None => Ok(self.items),
        }
    }
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
