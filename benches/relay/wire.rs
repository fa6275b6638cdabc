//! As little HTTP as will do, so that what is measured is the other side.
//!
//! Events may carry a number, so that their deliveries can be told apart; every number has as many
//! digits, so that a request is stamped in place.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What comes before an event's number, in a body that has one.
const NUMBER: &[u8] = br#""order_id":"#;
const DIGITS: usize = 7;
/// The least number with so many digits.
const LEAST: u32 = 1_000_000;

/// A `POST` of this body with this key.
pub fn request(address: SocketAddr, path: &str, key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A `GET` with this key.
pub fn get(address: SocketAddr, path: &str, key: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\n\r\n").into_bytes()
}

/// The length of the message that begins here, once its head is whole.
pub fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let head = find(bytes, b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = header(text, "content-length").and_then(|value| value.parse::<usize>().ok());
    Some(head + length.unwrap_or(0))
}

/// A header's value.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Gives the event in a request another number.
pub fn stamp(request: &mut [u8], number: u32) {
    let at = find(request, NUMBER).expect("a body with a number") + NUMBER.len();
    let digits = (LEAST + number).to_string();
    request[at..at + DIGITS].copy_from_slice(digits.as_bytes());
}

/// The number of the event in a request.
pub fn number(request: &[u8]) -> Option<u32> {
    let at = find(request, NUMBER)? + NUMBER.len();
    let digits = std::str::from_utf8(request.get(at..at + DIGITS)?).ok()?;
    digits.parse::<u32>().ok()?.checked_sub(LEAST)
}

/// The number in a request's path, `/17`.
pub fn path_number(request: &[u8]) -> Option<u32> {
    let path = request.strip_prefix(b"POST /")?;
    let digits = path.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Sets things up, one request after another.
pub struct Caller {
    stream: TcpStream,
    address: SocketAddr,
    key: String,
}

impl Caller {
    /// Connects.
    pub fn of(address: SocketAddr, key: &str) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        let key = key.to_owned();
        Self {
            stream,
            address,
            key,
        }
    }

    /// Posts this body and returns the answer's, which is that of a 2xx.
    pub fn post(&mut self, path: &str, body: &str) -> String {
        let request = request(self.address, path, &self.key, body);
        self.stream
            .write_all(&request)
            .expect("the request is taken");
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while message_bytes(&answer).is_none_or(|whole| answer.len() < whole) {
            let read = self.stream.read(&mut buffer).expect("an answer");
            assert!(read > 0, "the connection was closed");
            answer.extend_from_slice(&buffer[..read]);
        }
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 2"), "{answer}");
        answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }
}
