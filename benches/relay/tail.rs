//! What readers of the tail cost those who send events: 200 of them see every event of one relay, and
//! nobody of another, in rounds that alternate.
//!
//! The readers run at the lowest priority: on a real machine they are elsewhere, and what they do with
//! what they are told costs the relay nothing. What it costs to tell them does.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::load::{self, Sent};
use super::{CONNECTIONS, ROUND, Relay, median};

const READERS: usize = 200;
const ROUNDS: usize = 9;
const LOWEST_PRIORITY: i32 = 19;
/// Of a reader. It keeps no more than one piece.
const STACK_BYTES: usize = 128 << 10;
const PIECE_BYTES: usize = 64 << 10;

pub fn run(body: &str) {
    let (quiet, watched) = (Relay::start(), Relay::start());
    let told_bytes = Arc::new(AtomicU64::new(0));
    for _ in 0..READERS {
        watch(&watched, Arc::clone(&told_bytes));
    }
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
    let sent = |relay: &Relay| load::run(&relay.load(body), CONNECTIONS, ROUND);
    if round.is_multiple_of(2) {
        let with = sent(watched);
        (sent(quiet), with)
    } else {
        let without = sent(quiet);
        (without, sent(watched))
    }
}

/// One more reader, until the relay ends. Returns when it is being told.
fn watch(relay: &Relay, told_bytes: Arc<AtomicU64>) {
    let (mut stream, request) = relay.get("/v1/tail");
    stream.write_all(&request).expect("the request is taken");
    let mut piece = vec![0; PIECE_BYTES];
    let read = stream.read(&mut piece).expect("an answer");
    assert!(piece[..read].starts_with(b"HTTP/1.1 200"), "no stream");
    let reader = std::thread::Builder::new().stack_size(STACK_BYTES);
    let reading = move || read_on(&mut stream, &mut piece, &told_bytes);
    reader.spawn(reading).expect("a thread");
}

fn read_on(stream: &mut TcpStream, piece: &mut [u8], told_bytes: &AtomicU64) {
    // Of this thread alone, on Linux.
    rustix::process::setpriority_process(None, LOWEST_PRIORITY).expect("a lower priority");
    while let Ok(read @ 1..) = stream.read(piece) {
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
