//! The doors through which events come in: renamed, closed, opened, moved, and taken away.

use serde_json::{Value, json};

use super::{ask, status};
use crate::support::http::Answer;
use crate::support::receiver::Receiver;
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

fn change(relay: &Relay, method: &str, it: &Integration, how: &str, body: &Value) -> Answer {
    let path = format!("/v1/integrations/{}{how}", it.id);
    ask(relay, &relay.key, method, &path, body)
}

#[test]
fn a_renamed_integration_is_the_same_door() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let before = change(&relay, "GET", &shop, "", &Value::Null).expect(200);
    let mut expected = before.clone();
    expected["name"] = json!("The shop – Zürich");
    let renamed = json!({ "name": "The shop – Zürich" });
    assert_eq!(
        change(&relay, "PATCH", &shop, "", &renamed).expect(200),
        expected
    );
    assert_eq!(
        change(&relay, "PATCH", &shop, "", &json!({})).expect(200),
        expected
    );
    for wrong in [
        json!({ "name": "" }),
        json!({ "name": "a\nb" }),
        json!({ "enabled": false }),
    ] {
        change(&relay, "PATCH", &shop, "", &wrong).expect(422);
    }
    assert_eq!(
        change(&relay, "GET", &shop, "", &Value::Null).expect(200),
        expected
    );
    relay.send(&shop, &samples::event("a", 1));
}

#[test]
fn a_disabled_integration_says_so_until_it_is_enabled_again() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let bank = relay.integration("bank");
    let disabled = change(&relay, "POST", &shop, "/disable", &Value::Null).expect(200);
    assert_eq!(disabled["enabled"], false);
    let event = samples::event("a", 1);
    for round in ["at first", "after a crash"] {
        for key in [&shop.api_key, &relay.key] {
            let headers = [("X-API-Key", key.as_str())];
            let refused = relay
                .connect()
                .request("POST", &shop.path(), &headers, &event);
            let refused = refused.unwrap().expect(403);
            assert_eq!(refused["error"], "Integration disabled", "{round}");
            assert!(refused["message"].is_string());
            assert_eq!(refused.as_object().unwrap().len(), 2, "{refused}");
        }
        // Whoever may not send learns nothing of the door.
        let headers = [("X-API-Key", bank.api_key.as_str())];
        let refused = relay
            .connect()
            .request("POST", &shop.path(), &headers, &event);
        assert_eq!(
            refused.unwrap().expect(403)["error"],
            "Insufficient permissions"
        );
        relay.kill();
        relay.restart();
    }
    assert_eq!(relay.get("/v1/events")["events"], json!([]));
    let enabled = change(&relay, "POST", &shop, "/enable", &Value::Null).expect(200);
    assert_eq!(enabled["enabled"], true);
    let uuid = relay.send(&shop, &event);
    assert_eq!(
        relay.event(&uuid).unwrap()["integration_id"],
        shop.id.as_str()
    );
}

#[test]
fn a_new_ingest_url_takes_the_place_of_the_old_one() {
    let mut relay = Relay::start();
    let old = relay.integration("shop");
    relay.subscribe_as(&json!({
        "url": Receiver::start().url(), "events": ["**"], "integration_id": old.id,
    }));
    let moved = change(&relay, "POST", &old, "/rotate-key", &Value::Null).expect(200);
    let new = Integration {
        key: text(&moved["integration_key"]),
        ..old.clone()
    };
    assert_ne!(new.key, old.key);
    for _ in 0..2 {
        let gone = relay.post(&old, &[], &samples::event("a", 1)).expect(404);
        assert_eq!(
            gone,
            json!({ "error": "Not found", "message": "Integration not found" })
        );
        relay.send(&new, &samples::event("a", 2));
        relay.kill();
        relay.restart();
    }
    let events = relay.get("/v1/events");
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert!(
        events
            .iter()
            .all(|event| event["integration_id"] == old.id.as_str())
    );
}

#[test]
fn an_integration_goes_with_its_keys_but_not_with_its_subscriptions() {
    let mut relay = Relay::start();
    let (shop, bank) = (relay.integration("shop"), relay.integration("bank"));
    let receiver = Receiver::start();
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "integration_id": shop.id,
    }));
    let kept = change(&relay, "DELETE", &shop, "", &Value::Null).expect(409);
    assert_eq!(kept["error"], "CONFLICT");
    assert!(text(&kept["message"]).contains("subscriptions"), "{kept}");
    relay.send(&shop, &samples::event("a", 1));
    receiver.wait_for(1);

    relay.delete(&format!("/v1/subscriptions/{}", subscription.id));
    change(&relay, "DELETE", &shop, "", &Value::Null).expect(204);
    for _ in 0..2 {
        assert_eq!(status(&relay, &shop.api_key), 401);
        let headers = [("X-API-Key", relay.key.as_str())];
        let event = samples::event("a", 1);
        let gone = relay
            .connect()
            .request("POST", &shop.path(), &headers, &event);
        gone.unwrap().expect(404);
        change(&relay, "GET", &shop, "", &Value::Null).expect(404);
        relay.send(&bank, &event);
        relay.kill();
        relay.restart();
    }
    change(&relay, "DELETE", &shop, "", &Value::Null).expect(404);
}
