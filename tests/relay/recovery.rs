//! What somebody does about deliveries that failed: retries, replays, cancellations, one or many.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, Subscription, text};
use crate::support::samples;

/// Fewer than open a breaker.
const FAILED: usize = 18;

/// A relay with deliveries that are dead, and a receiver that has recovered since.
struct Aftermath {
    relay: Relay,
    shop: Integration,
    receiver: Receiver,
    subscription: Subscription,
    uuids: Vec<String>,
}

fn aftermath() -> Aftermath {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(500));
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s"],
    }));
    let uuids: Vec<String> = (0..FAILED)
        .map(|n| {
            let kind = if n % 3 == 0 {
                "order.paid"
            } else {
                "order.sent"
            };
            let uuid = relay.send(&shop, &samples::event(kind, n as u64));
            relay.wait_for_deliveries(&uuid, "dead");
            uuid
        })
        .collect();
    receiver.now_answers(|_| Reply::status(200));
    Aftermath {
        relay,
        shop,
        receiver,
        subscription,
        uuids,
    }
}

fn post(relay: &Relay, path: &str, body: &Value) -> (u16, Value) {
    let answer = relay.manage("POST", path, body.to_string().as_bytes());
    (answer.status, answer.json())
}

fn done(relay: &Relay, task: &Value) -> Value {
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    eventually("the task to be over", || {
        let task = relay.get(&path);
        (task["status"] != "running").then_some(task)
    })
}

fn delivery(relay: &Relay, uuid: &str) -> Value {
    relay.event(uuid).unwrap()["deliveries"][0].clone()
}

fn delivered(receiver: &Receiver) -> BTreeSet<String> {
    let arrived = receiver.arrived();
    arrived.iter().map(|it| it.id().to_owned()).collect()
}

#[test]
fn a_dead_delivery_is_retried_and_begins_its_schedule_anew() {
    let Aftermath {
        relay,
        receiver,
        subscription,
        uuids,
        ..
    } = aftermath();
    let id = text(&delivery(&relay, &uuids[0])["id"]);
    let retry = format!("/v1/deliveries/{id}/retry");
    let (status, _) = post(&relay, &retry, &json!({}));
    assert_eq!(status, 200);
    let event = relay.wait_for_deliveries(&uuids[0], "delivered");
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    let numbers: Vec<_> = attempts.iter().map(|it| it["number"].as_u64()).collect();
    assert_eq!(numbers, [Some(1), Some(2)], "it goes on counting");
    receiver
        .arrived()
        .last()
        .unwrap()
        .verify(&subscription.secret);

    let (status, answer) = post(&relay, &retry, &json!({}));
    assert_eq!(status, 409, "{answer}");
    assert!(text(&answer["message"]).contains("replay"), "{answer}");
    let (status, _) = post(&relay, &format!("/v1/deliveries/{id}/cancel"), &json!({}));
    assert_eq!(status, 409);

    // A schedule that has begun anew has all its attempts.
    receiver.now_answers(|_| Reply::status(500));
    let body = json!({"retry_schedule": ["0s", "0s", "0s"]}).to_string();
    let path = format!("/v1/subscriptions/{}", subscription.id);
    relay.manage("PATCH", &path, body.as_bytes()).expect(200);
    let id = text(&delivery(&relay, &uuids[1])["id"]);
    post(&relay, &format!("/v1/deliveries/{id}/retry"), &json!({}));
    eventually("three more attempts", || {
        let delivery = delivery(&relay, &uuids[1]);
        let made = delivery["attempts"].as_array().unwrap().len();
        (made == 4 && delivery["status"] == "dead").then_some(())
    });
}

#[test]
fn all_that_is_dead_is_retried_by_a_task_that_says_before_how_many_there_are() {
    let Aftermath {
        relay,
        receiver,
        subscription,
        uuids,
        ..
    } = aftermath();
    let before = receiver.count();
    let only = json!({
        "subscription_id": subscription.id, "event_type": "order.paid", "dry_run": true,
    });
    let (status, counted) = post(&relay, "/v1/deliveries/retry", &only);
    assert_eq!((status, &counted["status"]), (200, &json!("done")));
    assert_eq!(
        (&counted["affected"], &counted["percent"]),
        (&json!(6), &json!(100))
    );
    assert_eq!(receiver.count(), before, "it only counts");

    let wanted = json!({"subscription_id": subscription.id, "event_type": "order.sent"});
    let (status, task) = post(&relay, "/v1/deliveries/retry", &wanted);
    assert_eq!((status, &task["kind"]), (202, &json!("retry")));
    assert_eq!(done(&relay, &task)["affected"], 12);
    for (n, uuid) in uuids.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
        let event = relay.wait_for_deliveries(uuid, "delivered");
        assert_eq!(event["event"], "order.sent", "{n}");
    }
    assert_eq!(delivery(&relay, &uuids[0])["status"], "dead");
    let (_, rest) = post(&relay, "/v1/deliveries/retry", &json!({}));
    assert_eq!(done(&relay, &rest)["affected"], 6);
    relay.wait_for_deliveries(&uuids[0], "delivered");

    let listed = relay.get("/v1/tasks");
    assert_eq!(listed["tasks"].as_array().unwrap().len(), 3);
    let audit = relay.get("/v1/account/audit?limit=50").to_string();
    assert!(audit.contains("task.created"), "{audit}");
}

#[test]
fn what_waits_is_given_up_and_a_cancelled_delivery_is_never_attempted() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["**"]);
    let pause = format!("/v1/subscriptions/{}/pause", subscription.id);
    relay.manage("POST", &pause, b"").expect(200);
    let uuids: Vec<_> = (0..20)
        .map(|n| relay.send(&shop, &samples::event("a", n)))
        .collect();
    let (_, task) = post(&relay, "/v1/deliveries/cancel", &json!({}));
    assert_eq!(done(&relay, &task)["affected"], 20);
    for uuid in &uuids {
        let delivery = delivery(&relay, uuid);
        assert_eq!(delivery["status"], "cancelled");
        assert_eq!(delivery["attempts"], json!([]), "nothing was attempted");
    }
    let resume = format!("/v1/subscriptions/{}/resume", subscription.id);
    relay.manage("POST", &resume, b"").expect(200);
    let last = relay.send(&shop, &samples::event("a", 99));
    relay.wait_for_deliveries(&last, "delivered");
    assert_eq!(delivered(&receiver), BTreeSet::from([last]));
}

#[test]
fn an_event_is_replayed_to_one_or_to_all_with_the_same_webhook_id() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let (first, second) = (Receiver::start(), Receiver::start());
    let one = relay.subscribe(&first.url(), &["a"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    relay.wait_for_deliveries(&uuid, "delivered");
    // Somebody who came later, and somebody who wants something else.
    relay.subscribe(&second.url(), &["a"]);
    let other = Receiver::start();
    let elsewhere = relay.subscribe(&other.url(), &["b"]);

    let path = format!("/v1/events/{uuid}/replay");
    let (status, dry) = post(&relay, &path, &json!({"dry_run": true}));
    let count = |answer: &Value| answer["deliveries"].as_array().unwrap().len();
    assert_eq!((status, count(&dry)), (200, 2));
    let (status, all) = post(&relay, &path, &json!({}));
    assert_eq!((status, count(&all)), (202, 2));
    second.wait_for(1);
    first.wait_for(2);
    let (_, named) = post(&relay, &path, &json!({"subscription_id": elsewhere.id}));
    assert_eq!(count(&named), 1);
    other.wait_for(1);
    for receiver in [&first, &second, &other] {
        assert_eq!(delivered(receiver), BTreeSet::from([uuid.clone()]));
    }
    let (_, again) = post(&relay, &path, &json!({"subscription_id": one.id}));
    first.wait_for(3);

    relay.kill();
    relay.restart();
    let event = relay.event(&uuid).unwrap();
    let ids: BTreeSet<String> = event["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| text(&delivery["id"]))
        .collect();
    assert_eq!(
        ids.len(),
        5,
        "each replay is a delivery of its own: {ids:?}"
    );
    assert!(ids.contains(again["deliveries"][0]["id"].as_str().unwrap()));
    for (path, status) in [
        (format!("/v1/events/{}/replay", uuid.replace('0', "1")), 404),
        ("/v1/events/nonsense/replay".to_owned(), 404),
    ] {
        assert_eq!(post(&relay, &path, &json!({})).0, status, "{path}");
    }
    let unknown = json!({"subscription_id": "sub_000000000"});
    assert_eq!(post(&relay, &path, &unknown).0, 404);
}

#[test]
fn a_range_is_replayed_to_a_subscription_by_type_and_status() {
    let Aftermath {
        relay,
        shop,
        receiver,
        subscription,
        uuids,
    } = aftermath();
    let fine = relay.send(&shop, &samples::event("order.paid", 77));
    relay.wait_for_deliveries(&fine, "delivered");
    let before = receiver.count();
    let path = format!("/v1/subscriptions/{}/replay", subscription.id);
    let (_, task) = post(
        &relay,
        &path,
        &json!({"events": ["order.paid"], "status": "delivered"}),
    );
    assert_eq!(done(&relay, &task)["affected"], 1);
    let (_, task) = post(
        &relay,
        &path,
        &json!({"events": ["order.paid"], "status": "dead"}),
    );
    assert_eq!(done(&relay, &task)["affected"], 6);
    receiver.wait_for(before + 7);

    // Someone who was not there gets what came before him.
    let late = Receiver::start();
    let newcomer = relay.subscribe(&late.url(), &["order.sent"]);
    let path = format!("/v1/subscriptions/{}/replay", newcomer.id);
    let none = json!({"until": "2020-01-01T00:00:00Z", "dry_run": true});
    assert_eq!(post(&relay, &path, &none).1["affected"], 0);
    let (_, task) = post(&relay, &path, &json!({"since": "2020-01-01T00:00:00Z"}));
    assert_eq!(done(&relay, &task)["affected"], 12);
    late.wait_for(12);
    let sent = uuids.iter().enumerate().filter(|(n, _)| n % 3 != 0);
    let sent: BTreeSet<String> = sent.map(|(_, uuid)| uuid.clone()).collect();
    assert_eq!(delivered(&late), sent);
}

#[test]
fn a_task_goes_on_after_a_kill_and_does_nothing_twice() {
    const EVENTS: u64 = 2_000;
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    for chunk in 0..EVENTS / 500 {
        let events: Vec<Value> = (0..500)
            .map(|n| json!({"event": "a", "data": chunk * 500 + n}))
            .collect();
        let body = json!({ "events": events }).to_string();
        let path = format!("{}/batch", shop.path());
        let headers = [
            ("X-API-Key", shop.api_key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let mut connection = relay.connect();
        let answer = connection.request("POST", &path, &headers, body.as_bytes());
        answer.unwrap().expect(202);
    }
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["a"]);
    let pause = format!("/v1/subscriptions/{}/pause", subscription.id);
    relay.manage("POST", &pause, b"").expect(200);
    let path = format!("/v1/subscriptions/{}/replay", subscription.id);
    let (status, task) = post(&relay, &path, &json!({}));
    assert_eq!(status, 202);
    relay.kill();
    relay.restart();
    let task = done(&relay, &task);
    assert_eq!(
        (&task["status"], &task["affected"]),
        (&json!("done"), &json!(EVENTS))
    );
    let resume = format!("/v1/subscriptions/{}/resume", subscription.id);
    relay.manage("POST", &resume, b"").expect(200);
    let count = usize::try_from(EVENTS).unwrap();
    receiver.wait_for(count);
    assert_eq!(delivered(&receiver).len(), count);
    assert_eq!(receiver.count(), count, "none came twice");
}

#[test]
fn a_task_that_is_stopped_does_no_more_and_bad_wishes_are_refused_by_name() {
    let relay = Relay::start();
    for (path, body, says) in [
        (
            "/v1/deliveries/retry",
            json!({"status": "delivered"}),
            "status",
        ),
        (
            "/v1/deliveries/retry",
            json!({"since": "yesterday"}),
            "since",
        ),
        (
            "/v1/deliveries/cancel",
            json!({"event_type": "a..b"}),
            "event_type",
        ),
        ("/v1/deliveries/cancel", json!({"colour": "red"}), "colour"),
    ] {
        let (status, answer) = post(&relay, path, &body);
        assert_eq!(status, 422, "{answer}");
        assert!(text(&answer["message"]).contains(says), "{answer}");
    }
    for path in ["/v1/deliveries/dlv_x/retry", "/v1/deliveries/dlv_x/cancel"] {
        assert_eq!(post(&relay, path, &json!({})).0, 404);
    }
    let (_, task) = post(&relay, "/v1/deliveries/retry", &json!({}));
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    let over = relay.manage("DELETE", &path, b"").expect(200);
    assert_ne!(over["status"], "running");
    let missing = relay.manage("DELETE", "/v1/tasks/task_000000000", b"");
    missing.expect(404);
}
