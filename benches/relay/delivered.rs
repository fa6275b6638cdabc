//! Events accepted and delivered to one subscription, as fast as they are accepted.

use super::client::Bounds;
use super::load;
use super::receiver::Sink;
use super::{CONNECTIONS, ROUND, ROUNDS, Relay, median};

pub fn run(body: &str) {
    let (mut rates, mut bounds) = (Vec::new(), Bounds::default());
    for round in 1..=ROUNDS {
        bounds.measure(&Sink::start(), body);
        let relay = Relay::start();
        let sink = Sink::start();
        relay.subscribe(sink.address(), "**");
        let sent = load::run(&relay.load(body), CONNECTIONS, ROUND);
        let took = sink.wait_for(sent.count(), sent.started());
        let rate = sent.count() as f64 / took.as_secs_f64();
        println!(
            "  round {round}: accepted {:>7.0}/s, all {} delivered after {:.2} s: {:>6.0}/s",
            sent.rate(),
            sent.count(),
            took.as_secs_f64(),
            rate
        );
        rates.push(rate);
    }
    let rate = median(&mut rates);
    println!(
        "delivered   {rate:.0} events a second accepted and delivered: {} (medians)",
        bounds.shown(rate)
    );
}
