//! Receivers that only fail: probed, paused after long enough, and told of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

#[test]
fn a_receiver_that_only_fails_is_probed_and_gets_all_when_it_is_back() {
    const EVENTS: usize = 300;
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(500));
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s", "1ms", "1ms"],
        "max_in_flight": 4,
    }));
    let path = format!("/v1/subscriptions/{}", subscription.id);
    let uuids: Vec<_> = (0..EVENTS)
        .map(|n| relay.send(&shop, &samples::event("a", n as u64)))
        .collect();
    let standing = eventually("the breaker to open", || {
        let standing = relay.get(&path)["standing"].clone();
        (standing["probing"] == true).then_some(standing)
    });
    assert!(standing["failing_since"].is_string(), "{standing}");
    let hammered = receiver.count();
    assert!(hammered < 40, "{hammered} attempts before it opened");
    receiver.now_answers(|_| Reply::status(200));
    for uuid in &uuids[EVENTS / 2..] {
        relay.wait_for_deliveries(uuid, "delivered");
    }
    let standing = relay.get(&path)["standing"].clone();
    assert_eq!(
        (&standing["probing"], &standing["failures"]),
        (&json!(false), &json!(0))
    );
    assert_eq!(standing["pending"], 0, "{standing}");
    let arrived: BTreeSet<_> = receiver
        .arrived()
        .iter()
        .map(|it| it.id().to_owned())
        .collect();
    assert_eq!(arrived.len(), EVENTS, "none used up its attempts unsent");
}

#[test]
fn nothing_but_failures_for_long_enough_pauses_across_a_restart_and_resume_drains_in_order() {
    let mut relay = Relay::with(&[("DELIVERY__DISABLE_AFTER", "2s")]);
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(503));
    let mut waits = vec!["0s"];
    waits.resize(50, "150ms");
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": waits, "max_in_flight": 1,
    }));
    let mut uuids = vec![relay.send(&shop, &samples::event("a", 0))];
    receiver.wait_for(2);
    relay.kill();
    relay.restart();
    let path = format!("/v1/subscriptions/{}", subscription.id);
    let paused = eventually("a pause", || {
        let shown = relay.get(&path);
        (shown["status"] == "paused").then_some(shown)
    });
    assert!(text(&paused["paused_reason"]).contains("nothing but failures"));
    assert!(receiver.count() >= 10, "not before ten attempts");
    uuids.extend((1..5).map(|n| relay.send(&shop, &samples::event("a", n))));
    receiver.now_answers(|_| Reply::status(200));
    let before = receiver.count();
    let resume = format!("{path}/resume");
    relay.manage("POST", &resume, b"").expect(200);
    for uuid in &uuids {
        relay.wait_for_deliveries(uuid, "delivered");
    }
    let order: Vec<_> = receiver.arrived()[before..]
        .iter()
        .map(|it| it.id().to_owned())
        .filter(|id| *id != uuids[0])
        .collect();
    assert_eq!(order, uuids[1..], "what waited goes out in its order");
}

fn news(receiver: &Receiver) -> Vec<(String, Value)> {
    let each = receiver.arrived().into_iter().map(|delivery| {
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        (text(&body["event"]), body["data"].clone())
    });
    each.collect()
}

#[test]
fn operators_who_ask_by_name_are_told_and_nobody_else() {
    let relay = Relay::with(&[("DELIVERY__OLD_BACKLOG_AFTER", "1s")]);
    let shop = relay.integration("shop");
    let (seat, everything) = (Receiver::start(), Receiver::start());
    relay.subscribe(&seat.url(), &["postrider.**"]);
    relay.subscribe(&everything.url(), &["**"]);
    let receiver = Receiver::answering(|_| Reply::status(500));
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s", "0s"],
    }));
    let told = |kind: &str| {
        eventually(kind, || {
            let news = news(&seat);
            let own = news.into_iter().find(|(told, data)| {
                told == kind && data["subscription_id"] == subscription.id.as_str()
            });
            own.map(|(_, data)| data)
        })
    };
    let dead = relay.send(&shop, &samples::event("a", 1));
    let data = told("postrider.subscription.dead_letters");
    assert_eq!(
        (&data["first_event_uuid"], &data["attempts"]),
        (&json!(dead), &json!(2))
    );
    relay.send(&shop, &samples::event("a", 2));
    receiver.wait_for(4);
    receiver.now_answers(|_| Reply::status(200));
    relay.send(&shop, &samples::event("a", 3));
    assert_eq!(told("postrider.subscription.recovered")["failures"], 4);
    let pause = format!("/v1/subscriptions/{}/pause", subscription.id);
    relay.manage("POST", &pause, b"").expect(200);
    assert_eq!(
        told("postrider.subscription.paused")["reason"],
        "paused by request"
    );
    let waits = relay.send(&shop, &samples::event("a", 4));
    let data = told("postrider.subscription.old_backlog");
    assert_eq!(data["oldest_event_uuid"], waits);

    let kinds: Vec<_> = news(&seat).into_iter().map(|(kind, _)| kind).collect();
    let begun = kinds.iter().filter(|kind| kind.contains("dead_letters"));
    assert_eq!(begun.count(), 1, "told once, however many die: {kinds:?}");
    everything.wait_for(4);
    assert!(news(&everything).iter().all(|(kind, _)| kind == "a"));
    seat.arrived()
        .iter()
        .for_each(|it| assert_eq!(it.method, "POST"));
}

#[test]
fn of_a_subscription_that_is_told_nothing_is_told_and_nobody_may_speak_for_the_relay() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let seat = Receiver::start();
    relay.subscribe(&seat.url(), &["postrider.**"]);
    let failing = Receiver::answering(|_| Reply::status(500));
    let other = relay.subscribe_as(&json!({
        "url": failing.url(), "events": ["postrider.**", "a"], "retry_schedule": ["0s"],
    }));
    relay.send(&shop, &samples::event("a", 1));
    failing.wait_for(1);
    let quiet = relay.subscribe(&failing.url(), &["b"]);
    for id in [&other.id, &quiet.id] {
        let pause = format!("/v1/subscriptions/{id}/pause");
        relay.manage("POST", &pause, b"").expect(200);
    }
    let first = eventually("news", || news(&seat).into_iter().next());
    assert_eq!(first.1["subscription_id"], quiet.id.as_str());

    let forged = json!({"event": "postrider.subscription.paused", "data": {}}).to_string();
    let answer = relay.post(&shop, &[], forged.as_bytes()).expect(422);
    assert!(text(&answer["message"]).contains("relay's own"), "{answer}");
}
