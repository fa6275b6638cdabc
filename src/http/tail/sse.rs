//! The form of what a reader is sent: server-sent events, as the HTML standard has them.
//!
//! Data is JSON on one line, so nothing in it can end a message.

use std::fmt::Write;
use std::time::Duration;

use super::steps::Step;

/// How soon a client comes back that lost its connection.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// Says where the reader stands, so that it can come back to there before anything has happened.
pub fn hello(text: &mut String, id: &str) {
    // Writing to a string cannot fail.
    let _ = write!(text, "retry: {}\nid: {id}\n\n", COME_BACK_AFTER.as_millis());
}

/// A step. `id` is what a client comes back with that has seen it.
pub fn step(text: &mut String, id: &str, step: &Step) {
    let Step { name, data, .. } = step;
    let _ = write!(text, "event: {name}\nid: {id}\ndata: {data}\n\n");
}

/// Nothing, so that a connection that is not used is not taken for a dead one.
pub fn comment(text: &mut String) {
    text.push_str(":\n\n");
}
