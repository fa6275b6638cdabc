//! Where deliveries may go: what is refused when a subscription is saved is refused at the connection, too.

use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// What came of the only attempt of an event's only delivery.
fn attempt(event: &Value) -> (Value, Value) {
    let attempt = &event["deliveries"][0]["attempts"][0];
    (attempt["error"].clone(), attempt["status_code"].clone())
}

#[test]
fn where_only_https_is_spoken_http_is_neither_saved_nor_dialled() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let wish = json!({ "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s"] });
    let saved = relay.subscribe_as(&wish);
    relay.terminate();
    relay.set("OUTBOUND__HTTPS_ONLY", "true");
    relay.restart();

    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    let event = relay.wait_for_deliveries(&uuid, "dead");
    assert_eq!(attempt(&event), (json!("address_not_allowed"), Value::Null));
    let path = format!("/v1/subscriptions/{}", saved.id);
    let tried = relay
        .manage("POST", &format!("{path}/test"), b"")
        .expect(200);
    assert_eq!(tried["error"], "address_not_allowed");
    let change = json!({ "url": receiver.url() });
    for (method, path, body) in [
        ("POST", "/v1/subscriptions", &wish),
        ("PATCH", &path, &change),
    ] {
        let refused = relay.manage(method, path, body.to_string().as_bytes());
        let message = text(&refused.expect(422)["message"]);
        assert_eq!(message, "url: must start with https://");
    }
    assert_eq!(receiver.count(), 0);
}
