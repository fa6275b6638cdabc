//! Batched mode: a JSON array of events in the JSON event format of `CloudEvents` 1.0.
//!
//! Invariants: those of every batch (`domain/batch.rs`); ranges lie within the body they were read
//! from and are whole JSON objects.

use std::ops::Range;

use super::CloudEventError;
use super::structured::read_event;
use crate::domain::batch::{self, Batch, ReadEvent};
use crate::domain::event_type::EventType;
use crate::domain::json::{self, JsonError, Kind, Scanner};

/// One event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchItem {
    /// The event's own bytes within the batch's body, without white space around them.
    pub range: Range<usize>,
    /// The value of `type`.
    pub event_type: EventType,
}

/// Why a batch is refused, all of it.
pub type BatchError = batch::BatchError<CloudEventError>;

/// Reads a body that is an array of events, each nested at most `max_depth` deep, itself counting
/// as 1.
pub fn parse_batch(
    body: &[u8],
    max_events: usize,
    max_event_bytes: usize,
    max_depth: usize,
) -> Result<Vec<BatchItem>, BatchError> {
    let mut scanner = Scanner::new(json::text(body)?, max_depth);
    let found = scanner.peek()?;
    if found != Kind::Array {
        scanner.value()?;
        scanner.finish()?;
        return Err(BatchError::Body(CloudEventError::NotAnArray { found }));
    }
    scanner.open()?;
    let mut batch = Batch::new(max_events, max_event_bytes);
    while scanner.next_slot()?.is_some() {
        batch.read(|| scanner.document(read_item))?;
    }
    scanner.finish()?;
    batch.finish()
}

fn read_item(
    scanner: &mut Scanner<'_>,
) -> Result<ReadEvent<BatchItem, CloudEventError>, JsonError> {
    let (range, event_type) = read_event(scanner)?;
    let item = event_type.map(|event_type| BatchItem {
        range: range.clone(),
        event_type,
    });
    Ok((range, item))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"specversion":"1.0","id":"7","source":"/s","type":"a.b"}"#;

    /// An event with one more member.
    fn with(member: &str) -> String {
        EVENT.replace('}', &format!(",{member}}}"))
    }

    fn batch(body: &str) -> Result<Vec<BatchItem>, BatchError> {
        parse_batch(body.as_bytes(), 3, 100, 4)
    }

    #[test]
    fn a_batch_gives_each_events_own_bytes() {
        let other = EVENT.replace("a.b", "c");
        let body = format!(" [\r\n{EVENT} ,\t{other} ]\n");
        let items = batch(&body).unwrap();
        let seen: Vec<_> = items
            .into_iter()
            .map(|item| (&body[item.range], item.event_type.to_string()))
            .collect();
        let expected = [(EVENT, "a.b".to_owned()), (&*other, "c".to_owned())];
        assert_eq!(seen, expected);
    }

    #[test]
    fn the_failing_event_of_a_batch_is_named() {
        let deep = with(r#""data":[[[[]]]]"#);
        let large = with(&format!(r#""x":"{}""#, "x".repeat(50)));
        for (body, index, message) in [
            ("[]".to_owned(), None, "The batch holds no events"),
            (
                EVENT.to_owned(),
                None,
                "A JSON array of events is expected, not an object",
            ),
            (
                format!("[{EVENT},{{}},7]"),
                Some(1),
                "Event at index 1: The attribute `specversion` is missing",
            ),
            (
                format!("[{EVENT},{EVENT},[]]"),
                Some(2),
                "Event at index 2: A JSON object is expected, not an array",
            ),
            (
                format!("[{EVENT},{large}]"),
                Some(1),
                "Event at index 1: it is larger than 100 bytes",
            ),
            (
                format!("[{EVENT},{EVENT},{EVENT},{EVENT}]"),
                None,
                "The batch holds more than 3 events",
            ),
            (
                format!("[{EVENT},{deep}]"),
                Some(1),
                "Event at index 1: The body is nested too deeply: nesting exceeds 4 levels at byte \
                 126",
            ),
        ] {
            let error = batch(&body).unwrap_err();
            assert_eq!((error.index(), &*error.to_string()), (index, message));
        }
    }

    fn is_malformed(body: &str) -> bool {
        match batch(body).unwrap_err() {
            BatchError::Body(error) | BatchError::Event { source: error, .. } => {
                error.is_malformed()
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_batch_cut_off_anywhere_is_malformed_even_if_an_event_is_wrong() {
        for body in [format!("[{EVENT},{EVENT}]"), format!("[{{}},{EVENT}]")] {
            assert!(is_malformed(&format!("{body}x")));
            for end in 0..body.len() {
                assert!(is_malformed(&body[..end]), "{end}");
            }
        }
    }
}
