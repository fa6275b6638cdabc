//! Failures and what follows from them: retries in their time, the end of them, pauses, patience.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::relay::{Integration, Relay, Subscription, text};
use crate::support::samples;

fn subscribe(relay: &Relay, receiver: &Receiver, schedule: &[&str]) -> Subscription {
    relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": schedule,
    }))
}

fn start() -> (Relay, Integration) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    (relay, shop)
}

fn status_codes(event: &Value) -> Vec<u64> {
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    attempts
        .iter()
        .map(|attempt| attempt["status_code"].as_u64().unwrap())
        .collect()
}

fn numbers(arrived: &[Delivery]) -> Vec<u32> {
    arrived.iter().map(Delivery::attempt).collect()
}

#[test]
fn a_failure_is_tried_again_in_its_time_until_it_is_dead() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|_| Reply::status(500));
    let subscription = subscribe(&relay, &receiver, &["0s", "100ms", "300ms"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    let event = relay.wait_for_deliveries(&uuid, "dead");
    assert_eq!(status_codes(&event), [500, 500, 500]);

    let arrived = receiver.arrived();
    assert_eq!(numbers(&arrived), [1, 2, 3]);
    for delivery in &arrived {
        assert_eq!(delivery.id(), uuid, "every attempt carries the same id");
        delivery.verify(&subscription.secret);
    }
    // A wait may be a fifth shorter; that it isn't longer is not for a busy machine to show. The
    // clock of due times counts milliseconds.
    let gaps: Vec<_> = arrived
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    assert!(gaps[0] >= Duration::from_millis(79), "{gaps:?}");
    assert!(gaps[1] >= Duration::from_millis(239), "{gaps:?}");
}

#[test]
fn what_recovers_is_delivered_and_tried_no_more() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|delivery| {
        Reply::status(if delivery.attempt() < 3 { 500 } else { 204 })
    });
    subscribe(&relay, &receiver, &["0s", "20ms", "20ms", "20ms", "20ms"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    let event = relay.wait_for_deliveries(&uuid, "delivered");
    assert_eq!(status_codes(&event), [500, 500, 204]);
    assert_eq!(numbers(&receiver.arrived()), [1, 2, 3]);
}

#[test]
fn a_first_wait_is_waited_too() {
    let (relay, shop) = start();
    let (slow, quick) = (Receiver::start(), Receiver::start());
    subscribe(&relay, &slow, &["400ms"]);
    subscribe(&relay, &quick, &["0s"]);
    relay.send(&shop, &samples::event("a", 1));
    let (slow, quick) = (slow.wait_for(1), quick.wait_for(1));
    assert!(slow[0].at - quick[0].at >= Duration::from_millis(100));
}

#[test]
fn failures_without_an_answer_name_their_kind() {
    let relay = Relay::with(&[("DELIVERY__TIMEOUT", "300ms")]);
    let shop = relay.integration("shop");
    let hangs_up = Receiver::answering(|_| Reply::HangUp);
    let silent = Receiver::answering(|_| Reply::Silence);
    for (receiver, kind) in [(&hangs_up, "closed"), (&silent, "timeout")] {
        let subscription = subscribe(&relay, receiver, &["0s", "20ms"]);
        let uuid = relay.send(&shop, &samples::event("a", 1));
        let event = relay.wait_for_deliveries(&uuid, "dead");
        for attempt in event["deliveries"][0]["attempts"].as_array().unwrap() {
            assert_eq!(
                (&attempt["error"], &attempt["status_code"]),
                (&json!(kind), &Value::Null)
            );
        }
        relay.delete(&format!("/v1/subscriptions/{}", subscription.id));
    }
    let nobody = {
        let gone = Receiver::start();
        gone.url()
    };
    relay.subscribe_as(&json!({ "url": nobody, "events": ["**"], "retry_schedule": ["0s"] }));
    let uuid = relay.send(&shop, &samples::event("a", 1));
    let event = relay.wait_for_deliveries(&uuid, "dead");
    let error = text(&event["deliveries"][0]["attempts"][0]["error"]);
    assert!(["connect", "closed"].contains(&error.as_str()), "{error}");
}

#[test]
fn a_redirect_is_a_failure_and_never_followed() {
    let (relay, shop) = start();
    let elsewhere = Receiver::start();
    let to = elsewhere.url();
    let receiver = Receiver::answering(move |delivery| {
        let codes = [301, 302, 303, 307, 308];
        let code = codes[delivery.attempt() as usize - 1];
        Reply::Answer(code, vec![("location", to.clone())])
    });
    subscribe(&relay, &receiver, &["0s", "0s", "0s", "0s", "0s"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    let event = relay.wait_for_deliveries(&uuid, "dead");
    assert_eq!(status_codes(&event), [301, 302, 303, 307, 308]);
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_receiver_that_is_gone_is_paused_and_what_waited_is_sent_after_resume() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|_| Reply::status(410));
    let subscription = subscribe(&relay, &receiver, &["0s", "0s", "0s"]);
    let path = format!("/v1/subscriptions/{}", subscription.id);
    let mut sent = vec![relay.send(&shop, &samples::event("a", 0))];
    let paused = eventually("a pause", || {
        let shown = relay.get(&path);
        (shown["status"] == "paused").then_some(shown)
    });
    assert!(text(&paused["paused_reason"]).contains("410"));
    let tried = receiver.count();

    sent.extend((1..4).map(|n| relay.send(&shop, &samples::event("a", n))));
    // Another subscription gets them, so this one's time has come and gone.
    let other = Receiver::start();
    subscribe(&relay, &other, &["0s"]);
    relay.send(&shop, &samples::event("b", 9));
    other.wait_for(1);
    assert_eq!(
        receiver.count(),
        tried,
        "nothing is sent while it is paused"
    );

    receiver.now_answers(|_| Reply::status(200));
    let resumed = relay
        .manage("POST", &format!("{path}/resume"), b"")
        .expect(200);
    assert_eq!(
        (&resumed["status"], &resumed["paused_reason"]),
        (&json!("active"), &Value::Null)
    );
    for uuid in &sent {
        relay.wait_for_deliveries(uuid, "delivered");
    }
}

#[test]
fn a_pause_outlives_a_restart() {
    let (mut relay, shop) = start();
    let receiver = Receiver::start();
    let subscription = subscribe(&relay, &receiver, &["0s"]);
    let path = format!("/v1/subscriptions/{}", subscription.id);
    relay
        .manage("POST", &format!("{path}/pause"), b"")
        .expect(200);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    relay.kill();
    relay.restart();
    assert_eq!(relay.get(&path)["status"], "paused");
    relay.wait_for_deliveries(&uuid, "pending");
    assert_eq!(receiver.count(), 0);
    relay
        .manage("POST", &format!("{path}/resume"), b"")
        .expect(200);
    relay.wait_for_deliveries(&uuid, "delivered");
}

#[test]
fn retry_after_is_obeyed() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|delivery| match delivery.attempt() {
        1 => Reply::Answer(429, vec![("retry-after", "1".to_owned())]),
        _ => Reply::status(200),
    });
    relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "max_in_flight": 1, "retry_schedule": ["0s", "0s"],
    }));
    let sent = [1, 2].map(|n| relay.send(&shop, &samples::event("a", n)));
    for uuid in &sent {
        relay.wait_for_deliveries(uuid, "delivered");
    }
    let arrived = receiver.arrived();
    let refused_at = arrived[0].at;
    assert_eq!(arrived.len(), 4);
    for delivery in &arrived[1..] {
        // Neither the same event nor another one comes earlier. The clock counts milliseconds.
        assert!(delivery.at - refused_at >= Duration::from_millis(998));
    }
}

#[test]
fn nothing_is_sent_to_a_subscription_after_the_answer_to_its_deletion() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|_| Reply::Held(500));
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "max_in_flight": 1,
        "retry_schedule": ["0s", "10ms", "10ms", "10ms"],
    }));
    let sent: Vec<_> = (0..3)
        .map(|n| relay.send(&shop, &samples::event("a", n)))
        .collect();
    receiver.wait_for(1);
    relay.delete(&format!("/v1/subscriptions/{}", subscription.id));
    receiver.release();

    // One that was made later and waits longer shows that the time has passed.
    let clock = Receiver::start();
    subscribe(&relay, &clock, &["300ms"]);
    relay.send(&shop, &samples::event("clock", 1));
    clock.wait_for(1);
    assert_eq!(receiver.count(), 1, "only what had begun before");
    for uuid in &sent {
        let event = relay.get(&format!("/v1/events/{uuid}"));
        for delivery in event["deliveries"].as_array().unwrap() {
            assert_eq!(delivery["status"], "cancelled", "{event}");
        }
    }
    let path = format!("/v1/subscriptions/{}", subscription.id);
    relay.manage("GET", &path, b"").expect(404);
    relay.manage("DELETE", &path, b"").expect(404);
}

#[test]
fn no_more_attempts_are_in_flight_than_a_subscription_allows() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|_| Reply::Held(200));
    relay.subscribe_as(&json!({ "url": receiver.url(), "events": ["**"], "max_in_flight": 3 }));
    let clock = Receiver::start();
    relay.subscribe(&clock.url(), &["**"]);
    for n in 0..10 {
        relay.send(&shop, &samples::event("a", n));
    }
    receiver.wait_for(3);
    clock.wait_for(10);
    assert_eq!(receiver.count(), 3);
    receiver.release();
    receiver.wait_for(10);
}

#[test]
fn a_schedule_that_is_none_is_refused_by_name() {
    let relay = Relay::start();
    let receiver = Receiver::start();
    let too_many = vec!["1s"; 51];
    for schedule in [
        json!([]),
        json!(["soon"]),
        json!(["31d"]),
        json!(too_many),
        json!("1s"),
    ] {
        let body = json!({ "url": receiver.url(), "events": ["**"], "retry_schedule": schedule });
        let answer = relay.manage("POST", "/v1/subscriptions", body.to_string().as_bytes());
        let error = answer.expect(422);
        assert_eq!(error["error"], "VALIDATION_FAILED", "{schedule}");
    }
}
