//! What a receiver can do with a connection, and what is said of it.

use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use self::Says::{NoEnd, NoHead, Whole};
use crate::support::http::{read_body, read_head};

const GIGABYTE: u64 = 1 << 30;

/// What an attempt's record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// No head of a response came, because of this.
    NoHead(&'static str),
    /// A head came, and the end did not.
    NoEnd(&'static str),
    /// There was a response.
    Whole(u64),
}
impl Says {
    /// Whether it is what this record says.
    pub fn is_said_by(self, attempt: &Value) -> bool {
        let (error, status) = match self {
            NoHead(error) | NoEnd(error) => (json!(error), Value::Null),
            Whole(status) => (Value::Null, json!(status)),
        };
        let has_head = attempt.get("first_byte_ms").is_some();
        attempt["error"] == error
            && attempt["status_code"] == status
            && has_head != matches!(self, NoHead(_))
    }
}

/// What is done with a connection.
pub type Doing = fn(&mut Wire);

/// Plain HTTP, or what should be.
pub const DOINGS: [(&str, Says, Doing); 22] = [
    ("drips its head", NoHead("timeout"), |wire| {
        wire.read();
        wire.drip("HTTP/1.1 500 Slow\r\nx: ", "y");
    }),
    ("drips its body", NoEnd("timeout"), |wire| {
        wire.read();
        wire.drip("HTTP/1.1 500 Slow\r\ncontent-length: 9999\r\n\r\n", "y");
    }),
    ("drips chunks", NoEnd("timeout"), |wire| {
        wire.read();
        let head = "HTTP/1.1 500 Slow\r\ntransfer-encoding: chunked\r\n\r\n";
        wire.drip(head, "1\r\ny\r\n");
    }),
    ("never answers", NoHead("timeout"), |wire| wire.wait()),
    ("sends a gigabyte", Whole(500), |wire| {
        wire.read();
        wire.flood(
            &format!("HTTP/1.1 500 Big\r\ncontent-length: {GIGABYTE}\r\n\r\n"),
            b"x",
        );
    }),
    ("sends a gigabyte without a length", Whole(200), |wire| {
        wire.read();
        wire.flood("HTTP/1.1 200 Big\r\n\r\n", b"x");
    }),
    ("sends a gigabyte in one-byte chunks", Whole(500), |wire| {
        wire.read();
        wire.flood(
            "HTTP/1.1 500 Big\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
        );
    }),
    ("sends what inflates to a gigabyte", Whole(500), |wire| {
        wire.read();
        let bomb = gzipped_zeros(GIGABYTE);
        let length = bomb.len();
        wire.say(&format!(
            "HTTP/1.1 500 Boom\r\ncontent-encoding: gzip\r\ncontent-length: {length}\r\n\r\n"
        ));
        wire.write(&bomb);
    }),
    (
        "sends a head without end",
        NoHead("invalid_response"),
        |wire| {
            wire.read();
            wire.flood("HTTP/1.1 200 OK\r\nx: ", b"y");
        },
    ),
    (
        "sends headers without end",
        NoHead("invalid_response"),
        |wire| {
            wire.read();
            wire.flood("HTTP/1.1 200 OK\r\n", b"x: y\r\n");
        },
    ),
    (
        "asks to continue without end",
        NoHead("invalid_response"),
        |wire| {
            wire.read();
            wire.flood("", b"HTTP/1.1 100 Continue\r\n\r\n");
        },
    ),
    ("resets the connection", NoHead("closed"), |wire| {
        wire.reset();
    }),
    ("hangs up", NoHead("closed"), |wire| wire.read()),
    ("hangs up within its head", NoHead("closed"), |wire| {
        wire.read();
        wire.say("HTTP/1.1 200 OK\r\nx: ");
    }),
    ("hangs up within its body", NoEnd("closed"), |wire| {
        wire.read();
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123");
    }),
    (
        "speaks something else",
        NoHead("invalid_response"),
        |wire| {
            wire.read();
            wire.say("SSH-2.0-OpenSSH_9.6\r\n\r\n");
        },
    ),
    ("speaks HTTP/2", NoHead("invalid_response"), |wire| {
        wire.read();
        wire.write(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64");
    }),
    (
        "sends a header that is none",
        NoHead("invalid_response"),
        |wire| {
            wire.read();
            wire.say("HTTP/1.1 200 OK\r\nb\0d: x\r\n\r\n");
        },
    ),
    ("sends two lengths", NoHead("invalid_response"), |wire| {
        wire.read();
        wire.say("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab");
    }),
    (
        "sends a length that is none",
        NoHead("invalid_response"),
        |wire| {
            wire.read();
            wire.say("HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n");
        },
    ),
    (
        "sends a chunk that is none",
        NoEnd("invalid_response"),
        |wire| {
            wire.read();
            wire.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n");
        },
    ),
    (
        "sends an answer that nobody asked for",
        Whole(500),
        |wire| {
            // To a request that comes over the same connection it is no answer.
            wire.read();
            wire.say("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            wire.wait();
        },
    ),
];

/// One end of a connection.
pub struct Wire {
    stream: BufReader<TcpStream>,
    /// The most that anybody took over one connection.
    taken: Arc<AtomicU64>,
}

impl Wire {
    fn read(&mut self) {
        if let Ok((_, headers)) = read_head(&mut self.stream) {
            let _ = read_body(&mut self.stream, &headers);
        }
    }

    fn say(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    /// False once the other side is gone.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.get_mut().write_all(bytes).is_ok()
    }

    /// Until the other side leaves.
    fn wait(&mut self) {
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// Leaves with the request unread, which resets the connection.
    fn reset(&mut self) {
        let _ = self.stream.get_ref().peek(&mut [0]);
    }

    /// A byte now and then, until the other side leaves.
    fn drip(&mut self, start: &str, piece: &str) {
        self.say(start);
        for byte in piece.bytes().cycle() {
            if !self.write(&[byte]) {
                return;
            }
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// As much as it takes, up to a gigabyte.
    fn flood(&mut self, start: &str, piece: &[u8]) {
        self.say(start);
        let pieces = piece.repeat((64 << 10) / piece.len());
        let mut sent = 0;
        while sent < GIGABYTE && self.write(&pieces) {
            sent += pieces.len() as u64;
        }
        self.taken.fetch_max(sent, Ordering::Relaxed);
    }
}

/// Listens for as long as the test runs; returns where.
pub fn listen(doing: Doing, taken: &Arc<AtomicU64>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let taken = Arc::clone(taken);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (stream, taken) = (BufReader::new(stream), Arc::clone(&taken));
            thread::spawn(move || doing(&mut Wire { stream, taken }));
        }
    });
    url
}

/// So many zeros in the format of gzip (RFC 1952), made by hand: one of them, and then as often as it takes
/// “the last byte, 258 times” (RFC 1951, fixed codes).
fn gzipped_zeros(count: u64) -> Vec<u8> {
    const AGAIN: &str = "1100010100000";
    let pack = |bits: &str| -> Vec<u8> {
        let byte = |bits: &[u8]| bits.iter().rfold(0, |byte, bit| byte << 1 | (bit - b'0'));
        bits.as_bytes().chunks(8).map(byte).collect()
    };
    let head = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff".to_vec();
    // The last block, in fixed codes; a zero; three whole bytes in all.
    let first = pack(&format!("11000110000{AGAIN}"));
    let more = pack(&AGAIN.repeat(8)).repeat(usize::try_from(count / (8 * 258)).unwrap());
    // Nobody gets as far as the checksum.
    [head, first, more, vec![0; 9]].concat()
}
