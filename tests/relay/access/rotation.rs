//! A key gets a new secret, and its old one ends when it is to end.

use serde_json::{Value, json};

use super::{Key, ask, is_whole_second, status};
use crate::support::eventually;
use crate::support::relay::Relay;

/// Rotates as the owner.
fn rotate(relay: &Relay, key: &Key, body: &Value) -> (Key, Value) {
    let path = format!("{}/rotate", key.path());
    let rotated = ask(relay, &relay.key, "POST", &path, body).expect(200);
    (Key::of(&rotated), rotated)
}

#[test]
fn without_an_overlap_the_old_secret_ends_at_once() {
    let relay = Relay::start();
    let body = json!({ "name": "ci", "environment": "test", "permissions": ["events:read"] });
    let mut key = Key::make(&relay, &body);
    let before = relay.get(&key.path());
    for body in [Value::Null, json!({}), json!({ "overlap_seconds": 0 })] {
        let (new, mut shown) = rotate(&relay, &key, &body);
        assert_eq!(status(&relay, &key.secret), 401, "{body}");
        assert_eq!(status(&relay, &new.secret), 200, "{body}");
        assert!(
            new.secret.starts_with("lwa.sk_test_"),
            "it is for what it was for"
        );
        assert_eq!(shown["previous_expires_at"], Value::Null);
        let shown = shown.as_object_mut().unwrap();
        shown.remove("key");
        shown.remove("previous_expires_at");
        shown["last_used_at"] = Value::Null;
        assert_eq!(
            Value::Object(shown.clone()),
            before,
            "all else is as it was"
        );
        key = new;
    }
}

#[test]
fn with_an_overlap_both_secrets_open_also_after_a_crash_until_the_next_rotation() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let first = Key::make(&relay, &json!({ "name": "ci" }));
    let (second, shown) = rotate(&relay, &first, &json!({ "overlap_seconds": 3600 }));
    assert!(is_whole_second(&shown["previous_expires_at"]));
    assert_eq!(first.id, second.id);
    for round in ["at first", "after a crash"] {
        for key in [&first, &second] {
            assert_eq!(status(&relay, &key.secret), 200, "{round}");
            let event = json!({ "event": "a", "data": 1 });
            ask(&relay, &key.secret, "POST", &shop.path(), &event).expect(202);
        }
        relay.kill();
        relay.restart();
    }
    let (third, _) = rotate(&relay, &second, &json!({ "overlap_seconds": 3600 }));
    let all = [&first, &second, &third];
    let opens = |relay: &Relay| all.map(|key| status(relay, &key.secret));
    assert_eq!(opens(&relay), [401, 200, 200], "one old secret at a time");
    relay.kill();
    relay.restart();
    assert_eq!(opens(&relay), [401, 200, 200]);
    relay.delete(&third.path());
    assert_eq!(opens(&relay), [401, 401, 401]);
}

#[test]
fn the_old_secret_ends_with_its_overlap() {
    let relay = Relay::start();
    let old = Key::make(&relay, &json!({ "name": "ci" }));
    let (new, _) = rotate(&relay, &old, &json!({ "overlap_seconds": 1 }));
    eventually("the end of the overlap", || {
        (status(&relay, &old.secret) == 401).then_some(())
    });
    assert_eq!(status(&relay, &new.secret), 200);
}

#[test]
fn an_overlap_that_makes_no_sense_rotates_nothing() {
    let relay = Relay::start();
    let key = Key::make(&relay, &json!({ "name": "ci" }));
    let path = format!("{}/rotate", key.path());
    for wrong in [
        json!({ "overlap_seconds": -1 }),
        json!({ "overlap_seconds": "60" }),
        json!({ "overlap_seconds": 7 * 86400 + 1 }),
        json!({ "overlap_seconds": u64::MAX }),
        json!({ "overlap": 60 }),
        json!([60]),
    ] {
        let answer = ask(&relay, &relay.key, "POST", &path, &wrong);
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.text());
        assert_eq!(status(&relay, &key.secret), 200, "{wrong}");
    }
    let week = json!({ "overlap_seconds": 7 * 86400 });
    ask(&relay, &relay.key, "POST", &path, &week).expect(200);
}
