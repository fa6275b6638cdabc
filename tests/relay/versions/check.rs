//! Whether a relay still holds what a fixture holds.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::traffic::uuids;
use crate::support::eventually;
use crate::support::http::Answer;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Checks a relay that was just started on the store, and has it deliver what waits.
pub fn everything(relay: &mut Relay, receiver: &Receiver, expected: &Value) {
    receiver.now_answers(|_| Reply::status(200));
    lists_are_the_same(relay, expected);
    for event in expected["whole_events"].as_array().unwrap() {
        let shown = relay.event(event["uuid"].as_str().unwrap());
        holds(&shown.unwrap(), event, "event");
    }
    keys_work_as_they_did(relay, expected);
    assert_eq!(
        receiver.count(),
        0,
        "what was settled or paused is not sent"
    );
    what_waits_is_delivered(relay, receiver, expected);
    let arrived = receiver.count();
    a_repeated_request_is_known_for_a_day(relay, expected);

    // And what this release made of the store is a store.
    relay.kill();
    relay.restart();
    for uuid in uuids(expected["sent"].as_array().unwrap()) {
        let open = ["pending", "retrying"];
        for delivery in relay.event(&uuid).unwrap()["deliveries"]
            .as_array()
            .unwrap()
        {
            assert!(
                !open.contains(&delivery["status"].as_str().unwrap()),
                "{delivery}"
            );
        }
    }
    let again = receiver.arrived().split_off(arrived);
    let known = uuids(expected["sent"].as_array().unwrap());
    let twice: Vec<_> = again
        .iter()
        .filter(|it| known.contains(&it.id().to_owned()))
        .collect();
    assert!(twice.is_empty(), "{twice:?}");
}

fn lists_are_the_same(relay: &Relay, expected: &Value) {
    let lists = [
        ("/v1/integrations", "integrations", "integrations"),
        ("/v1/subscriptions", "subscriptions", "subscriptions"),
        ("/v1/account/api-keys", "keys", "api_keys"),
        ("/v1/events", "events", "events"),
    ];
    for (path, member, name) in lists {
        let listed = relay.get(&format!("{path}?limit=100"));
        holds(&listed[member], &expected[name], name);
    }
    let mut by_status: BTreeMap<String, usize> = BTreeMap::new();
    for event in expected["whole_events"].as_array().unwrap() {
        for delivery in event["deliveries"].as_array().unwrap() {
            *by_status.entry(text(&delivery["status"])).or_default() += 1;
        }
    }
    for status in ["delivered", "retrying", "dead", "pending"] {
        let count = by_status.remove(status).unwrap_or_default();
        assert!(count > 0, "the fixture has nothing that is {status}");
        let listed = relay.get(&format!("/v1/deliveries?status={status}&limit=100"));
        assert_eq!(
            listed["deliveries"].as_array().unwrap().len(),
            count,
            "{status}"
        );
    }
}

/// What was shown is shown; there may be more to see than there was.
#[track_caller]
fn holds(shown: &Value, expected: &Value, at: &str) {
    match (shown, expected) {
        (Value::Object(shown), Value::Object(expected)) => {
            for (name, expected) in expected {
                // A key that is used to look is used later than it was.
                if name != "last_used_at" {
                    holds(&shown[name], expected, &format!("{at}.{name}"));
                }
            }
        }
        (Value::Array(shown), Value::Array(expected)) => {
            assert_eq!(shown.len(), expected.len(), "{at}: {shown:?}");
            for (index, (shown, expected)) in shown.iter().zip(expected).enumerate() {
                holds(shown, expected, &format!("{at}[{index}]"));
            }
        }
        _ => assert_eq!(shown, expected, "{at}"),
    }
}

fn ask(relay: &Relay, key: &Value, method: &str, path: &str, body: &str) -> Answer {
    let headers = [
        ("X-API-Key", key.as_str().unwrap()),
        ("Content-Type", "application/json"),
    ];
    let mut connection = relay.connect();
    let answer = connection.request(method, path, &headers, body.as_bytes());
    answer.unwrap()
}

fn keys_work_as_they_did(relay: &Relay, expected: &Value) {
    let keys = &expected["keys"];
    for (name, status) in [
        ("owner", 200),
        ("limited", 200),
        ("reader", 403),
        ("revoked", 401),
    ] {
        ask(relay, &keys[name], "GET", "/v1/subscriptions", "").expect(status);
    }
    ask(relay, &keys["reader"], "GET", "/v1/events", "").expect(200);
    let [shop, mail] = ["shop", "mail"].map(|name| &expected["integration_keys"][name]);
    let shop_path = shop["path"].as_str().unwrap();
    let wrong = r#"{"event":"a.b"}"#;
    ask(relay, &shop["api_key"], "POST", shop_path, wrong).expect(422);
    ask(relay, &mail["api_key"], "POST", shop_path, wrong).expect(403);
    ask(relay, &keys["revoked"], "POST", shop_path, wrong).expect(401);
    let gone = text(&expected["subscriptions_by_role"]["gone"]["id"]);
    relay
        .manage("GET", &format!("/v1/subscriptions/{gone}"), b"")
        .expect(404);
}

fn what_waits_is_delivered(relay: &Relay, receiver: &Receiver, expected: &Value) {
    let mut open = Vec::new();
    for event in expected["whole_events"].as_array().unwrap() {
        for delivery in event["deliveries"].as_array().unwrap() {
            if ["pending", "retrying"].contains(&delivery["status"].as_str().unwrap()) {
                open.push(delivery);
            }
        }
    }
    let roles = &expected["subscriptions_by_role"];
    for role in ["patient", "stubborn"] {
        let id = text(&roles[role]["id"]);
        let path = format!("/v1/subscriptions/{id}/resume");
        relay.manage("POST", &path, b"").expect(200);
    }
    let arrived = receiver.wait_for(open.len());
    for delivery in &open {
        let path = format!("/v1/deliveries/{}", text(&delivery["id"]));
        eventually("it to be noted as delivered", || {
            (relay.get(&path)["status"] == "delivered").then_some(())
        });
    }
    assert_eq!(receiver.count(), open.len(), "nothing comes twice");
    let bodies = bodies(expected);
    for delivery in open {
        let uuid = text(&delivery["event_uuid"]);
        let role = if delivery["subscription_id"] == roles["patient"]["id"] {
            "patient"
        } else {
            "stubborn"
        };
        let find = |it: &&crate::support::receiver::Delivery| {
            it.id() == uuid && it.path == format!("/{role}")
        };
        let arrival = arrived.iter().find(find).unwrap();
        let (body, headers) = &bodies[&uuid];
        assert_eq!(&String::from_utf8_lossy(&arrival.body), body);
        for (name, value) in headers {
            assert_eq!(arrival.header(name), value);
        }
        arrival.verify(roles[role]["secret"].as_str().unwrap());
        let attempts = delivery["attempts"].as_array().unwrap().len();
        assert_eq!(arrival.attempt() as usize, attempts + 1);
    }
}

/// The body of each event, and the headers that it must come with.
fn bodies(expected: &Value) -> BTreeMap<String, (String, Vec<(String, String)>)> {
    let mut bodies = BTreeMap::new();
    for request in expected["sent"].as_array().unwrap() {
        let kept = |pair: &Value| {
            let name = text(&pair[0]).to_ascii_lowercase();
            let is_kept = name.starts_with("ce-") || name == "content-type";
            is_kept.then(|| (name, text(&pair[1])))
        };
        let headers = request["headers"].as_array().unwrap().iter();
        let mut headers: Vec<_> = headers.filter_map(kept).collect();
        if request["batch"] == json!(true) {
            headers.clear();
        }
        let events = request["events"].as_array().unwrap().iter();
        for (event, uuid) in events.zip(request["uuids"].as_array().unwrap()) {
            bodies.insert(text(uuid), (text(event), headers.clone()));
        }
    }
    bodies
}

fn a_repeated_request_is_known_for_a_day(relay: &Relay, expected: &Value) {
    let has_key = |request: &&Value| request["headers"].to_string().contains("Idempotency-Key");
    let sent = expected["sent"].as_array().unwrap().iter();
    let request = sent.rev().find(has_key).unwrap();
    let first = text(&request["uuids"][0]);
    let integration = &expected["integration_keys"][request["integration"].as_str().unwrap()];
    let mut headers = vec![("X-API-Key", integration["api_key"].as_str().unwrap())];
    let own = request["headers"].as_array().unwrap().iter();
    headers.extend(own.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())));
    let path = integration["path"].as_str().unwrap();
    let body = request["body"].as_str().unwrap();
    let answer = relay
        .connect()
        .request("POST", path, &headers, body.as_bytes());
    let answered = text(&answer.unwrap().expect(202)["uuid"]);

    let accepted_at = text(&relay.event(&first).unwrap()["accepted_at"]);
    let accepted_at = chrono::DateTime::parse_from_rfc3339(&accepted_at).unwrap();
    let age_ms = (chrono::Utc::now().timestamp_millis()) - accepted_at.timestamp_millis();
    assert_eq!(
        answered == first,
        age_ms < DAY_MS,
        "accepted {age_ms} ms ago"
    );
}
