//! When a key was last used is seen soon, and not forgotten by a stop.

use serde_json::{Value, json};

use super::{Key, is_whole_second, status};
use crate::support::eventually;
use crate::support::relay::Relay;
use crate::support::samples;

fn last_used(relay: &Relay, key: &Key) -> Value {
    relay.get(&key.path())["last_used_at"].clone()
}

#[test]
fn both_prefixes_use_a_key_and_a_refused_request_does_not() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let manages = Key::make(&relay, &json!({ "name": "manages" }));
    let sends = Key::make(&relay, &json!({ "name": "sends" }));
    let idle = Key::make(&relay, &json!({ "name": "idle" }));
    let mistyped = idle.secret[..idle.secret.len() - 1].to_owned();
    assert_eq!(status(&relay, &mistyped), 401);
    assert_eq!(status(&relay, &manages.secret), 200);
    let headers = [("X-API-Key", sends.secret.as_str())];
    let event = samples::event("a", 1);
    let sent = relay
        .connect()
        .request("POST", &shop.path(), &headers, &event);
    sent.unwrap().expect(202);
    for key in [&manages, &sends] {
        let used_at = eventually("last_used_at", || {
            Some(last_used(&relay, key)).filter(Value::is_string)
        });
        assert!(is_whole_second(&used_at), "{used_at}");
    }
    assert_eq!(last_used(&relay, &idle), Value::Null);
}

#[test]
fn a_clean_stop_forgets_no_use() {
    let mut relay = Relay::start();
    let key = Key::make(&relay, &json!({ "name": "used" }));
    assert_eq!(status(&relay, &key.secret), 200);
    relay.terminate();
    relay.restart();
    let used_at = last_used(&relay, &key);
    assert!(is_whole_second(&used_at), "{used_at}");
    relay.terminate();
    relay.restart();
    assert_eq!(last_used(&relay, &key), used_at);
}
