//! What readers of the tail cost those who send events: 200 of them see every event of one relay, and
//! nobody of another, in rounds that alternate.
//!
//! The readers share one thread of the lowest priority: really they are elsewhere, and what they do with
//! what they are told costs the relay nothing. What it costs to tell them does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::load::{self, Sent};
use super::{CONNECTIONS, Relay, median};

const READERS: usize = 200;
const ROUNDS: usize = 20;
const ROUND: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(500);
const LOWEST_PRIORITY: i32 = 19;
const PIECE_BYTES: usize = 64 << 10;

pub fn run(body: &str) {
    let (quiet, watched) = (Relay::start(), Relay::start());
    let told_bytes = Arc::new(AtomicU64::new(0));
    watch(&watched, &told_bytes);
    let (mut rates, mut waits, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let before = told_bytes.load(Ordering::Relaxed);
        let (without, with) = in_turn(round, &quiet, &watched, body);
        let bytes = told_bytes.load(Ordering::Relaxed) - before;
        told.push(bytes as f64 / ROUND.as_secs_f64() / 1e6);
        println!(
            "  round {round}: without {}   with {}   ratio {:.3}, {:.1} MB told",
            shown(&without),
            shown(&with),
            with.rate() / without.rate(),
            bytes as f64 / 1e6
        );
        rates.push(with.rate() / without.rate());
        let [with, without] = [&with, &without].map(|it| f64::from(it.percentile_us(99.0)));
        waits.push(with / without);
    }
    println!(
        "tail        {:.3} of the durable events a second, and {:.2} times the p99, beside {READERS} readers \
         who are told {:.1} MB a second (medians; {:.1} MB resident, without readers {:.1} MB)",
        median(&mut rates),
        median(&mut waits),
        median(&mut told),
        watched.resident_mb(),
        quiet.resident_mb()
    );
}

/// Which comes first changes, as whatever drifts does in a round.
fn in_turn(round: usize, quiet: &Relay, watched: &Relay, body: &str) -> (Sent, Sent) {
    let sent = |relay: &Relay| {
        // What the other has still to write is not this one's.
        std::thread::sleep(PAUSE);
        load::run(&relay.load(body), CONNECTIONS, ROUND)
    };
    if round.is_multiple_of(2) {
        let with = sent(watched);
        (sent(quiet), with)
    } else {
        let without = sent(quiet);
        (without, sent(watched))
    }
}

/// Has all readers read until the relay ends. Returns when they are being told.
fn watch(relay: &Relay, told_bytes: &Arc<AtomicU64>) {
    let (address, request) = relay.get("/v1/tail");
    let (told_bytes, request) = (Arc::clone(told_bytes), Arc::from(request));
    let (ready, are_ready) = mpsc::channel();
    std::thread::spawn(move || {
        // Of this thread alone, on Linux.
        rustix::process::setpriority_process(None, LOWEST_PRIORITY).expect("a lower priority");
        let local = tokio::task::LocalSet::new();
        for _ in 0..READERS {
            let (request, told_bytes) = (Arc::clone(&request), Arc::clone(&told_bytes));
            local.spawn_local(read(address, request, told_bytes, ready.clone()));
        }
        drop(ready);
        load::runtime().block_on(local);
    });
    assert_eq!(are_ready.iter().count(), READERS, "all are told");
}

async fn read(
    address: SocketAddr,
    request: Arc<[u8]>,
    told_bytes: Arc<AtomicU64>,
    ready: mpsc::Sender<()>,
) {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let sent = stream.write_all(&request).await;
    sent.expect("the request is taken");
    let mut piece = vec![0; PIECE_BYTES];
    let read = stream.read(&mut piece).await.expect("an answer");
    assert!(piece[..read].starts_with(b"HTTP/1.1 200"), "no stream");
    let _ = ready.send(());
    drop(ready);
    while let Ok(read @ 1..) = stream.read(&mut piece).await {
        told_bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

fn shown(sent: &Sent) -> String {
    format!(
        "{:>6.0}/s (p99 {:>6} µs)",
        sent.rate(),
        sent.percentile_us(99.0)
    )
}
