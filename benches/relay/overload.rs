//! Five times what may wait: how long those wait who are let in, beside how long as many connections
//! wait where all of them are, and how long a few wait in peace.

use std::time::Duration;

use super::load::{self, Sent};
use super::{Relay, median};

/// Requests that may wait for a commit, and how many connections want to at once.
const PLACES: usize = 32;
const TIMES: usize = 5;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

pub fn run(body: &str) {
    let narrow = Relay::start_with(&[("POSTRIDER_QUEUE__CAPACITY", &PLACES.to_string())]);
    let wide = Relay::start();
    let (mut to_all, mut to_few) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let few = load::run(&narrow.load(body), PLACES / 2, ROUND);
        let all = beside_a_crowd(&wide, body);
        let let_in = beside_a_crowd(&narrow, body);
        println!(
            "  round {round}: {}   all let in: {}   most refused: {}   {:.1} MB resident",
            shown(&few),
            shown(&all),
            shown(&let_in),
            narrow.resident_mb()
        );
        let p99_us = |sent: &Sent| f64::from(sent.percentile_us(99.0));
        to_all.push(p99_us(&let_in) / p99_us(&all));
        to_few.push(p99_us(&let_in) / p99_us(&few));
    }
    println!(
        "overload    who is let in at {TIMES} times what may wait has a p99 of {:.2} times that of as many \
         connections that are all let in, and {:.1} times that of a tenth of them (medians)",
        median(&mut to_all),
        median(&mut to_few)
    );
}

/// What a few connections meet while many others do the same.
fn beside_a_crowd(relay: &Relay, body: &str) -> Sent {
    let load = relay.load(body).refusable();
    let crowd = load.clone();
    let crowd = std::thread::spawn(move || load::run(&crowd, PLACES * TIMES, ROUND));
    let few = load::run(&load, PLACES / 2, ROUND);
    crowd.join().expect("the crowd goes home");
    few
}

fn shown(sent: &Sent) -> String {
    format!(
        "{:.0}/s, p50 {} µs, p99 {} µs",
        sent.rate(),
        sent.percentile_us(50.0),
        sent.percentile_us(99.0)
    )
}
