//! The generator and the receiver of the benchmark: as little HTTP as will do, so that what is
//! measured is the other side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One request, ready to be sent again and again.
#[derive(Clone)]
pub struct Load {
    address: SocketAddr,
    request: Arc<[u8]>,
    when_refused: WhenRefused,
}

/// What a sender does about a 503.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenRefused {
    /// None is expected.
    Fail,
    /// Sends at once again.
    Insist,
    /// Waits as long as the answer says.
    Obey,
}

impl Load {
    /// A `POST` of this body with this key.
    pub fn new(address: SocketAddr, path: &str, key: &str, body: &str) -> Self {
        Self {
            address,
            request: request(address, path, key, body).into(),
            when_refused: WhenRefused::Fail,
        }
    }

    /// The same, sent by somebody who does not care what a 503 asks of him.
    pub fn insisting(self) -> Self {
        let when_refused = WhenRefused::Insist;
        Self {
            when_refused,
            ..self
        }
    }

    /// The same, sent by somebody who waits after a 503 as he is told.
    pub fn obeying(self) -> Self {
        let when_refused = WhenRefused::Obey;
        Self {
            when_refused,
            ..self
        }
    }
}

fn request(address: SocketAddr, path: &str, key: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// What a round brought.
pub struct Sent {
    started: Instant,
    took: Duration,
    latencies_us: Vec<u32>,
    refused: usize,
}

impl Sent {
    /// When it began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Requests that were answered with a 2xx.
    pub fn count(&self) -> usize {
        self.latencies_us.len()
    }

    /// The same, a second.
    pub fn rate(&self) -> f64 {
        self.count() as f64 / self.took.as_secs_f64()
    }

    /// Requests that were answered with a 503, a second.
    pub fn refused_rate(&self) -> f64 {
        self.refused as f64 / self.took.as_secs_f64()
    }

    /// The latency that so many per cent stayed below, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> u32 {
        let at = (self.count() as f64 * percent / 100.0) as usize;
        self.latencies_us
            .get(at.min(self.count().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    }
}

/// Sends as fast as the other side answers, on so many connections, for so long.
pub fn run(load: &Load, connections: usize, time: Duration) -> Sent {
    runtime().block_on(async {
        let started = Instant::now();
        let local = tokio::task::LocalSet::new();
        let (mut latencies_us, refused) = local
            .run_until(async {
                let senders: Vec<_> = (0..connections)
                    .map(|_| tokio::task::spawn_local(send(load.clone(), started + time)))
                    .collect();
                let (mut all, mut refused) = (Vec::new(), 0);
                for sender in senders {
                    let own = sender.await.expect("a sender");
                    all.extend(own.0);
                    refused += own.1;
                }
                (all, refused)
            })
            .await;
        let took = started.elapsed();
        latencies_us.sort_unstable();
        Sent {
            started,
            took,
            latencies_us,
            refused,
        }
    })
}

/// One answer.
pub struct Sample {
    /// How long it took, in microseconds.
    pub latency_us: u32,
}

/// Sends so many requests a second, spread over all connections, for so long. A request that is due
/// while its connection still waits is sent late, and its wait counts.
pub fn paced(load: &Load, connections: usize, per_second: u32, time: Duration) -> Vec<Sample> {
    let interval = Duration::from_secs(1) * u32::try_from(connections).unwrap_or(1) / per_second;
    runtime().block_on(async {
        let started = Instant::now();
        let local = tokio::task::LocalSet::new();
        let all = local.run_until(async {
            let senders: Vec<_> = (0..connections)
                .map(|number| {
                    let first = interval * u32::try_from(number).unwrap_or(0)
                        / u32::try_from(connections).unwrap_or(1);
                    let due = started + first;
                    tokio::task::spawn_local(send_paced(
                        load.clone(),
                        due,
                        interval,
                        started + time,
                    ))
                })
                .collect();
            let mut all = Vec::new();
            for sender in senders {
                all.extend(sender.await.expect("a sender"));
            }
            all
        });
        all.await
    })
}

async fn send_paced(
    load: Load,
    mut due: Instant,
    interval: Duration,
    until: Instant,
) -> Vec<Sample> {
    let mut stream = connect(&load).await;
    let mut buffer = vec![0; 4096];
    let mut samples = Vec::new();
    while due < until {
        tokio::time::sleep_until(due.into()).await;
        // The timer is a millisecond coarse; only lateness beyond that is the relay's.
        let began = Instant::now().min(due + Duration::from_millis(2));
        exchange(&mut stream, &load, &mut buffer).await;
        let latency_us = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        samples.push(Sample { latency_us });
        due += interval;
    }
    samples
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Returns how long it took to be let in, each time, and how often it was refused.
async fn send(load: Load, until: Instant) -> (Vec<u32>, usize) {
    let mut stream = connect(&load).await;
    let (mut latencies_us, mut refused) = (Vec::new(), 0);
    let mut buffer = vec![0; 4096];
    while Instant::now() < until {
        let began = Instant::now();
        match exchange(&mut stream, &load, &mut buffer).await {
            Answer::Accepted => {
                latencies_us.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            Answer::Refused { retry_after } => {
                refused += 1;
                if load.when_refused == WhenRefused::Obey {
                    let again = (Instant::now() + retry_after).min(until);
                    tokio::time::sleep_until(again.into()).await;
                }
            }
        }
    }
    (latencies_us, refused)
}

enum Answer {
    Accepted,
    Refused { retry_after: Duration },
}

async fn connect(load: &Load) -> tokio::net::TcpStream {
    let stream = tokio::net::TcpStream::connect(load.address).await;
    let stream = stream.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Sends the request and waits for its answer, which most loads insist on being a 2xx.
async fn exchange(stream: &mut tokio::net::TcpStream, load: &Load, buffer: &mut [u8]) -> Answer {
    let sent = stream.write_all(&load.request).await;
    sent.expect("the request is taken");
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("an answer");
        assert!(read > 0, "the connection was closed");
        filled += read;
        if message_bytes(&buffer[..filled]).is_some_and(|whole| filled >= whole) {
            break;
        }
    }
    if buffer.starts_with(b"HTTP/1.1 2") {
        return Answer::Accepted;
    }
    let answer = String::from_utf8_lossy(&buffer[..filled]);
    let refused = load.when_refused != WhenRefused::Fail && answer.starts_with("HTTP/1.1 503");
    assert!(refused, "{answer}");
    let seconds = header(&answer, "retry-after").and_then(|value| value.parse().ok());
    Answer::Refused {
        retry_after: Duration::from_secs(seconds.expect("it says how long to wait")),
    }
}

/// The length of the message that begins here, once its head is whole.
fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).ok()?;
    let length = header(text, "content-length").and_then(|value| value.parse::<usize>().ok());
    Some(head + length.unwrap_or(0))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// One request, for setting things up.
pub fn post(address: SocketAddr, path: &str, key: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream
        .write_all(&request(address, path, key, body))
        .expect("the request is taken");
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while message_bytes(&answer).is_none_or(|whole| answer.len() < whole) {
        let read = stream.read(&mut buffer).expect("an answer");
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

/// A receiver that says 200 and counts.
pub struct Sink {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
    last: Arc<Mutex<Instant>>,
}

impl Sink {
    /// Starts it on a thread of its own.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let sink = Self {
            address,
            count: Arc::default(),
            last: Arc::new(Mutex::new(Instant::now())),
        };
        let (count, last) = (Arc::clone(&sink.count), Arc::clone(&sink.last));
        std::thread::spawn(move || {
            runtime().block_on(async {
                listener
                    .set_nonblocking(true)
                    .expect("a non-blocking listener");
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let local = tokio::task::LocalSet::new();
                local
                    .run_until(async {
                        while let Ok((stream, _)) = listener.accept().await {
                            tokio::task::spawn_local(swallow(
                                stream,
                                Arc::clone(&count),
                                Arc::clone(&last),
                            ));
                        }
                    })
                    .await;
            });
        });
        sink
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until so many have arrived, and says how long after `since` the last one did. Gives up
    /// once nothing has come for a while.
    pub fn wait_for(&self, count: usize, since: Instant) -> Duration {
        let patience = Duration::from_mins(1);
        let (mut arrived, mut give_up) = (0, Instant::now() + patience);
        while self.count.load(Ordering::Acquire) < count {
            let now = self.count.load(Ordering::Acquire);
            if now > arrived {
                (arrived, give_up) = (now, Instant::now() + patience);
            }
            assert!(
                Instant::now() < give_up,
                "only {} of {count} arrived",
                self.count.load(Ordering::Acquire)
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        self.last.lock().expect("no panic").duration_since(since)
    }
}

async fn swallow(
    mut stream: tokio::net::TcpStream,
    count: Arc<AtomicUsize>,
    last: Arc<Mutex<Instant>>,
) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
        if message_bytes(&buffer[..filled]).is_some_and(|whole| filled >= whole) {
            filled = 0;
            if stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .is_err()
            {
                return;
            }
            *last.lock().expect("no panic") = Instant::now();
            count.fetch_add(1, Ordering::Release);
        }
    }
}
