//! Changes of who there is, while events keep coming in.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::relay::Relay;
use crate::support::samples;

const SUBSCRIPTIONS: usize = 20;

#[test]
fn a_subscription_that_is_made_under_load_misses_nothing_and_nothing_waits_for_ever() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let enough = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !enough.load(Ordering::Relaxed) {
                    relay.send(&shop, &samples::event("order.paid", 1));
                }
            });
        }
        for _ in 0..SUBSCRIPTIONS {
            relay.subscribe(&receiver.url(), &["order.*"]);
        }
        enough.store(true, Ordering::Relaxed);
    });
    eventually("everything to be delivered", || {
        let waiting = relay.get("/v1/deliveries?status=pending");
        (waiting["deliveries"].as_array().unwrap().is_empty() && waiting["next_cursor"].is_null())
            .then_some(())
    });
    let uuid = relay.send(&shop, &samples::event("order.paid", 2));
    let shown = relay.wait_for_deliveries(&uuid, "delivered");
    assert_eq!(shown["deliveries"].as_array().unwrap().len(), SUBSCRIPTIONS);
}

#[test]
fn a_key_that_is_deleted_while_its_request_is_on_the_way_makes_no_new_key() {
    let relay = Relay::start();
    let leaked = relay.create("/v1/account/api-keys", &json!({ "name": "leaked" }));
    let key = leaked["key"].as_str().unwrap();
    let body = r#"{"name": "the next one"}"#;
    let head = format!(
        "POST /v1/account/api-keys HTTP/1.1\r\nHost: relay\r\nX-API-Key: {key}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut connection = relay.connect();
    connection.send_raw(head.as_bytes()).unwrap();
    // Another request on another connection, answered, shows that the relay has had its chance to
    // read the head; the key is used by then.
    eventually("the key to be recognised", || {
        let id = leaked["id"].as_str().unwrap();
        let shown = relay.get(&format!("/v1/account/api-keys/{id}"));
        shown["last_used_at"].is_string().then_some(())
    });
    relay.delete(&format!(
        "/v1/account/api-keys/{}",
        leaked["id"].as_str().unwrap()
    ));
    connection.send_raw(body.as_bytes()).unwrap();
    connection.answer().unwrap().expect(401);
    let keys = relay.get("/v1/account/api-keys");
    let names: Vec<_> = keys["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert!(!names.contains(&&json!("the next one")), "{names:?}");
}
