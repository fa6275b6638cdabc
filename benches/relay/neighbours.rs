//! What a subscription notices of bad neighbours: one that refuses connections, one that holds every
//! request for seconds, and one that fails half of the time, beside 97 that do not.
//!
//! Two relays with as many subscriptions, one of them without bad ones, in rounds that alternate: how long
//! after its acceptance an event reaches the others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::load::{self, micros};
use super::receiver::Sink;
use super::{ROUNDS, Relay, median, percentile};

const SUBSCRIPTIONS: u32 = 100;
const BAD: u32 = 3;
const PER_SECOND: u32 = 50;
const CONNECTIONS: u32 = 8;
const ROUND: Duration = Duration::from_secs(5);
const HELD_FOR: Duration = Duration::from_secs(3);

pub fn run(body: &str) {
    let (good, slow, flapping) = (Sink::noting(), Sink::slow(HELD_FOR), Sink::flapping());
    let peaceful = Relay::start();
    subscribe(&peaceful, &good, [good.address(); BAD as usize]);
    let troubled = Relay::start();
    subscribe(
        &troubled,
        &good,
        [nobody(), slow.address(), flapping.address()],
    );
    let (mut ratios, mut without_ms, mut with_ms) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let without = measure(&peaceful, &good, SUBSCRIPTIONS, body);
        let with = measure(&troubled, &good, SUBSCRIPTIONS - BAD, body);
        let [without_p99, with_p99] = [&without, &with].map(|all| f64::from(percentile(all, 99.0)));
        println!(
            "  round {round}: without p50 {} µs, p99 {without_p99} µs   with p50 {} µs, p99 {with_p99} µs   ratio {:.2}",
            percentile(&without, 50.0),
            percentile(&with, 50.0),
            with_p99 / without_p99
        );
        ratios.push(with_p99 / without_p99);
        without_ms.push(without_p99 / 1000.0);
        with_ms.push(with_p99 / 1000.0);
    }
    println!(
        "neighbours  {:.2} times the p99 from acceptance to the receiver beside one dead, one slow and one \
         flapping subscription of {SUBSCRIPTIONS}, at {PER_SECOND} events a second: {:.1} ms, without them \
         {:.1} ms (medians)",
        median(&mut ratios),
        median(&mut with_ms),
        median(&mut without_ms)
    );
}

fn subscribe(relay: &Relay, good: &Sink, others: [SocketAddr; BAD as usize]) {
    let good = std::iter::repeat_n(good.address(), (SUBSCRIPTIONS - BAD) as usize);
    let receivers = good.chain(others).enumerate();
    let urls: Vec<_> = receivers
        .map(|(lane, address)| format!("http://{address}/{lane}"))
        .collect();
    relay.subscribe_all(&urls, "**");
}

/// Where connections are refused.
fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

/// How long after its acceptance each event reached each of so many good subscriptions, sorted.
fn measure(relay: &Relay, good: &Sink, subscriptions: u32, body: &str) -> Vec<u32> {
    let before = good.count();
    let samples = load::paced(&relay.load(body), CONNECTIONS, PER_SECOND, ROUND);
    good.wait_for(
        before + samples.len() * subscriptions as usize,
        Instant::now(),
    );
    let answered: HashMap<u32, Instant> = samples
        .iter()
        .map(|sample| (sample.number, sample.answered))
        .collect();
    let arrivals = good.take_arrivals().into_iter();
    let arrivals = arrivals.filter(|it| it.lane < SUBSCRIPTIONS - BAD);
    let mut latencies: Vec<u32> = arrivals
        .map(|it| micros(it.at.saturating_duration_since(answered[&it.event])))
        .collect();
    latencies.sort_unstable();
    latencies
}
