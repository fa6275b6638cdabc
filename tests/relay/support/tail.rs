//! One who reads along, message by message.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use super::PATIENCE;
use super::http::read_head;
use super::relay::Relay;

/// A message of the stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// A connection to the stream.
pub struct Tail {
    stream: BufReader<TcpStream>,
    /// What came last to come back with.
    pub last_id: String,
}

impl Tail {
    /// Begins to read with this key and these parameters, after the message of this id if there is one.
    pub fn open(relay: &Relay, key: &str, query: &str, last_id: Option<&str>) -> Self {
        let mut tail = Self::begin(relay, key, &format!("/v1/tail?{query}"), last_id);
        // Where one stands is said before anything has happened.
        assert_eq!(tail.block(), Some(None));
        assert!(!tail.last_id.is_empty());
        tail
    }

    /// Another stream of this kind.
    #[allow(dead_code)] // One suite does.
    pub fn of(relay: &Relay, key: &str, path: &str) -> Self {
        Self::begin(relay, key, path, None)
    }

    fn begin(relay: &Relay, key: &str, path: &str, last_id: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(relay.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // An old version: the end of the body is the end of the connection.
        let mut head = format!("GET {path} HTTP/1.0\r\nX-API-Key: {key}\r\n");
        if let Some(id) = last_id {
            head += "Last-Event-ID: ";
            head += id;
            head += "\r\n";
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let (first, headers) = read_head(&mut stream).unwrap();
        assert!(first.contains(" 200 "), "{first}");
        let stated = headers.iter().find(|(name, _)| name == "content-type");
        assert_eq!(stated.unwrap().1, "text/event-stream");
        Self {
            stream,
            last_id: String::new(),
        }
    }

    /// The next message; `None` at the end.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.block()? {
                return Some(message);
            }
        }
    }

    /// So many messages.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.next().expect("one more")).collect()
    }

    /// All there are until the end.
    pub fn rest(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// What stands before the next empty line: a message, or something else.
    #[expect(clippy::option_option, reason = "the end is not an empty block")]
    fn block(&mut self) -> Option<Option<Message>> {
        let (mut name, mut data) = (String::new(), None);
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            let line = line.trim_end();
            match line.split_once(": ") {
                Some(("event", value)) => value.clone_into(&mut name),
                Some(("id", value)) => value.clone_into(&mut self.last_id),
                Some(("data", value)) => data = Some(serde_json::from_str(value).unwrap()),
                _ if line.is_empty() => {
                    return Some(data.map(|data| Message {
                        name,
                        id: self.last_id.clone(),
                        data,
                    }));
                }
                _ => {}
            }
        }
    }
}

/// What a program prints, line by line, as it comes.
pub fn lines_of(out: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    lines
}
