//! Why a subscription did or did not get an event, as the relay says it and as the command line does.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// What is explained, by subscription.
fn explained(relay: &Relay, key: &str, uuid: &str) -> BTreeMap<String, Value> {
    let path = format!("/v1/events/{uuid}/explain");
    let headers = [("X-API-Key", key)];
    let answer = relay.connect().request("GET", &path, &headers, b"");
    let answer = answer.unwrap().expect(200);
    assert_eq!(answer["uuid"], uuid);
    let each = answer["subscriptions"].as_array().unwrap().iter();
    each.map(|it| (text(&it["subscription_id"]), it.clone()))
        .collect()
}

fn key(relay: &Relay, body: &Value) -> String {
    text(&relay.create("/v1/account/api-keys", body)["key"])
}

#[test]
fn every_reason_not_to_get_an_event_is_told_and_so_is_how_it_fared() {
    let relay = Relay::start();
    let (shop, other) = (relay.integration("shop"), relay.integration("other"));
    let receiver = Receiver::start();
    let failing = Receiver::answering(|_| Reply::status(500));
    let with = |more: &Value| {
        let mut body = json!({ "url": receiver.url(), "events": ["order.*"] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        relay.subscribe_as(&body).id
    };
    let fine = with(&json!({}));
    let typed = with(&json!({ "events": ["user.*", "order"] }));
    let elsewhere = with(&json!({ "integration_id": other.id }));
    let filtered =
        with(&json!({ "filter": { "data": { "$exist": true }, "data.n": 2, "data.x": "y" } }));
    let dead = with(&json!({ "url": failing.url(), "retry_schedule": ["0s"] }));
    let paused = with(&json!({}));
    let pause = format!("/v1/subscriptions/{paused}/pause");
    relay.manage("POST", &pause, b"").expect(200);
    let gone = with(&json!({}));
    let body = json!({ "event": "order.paid", "data": { "n": 1 } }).to_string();
    let uuid = relay.send(&shop, body.as_bytes());
    receiver.wait_for(2);
    failing.wait_for(1);
    relay.delete(&format!("/v1/subscriptions/{gone}"));
    let late = with(&json!({}));

    let explained = crate::support::eventually("everything to be settled", || {
        let explained = explained(&relay, &relay.key, &uuid);
        let is = |id: &String, status: &str| explained[id]["deliveries"][0]["status"] == status;
        (is(&fine, "delivered") && is(&dead, "dead")).then_some(explained)
    });
    let verdict = |id: &String| text(&explained[id]["verdict"]);
    let sent = |id: &String| explained[id]["deliveries"].as_array().unwrap().len();
    for (id, told, deliveries) in [
        (&fine, "wanted", 1),
        (&typed, "other_type", 0),
        (&elsewhere, "other_integration", 0),
        (&filtered, "filtered", 0),
        (&dead, "wanted", 1),
        (&paused, "wanted", 1),
        (&late, "wanted", 0),
    ] {
        assert_eq!(
            (verdict(id).as_str(), sent(id)),
            (told, deliveries),
            "{explained:?}"
        );
        assert_eq!(explained[id]["made_after"], *id == late);
    }
    assert_eq!(explained.len(), 7);
    let unmet = json!({ "data.n": 2, "data.x": "y" });
    assert_eq!(explained[&filtered]["unmet"], unmet);
    assert_eq!(explained[&paused]["paused_reason"], "paused by request");
    let path = format!("/v1/events/{uuid}/explain");
    let whole = relay.get(&path);
    assert_eq!(whole["unsubscribed"][0]["subscription_id"], gone);

    let said = relay.command(&["explain", &uuid]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    for sentence in [
        "delivered after 1 attempt\n",
        "order.paid is none of what it takes: user.*, order\n",
        "it takes events of another integration alone\n",
        "its filter does not hold: {\"data.n\":2,\"data.x\":\"y\"}\n",
        "dead after 1 attempt, the last with: HTTP 500\n",
        "waits for its first attempt\n  paused: paused by request\n",
        "it was made after the event was accepted",
        " is gone\n",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert!(
        said.contains(&format!("replay {uuid} --to {late}`")),
        "{said}"
    );
    let as_json = relay
        .command(&["explain", &uuid, "--json"])
        .output()
        .unwrap();
    let as_json: Value = serde_json::from_slice(&as_json.stdout).unwrap();
    assert_eq!(as_json, whole);
}

#[test]
fn an_explanation_shows_nobody_what_he_may_not_see() {
    let relay = Relay::start();
    let (shop, other) = (relay.integration("shop"), relay.integration("other"));
    let receiver = Receiver::start();
    let own = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["a"], "integration_id": shop.id,
    }));
    let of_all = relay.subscribe(&receiver.url(), &["a"]);
    let unasked = relay.subscribe(&receiver.url(), &["b"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    relay.wait_for_deliveries(&uuid, "delivered");

    let reads = ["events:read", "subscriptions:read"];
    let bound = json!({ "name": "x", "permissions": reads, "integration_id": shop.id });
    let bound = key(&relay, &bound);
    let seen: Vec<String> = explained(&relay, &bound, &uuid).into_keys().collect();
    assert_eq!(seen, std::slice::from_ref(&own.id), "his integration's");

    let blind = key(
        &relay,
        &json!({ "name": "x", "permissions": ["events:read"] }),
    );
    let seen = explained(&relay, &blind, &uuid);
    assert!(
        !seen.contains_key(&unasked.id),
        "who got nothing is not told"
    );
    assert!(seen.contains_key(&own.id) && seen.contains_key(&of_all.id));
    for it in seen.values() {
        assert_eq!((it.get("url"), it.get("events")), (None, None), "{it}");
    }

    let away = key(
        &relay,
        &json!({
            "name": "x", "permissions": reads, "integration_id": other.id,
        }),
    );
    let headers = [("X-API-Key", away.as_str())];
    let path = format!("/v1/events/{uuid}/explain");
    let answer = relay.connect().request("GET", &path, &headers, b"");
    answer.unwrap().expect(404);
}

#[test]
fn an_explanation_has_pages() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    for _ in 0..3 {
        relay.subscribe("http://127.0.0.1:9999/", &["b"]);
    }
    let uuid = relay.send(&shop, &samples::event("a", 1));
    let path = format!("/v1/events/{uuid}/explain?limit=2");
    let first = relay.get(&path);
    let cursor = text(&first["next_cursor"]);
    let second = relay.get(&format!("{path}&cursor={cursor}"));
    let count = |page: &Value| page["subscriptions"].as_array().unwrap().len();
    assert_eq!((count(&first), count(&second)), (2, 1));
    assert!(second["next_cursor"].is_null());
    relay
        .manage("GET", &format!("/v1/events/{uuid}/explain?limit=0"), b"")
        .expect(422);
}
