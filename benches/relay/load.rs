//! The generator: a request that is sent again and again, as fast as it is answered or at a pace.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{percentile, wire};

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
            request: wire::request(address, path, key, body).into(),
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
        percentile(&self.latencies_us, percent)
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

/// Sends so many requests in all, on so many connections.
pub fn send_count(load: &Load, connections: usize, count: usize) {
    runtime().block_on(async {
        let local = tokio::task::LocalSet::new();
        let senders = (0..connections).map(|number| {
            let (load, own) = (load.clone(), (number..count).step_by(connections));
            local.spawn_local(async move {
                let mut stream = connect(&load).await;
                let mut buffer = vec![0; 4096];
                for _ in own {
                    exchange(&mut stream, &load.request, load.when_refused, &mut buffer).await;
                }
            })
        });
        let senders: Vec<_> = senders.collect();
        local
            .run_until(async {
                for sender in senders {
                    sender.await.expect("a sender");
                }
            })
            .await;
    });
}

/// One request that was answered with a 2xx.
#[derive(Clone, Copy)]
pub struct Sample {
    /// The number of its event.
    pub number: u32,
    /// When it was due.
    pub began: Instant,
    /// When its answer was whole.
    pub answered: Instant,
}

impl Sample {
    /// How long it took, in microseconds.
    pub fn latency_us(&self) -> u32 {
        micros(self.answered - self.began)
    }
}

/// In microseconds.
pub fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}

/// Sends so many requests a second, spread over all connections, for so long, each event with a number
/// of its own. A request that is due while its connection still waits is sent late, and its wait counts.
pub fn paced(load: &Load, connections: u32, per_second: u32, time: Duration) -> Vec<Sample> {
    let interval = Duration::from_secs(1) * connections / per_second;
    runtime().block_on(async {
        let started = Instant::now();
        let local = tokio::task::LocalSet::new();
        let all = local.run_until(async {
            let senders: Vec<_> = (0..connections)
                .map(|number| {
                    let due = started + interval * number / connections;
                    let numbers = (number..).step_by(connections as usize);
                    let until = started + time;
                    let sender = send_paced(load.clone(), numbers, due, interval, until);
                    tokio::task::spawn_local(sender)
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
    mut numbers: impl Iterator<Item = u32>,
    mut due: Instant,
    interval: Duration,
    until: Instant,
) -> Vec<Sample> {
    let mut stream = connect(&load).await;
    let mut request = load.request.to_vec();
    let mut buffer = vec![0; 4096];
    let mut samples = Vec::new();
    while let Some(number) = numbers.next()
        && due < until
    {
        wire::stamp(&mut request, number);
        tokio::time::sleep_until(due.into()).await;
        // The timer is a millisecond coarse; only lateness beyond that is the relay's.
        let began = Instant::now().min(due + Duration::from_millis(2));
        exchange(&mut stream, &request, load.when_refused, &mut buffer).await;
        samples.push(Sample {
            number,
            began,
            answered: Instant::now(),
        });
        due += interval;
    }
    samples
}

/// A runtime of one thread.
pub fn runtime() -> tokio::runtime::Runtime {
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
        match exchange(&mut stream, &load.request, load.when_refused, &mut buffer).await {
            Answer::Accepted => {
                latencies_us.push(micros(began.elapsed()));
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
async fn exchange(
    stream: &mut tokio::net::TcpStream,
    request: &[u8],
    when_refused: WhenRefused,
    buffer: &mut [u8],
) -> Answer {
    let sent = stream.write_all(request).await;
    sent.expect("the request is taken");
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("an answer");
        assert!(read > 0, "the connection was closed");
        filled += read;
        if wire::message_bytes(&buffer[..filled]).is_some_and(|whole| filled >= whole) {
            break;
        }
    }
    if buffer.starts_with(b"HTTP/1.1 2") {
        return Answer::Accepted;
    }
    let answer = String::from_utf8_lossy(&buffer[..filled]);
    let refused = when_refused != WhenRefused::Fail && answer.starts_with("HTTP/1.1 503");
    assert!(refused, "{answer}");
    let seconds = wire::header(&answer, "retry-after").and_then(|value| value.parse().ok());
    Answer::Refused {
        retry_after: Duration::from_secs(seconds.expect("it says how long to wait")),
    }
}
