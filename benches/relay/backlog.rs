//! What a dead subscription costs: one that has not taken anything for so long that a million events
//! wait for it.
//!
//! In one run, first without and then with the backlog: how fast events are accepted and how fast a
//! neighbour gets them, each as a ratio. Then the process is killed: how long the next one takes to be
//! ready, how much memory it takes, and how fast the backlog drains once the receiver is back. The
//! number of events is `POSTRIDER_BENCH_BACKLOG`.

use std::time::Instant;

use super::load::{self, Sink};
use super::{CONNECTIONS, ROUND, Relay};

const DEFAULT_EVENTS: usize = 1_000_000;
const BATCH: usize = 1000;
const SENDERS: usize = 4;

/// How fast events were accepted, and delivered to one subscription.
struct Rates {
    accepted: f64,
    delivered: f64,
    count: usize,
}

pub fn run(body: &str) {
    let events: usize = std::env::var("POSTRIDER_BENCH_BACKLOG").map_or(DEFAULT_EVENTS, |given| {
        given.parse().expect("POSTRIDER_BENCH_BACKLOG is a number")
    });
    let events = events.next_multiple_of(BATCH);
    let mut relay = Relay::start();
    let (neighbour, absent) = (Sink::start(), Sink::start());
    relay.subscribe(neighbour.address(), "order.**");
    let without = measure(&relay, body, &neighbour, 0);

    let dead = relay.subscribe(absent.address(), "**");
    relay.act(&format!("/v1/subscriptions/{dead}/pause"));
    let before_mb = relay.resident_mb();
    let began = Instant::now();
    fill(&relay, events);
    println!(
        "  {events} events accepted in batches of {BATCH}: {:.0}/s; resident {before_mb:.1} MB, then {:.1} MB",
        events as f64 / began.elapsed().as_secs_f64(),
        relay.resident_mb()
    );
    let with = measure(&relay, body, &neighbour, without.count);
    println!(
        "  accepted {:>6.0}/s without, {:>6.0}/s with it: {:.2}   neighbour {:>6.0}/s without, {:>6.0}/s with it: {:.2}",
        without.accepted,
        with.accepted,
        with.accepted / without.accepted,
        without.delivered,
        with.delivered,
        with.delivered / without.delivered
    );

    let killed_mb = relay.resident_mb();
    let ready = relay.kill_and_restart();
    let ready_mb = relay.resident_mb();
    let waiting = events + with.count;
    let began = Instant::now();
    relay.act(&format!("/v1/subscriptions/{dead}/resume"));
    let drained = absent.wait_for(waiting, began);
    println!(
        "backlog     {waiting} undelivered: ready {:.3} s after a kill; resident {killed_mb:.1} MB before it, \
         {ready_mb:.1} MB when ready, {:.1} MB when drained; drains at {:.0}/s",
        ready.as_secs_f64(),
        relay.resident_mb(),
        waiting as f64 / drained.as_secs_f64()
    );
}

/// Sends for a round, and waits until the neighbour, who had so many before, has it all.
fn measure(relay: &Relay, body: &str, neighbour: &Sink, before: usize) -> Rates {
    let sent = load::run(&relay.load(body), CONNECTIONS, ROUND);
    let took = neighbour.wait_for(before + sent.count(), sent.started());
    Rates {
        accepted: sent.rate(),
        delivered: sent.count() as f64 / took.as_secs_f64(),
        count: sent.count(),
    }
}

/// Has so many small events accepted, in whole batches.
fn fill(relay: &Relay, events: usize) {
    let event = r#"{"event":"backlog.small","data":{"note":"a small event"}}"#;
    let batch = format!(r#"{{"events":[{}]}}"#, vec![event; BATCH].join(","));
    let path = format!("/api/webhooks/{}/batch", relay.integration_key);
    let (address, key) = (relay.process.address, &relay.owner);
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (batch, path) = (&batch, &path);
            let batches = (sender..events / BATCH).step_by(SENDERS);
            scope.spawn(move || {
                for _ in batches {
                    load::post(address, path, key, batch);
                }
            });
        }
    });
}
