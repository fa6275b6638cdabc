//! A key is renamed, narrowed, bounded and freed again, and never made to do more than its maker may.

use serde_json::{Value, json};

use super::{KEYS, Key, ask, in_seconds, is_whole_second, status};
use crate::support::eventually;
use crate::support::relay::{Relay, text};

const FAR: &str = "2199-01-31T12:00:00Z";

#[test]
fn a_key_is_renamed_narrowed_bounded_and_freed_again() {
    let relay = Relay::start();
    let made = relay.create(KEYS, &json!({ "name": "before" }));
    let key = Key::of(&made);
    let patch = |body: Value| ask(&relay, &relay.key, "PATCH", &key.path(), &body).expect(200);
    // What a change does not name stays as it was.
    let mut expected = made.clone();
    expected.as_object_mut().unwrap().remove("key");
    for change in [
        json!({}),
        json!({ "name": "after" }),
        json!({ "permissions": ["events:read", "keys:read"] }),
        json!({ "expires_at": FAR }),
        json!({ "rate_limit": { "limit": 50, "window_seconds": 3600 } }),
    ] {
        for (name, value) in change.as_object().unwrap() {
            expected[name] = value.clone();
        }
        assert_eq!(patch(change), expected);
        assert_eq!(status(&relay, &key.secret), 200);
    }
    let events = ask(&relay, &key.secret, "GET", "/v1/events", &Value::Null);
    assert_eq!(events.status, 200);
    assert_eq!(events.header("x-ratelimit-limit"), Some("50"));
    ask(&relay, &key.secret, "GET", "/v1/integrations", &Value::Null).expect(403);

    for name in ["expires_at", "rate_limit"] {
        expected[name] = Value::Null;
        assert_eq!(patch(json!({ name: null })), expected);
    }
    let events = ask(&relay, &key.secret, "GET", "/v1/events", &Value::Null);
    assert_eq!(events.header("x-ratelimit-limit"), None);
    let mut shown = relay.get(&key.path());
    shown["last_used_at"] = Value::Null;
    assert_eq!(shown, expected);
}

#[test]
fn a_change_that_makes_no_sense_changes_nothing() {
    let relay = Relay::start();
    let key = Key::make(&relay, &json!({ "name": "as it is" }));
    let before = relay.get(&key.path());
    for wrong in [
        json!({ "name": "" }),
        json!({ "name": null, "permissions": [] }),
        json!({ "permissions": ["events:fly"] }),
        json!({ "name": "new", "expires_at": in_seconds(-60) }),
        json!({ "expires_at": "tomorrow" }),
        json!({ "rate_limit": { "limit": 0, "window_seconds": 60 } }),
        json!({ "rate_limit": 5 }),
        json!({ "environment": "test" }),
        json!({ "integration_id": null }),
        json!({ "key": "lwa.sk_live_YOUR_API_KEY" }),
    ] {
        let answer = ask(&relay, &relay.key, "PATCH", &key.path(), &wrong);
        assert_eq!(answer.status, 422, "{wrong}: {}", answer.text());
        assert_eq!(relay.get(&key.path()), before, "{wrong}");
    }
    let nobody = format!("{KEYS}/key_000000000");
    ask(&relay, &relay.key, "PATCH", &nobody, &json!({})).expect(404);
}

#[test]
fn nobody_gives_a_key_more_than_he_has_himself() {
    let relay = Relay::start();
    let rights = ["keys:read", "keys:write", "events:read"];
    let maker = Key::that_may(&relay, &rights);
    let weak = Key::that_may(&relay, &["events:read"]);
    let listed = relay.get(KEYS);
    let owner = listed["keys"].as_array().unwrap().iter();
    let owner = owner.clone().find(|key| key["name"] == "owner").unwrap();
    let owner = format!("{KEYS}/{}", text(&owner["id"]));

    let by_maker = |method, path: &str, body| ask(&relay, &maker.secret, method, path, &body);
    for more in [json!(["*"]), json!(["events:read", "subscriptions:write"])] {
        by_maker("PATCH", &weak.path(), json!({ "permissions": more })).expect(403);
    }
    let stronger = Key::that_may(&relay, &["events:read", "metrics:read"]);
    for path in [&owner, &stronger.path()] {
        by_maker("PATCH", path, json!({ "name": "mine" })).expect(403);
        by_maker("PATCH", path, json!({ "permissions": ["events:read"] })).expect(403);
        by_maker("PATCH", path, json!({ "expires_at": FAR })).expect(403);
        by_maker("POST", &format!("{path}/rotate"), Value::Null).expect(403);
    }
    assert_eq!(
        relay.get(&owner)["name"],
        "owner",
        "and its secret still opens"
    );
    assert_eq!(status(&relay, &stronger.secret), 200);
    assert_eq!(
        relay.get(&weak.path())["permissions"],
        json!(["events:read"])
    );

    let renamed = by_maker("PATCH", &weak.path(), json!({ "name": "renamed" }));
    assert_eq!(renamed.expect(200)["name"], "renamed");
    by_maker("POST", &format!("{}/rotate", weak.path()), Value::Null).expect(200);
    let narrowed = json!({ "permissions": ["keys:write"] });
    by_maker("PATCH", &maker.path(), narrowed).expect(200);
    by_maker("PATCH", &maker.path(), json!({ "permissions": rights })).expect(403);
}

#[test]
fn what_bounds_a_key_bounds_what_it_makes_changes_and_rotates() {
    let relay = Relay::start();
    let limit = json!({ "limit": 500, "window_seconds": 3600 });
    let bounded = json!({ "name": "bounded", "expires_at": FAR, "rate_limit": limit });
    let bounded = Key::make(&relay, &bounded);
    let free = Key::make(&relay, &json!({ "name": "free" }));
    let by_bounded = |method, path: &str, body| ask(&relay, &bounded.secret, method, path, &body);

    let later = json!({ "name": "child", "expires_at": "2299-01-31T12:00:00Z" });
    let child = by_bounded("POST", KEYS, later).expect(201);
    assert_eq!(
        (&child["expires_at"], &child["rate_limit"]),
        (&json!(FAR), &limit)
    );
    let freed = json!({ "expires_at": null, "rate_limit": null });
    for key in [&Key::of(&child), &bounded] {
        let freed = by_bounded("PATCH", &key.path(), freed.clone()).expect(200);
        assert_eq!(
            (&freed["expires_at"], &freed["rate_limit"]),
            (&json!(FAR), &limit)
        );
    }
    // Its own end is not what it learns the secret of another key for.
    by_bounded("POST", &format!("{}/rotate", free.path()), Value::Null).expect(403);
    assert_eq!(status(&relay, &free.secret), 200);
    by_bounded("POST", &format!("{}/rotate", bounded.path()), Value::Null).expect(200);
}

#[test]
fn a_key_of_one_integration_sees_and_changes_the_keys_of_that_one_only() {
    let relay = Relay::start();
    let (shop, bank) = (relay.integration("shop"), relay.integration("bank"));
    let of_shop = Key::make(
        &relay,
        &json!({ "name": "of the shop", "integration_id": shop.id }),
    );
    let of_bank = Key::make(
        &relay,
        &json!({ "name": "of the bank", "integration_id": bank.id }),
    );
    let of_all = Key::make(&relay, &json!({ "name": "of all" }));
    let by_shop = |method, path: &str, body| ask(&relay, &of_shop.secret, method, path, &body);

    let listed = by_shop("GET", KEYS, Value::Null).expect(200);
    let names: Vec<_> = listed["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(names, ["shop", "of the shop"]);
    for hidden in [&of_bank, &of_all] {
        by_shop("GET", &hidden.path(), Value::Null).expect(404);
        by_shop("PATCH", &hidden.path(), json!({ "name": "mine" })).expect(404);
        by_shop("POST", &format!("{}/rotate", hidden.path()), Value::Null).expect(404);
        by_shop("DELETE", &hidden.path(), Value::Null).expect(404);
        assert_eq!(status(&relay, &hidden.secret), 200);
    }
    let elsewhere = json!({ "name": "child", "integration_id": bank.id });
    by_shop("POST", KEYS, elsewhere).expect(403);
    let child = by_shop("POST", KEYS, json!({ "name": "child" })).expect(201);
    assert_eq!(child["integration_id"], shop.id.as_str());
}

#[test]
fn a_key_ends_when_it_is_to_end_and_not_before() {
    let relay = Relay::start();
    for past in [
        in_seconds(-1),
        in_seconds(-86400),
        "1970-01-01T00:00:00Z".to_owned(),
    ] {
        let body = json!({ "name": "late", "expires_at": past });
        let refused = relay
            .manage("POST", KEYS, body.to_string().as_bytes())
            .expect(422);
        assert!(
            text(&refused["message"]).contains("expires_at"),
            "{refused}"
        );
    }
    let made = relay.create(
        KEYS,
        &json!({ "name": "short", "expires_at": in_seconds(4) }),
    );
    assert!(is_whole_second(&made["expires_at"]));
    let short = Key::of(&made);
    let long = Key::make(
        &relay,
        &json!({ "name": "long", "expires_at": in_seconds(3600) }),
    );
    eventually("the end of the key", || {
        (status(&relay, &short.secret) == 401).then_some(())
    });
    assert_eq!(status(&relay, &long.secret), 200);
    // It was its end, and nothing else, that stopped it.
    let freed = json!({ "expires_at": null });
    ask(&relay, &relay.key, "PATCH", &short.path(), &freed).expect(200);
    assert_eq!(status(&relay, &short.secret), 200);
}
