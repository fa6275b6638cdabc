//! Five times what may wait: how long those wait who are let in, beside how long they wait in peace.

use std::time::Duration;

use super::{Relay, load};

/// Requests that may wait for a commit, and how many connections want to at once.
const PLACES: usize = 32;
const TIMES: usize = 5;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(5);

pub fn run(body: &str) {
    let relay = Relay::start_with(&[("POSTRIDER_QUEUE__CAPACITY", &PLACES.to_string())]);
    let mut times = Vec::new();
    for round in 1..=ROUNDS {
        let calm = load::run(&relay.load(body), PLACES / 2, ROUND);
        let flood = relay.load(body).refusable();
        let flood = std::thread::spawn(move || load::run(&flood, PLACES * TIMES, ROUND));
        let rough = load::run(&relay.load(body).refusable(), PLACES / 2, ROUND);
        let flood = flood.join().expect("the flood ends");
        let (before_us, after_us) = (calm.percentile_us(99.0), rough.percentile_us(99.0));
        println!(
            "  round {round}: calm {:.0}/s, p50 {} µs, p99 {before_us} µs   flooded {:.0}/s, p50 {} µs, p99 {after_us} µs   \
             the flood {:.0}/s accepted, {:.1} MB resident",
            calm.rate(),
            calm.percentile_us(50.0),
            rough.rate(),
            rough.percentile_us(50.0),
            flood.rate(),
            relay.resident_mb()
        );
        times.push(f64::from(after_us) / f64::from(before_us));
    }
    println!(
        "overload    the p99 of accepted requests is {:.1} times as long at {TIMES} times what may wait (median)",
        super::median(&mut times)
    );
}
