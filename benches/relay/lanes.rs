//! An event for each of ten thousand subscriptions: how fast all of them get it, how far apart the first
//! and the last do, and what so many lanes take in memory.

use std::time::Instant;

use super::load::{self, micros};
use super::receiver::Sink;
use super::{ROUNDS, Relay, median, percentile};

const SUBSCRIPTIONS: usize = 10_000;

pub fn run(body: &str) {
    let (relay, sink) = (Relay::start(), Sink::noting());
    let idle_mb = relay.resident_mb();
    let urls: Vec<_> = (0..SUBSCRIPTIONS)
        .map(|lane| format!("http://{}/{lane}", sink.address()))
        .collect();
    let began = Instant::now();
    relay.subscribe_all(&urls, "**");
    println!(
        "  {SUBSCRIPTIONS} subscriptions made in {:.1} s: {idle_mb:.1} MB resident became {:.1} MB",
        began.elapsed().as_secs_f64(),
        relay.resident_mb()
    );
    let (mut rates, mut spreads_ms) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let before = sink.count();
        let began = Instant::now();
        load::send_count(&relay.load(body), 1, 1);
        let took = sink.wait_for(before + SUBSCRIPTIONS, began);
        let arrivals = sink.take_arrivals().into_iter();
        let mut after: Vec<u32> = arrivals.map(|it| micros(it.at - began)).collect();
        after.sort_unstable();
        let [first, half, last] =
            [0.0, 50.0, 100.0].map(|percent| f64::from(percentile(&after, percent)) / 1000.0);
        let rate = SUBSCRIPTIONS as f64 / took.as_secs_f64();
        println!(
            "  round {round}: the first after {first:.0} ms, half after {half:.0} ms, the last after {last:.0} ms: {rate:.0}/s, {:.1} MB resident",
            relay.resident_mb()
        );
        rates.push(rate);
        spreads_ms.push(last - first);
    }
    println!(
        "lanes       {:.0} deliveries a second, one for each of {SUBSCRIPTIONS} subscriptions; the last {:.0} ms \
         after the first (medians; {:.1} MB resident after)",
        median(&mut rates),
        median(&mut spreads_ms),
        relay.resident_mb()
    );
}
