//! What a dead subscription costs: one that has not taken anything for so long that a million events
//! wait for it.
//!
//! Two relays, one with the backlog and one without, in rounds that alternate: how fast events are
//! accepted and how fast a neighbour gets them, each as a ratio. Then the process is killed: how long
//! the next one takes to be ready, how much memory it takes, and how fast the backlog drains once the
//! receiver is back. The number of events is `BENCH_BACKLOG`.

use std::time::Instant;

use super::load;
use super::receiver::Sink;
use super::{CONNECTIONS, ROUND, ROUNDS, Relay, median};

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
    let events: usize = std::env::var("BENCH_BACKLOG").map_or(DEFAULT_EVENTS, |given| {
        given.parse().expect("BENCH_BACKLOG is a number")
    });
    let events = events.next_multiple_of(BATCH);
    let plain = Relay::start();
    let mut relay = Relay::start();
    let (neighbour, absent) = (Sink::start(), Sink::start());
    for relay in [&plain, &relay] {
        relay.subscribe(neighbour.address(), "order.**");
    }
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
    let (mut seen, mut waiting) = (0, events);
    let (mut accepted, mut delivered) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let without = measure(&plain, body, &neighbour, &mut seen);
        let with = measure(&relay, body, &neighbour, &mut seen);
        waiting += with.count;
        println!(
            "  round {round}: accepted {:>6.0}/s without, {:>6.0}/s with it   neighbour {:>6.0}/s without, {:>6.0}/s with it",
            without.accepted, with.accepted, without.delivered, with.delivered
        );
        accepted.push(with.accepted / without.accepted);
        delivered.push(with.delivered / without.delivered);
    }
    println!(
        "beside it   accepted {:.2}, delivered to a neighbour {:.2} of what it is without (medians)",
        median(&mut accepted),
        median(&mut delivered)
    );

    let killed_mb = relay.resident_mb();
    let ready = relay.kill_and_restart();
    let ready_mb = relay.resident_mb();
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

/// Sends for a round, and waits until the neighbour, who has seen so many before, has it all.
fn measure(relay: &Relay, body: &str, neighbour: &Sink, seen: &mut usize) -> Rates {
    let sent = load::run(&relay.load(body), CONNECTIONS, ROUND);
    *seen += sent.count();
    let took = neighbour.wait_for(*seen, sent.started());
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
    let path = format!("{}/batch", relay.path());
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (batch, path, mut caller) = (&batch, &path, relay.caller());
            let batches = (sender..events / BATCH).step_by(SENDERS);
            scope.spawn(move || {
                for _ in batches {
                    caller.post(path, batch);
                }
            });
        }
    });
}
