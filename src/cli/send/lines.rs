//! Sending many events, one on each line, in batches that the relay accepts whole or not at all.
//!
//! It ends at the first batch that is refused, and says which line is to blame and from where to go on:
//! nothing is skipped in silence, and nothing before it is sent twice.

use std::io::{BufRead, Read};

use actix::System;
use http::Method;
use serde_json::Value;

use crate::cli::ask::{Session, print_json};
use crate::cli::client::ClientError;
use crate::cli::progress::Progress;
use crate::cli::{CliError, print, style};
use crate::config::printable;
use crate::http::content::MAX_BATCH_EVENTS;

const NDJSON: &str = "application/x-ndjson";
/// A batch is sent before it is larger: well below what relays take by default.
const BATCH_BYTES: usize = 1 << 20;
/// The longest line that is read: more than any relay takes.
const MAX_LINE_BYTES: usize = 32 << 20;

/// Events that are sent together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Batch {
    body: Vec<u8>,
    /// The line that each of them is on, the first being 1.
    lines: Vec<u64>,
}

/// Sends everything, and prints the uuids of each batch once it is on the relay's disk.
pub fn send(session: &Session, path: &str, input: impl BufRead) -> Result<(), CliError> {
    let mut batches = Batches::of(input);
    // What scrolls by is progress enough.
    let mut progress = style::stdout_width().is_none().then(Progress::begin);
    let mut sent = 0;
    while let Some(batch) = batches.next()? {
        let body = batch.body.clone().into();
        let sending = session.client.send_as(NDJSON, Method::POST, path, body);
        let answer = System::new().block_on(sending);
        let answer = answer.map_err(|error| told(&batch, error, sent))?;
        let answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| ClientError::Answer(error.to_string()))?;
        sent += batch.lines.len();
        tell(session, &answer)?;
        if let Some(progress) = &mut progress {
            progress.say(&format!("{sent} events are accepted"));
        }
    }
    if sent == 0 {
        return Err(CliError::Failed("there is no event to send".to_owned()));
    }
    if let Some(progress) = progress {
        progress.end_with(&format!("{sent} events are accepted"));
    }
    Ok(())
}

fn tell(session: &Session, answer: &Value) -> Result<(), CliError> {
    if session.json {
        return print_json(answer);
    }
    let uuids = answer["uuids"].as_array().into_iter().flatten();
    let uuids = uuids.filter_map(Value::as_str).map(printable);
    print(&uuids.map(|uuid| uuid + "\n").collect::<String>())
}

/// What happened to a batch that was not accepted, and to those before it.
fn told(batch: &Batch, error: ClientError, sent: usize) -> CliError {
    let (Some(first), Some(last)) = (batch.lines.first(), batch.lines.last()) else {
        return error.into();
    };
    let blamed = index_in(&error).and_then(|index| batch.lines.get(index));
    let what = match blamed {
        Some(line) => format!("line {line}"),
        None if sent == 0 => return error.into(),
        None if error.is_refusal() => format!("lines {first} to {last}"),
        None => format!("whether lines {first} to {last} were accepted is not known"),
    };
    CliError::Failed(format!(
        "{what}: {error}\n{sent} events before line {first} are accepted, none from there on; go on with \
         `tail -n +{first}`"
    ))
}

/// Which event of a batch the relay blames, in its own words: `index 3`, or `events[3]`.
fn index_in(error: &ClientError) -> Option<usize> {
    let ClientError::Refused { message, .. } = error else {
        return None;
    };
    let (_, after) = ["index ", "events["]
        .iter()
        .find_map(|before| message.split_once(before))?;
    let digits = after
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

struct Batches<R> {
    input: R,
    line: u64,
    /// An event that the batch before had no room for.
    held: Option<(u64, Vec<u8>)>,
}

impl<R: BufRead> Batches<R> {
    fn of(input: R) -> Self {
        Self {
            input,
            line: 0,
            held: None,
        }
    }

    fn next(&mut self) -> Result<Option<Batch>, CliError> {
        let mut batch = Batch::default();
        while batch.lines.len() < MAX_BATCH_EVENTS {
            let held = self.held.take();
            let Some((line, event)) = held.map_or_else(|| self.event(), |held| Ok(Some(held)))?
            else {
                break;
            };
            if !batch.lines.is_empty() && batch.body.len() + event.len() > BATCH_BYTES {
                self.held = Some((line, event));
                break;
            }
            batch.lines.push(line);
            batch.body.extend(event);
        }
        Ok(Some(batch).filter(|batch| !batch.lines.is_empty()))
    }

    /// The next line that is not blank, which ends with a line feed.
    fn event(&mut self) -> Result<Option<(u64, Vec<u8>)>, CliError> {
        loop {
            let mut event = Vec::new();
            let most = MAX_LINE_BYTES as u64 + 1;
            let read = self.input.by_ref().take(most).read_until(b'\n', &mut event);
            let read = read.map_err(CliError::io("cannot read the events"))?;
            self.line += 1;
            if read == 0 {
                return Ok(None);
            }
            if read > MAX_LINE_BYTES {
                let line = self.line;
                let message = format!("line {line} is longer than {MAX_LINE_BYTES} bytes");
                return Err(CliError::Failed(message));
            }
            if !event.trim_ascii().is_empty() {
                if event.last() != Some(&b'\n') {
                    event.push(b'\n');
                }
                return Ok(Some((self.line, event)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn batches(text: &str) -> Vec<Batch> {
        let mut batches = Batches::of(text.as_bytes());
        std::iter::from_fn(|| batches.next().unwrap()).collect()
    }

    #[test]
    fn a_batch_knows_which_line_each_event_was_on() {
        let read = batches("{1}\n\n \t\r\n{2}\r\n{3}");
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].lines, [1, 4, 5]);
        assert_eq!(read[0].body, b"{1}\n{2}\r\n{3}\n");
        assert_eq!(batches("\n\n"), []);
    }

    #[test]
    fn batches_keep_to_their_bounds_and_leave_nothing_out() {
        let many = "{}\n".repeat(MAX_BATCH_EVENTS * 2 + 1);
        let sizes: Vec<usize> = batches(&many).iter().map(|it| it.lines.len()).collect();
        assert_eq!(sizes, [MAX_BATCH_EVENTS, MAX_BATCH_EVENTS, 1]);
        let large = format!("{}\n", "x".repeat(BATCH_BYTES / 2));
        let read = batches(&large.repeat(3));
        let lines: Vec<&[u64]> = read.iter().map(|it| it.lines.as_slice()).collect();
        assert_eq!(lines, [&[1][..], &[2], &[3]]);
        assert_eq!(batches(&"x".repeat(BATCH_BYTES * 2)).len(), 1, "alone");
    }

    #[test]
    fn the_line_to_blame_is_named_and_where_to_go_on() {
        let batch = Batch {
            body: Vec::new(),
            lines: vec![11, 13, 14],
        };
        let refused = |message: &str| ClientError::Refused {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            message: message.to_owned(),
        };
        for message in [
            "Event at index 1: it is odd",
            "events[1].event: the relay's own",
        ] {
            let said = told(&batch, refused(message), 10).to_string();
            assert!(
                said.starts_with("line 13: ") && said.contains(message),
                "{said}"
            );
            assert!(said.contains("10 events before line 11") && said.contains("tail -n +11"));
        }
        let said = told(&batch, refused("Rate limit exceeded"), 10).to_string();
        assert!(said.starts_with("lines 11 to 14: "), "{said}");
        let said = told(&batch, ClientError::Timeout, 10).to_string();
        assert!(said.starts_with("whether lines 11 to 14"), "{said}");
    }
}
