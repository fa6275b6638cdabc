//! Clients and receivers that hold on to what they can get: each costs what its bound says, and nobody
//! else is turned away for good.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::flood::watching;
use crate::support::http::{self, Connection};
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;
use crate::support::{eventually, is_full};

const BODY_BYTES: usize = 256 << 10;
const SLOW_BODIES: usize = 400;
/// Bodies that have arrived in part may hold 64 MiB together: so many of them.
const HELD_BODIES: usize = (64 << 20) / BODY_BYTES;
/// What that may become in memory: the bodies, and what is read ahead for each connection.
const SLOW_MIB: u64 = 224;

fn post(shop: &Integration, path: &str, body: &[u8]) -> Vec<u8> {
    http::request("POST", path, &[("X-API-Key", &shop.api_key)], body)
}

fn start() -> (Relay, Integration) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    (relay, shop)
}

#[test]
fn bodies_that_never_end_hold_a_bounded_amount_and_let_go_of_it() {
    let (relay, shop) = start();
    let request = post(&shop, &shop.path(), &samples::sized(BODY_BYTES));
    let mut slow: Vec<_> = (0..SLOW_BODIES)
        .map(|_| {
            let mut connection = relay.connect();
            // Refused ones are closed while they still send.
            let _ = connection.send_raw(&request[..request.len() - 10]);
            connection
        })
        .collect();
    // Which of them are refused depends on whose bytes are read first.
    let refused = eventually("a refusal", || {
        let answered = slow.iter_mut().find(|it| it.has_answer() == Some(true));
        answered.and_then(|it| it.answer().ok())
    });
    eventually("a refusal of all that there is no room for", || {
        let waiting = slow.iter().filter(|it| it.has_answer() == Some(false));
        (waiting.count() <= HELD_BODIES).then_some(())
    });
    refused.expect(503);
    assert!(refused.header("retry-after").is_some());
    let held_mib = relay.resident_mib();
    println!("{SLOW_BODIES} slow bodies: {held_mib} MiB");
    assert!(held_mib <= SLOW_MIB, "{held_mib} MiB");
    // What a refused one held is free again, and small ones always find room.
    relay.send(&shop, &samples::event("a", 1));
    drop(slow);
    eventually("room for a large one", || {
        let answer = relay.post(&shop, &[], &samples::sized(BODY_BYTES));
        (answer.status == 202).then_some(())
    });
}

#[test]
fn idle_connections_cost_little_and_are_let_go() {
    const EACH_KIB: u64 = 32;
    let count: u64 = if is_full() { 8000 } else { 2000 };
    let (relay, shop) = start();
    let before_mib = relay.resident_mib();
    let mut idle: Vec<Connection> = (0..count).map(|_| relay.connect()).collect();
    relay.send(&shop, &samples::event("a", 1));
    let held_mib = relay.resident_mib();
    println!("{count} idle connections: {before_mib} MiB became {held_mib} MiB");
    assert!(held_mib <= before_mib + count * EACH_KIB / 1024);
    for connection in &mut idle {
        // Some are told why.
        let _ = connection.answer();
        assert!(connection.is_closed(), "it was not let go");
    }
    relay.send(&shop, &samples::event("a", 2));
}

#[test]
fn one_huge_batch_after_another_is_taken_in_bounded_memory() {
    const SENDERS: usize = 12;
    const MAX_MIB: u64 = 384;
    let rounds = if is_full() { 100 } else { 6 };
    let (relay, shop) = start();
    let event = String::from_utf8(samples::sized((4 << 20) / 1000 - 2)).unwrap();
    let batch = format!("{{\"events\":[{}]}}", vec![event; 1000].join(","));
    assert!(
        (4_000_000..=4 << 20).contains(&batch.len()),
        "{}",
        batch.len()
    );
    let request = post(&shop, &format!("{}/batch", shop.path()), batch.as_bytes());
    let sender = || {
        let mut connection = relay.connect();
        let mut accepted = 0;
        for _ in 0..rounds {
            connection.send_raw(&request).unwrap();
            let answer = connection.answer().unwrap();
            if answer.status == 202 {
                accepted += answer.json()["uuids"].as_array().unwrap().len();
            } else {
                assert_eq!(answer.status, 503, "{}", answer.text());
                assert!(answer.header("retry-after").is_some());
            }
        }
        accepted
    };
    let (accepted, most_mib) = watching(&relay, || {
        std::thread::scope(|scope| {
            let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(sender)).collect();
            let accepted = senders.into_iter().map(|sender| sender.join().unwrap());
            accepted.sum::<usize>()
        })
    });
    println!("{accepted} events in batches of 4 MiB: at most {most_mib} MiB");
    assert!(accepted >= 1000);
    assert!(most_mib <= MAX_MIB, "{most_mib} MiB");
}

#[test]
fn receivers_that_never_answer_hold_a_bounded_amount_and_slow_nobody() {
    const SILENT: usize = 20;
    const MAX_MIB: u64 = 256;
    let (relay, shop) = start();
    let silent: Vec<_> = (0..SILENT)
        .map(|_| {
            let receiver = Receiver::forgetful(|_| Reply::Silence);
            relay.subscribe(&receiver.url(), &["**"]);
            receiver
        })
        .collect();
    let neighbour = Receiver::forgetful(|_| Reply::status(200));
    relay.subscribe(&neighbour.url(), &["**"]);
    let mut batch = vec![samples::sized(60_000); 64].join(&b","[..]);
    batch.splice(..0, *b"{\"events\":[");
    batch.extend_from_slice(b"]}");
    let request = post(&shop, &format!("{}/batch", shop.path()), &batch);
    let ((), most_mib) = watching(&relay, || {
        let mut connection = relay.connect();
        let mut last = String::new();
        for _ in 0..40 {
            connection.send_raw(&request).unwrap();
            let answer = connection.answer().unwrap().expect(202);
            last = text(answer["uuids"].as_array().unwrap().last().unwrap());
        }
        eventually("the neighbour has the last event", || {
            let event = relay.event(&last)?;
            let deliveries = event["deliveries"].as_array().unwrap();
            let delivered = |it: &serde_json::Value| it["status"] == "delivered";
            deliveries.iter().any(delivered).then_some(())
        });
    });
    println!("{SILENT} silent receivers: at most {most_mib} MiB");
    assert!(most_mib <= MAX_MIB, "{most_mib} MiB");
    drop(silent);
}

#[test]
fn one_event_for_thousands_of_subscriptions_reaches_them_all() {
    /// Ten thousand lanes, and as many attempts under way as there may be, each with a connection.
    const MAX_MIB: u64 = 512;
    const EVENTS: usize = 3;
    let count: usize = if is_full() { 10_000 } else { 500 };
    let (relay, shop) = start();
    let reached = Arc::new(Reached::default());
    let own = Arc::clone(&reached);
    let receiver = Receiver::forgetful(move |delivery| own.by(delivery));
    let mut owner = relay.connect();
    let headers = [("X-API-Key", relay.key.as_str())];
    let mut schedule = vec!["0s"];
    schedule.resize(30, "2s");
    for n in 0..count {
        let body = json!({
            "url": format!("{}/{n}", receiver.url()), "events": ["**"], "retry_schedule": schedule,
        });
        let body = body.to_string();
        let made = owner.request("POST", "/v1/subscriptions", &headers, body.as_bytes());
        made.unwrap().expect(201);
    }
    let before_mib = relay.resident_mib();
    let ((), most_mib) = watching(&relay, || {
        for n in 0..EVENTS {
            relay.send(&shop, &samples::event("a", n as u64));
        }
        reached.wait_for(EVENTS * count);
    });
    println!("{count} subscriptions, {EVENTS} events: {before_mib} MiB, at most {most_mib} MiB");
    assert!(most_mib <= MAX_MIB);
}

/// Which deliveries have come; the first attempt of each fails.
#[derive(Default)]
struct Reached {
    taken: Mutex<HashSet<String>>,
}

impl Reached {
    fn by(&self, delivery: &Delivery) -> Reply {
        if delivery.attempt() == 1 {
            return Reply::status(500);
        }
        let name = format!("{} {}", delivery.id(), delivery.path);
        self.taken.lock().unwrap().insert(name);
        Reply::status(200)
    }

    /// Waits for so many, for as long as more come.
    fn wait_for(&self, count: usize) {
        let mut before = 0;
        while before < count {
            before = eventually("one more delivery", || {
                let now = self.taken.lock().unwrap().len();
                (now > before || now == count).then_some(now)
            });
        }
    }
}
