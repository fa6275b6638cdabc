//! Order, where it is asked for: strict, or by what is in the event.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::relay::{Relay, Subscription, text};

const WAITS: [&str; 6] = ["0s", "60ms", "60ms", "60ms", "60ms", "60ms"];

fn subscribe(relay: &Relay, receiver: &Receiver, ordering: &Value) -> Subscription {
    relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "ordering": ordering, "retry_schedule": WAITS,
    }))
}

fn body(order: u64, step: u64) -> Vec<u8> {
    let event = json!({"event": "order.moved", "data": {"order_id": order, "step": step}});
    event.to_string().into_bytes()
}

fn data(delivery: &Delivery) -> (u64, u64) {
    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    let number = |name: &str| body["data"][name].as_u64().unwrap();
    (number("order_id"), number("step"))
}

/// Fails at every third delivery the first two times.
fn stumbling(delivery: &Delivery) -> Reply {
    let fails = data(delivery).1.is_multiple_of(3) && delivery.attempt() <= 2;
    Reply::status(if fails { 500 } else { 200 })
}

#[test]
fn strict_order_is_kept_through_failures_and_a_kill() {
    const EVENTS: u64 = 60;
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(stumbling);
    subscribe(&relay, &receiver, &json!("strict"));
    for step in 0..EVENTS / 2 {
        relay.send(&shop, &body(1, step));
    }
    receiver.wait_for(10);
    relay.kill();
    relay.restart();
    for step in EVENTS / 2..EVENTS {
        relay.send(&shop, &body(1, step));
    }
    let last = eventually("the last one", || {
        let arrived = receiver.arrived();
        (data(arrived.last()?).1 == EVENTS - 1).then_some(arrived)
    });
    let steps: Vec<u64> = last.iter().map(|delivery| data(delivery).1).collect();
    // A kill may have a suffix repeated, and nothing is ever skipped.
    let (mut next, mut going_back) = (0, 0);
    for step in steps {
        assert!(step <= next, "{step} before {next}");
        going_back += u64::from(step + 1 < next);
        next = next.max(step + 1);
    }
    assert!(going_back <= 40, "{going_back} repeats");
    assert_eq!(next, EVENTS);
}

#[test]
fn a_failing_event_blocks_those_behind_it_visibly_and_lets_go_when_it_is_cancelled() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|delivery| {
        Reply::status(if data(delivery).1 == 0 { 500 } else { 200 })
    });
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "ordering": "strict",
        "retry_schedule": ["0s", "10m"],
    }));
    let first = relay.send(&shop, &body(1, 0));
    relay.send(&shop, &body(1, 1));
    let path = format!("/v1/subscriptions/{}", subscription.id);
    let standing = eventually("what blocks to be shown", || {
        let standing = relay.get(&path)["standing"].clone();
        standing["blocked_by"].is_object().then_some(standing)
    });
    assert_eq!(standing["blocked_by"]["event_uuid"], first);
    assert_eq!(standing["blocked_by"]["attempts"], 1);
    assert_eq!(
        (&standing["pending"], &standing["retrying"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(receiver.count(), 1, "nothing passes it");

    let id = text(&standing["blocked_by"]["delivery_id"]);
    let cancel = format!("/v1/deliveries/{id}/cancel");
    let cancelled = relay.manage("POST", &cancel, b"").expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    assert_eq!(data(&receiver.wait_for(2)[1]).1, 1);
}

#[test]
fn by_key_one_order_does_not_wait_for_another() {
    const ORDERS: u64 = 8;
    const STEPS: u64 = 12;
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let stuck = Arc::new(AtomicBool::new(true));
    let is_stuck = Arc::clone(&stuck);
    let receiver = Receiver::answering(move |delivery| {
        let (order, step) = data(delivery);
        let fails = order == 0 && step == 0 && is_stuck.load(Ordering::SeqCst);
        if fails {
            Reply::status(500)
        } else {
            stumbling(delivery)
        }
    });
    relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "ordering": {"by": "data.order_id"},
        "retry_schedule": vec!["0s"; 1].into_iter().chain(vec!["100ms"; 49]).collect::<Vec<_>>(),
    }));
    for step in 0..STEPS {
        for order in 0..ORDERS {
            relay.send(&shop, &body(order, step));
        }
    }
    // All others arrive while one order is stuck at its first step.
    let done = |arrived: &[Delivery], orders: std::ops::Range<u64>| {
        let mut delivered: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for delivery in arrived {
            let (order, step) = data(delivery);
            delivered.entry(order).or_default().push(step);
        }
        for (order, steps) in &delivered {
            assert!(steps.is_sorted(), "order {order}: {steps:?}");
        }
        orders
            .into_iter()
            .all(|order| delivered.get(&order).and_then(|it| it.last()) == Some(&(STEPS - 1)))
    };
    eventually("the other orders", || {
        done(&receiver.arrived(), 1..ORDERS).then_some(())
    });
    let stuck_at = receiver.arrived().into_iter().map(|it| data(&it));
    assert!(
        stuck_at
            .filter(|(order, _)| *order == 0)
            .all(|(_, step)| step == 0)
    );
    stuck.store(false, Ordering::SeqCst);
    eventually("all orders", || {
        done(&receiver.arrived(), 0..ORDERS).then_some(())
    });
}

#[test]
fn a_change_of_order_counts_for_events_accepted_afterwards_and_nonsense_is_refused() {
    let relay = Relay::start();
    let receiver = Receiver::start();
    let subscription = subscribe(&relay, &receiver, &json!("none"));
    let path = format!("/v1/subscriptions/{}", subscription.id);
    for (ordering, says) in [
        (json!("sorted"), "ordering"),
        (json!({"by": ""}), "empty name"),
        (json!({"by": "a..b"}), "empty name"),
        (json!({"by": 7}), "ordering"),
        (json!({"from": "a"}), "ordering"),
        (json!(1), "ordering"),
    ] {
        let body = json!({ "ordering": ordering }).to_string();
        let answer = relay.manage("PATCH", &path, body.as_bytes()).expect(422);
        assert!(
            text(&answer["message"]).contains(says),
            "{ordering}: {answer}"
        );
    }
    let body = json!({"ordering": {"by": "data.order_id"}}).to_string();
    let changed = relay.manage("PATCH", &path, body.as_bytes()).expect(200);
    assert_eq!(changed["ordering"], json!({"by": "data.order_id"}));
}
