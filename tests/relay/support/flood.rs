//! Many connections at once, with one request that is sent again and again.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::LocalSet;

use super::PATIENCE;

/// What is sent, to whom, over how many connections, and for how long.
#[derive(Clone)]
pub struct Flood {
    pub address: SocketAddr,
    pub request: Vec<u8>,
    pub connections: u32,
    pub lasts: Duration,
}

/// What came back.
#[derive(Debug, Default)]
pub struct Tide {
    /// The uuids of 202s.
    pub accepted: Vec<String>,
    /// How long 202s took.
    pub accepted_after: Vec<Duration>,
    /// How long 503s took; each had a `Retry-After`.
    pub refused_after: Vec<Duration>,
    /// Everything else.
    pub strange: Vec<String>,
    /// Requests that were written.
    pub sent: usize,
    /// Requests without an answer, because the connection was closed.
    pub unanswered: usize,
}

type Shared = Rc<RefCell<Tide>>;

impl Flood {
    /// Each connection sends its next request once the one before is answered, but no sooner than so
    /// long after it was sent. Nothing is sent ahead of an answer: few clients do that.
    pub fn run(&self, every: Duration) -> Tide {
        self.each(move |flood, tide, until, number| async move {
            let mut next =
                Instant::now() + every.mul_f64(f64::from(number) / f64::from(flood.connections));
            let (mut reader, mut writer) = flood.open().await;
            loop {
                tokio::time::sleep_until(next.into()).await;
                let sent_at = Instant::now();
                next = sent_at.max(next) + every;
                if sent_at > until {
                    return;
                }
                tide.borrow_mut().sent += 1;
                let written = writer.write_all(&flood.request).await.is_ok();
                if !written || !reader.answer(sent_at, &tide).await {
                    tide.borrow_mut().unanswered += 1;
                    (reader, writer) = flood.open().await;
                }
            }
        })
    }

    fn each<F: Future<Output = ()> + 'static>(
        &self,
        client: impl Fn(Rc<Self>, Shared, Instant, u32) -> F,
    ) -> Tide {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let tide = Shared::default();
        let flood = Rc::new(self.clone());
        let until = Instant::now() + self.lasts;
        LocalSet::new().block_on(&runtime, async {
            let clients: Vec<_> = (0..self.connections)
                .map(|number| {
                    let client = client(Rc::clone(&flood), Rc::clone(&tide), until, number);
                    tokio::task::spawn_local(client)
                })
                .collect();
            for client in clients {
                client.await.unwrap();
            }
        });
        tide.take()
    }

    async fn open(&self) -> (Reader, OwnedWriteHalf) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (stream, writer) = stream.into_split();
        let buffer = Vec::new();
        (Reader { stream, buffer }, writer)
    }
}

struct Reader {
    stream: OwnedReadHalf,
    buffer: Vec<u8>,
}

impl Reader {
    /// Reads an answer and counts it; false at the end of the connection.
    async fn answer(&mut self, sent_at: Instant, tide: &Shared) -> bool {
        let (head, body) = loop {
            if let Some(whole) = take_message(&mut self.buffer) {
                break whole;
            }
            let more = self.stream.read_buf(&mut self.buffer);
            match tokio::time::timeout(PATIENCE, more).await {
                Ok(Ok(read)) if read > 0 => {}
                Ok(_) => return false,
                Err(late) => panic!("no answer: {late}"),
            }
        };
        let took = sent_at.elapsed();
        let mut tide = tide.borrow_mut();
        let retry = head.to_ascii_lowercase().contains("\r\nretry-after: ");
        if head.starts_with("HTTP/1.1 202 ") {
            tide.accepted_after.push(took);
            let body: Value = serde_json::from_slice(&body).unwrap();
            let many = body["uuids"].as_array().cloned();
            let uuids = many.unwrap_or_else(|| vec![body["uuid"].clone()]);
            tide.accepted.extend(uuids.iter().map(super::relay::text));
        } else if head.starts_with("HTTP/1.1 503 ") && retry {
            tide.refused_after.push(took);
        } else {
            tide.strange
                .push(format!("{head}\r\n{}", String::from_utf8_lossy(&body)));
        }
        true
    }
}

/// Takes the first whole message off a buffer.
fn take_message(buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let head_end = buffer.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().unwrap())
    });
    let end = head_end + length.unwrap_or(0);
    if buffer.len() < end {
        return None;
    }
    let body = buffer[head_end..end].to_vec();
    buffer.drain(..end);
    Some((head, body))
}

/// The time within which so many per cent were answered.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
