//! `CloudEvents` 1.0 on the same two routes: what comes in goes out as the bytes it was.

use serde_json::Value;

use crate::support::http::Answer;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::relay::{Integration, Relay, text};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json; charset=utf-8";
const EVENT: &str = r#"{ "specversion" : "1.0", "type":"com.example.order.paid","source":"/shop/1",
  "id":"A-1", "time":"2026-01-31T12:00:00Z", "comexampleretries":3, "data":{"total":1.10,"a":"\u00e9"} }"#;
const OTHER: &str = r#"{"data_base64":"3q2+7w==","id":"A-2","source":"/shop/1","type":"stock.low","specversion":"1.0"}"#;

fn send(
    relay: &Relay,
    to: &Integration,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut all = vec![("X-API-Key", to.api_key.as_str())];
    all.extend(headers);
    let path = format!("{}{path}", to.path());
    relay.connect().request("POST", &path, &all, body).unwrap()
}

struct Shop {
    relay: Relay,
    integration: Integration,
    receiver: Receiver,
    secret: String,
}

impl Shop {
    fn open() -> Self {
        let relay = Relay::start();
        let integration = relay.integration("shop");
        let receiver = Receiver::start();
        let secret = relay.subscribe(&receiver.url(), &["**"]).secret;
        Self {
            relay,
            integration,
            receiver,
            secret,
        }
    }

    fn send(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        send(&self.relay, &self.integration, path, headers, body)
    }

    fn arrival(&self, uuid: &Value) -> Delivery {
        let uuid = text(uuid);
        let find = || {
            self.receiver
                .arrived()
                .into_iter()
                .find(|it| it.id() == uuid)
        };
        let delivery = crate::support::eventually("the delivery", find);
        // The verifier takes text only.
        if std::str::from_utf8(&delivery.body).is_ok() {
            delivery.verify(&self.secret);
        }
        delivery
    }
}

#[test]
fn a_structured_event_arrives_byte_for_byte_under_its_own_type() {
    let shop = Shop::open();
    let answer = shop.send("", &[("Content-Type", STRUCTURED)], EVENT.as_bytes());
    let delivery = shop.arrival(&answer.expect(202)["uuid"]);
    assert_eq!(delivery.body, EVENT.as_bytes());
    assert_eq!(delivery.header("content-type"), STRUCTURED);
    assert_eq!(
        delivery.header("x-postrider-event"),
        "com.example.order.paid"
    );
}

#[test]
fn a_batch_is_taken_apart_and_each_event_keeps_its_bytes() {
    let shop = Shop::open();
    let body = format!("[{EVENT} ,\n{OTHER}]");
    let answer = shop.send("/batch", &[("Content-Type", BATCH)], body.as_bytes());
    let uuids = answer.expect(202)["uuids"].clone();
    for (uuid, event) in uuids.as_array().unwrap().iter().zip([EVENT, OTHER]) {
        assert_eq!(shop.arrival(uuid).body, event.as_bytes());
    }
}

#[test]
fn a_binary_event_keeps_its_headers_and_may_be_any_bytes() {
    let shop = Shop::open();
    let body = [0, 159, 146, 150, 255, b'\n', 0];
    let headers = [
        ("Content-Type", "image/x-scan"),
        ("ce-specversion", "1.0"),
        ("ce-type", "scan.made"),
        ("ce-source", "/scanner/7"),
        ("ce-id", "S%20\u{31}"),
        ("CE-Comexamplenote", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
    ];
    let uuid = shop.send("", &headers, &body).expect(202)["uuid"].clone();
    let delivery = shop.arrival(&uuid);
    assert_eq!(delivery.body, body);
    assert_eq!(delivery.header("content-type"), "image/x-scan");
    assert_eq!(delivery.header("ce-id"), "S%201");
    assert_eq!(
        delivery.header("ce-comexamplenote"),
        "Euro%20%E2%82%AC%20%F0%9F%98%80"
    );
    assert_eq!(delivery.header("x-postrider-event"), "scan.made");
    let shown = shop.relay.get(&format!("/v1/events/{}", text(&uuid)));
    assert_eq!(shown["payload_base64"], "AJ+Slv8KAA==");
}

#[test]
fn the_same_source_and_id_is_another_event() {
    let shop = Shop::open();
    let send = || {
        shop.send("", &[("Content-Type", STRUCTURED)], EVENT.as_bytes())
            .expect(202)
    };
    assert_ne!(send()["uuid"], send()["uuid"]);
    assert_eq!(shop.receiver.wait_for(2).len(), 2);
}

#[test]
fn what_is_no_cloudevent_is_refused_naming_what_is_wrong() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let binary = |name: &'static str, value: &'static str| {
        let mut all = vec![
            ("ce-specversion", "1.0"),
            ("ce-type", "a.b"),
            ("ce-source", "/s"),
            ("ce-id", "1"),
        ];
        all.retain(|(known, _)| *known != name);
        all.extend((!value.is_empty()).then_some((name, value)));
        all
    };
    let structured = vec![("Content-Type", STRUCTURED)];
    let batch = vec![("Content-Type", BATCH)];
    for (path, headers, body, status, names) in [
        ("", structured.clone(), "{", 400, "JSON"),
        (
            "",
            structured.clone(),
            r#"{"specversion":"1.0","type":"a","source":"/"}"#,
            422,
            "id",
        ),
        (
            "",
            structured.clone(),
            r#"{"specversion":"0.3","type":"a","source":"/","id":"1"}"#,
            422,
            "1.0",
        ),
        (
            "",
            structured.clone(),
            r#"{"specversion":"1.0","type":"a b","source":"/","id":"1"}"#,
            422,
            "type",
        ),
        (
            "",
            vec![("Content-Type", "application/cloudevents+avro")],
            "{}",
            415,
            "json",
        ),
        ("", batch.clone(), "[]", 415, "/batch"),
        ("/batch", structured, EVENT, 415, "batch"),
        (
            "/batch",
            batch,
            r#"[{"specversion":"1.0"}]"#,
            422,
            "index 0",
        ),
        ("", binary("ce-type", ""), "x", 422, "type"),
        ("", binary("ce-id", ""), "x", 422, "id"),
        (
            "",
            binary("ce-datacontenttype", "text/plain"),
            "x",
            422,
            "datacontenttype",
        ),
        ("", binary("ce-Bad_Name", "1"), "x", 422, "bad_name"),
    ] {
        let answer = send(&relay, &shop, path, &headers, body.as_bytes());
        let error = answer.expect(status);
        let message = text(&error["message"]);
        assert!(message.contains(names), "{names} is not named: {message}");
        assert_eq!(error.as_object().unwrap().len(), 2, "{error}");
    }
    assert_eq!(
        relay.get("/v1/events")["events"].as_array().unwrap().len(),
        0
    );
}
