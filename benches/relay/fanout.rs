//! One event for a hundred subscriptions, again and again: deliveries a second.

use std::time::Instant;

use super::client::Bounds;
use super::load;
use super::receiver::Sink;
use super::{ROUNDS, Relay, median};

const SUBSCRIPTIONS: usize = 100;
const EVENTS: usize = 1000;
const SENDERS: usize = 8;

pub fn run(body: &str) {
    let (relay, sink) = (Relay::start(), Sink::start());
    let urls: Vec<_> = (0..SUBSCRIPTIONS)
        .map(|lane| format!("http://{}/{lane}", sink.address()))
        .collect();
    relay.subscribe_all(&urls, "**");
    let (mut rates, mut bounds) = (Vec::new(), Bounds::default());
    for round in 1..=ROUNDS {
        bounds.measure(&Sink::start(), body);
        let before = sink.count();
        let began = Instant::now();
        load::send_count(&relay.load(body), SENDERS, EVENTS);
        let accepted = began.elapsed();
        let took = sink.wait_for(before + EVENTS * SUBSCRIPTIONS, began);
        let rate = (EVENTS * SUBSCRIPTIONS) as f64 / took.as_secs_f64();
        println!(
            "  round {round}: {EVENTS} events accepted within {:.2} s, all delivered after {:.2} s: {rate:>6.0} deliveries/s",
            accepted.as_secs_f64(),
            took.as_secs_f64()
        );
        rates.push(rate);
    }
    let rate = median(&mut rates);
    println!(
        "fanout      {rate:.0} deliveries a second, {SUBSCRIPTIONS} of each event: {} (medians; {:.1} MB resident after)",
        bounds.shown(rate),
        relay.resident_mb()
    );
}
