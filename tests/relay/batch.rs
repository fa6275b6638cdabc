//! Batches, all or none, and requests that may be repeated.

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::receiver::Receiver;
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

fn send(relay: &Relay, to: &Integration, media_type: &str, body: &[u8]) -> Answer {
    let headers = [
        ("X-API-Key", to.api_key.as_str()),
        ("Content-Type", media_type),
    ];
    let path = format!("{}/batch", to.path());
    relay
        .connect()
        .request("POST", &path, &headers, body)
        .unwrap()
}

fn uuids(answer: &Answer) -> Vec<String> {
    answer.expect(202)["uuids"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect()
}

fn accepted(relay: &Relay) -> usize {
    relay.get("/v1/events?limit=100")["events"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn a_batch_is_accepted_in_its_order_and_each_event_keeps_its_bytes() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["**"]);
    let events = [
        r#"{"event":"a","data":1.10}"#,
        r#"{ "data" : {"z":1,"a":2} , "event" : "b.c" }"#,
        r#"{"event":"a","data":"é \u00e9"}"#,
    ];
    let json = format!("{{\"note\": 1, \"events\": [ {} ] }}", events.join(" ,\n "));
    let lines = format!("{}\r\n\n{}\n{}", events[0], events[1], events[2]);
    for (media_type, body) in [(JSON, json), (NDJSON, lines)] {
        let before = receiver.count();
        let uuids = uuids(&send(&relay, &shop, media_type, body.as_bytes()));
        assert_eq!(uuids.len(), 3);
        assert!(uuids.is_sorted(), "ids grow in the order of the batch");
        let arrived = receiver.wait_for(before + 3).split_off(before);
        for (uuid, event) in uuids.iter().zip(events) {
            let delivery = arrived.iter().find(|it| it.id() == uuid).unwrap();
            assert_eq!(String::from_utf8_lossy(&delivery.body), event);
            delivery.verify(&subscription.secret);
        }
    }
}

#[test]
fn one_wrong_event_refuses_the_whole_batch_and_is_named() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let good = r#"{"event":"a","data":1}"#;
    let large = String::from_utf8(samples::sized((256 << 10) + 1)).unwrap();
    let deep = String::from_utf8(samples::deep(65)).unwrap();
    for (bad, status, field) in [
        (r#"{"event":"a"}"#, 422, "`data`"),
        (r#"{"data":1}"#, 422, "`event`"),
        (r#"{"event":"","data":1}"#, 422, "`event`"),
        (r#"{"event":7,"data":1}"#, 422, "`event`"),
        ("17", 422, "object"),
        (r#"{"event":"a","data":}"#, 400, ""),
        (deep.as_str(), 422, "deep"),
        (large.as_str(), 413, ""),
    ] {
        let json = format!("{{\"events\":[{good},{good},{bad},{good}]}}");
        let lines = [good, good, bad, good].join("\n");
        for (media_type, body) in [(JSON, json), (NDJSON, lines)] {
            let error = send(&relay, &shop, media_type, body.as_bytes()).expect(status);
            let message = text(&error["message"]);
            let shown = &bad[..bad.len().min(60)];
            assert!(message.contains(field), "{media_type} {shown}: {message}");
            // In a JSON document that is malformed there is no telling where an event begins.
            if status != 400 || media_type == NDJSON {
                let named = ["index 2", "events[2]"]
                    .iter()
                    .any(|name| message.contains(name));
                assert!(named, "{media_type} {shown}: {message}");
            }
        }
    }
    assert_eq!(accepted(&relay), 0);
}

#[test]
fn a_batch_has_its_bounds() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let batch = |count: u64| {
        let events: Vec<Value> = (0..count)
            .map(|n| json!({"event": "a", "data": n}))
            .collect();
        json!({ "events": events }).to_string()
    };
    let lines = |count| vec![r#"{"event":"a","data":1}"#; count].join("\n");
    send(&relay, &shop, JSON, batch(0).as_bytes()).expect(422);
    send(&relay, &shop, NDJSON, b"\n\n").expect(422);
    send(&relay, &shop, JSON, batch(1001).as_bytes()).expect(422);
    send(&relay, &shop, NDJSON, lines(1001).as_bytes()).expect(422);
    send(&relay, &shop, JSON, br#"{"events":{}}"#).expect(422);
    send(&relay, &shop, JSON, br#"{"event":"a","data":1}"#).expect(422);
    send(&relay, &shop, JSON, &vec![b' '; (4 << 20) + 1]).expect(413);
    send(&relay, &shop, "text/csv", b"a,1").expect(415);
    assert_eq!(accepted(&relay), 0);
    assert_eq!(
        uuids(&send(&relay, &shop, JSON, batch(1000).as_bytes())).len(),
        1000
    );
    assert_eq!(
        uuids(&send(&relay, &shop, NDJSON, lines(1000).as_bytes())).len(),
        1000
    );
    assert_eq!(
        uuids(&send(&relay, &shop, JSON, batch(1).as_bytes())).len(),
        1
    );
}

#[test]
fn a_repeat_with_the_same_idempotency_key_is_answered_with_the_first_uuid() {
    let mut relay = Relay::start();
    let (shop, bank) = (relay.integration("shop"), relay.integration("bank"));
    let (body, other) = (samples::event("a", 1), samples::event("a", 2));
    let key = [("Idempotency-Key", "\"order-1\"")];
    let first = relay.post(&shop, &key, &body);
    assert_eq!(first.header("idempotent-replayed"), None);
    let uuid = text(&first.expect(202)["uuid"]);
    let check = |relay: &Relay| {
        for header in ["\"order-1\"", "order-1"] {
            let again = relay.post(&shop, &[("idempotency-key", header)], &body);
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(again.expect(202)["uuid"], uuid.as_str());
        }
        let wrong = relay.post(&shop, &key, &other).expect(422);
        assert!(text(&wrong["message"]).contains("Idempotency-Key"));
    };
    check(&relay);
    relay.kill();
    relay.restart();
    check(&relay);
    relay.terminate();
    relay.restart();
    check(&relay);
    assert_eq!(accepted(&relay), 1);
    let elsewhere = relay.post(&bank, &key, &other).expect(202);
    assert_ne!(
        elsewhere["uuid"],
        uuid.as_str(),
        "a key counts within its integration"
    );
}

#[test]
fn a_batch_is_repeated_with_all_its_uuids() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    relay.send(&shop, &samples::event("a", 0));
    let body =
        br#"{"events":[{"event":"a","data":1},{"event":"b","data":2},{"event":"c","data":3}]}"#;
    let path = format!("{}/batch", shop.path());
    let send = |relay: &Relay| {
        let headers = [
            ("X-API-Key", shop.api_key.as_str()),
            ("Idempotency-Key", "batch-1"),
        ];
        relay
            .connect()
            .request("POST", &path, &headers, body)
            .unwrap()
    };
    let first = uuids(&send(&relay));
    assert_eq!(uuids(&send(&relay)), first);
    relay.kill();
    relay.restart();
    let again = send(&relay);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(uuids(&again), first);
    assert_eq!(accepted(&relay), 4);
}

#[test]
fn idempotency_keys_that_are_none_are_refused() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let event = samples::event("a", 1);
    let long = "k".repeat(256);
    for value in ["", "\"\"", "\"", "a\"b", "ключ", &long] {
        let answer = relay.post(&shop, &[("Idempotency-Key", value)], &event);
        let message = text(&answer.expect(422)["message"]);
        assert!(message.contains("Idempotency-Key"), "{value:?}: {message}");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    relay.post(&shop, &twice, &event).expect(422);
    assert_eq!(accepted(&relay), 0);
}
