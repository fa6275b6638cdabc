//! Reading server-sent events (HTML standard, section 9.2.6), as far as a relay sends them, and coming back
//! when their connection is lost.

use std::io::Write;
use std::time::Duration;

use tokio::time::sleep;

/// The longest message that is read: far more than one of a relay.
const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// How long nothing may come, not even a comment, before a connection counts as dead: a relay says something
/// every fifteen seconds at least.
pub const MAX_SILENCE: Duration = Duration::from_secs(40);
/// The waits before it is tried again; the last one from then on.
const COME_BACK_AFTER_S: [u64; 4] = [1, 2, 5, 10];

/// How often in a row it was tried in vain.
#[derive(Debug, Default)]
pub struct Comeback {
    tries: usize,
}

impl Comeback {
    /// It worked.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// Says on standard error that there is no connection, and waits before the next try.
    pub async fn wait(&mut self, why: &str) {
        let wait_s = COME_BACK_AFTER_S[self.tries.min(COME_BACK_AFTER_S.len() - 1)];
        self.tries += 1;
        let note = format!("not connected ({why}); trying again in {wait_s} s");
        // Whoever closed standard error does not want to know.
        let _ = writeln!(std::io::stderr(), "{note}");
        sleep(Duration::from_secs(wait_s)).await;
    }
}

/// A message.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is called.
    pub name: String,
    /// What to come back with.
    pub id: String,
    /// What it says; nothing, where it only says where one stands.
    pub data: Option<String>,
}

/// Puts messages together from pieces.
#[derive(Debug, Default)]
pub struct Parser {
    rest: Vec<u8>,
    message: Message,
}

impl Parser {
    /// The messages that are whole with these bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Vec<Message>, String> {
        self.rest.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut read = 0;
        while let Some(length) = self.rest[read..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&self.rest[read..read + length]);
            let line = line.map_err(|_| "the stream is not UTF-8".to_owned())?;
            messages.extend(line_of(&mut self.message, line.trim_end_matches('\r')));
            read += length + 1;
        }
        self.rest.drain(..read);
        if self.rest.len() > MAX_MESSAGE_BYTES {
            return Err(format!(
                "a message is longer than {MAX_MESSAGE_BYTES} bytes"
            ));
        }
        Ok(messages)
    }
}

/// Takes a line in; an empty one ends a message.
fn line_of(message: &mut Message, line: &str) -> Option<Message> {
    if line.is_empty() {
        let whole = std::mem::take(message);
        // The id stays until there is another.
        message.id.clone_from(&whole.id);
        let says = !whole.id.is_empty() || whole.data.is_some();
        return says.then_some(whole);
    }
    let (name, value) = line.split_once(':').unwrap_or((line, ""));
    let value = value.strip_prefix(' ').unwrap_or(value);
    match name {
        "event" => value.clone_into(&mut message.name),
        "id" => value.clone_into(&mut message.id),
        "data" => match &mut message.data {
            Some(data) => {
                data.push('\n');
                data.push_str(value);
            }
            none => *none = Some(value.to_owned()),
        },
        // A comment, or something of a later time.
        _ => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_together_however_they_are_cut() {
        let text = "retry: 1000\nid: a\n\n:\n\nevent: one\nid: b\ndata: {\"x\":\"\u{fc}\"}\n\ndata:1\r\ndata: 2\n\nid: c";
        let message = |name: &str, id: &str, data: Option<&str>| Message {
            name: name.to_owned(),
            id: id.to_owned(),
            data: data.map(str::to_owned),
        };
        let expected = [
            message("", "a", None),
            message("", "a", None),
            message("one", "b", Some("{\"x\":\"\u{fc}\"}")),
            message("", "b", Some("1\n2")),
        ];
        for size in 1..=text.len() {
            let mut parser = Parser::default();
            let pieces = text.as_bytes().chunks(size);
            let found: Vec<_> = pieces
                .flat_map(|piece| parser.read(piece).unwrap())
                .collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_message_without_end_is_given_up() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; MAX_MESSAGE_BYTES];
        assert!(parser.read(&piece).is_ok());
        assert!(parser.read(b"x").is_err());
    }
}
