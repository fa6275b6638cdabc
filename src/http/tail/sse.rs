//! The form of what a reader is sent: server-sent events, as the HTML standard has them.
//!
//! Data is JSON on one line, so nothing in it can end a message.

use std::fmt::Write;
use std::time::Duration;

/// How soon a client comes back that lost its connection.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);
/// What ends a message.
pub const END: &str = "\n\n";

/// Says where the reader stands, so that it can come back to there before anything has happened.
pub fn hello(text: &mut String, id: &str) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "retry: {}\nid: {id}{END}",
        COME_BACK_AFTER.as_millis()
    );
}

/// A message. `id` is what a client comes back with that has seen it.
pub fn message(text: &mut String, name: &str, id: &str, data: &str) {
    let _ = write!(text, "event: {name}\nid: {id}\ndata: {data}{END}");
}

/// Nothing, so that a connection that is not used is not taken for a dead one.
pub fn comment(text: &mut String) {
    let _ = write!(text, ":{END}");
}
