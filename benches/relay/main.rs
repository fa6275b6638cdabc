//! How fast the relay is, beside what the same machine can do at best, in one run.
//!
//! `cargo bench` prints three figures, each the median of several rounds that alternate, and how fast one
//! event reaches many ([`fanout`], [`lanes`]), how soon ([`latency`]) and beside whom ([`neighbours`]); what it
//! costs to know a key ([`access`]), to have a backlog ([`backlog`]), to write and keep a byte ([`bytes`]),
//! to be flooded ([`overload`]), to be watched ([`tail`]) and to live long ([`churn`]):
//!
//! - *accepted*: durable events a second at 64 connections and 1 KiB, as a ratio to a bare actix-web
//!   handler that reads the same body and answers a uuid;
//! - *delivered*: events a second accepted and delivered to one subscription;
//! - *idle*: resident memory of a relay that has nothing to do.
//!
//! The generator, the receiver and the relay share this machine's cores, over loopback. Nothing is
//! asserted: speed is for people to read.

// A benchmark that cannot go on says so and ends; its figures are far from what a double cannot hold.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::cast_precision_loss
)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod access;
mod backlog;
mod bytes;
mod churn;
mod client;
mod delivered;
mod fanout;
mod lanes;
mod latency;
mod load;
mod neighbours;
mod overload;
mod receiver;
mod relay;
mod tail;
mod wire;

use std::time::Duration;

use relay::{BARE, Bare, Relay};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);
const CONNECTIONS: usize = 64;
const BODY_BYTES: usize = 1024;

type Bench = fn(&str);

/// Each by its name, with an event's body to run it with.
const BENCHES: [(&str, Bench); 13] = [
    ("idle", idle),
    ("accepted", accepted),
    ("delivered", delivered::run),
    ("fanout", fanout::run),
    ("latency", latency::run),
    ("neighbours", neighbours::run),
    ("lanes", lanes::run),
    ("access", access::run),
    ("backlog", backlog::run),
    ("bytes", bytes::run),
    ("overload", overload::run),
    ("tail", tail::run),
    ("churn", churn::run),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.iter().any(|arg| arg == BARE) {
        return relay::bare_handler();
    }
    let wanted = |name: &str| {
        let filters: Vec<_> = args[1..]
            .iter()
            .filter(|arg| !arg.starts_with('-'))
            .collect();
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let body = body();
    println!(
        "{CONNECTIONS} connections, {BODY_BYTES} bytes, {ROUNDS} rounds of {ROUND:?}, {} cores\n",
        cores()
    );
    for (name, run) in BENCHES {
        if wanted(name) {
            run(&body);
        }
    }
}

fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An event of the size that the figures are for.
fn body() -> String {
    let start = r#"{"event":"order.completed","data":{"order_id":1000000,"note":""#;
    let end = r#""}}"#;
    format!(
        "{start}{}{end}",
        "x".repeat(BODY_BYTES - start.len() - end.len())
    )
}

fn idle(_: &str) {
    let relay = Relay::start();
    std::thread::sleep(Duration::from_secs(3));
    println!("idle        {:.1} MB resident", relay.resident_mb());
}

fn accepted(body: &str) {
    let relay = Relay::start();
    let bare = Bare::start();
    let mut ratios = Vec::new();
    let mut rates = Vec::new();
    for round in 1..=ROUNDS {
        let best = load::run(&bare.load(body), CONNECTIONS, ROUND);
        let ours = load::run(&relay.load(body), CONNECTIONS, ROUND);
        println!(
            "  round {round}: bare {:>7.0}/s (p50 {:>5} µs, p99 {:>6} µs)   relay {:>7.0}/s (p50 {:>5} µs, p99 {:>6} µs)   ratio {:.3}",
            best.rate(),
            best.percentile_us(50.0),
            best.percentile_us(99.0),
            ours.rate(),
            ours.percentile_us(50.0),
            ours.percentile_us(99.0),
            ours.rate() / best.rate()
        );
        ratios.push(ours.rate() / best.rate());
        rates.push(ours.rate());
    }
    println!(
        "accepted    {:.0} durable events a second, {:.2} of the bare handler (medians; {:.1} MB resident after)",
        median(&mut rates),
        median(&mut ratios),
        relay.resident_mb()
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The value that so many per cent of these, which are sorted, stay below.
fn percentile(sorted: &[u32], percent: f64) -> u32 {
    let at = (sorted.len() as f64 * percent / 100.0) as usize;
    let last = sorted.len().saturating_sub(1);
    sorted.get(at.min(last)).copied().unwrap_or(0)
}
