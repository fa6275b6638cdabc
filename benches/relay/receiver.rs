//! The receiver of the benchmark: it says 200 and counts, on a thread of its own. Others are slow, or
//! fail half of the time, so that one sees what their neighbours notice of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::load::runtime;
use super::wire;

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const BROKEN: &[u8] = b"HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n";
/// How long nothing may come before one gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a receiver answers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// 200, at once.
    Prompt,
    /// The same, and what came when is noted.
    Noting,
    /// 200, after a while.
    Slow(Duration),
    /// 500 every other time.
    Flapping,
}

/// What came when: an event, by its number, for a subscription, by its path.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// The number of the path.
    pub lane: u32,
    /// The number of the event.
    pub event: u32,
    /// When the request was whole.
    pub at: Instant,
}

/// A receiver.
pub struct Sink {
    address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    count: AtomicUsize,
    last: Mutex<Instant>,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Sink {
    /// Starts one that does nothing but count.
    pub fn start() -> Self {
        Self::of(Manner::Prompt)
    }

    /// One that notes what comes when.
    pub fn noting() -> Self {
        Self::of(Manner::Noting)
    }

    /// One that holds every request for so long.
    pub fn slow(held_for: Duration) -> Self {
        Self::of(Manner::Slow(held_for))
    }

    /// One that fails every other time.
    pub fn flapping() -> Self {
        Self::of(Manner::Flapping)
    }

    fn of(manner: Manner) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let seen = Arc::new(Seen {
            count: AtomicUsize::new(0),
            last: Mutex::new(Instant::now()),
            arrivals: Mutex::default(),
        });
        let own = Arc::clone(&seen);
        std::thread::spawn(move || {
            runtime().block_on(async {
                listener
                    .set_nonblocking(true)
                    .expect("a non-blocking listener");
                let listener = TcpListener::from_std(listener).expect("a listener");
                let local = tokio::task::LocalSet::new();
                local
                    .run_until(async {
                        while let Ok((stream, _)) = listener.accept().await {
                            tokio::task::spawn_local(swallow(stream, manner, Arc::clone(&own)));
                        }
                    })
                    .await;
            });
        });
        Self { address, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many have arrived.
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::Acquire)
    }

    /// Waits until so many have arrived, and says how long after `since` the last one did. Gives up
    /// once nothing has come for a while.
    pub fn wait_for(&self, count: usize, since: Instant) -> Duration {
        let (mut arrived, mut give_up) = (0, Instant::now() + PATIENCE);
        while self.count() < count {
            let now = self.count();
            if now > arrived {
                (arrived, give_up) = (now, Instant::now() + PATIENCE);
            }
            assert!(
                Instant::now() < give_up,
                "only {} of {count} arrived",
                self.count()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
        let last = self.seen.last.lock().expect("no panic");
        last.duration_since(since)
    }

    /// What was noted since this was asked last.
    pub fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut self.seen.arrivals.lock().expect("no panic"))
    }
}

async fn swallow(mut stream: TcpStream, manner: Manner, seen: Arc<Seen>) {
    let _ = stream.set_nodelay(true);
    let mut buffer = vec![0; 64 << 10];
    let mut filled = 0;
    loop {
        match stream.read(&mut buffer[filled..]).await {
            Ok(read) if read > 0 => filled += read,
            _ => return,
        }
        let request = &buffer[..filled];
        if wire::message_bytes(request).is_none_or(|whole| filled < whole) {
            continue;
        }
        let now = Instant::now();
        let before = seen.count.load(Ordering::Relaxed);
        let answer = match manner {
            Manner::Flapping if before.is_multiple_of(2) => BROKEN,
            _ => FINE,
        };
        if let Manner::Slow(held_for) = manner {
            tokio::time::sleep(held_for).await;
        }
        if manner == Manner::Noting
            && let (Some(lane), Some(event)) = (wire::path_number(request), wire::number(request))
        {
            let arrival = Arrival {
                lane,
                event,
                at: now,
            };
            seen.arrivals.lock().expect("no panic").push(arrival);
        }
        filled = 0;
        if stream.write_all(answer).await.is_err() {
            return;
        }
        *seen.last.lock().expect("no panic") = now;
        seen.count.fetch_add(1, Ordering::Release);
    }
}
