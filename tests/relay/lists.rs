//! Lists: every page follows the one before without a gap or a repeat, and filters hold.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

const LIMIT: usize = 7;

/// Everything that a list holds, page by page.
fn all(relay: &Relay, path: &str, plural: &str) -> Vec<Value> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for _ in 0..1000 {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = relay.get(&format!("{path}{separator}limit={LIMIT}{cursor}"));
        let entries = page[plural].as_array().unwrap();
        assert!(entries.len() <= LIMIT);
        seen.extend(entries.iter().cloned());
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return seen,
        }
    }
    panic!("{path} never ends");
}

fn texts(entries: &[Value], field: &str) -> Vec<String> {
    entries.iter().map(|entry| text(&entry[field])).collect()
}

#[test]
fn events_come_newest_first_and_page_through_completely() {
    let relay = Relay::start();
    let (shop, bank) = (relay.integration("shop"), relay.integration("bank"));
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(relay.send(&shop, &samples::event("order.placed", n)));
        sent.push(relay.send(&bank, &samples::event("payment.made", n)));
    }
    let batch: Vec<Value> = (0..15)
        .map(|n| json!({ "event": "batch.made", "data": n }))
        .collect();
    let path = format!("{}/batch", shop.path());
    let headers = [("X-API-Key", shop.api_key.as_str())];
    let body = json!({ "events": batch }).to_string();
    let answer = relay
        .connect()
        .request("POST", &path, &headers, body.as_bytes());
    let answer = answer.unwrap().expect(202);
    sent.extend(answer["uuids"].as_array().unwrap().iter().map(text));
    sent.reverse();

    assert_eq!(texts(&all(&relay, "/v1/events", "events"), "uuid"), sent);
    let orders = all(&relay, "/v1/events?type=order.*", "events");
    assert_eq!(orders.len(), 10);
    assert!(orders.iter().all(|event| event["event"] == "order.placed"));
    let of_bank = all(
        &relay,
        &format!("/v1/events?integration_id={}", bank.id),
        "events",
    );
    assert_eq!(of_bank.len(), 10);
    let future = "/v1/events?since=2999-01-01T00:00:00Z";
    assert!(all(&relay, future, "events").is_empty());
    let past = "/v1/events?until=2999-01-01T00:00:00Z&since=2020-01-01T00:00:00Z";
    assert_eq!(all(&relay, past, "events").len(), sent.len());
}

#[test]
fn deliveries_list_by_status_subscription_and_type_and_page_through_completely() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let good = Receiver::start();
    let bad = Receiver::answering(|_| Reply::status(500));
    let once = ["0s"];
    let good = relay.subscribe(&good.url(), &["**"]);
    let dead =
        relay.subscribe_as(&json!({ "url": bad.url(), "events": ["**"], "retry_schedule": once }));
    let later = ["0s", "1h"];
    let retrying = relay
        .subscribe_as(&json!({ "url": bad.url(), "events": ["a.*"], "retry_schedule": later }));
    let paused = relay.subscribe(&bad.url(), &["**"]);
    relay
        .manage(
            "POST",
            &format!("/v1/subscriptions/{}/pause", paused.id),
            b"",
        )
        .expect(200);
    let mut sent = Vec::new();
    for n in 0..8 {
        sent.push(relay.send(&shop, &samples::event("a.b", n)));
        sent.push(relay.send(&shop, &samples::event("c.d", n)));
    }
    sent.sort();

    for (status, subscription, count) in [
        ("delivered", &good, 16),
        ("dead", &dead, 16),
        ("retrying", &retrying, 8),
        ("pending", &paused, 16),
    ] {
        let path = format!("/v1/deliveries?status={status}");
        let listed = eventually(status, || {
            let listed = all(&relay, &path, "deliveries");
            (listed.len() >= count).then_some(listed)
        });
        let ids: std::collections::BTreeSet<_> = texts(&listed, "id").into_iter().collect();
        assert_eq!((listed.len(), ids.len()), (count, count), "{status}");
        for delivery in &listed {
            assert_eq!(delivery["subscription_id"], subscription.id.as_str());
            assert_eq!(delivery["status"], status);
            let due = &delivery["next_attempt_at"];
            assert_eq!(due.is_string(), status == "retrying", "{delivery}");
        }
        if count == 16 {
            let mut events = texts(&listed, "event_uuid");
            events.sort();
            assert_eq!(events, sent, "{status}");
        }
    }
    let everything = all(&relay, "/v1/deliveries", "deliveries");
    let ids: std::collections::BTreeSet<_> = texts(&everything, "id").into_iter().collect();
    assert_eq!((everything.len(), ids.len()), (56, 56));
    let path = format!("/v1/deliveries?subscription_id={}&event_type=c.*", dead.id);
    assert_eq!(all(&relay, &path, "deliveries").len(), 8);
}

#[test]
fn keys_integrations_and_subscriptions_page_through_completely() {
    let relay = Relay::start();
    let receiver = Receiver::start();
    let mut subscriptions = Vec::new();
    let mut integrations = Vec::new();
    for n in 0..17 {
        integrations.push(relay.integration(&format!("door {n}")).id);
        subscriptions.push(relay.subscribe(&receiver.url(), &["**"]).id);
    }
    for (path, plural, made) in [
        ("/v1/integrations", "integrations", integrations),
        ("/v1/subscriptions", "subscriptions", subscriptions),
    ] {
        let mut made = made;
        let mut listed = texts(&all(&relay, path, plural), "id");
        listed.sort();
        made.sort();
        assert_eq!(listed, made);
    }
    let keys = all(&relay, "/v1/account/api-keys", "keys");
    assert_eq!(keys.len(), 18, "the owner's and one for each integration");
    assert!(keys.iter().all(|key| key.get("key").is_none()));
}

#[test]
fn what_is_no_page_is_refused_and_never_a_failure() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    relay.subscribe(&receiver.url(), &["**"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    relay.wait_for_deliveries(&uuid, "delivered");
    let lists = [
        "events",
        "deliveries",
        "subscriptions",
        "integrations",
        "account/api-keys",
    ];
    for list in lists {
        for query in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=x",
            "cursor=x",
            "sort=up",
        ] {
            let answer = relay.manage("GET", &format!("/v1/{list}?{query}"), b"");
            let refused = answer.expect(422);
            assert_eq!(refused["error"], "VALIDATION_FAILED", "{list} {query}");
            let says_what_is_allowed = text(&refused["message"]).contains("from 1 to 100");
            assert!(
                says_what_is_allowed || !query.starts_with("limit"),
                "{list} {query}: {refused}"
            );
        }
    }
    // Numbers that nobody was given, of every shape that a cursor can have.
    let most = "ffffffffffffffff";
    for list in lists {
        for numbers in 1..=4 {
            for number in ["0", "1", "40", "41", "ffffffff", most] {
                let cursor = vec![number; numbers].join("-");
                let answer = relay.manage("GET", &format!("/v1/{list}?cursor={cursor}"), b"");
                assert!(
                    [200, 422].contains(&answer.status),
                    "{list} {cursor}: {answer:?}"
                );
            }
            let cursor = format!("40-ffffffff-{most}-{most}");
            let answer = relay.manage("GET", &format!("/v1/{list}?cursor={cursor}"), b"");
            assert!(
                [200, 422].contains(&answer.status),
                "{list} {cursor}: {answer:?}"
            );
        }
    }
}
