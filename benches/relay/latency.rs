//! What the relay adds: from an event's acceptance to its arrival at the receiver, at a pace that leaves
//! it idle most of the time. Beside it, what the bare client takes to get there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::client::Poster;
use super::load::{self, Sample, micros};
use super::receiver::{Arrival, Sink};
use super::{ROUNDS, Relay, median, percentile, wire};

const PER_SECOND: u32 = 200;
const CONNECTIONS: u32 = 16;
const ROUND: Duration = Duration::from_secs(4);

pub fn run(body: &str) {
    let (relay, sink) = (Relay::start(), Sink::noting());
    relay.subscribe(sink.address(), "**");
    let names = ["added", "with the commit", "bare client"];
    let mut p50s = names.map(|_| Vec::new());
    let mut p99s = names.map(|_| Vec::new());
    for round in 1..=ROUNDS {
        let before = sink.count();
        let samples = load::paced(&relay.load(body), CONNECTIONS, PER_SECOND, ROUND);
        sink.wait_for(before + samples.len(), Instant::now());
        let arrivals = sink.take_arrivals();
        let measured = [
            since(&samples, &arrivals, |sample| sample.answered),
            since(&samples, &arrivals, |sample| sample.began),
            bare(&sink, body),
        ];
        let mut line = Vec::new();
        for (at, (name, latencies)) in names.iter().zip(measured).enumerate() {
            let (p50, p99) = (percentile(&latencies, 50.0), percentile(&latencies, 99.0));
            line.push(format!("{name} p50 {p50} µs, p99 {p99} µs"));
            p50s[at].push(f64::from(p50));
            p99s[at].push(f64::from(p99));
        }
        println!("  round {round}: {}", line.join("   "));
    }
    let [added, whole, bare] = [0, 1, 2].map(|at| {
        let (p50, p99) = (median(&mut p50s[at]), median(&mut p99s[at]));
        format!("p50 {:.2} ms, p99 {:.2} ms", p50 / 1000.0, p99 / 1000.0)
    });
    println!(
        "latency     {added} from the answer to the receiver at {PER_SECOND} events a second; from the \
         request {whole}; the bare client alone {bare} (medians)"
    );
}

/// How long after this instant each event arrived, sorted.
fn since(
    samples: &[Sample],
    arrivals: &[Arrival],
    instant: impl Fn(&Sample) -> Instant,
) -> Vec<u32> {
    let at: HashMap<u32, Instant> = arrivals.iter().map(|it| (it.event, it.at)).collect();
    let latencies = samples.iter().map(|sample| {
        // It may be there before its sender has been told.
        micros(at[&sample.number].saturating_duration_since(instant(sample)))
    });
    let mut latencies: Vec<u32> = latencies.collect();
    latencies.sort_unstable();
    latencies
}

/// The same for the client alone: from the call to the receiver.
fn bare(sink: &Sink, body: &str) -> Vec<u32> {
    let interval = Duration::from_secs(1) / PER_SECOND;
    let count = (ROUND.as_secs_f64() / 4.0 / interval.as_secs_f64()) as u32;
    let mut began = Vec::new();
    let local = tokio::task::LocalSet::new();
    local.block_on(&load::runtime(), async {
        let poster = Poster::to(sink.address());
        let mut body = body.as_bytes().to_vec();
        for number in 0..count {
            wire::stamp(&mut body, number);
            tokio::time::sleep(interval).await;
            began.push(Instant::now());
            poster.post(Bytes::copy_from_slice(&body)).await;
        }
    });
    let arrivals = sink.take_arrivals();
    let mut latencies: Vec<u32> = arrivals
        .iter()
        .map(|it| micros(it.at - began[it.event as usize]))
        .collect();
    latencies.sort_unstable();
    latencies
}
