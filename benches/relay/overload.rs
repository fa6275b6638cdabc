//! Five times what may wait: how long those wait who are let in, beside how long as many connections
//! wait where all of them are, and how long a few wait in peace.
//!
//! A few connections behave: refused, they wait as they are told. The crowd around them does not, and
//! sends again at once. Only requests that are let in have a latency here.

use std::time::Duration;

use super::load::{self, Sent};
use super::{Relay, median};

/// Requests that may wait for a commit, and how many times as many connections want to at once.
const PLACES: usize = 32;
const TIMES: usize = 5;
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(4);

pub fn run(body: &str) {
    let narrow = Relay::start_with(&[("POSTRIDER_QUEUE__CAPACITY", &PLACES.to_string())]);
    let wide = Relay::start();
    let (mut to_all, mut to_few, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let few = load::run(&narrow.load(body), PLACES / 2, ROUND);
        let all = Crowded::run(&wide, body);
        let let_in = Crowded::run(&narrow, body);
        println!(
            "  round {round}: in peace {}\n           all let in {}\n           most refused {}; {:.1} MB resident",
            shown(&few),
            all.shown(),
            let_in.shown(),
            narrow.resident_mb()
        );
        let p99_us = |sent: &Sent| f64::from(sent.percentile_us(99.0));
        to_all.push(p99_us(&let_in.few) / p99_us(&all.few));
        to_few.push(p99_us(&let_in.few) / p99_us(&few));
        accepted.push(let_in.accepted() / all.accepted());
    }
    println!(
        "overload    who is let in at {TIMES} times what may wait has a p99 of {:.2} times that of as many \
         connections that are all let in, and {:.1} times that of a tenth of them in peace; {:.2} of the \
         events are accepted (medians)",
        median(&mut to_all),
        median(&mut to_few),
        median(&mut accepted)
    );
}

/// What a few connections meet while many others do the same, and what the others get.
struct Crowded {
    few: Sent,
    crowd: Sent,
}

impl Crowded {
    fn run(relay: &Relay, body: &str) -> Self {
        let insisting = relay.load(body).insisting();
        let crowd = std::thread::spawn(move || load::run(&insisting, PLACES * TIMES, ROUND));
        let few = load::run(&relay.load(body).obeying(), PLACES / 2, ROUND);
        let crowd = crowd.join().expect("the crowd goes home");
        Self { few, crowd }
    }

    fn accepted(&self) -> f64 {
        self.few.rate() + self.crowd.rate()
    }

    fn shown(&self) -> String {
        format!(
            "{}, refused {:.0}/s; the crowd {}, refused {:.0}/s",
            shown(&self.few),
            self.few.refused_rate(),
            shown(&self.crowd),
            self.crowd.refused_rate()
        )
    }
}

fn shown(sent: &Sent) -> String {
    format!(
        "{:.0}/s, p50 {} µs, p99 {} µs",
        sent.rate(),
        sent.percentile_us(50.0),
        sent.percentile_us(99.0)
    )
}
