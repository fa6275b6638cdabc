//! What a subscription can ask for: filters, formats, headers, signatures, a pace.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::files::found;
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};

fn start() -> (Relay, Integration) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    (relay, shop)
}

fn order(total: u32, tags: &[&str]) -> Vec<u8> {
    let data = json!({ "total": total, "tags": tags });
    json!({ "event": "order.paid", "data": data })
        .to_string()
        .into_bytes()
}

fn bodies(arrived: &[Delivery]) -> Vec<Value> {
    let read = |it: &Delivery| serde_json::from_slice(&it.body).unwrap();
    arrived.iter().map(read).collect()
}

#[test]
fn only_what_a_filter_wants_arrives_also_after_a_restart_without_the_state() {
    let (mut relay, shop) = start();
    let receiver = Receiver::start();
    let filter = json!({ "data.total": { "$gte": 100 }, "$or": [{ "data.tags": "gold" }, { "data.total": 500 }] });
    let made = relay.create(
        "/v1/subscriptions",
        &json!({ "url": receiver.url(), "events": ["order.*"], "filter": filter }),
    );
    assert_eq!(made["filter"], filter);
    let mut sent = Vec::new();
    for (total, tags) in [
        (99, &["gold"][..]),
        (100, &[]),
        (500, &[]),
        (100, &["gold"]),
    ] {
        sent.push(relay.send(&shop, &order(total, tags)));
    }
    let totals = |arrived: Vec<Delivery>| -> Vec<u64> {
        let totals = bodies(&arrived).into_iter();
        let mut totals: Vec<_> = totals
            .map(|it| it["data"]["total"].as_u64().unwrap())
            .collect();
        totals.sort_unstable();
        totals
    };
    assert_eq!(totals(receiver.wait_for(2)), [100, 500]);
    // What is not journalled yet would come again.
    for uuid in &sent[2..] {
        relay.wait_for_deliveries(uuid, "delivered");
    }
    relay.kill();
    std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
    relay.restart();
    let path = format!("/v1/subscriptions/{}", text(&made["id"]));
    assert_eq!(relay.get(&path)["filter"], filter);
    // What comes later is judged by the filter of its own time.
    let uuid = relay.send(&shop, &order(1, &[]));
    let changed = relay.manage("PATCH", &path, br#"{"filter": null}"#);
    assert_eq!(changed.expect(200)["filter"], Value::Null);
    relay.send(&shop, &order(2, &[]));
    assert_eq!(totals(receiver.wait_for(3)), [2, 100, 500]);
    assert_eq!(relay.event(&uuid).unwrap()["deliveries"], json!([]));
}

#[test]
fn a_broken_wish_is_refused_and_named() {
    let (relay, _) = start();
    let url = Receiver::start().url();
    for (wish, complaint) in [
        (
            json!({ "filter": { "data.total": { "$gte": [] } } }),
            "filter.data.total.$gte: needs a number or a string",
        ),
        (json!({ "filter": "data" }), "filter: must be an object"),
        (
            json!({ "format": "xml" }),
            "format must be one of raw, standard, cloudevents",
        ),
        (
            json!({ "rate_limit": 0 }),
            "rate_limit must be from 1 to 10000 a second",
        ),
        (
            json!({ "headers": { "Host": "x" } }),
            "headers.Host: is set by the relay",
        ),
        (
            json!({ "headers": { "Webhook-Id": "x" } }),
            "headers.Webhook-Id: is set by the relay",
        ),
        (
            json!({ "headers": { "a b": "x" } }),
            "headers.a b: is no header name",
        ),
        (
            json!({ "headers": { "a": "x\r\nb: c" } }),
            "headers.a: must be at most 4096 visible ASCII characters",
        ),
        (
            json!({ "headers": { "a": "***" } }),
            "headers.a: `***` only stands for what is not shown: give the value itself",
        ),
        (
            json!({ "headers": { "a": "x", "A": "y" } }),
            "headers.a: it is there twice",
        ),
        (json!({ "secret": "whsk_AAAA" }), "secret: must be `whsec_`"),
    ] {
        let mut body = json!({ "url": url, "events": ["**"] });
        for (name, value) in wish.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = relay.manage("POST", "/v1/subscriptions", body.to_string().as_bytes());
        let said = text(&answer.expect(422)["message"]);
        assert!(said.starts_with(complaint), "{wish}: {said}");
    }
}

#[test]
fn an_event_arrives_in_the_format_that_was_asked_for_with_the_headers_that_were() {
    const TOKEN: &str = "Bearer planted-token-of-a-receiver";
    let (mut relay, shop) = start();
    let body = br#"{"event":"order.paid","data":{"total":1.50,"id":12345678901234567890123}}"#;
    let subscribe = |format: &str| {
        let receiver = Receiver::start();
        let made = relay.create(
            "/v1/subscriptions",
            &json!({
                "url": receiver.url(), "events": ["**"], "format": format,
                "headers": { "Authorization": TOKEN, "X-Tenant": format },
            }),
        );
        let hidden = json!({ "authorization": "***", "x-tenant": "***" });
        assert_eq!(
            (&made["format"], &made["headers"]),
            (&json!(format), &hidden)
        );
        (receiver, text(&made["secret"]))
    };
    let all = ["raw", "standard", "cloudevents"].map(|format| (format, subscribe(format)));
    relay.send(&shop, body);
    for (format, (receiver, secret)) in &all {
        let arrived = &receiver.wait_for(1)[0];
        arrived.verify(secret);
        assert_eq!(arrived.header("authorization"), TOKEN);
        assert_eq!(arrived.header("x-tenant"), *format);
        let sent = String::from_utf8(arrived.body.clone()).unwrap();
        let data = r#"{"total":1.50,"id":12345678901234567890123}"#;
        let content_type = arrived.header("content-type");
        match *format {
            "raw" => assert_eq!(arrived.body, body),
            "standard" => {
                assert!(
                    sent.starts_with(r#"{"type":"order.paid","timestamp":"2"#),
                    "{sent}"
                );
                assert!(sent.ends_with(&format!(r#""data":{data}}}"#)), "{sent}");
                assert_eq!(content_type, "application/json");
            }
            _ => {
                assert!(
                    sent.contains(&format!(r#""id":"{}""#, arrived.id())),
                    "{sent}"
                );
                assert!(sent.contains(&format!(r#""source":"/integrations/{}""#, shop.id)));
                assert!(sent.ends_with(&format!(r#""data":{data}}}"#)), "{sent}");
                assert_eq!(content_type, "application/cloudevents+json");
            }
        }
    }
    relay.terminate();
    let held_by = found(&relay.data_dir(), TOKEN.as_bytes());
    assert_eq!(held_by, None, "it holds a header's value");
    assert!(!relay.said().contains(TOKEN));
}

#[test]
fn a_replaced_secret_signs_beside_the_new_one_until_it_ends() {
    let (relay, shop) = start();
    let receiver = Receiver::start();
    let old = relay.subscribe(&receiver.url(), &["**"]);
    let path = format!("/v1/subscriptions/{}/rotate-secret", old.id);
    let rotate = |body: &Value| relay.manage("POST", &path, body.to_string().as_bytes());
    let again = || relay.manage("POST", &path, b"");
    let new = text(&again().expect(200)["secret"]);
    assert_ne!(new, old.secret);
    relay.send(&shop, &order(1, &[]));
    let both = receiver.wait_for(1).remove(0);
    both.verify(&old.secret);
    both.verify(&new);
    assert_eq!(both.header("webhook-signature").split(' ').count(), 2);

    // A private key, and the old ones end at once.
    let private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let rotated = rotate(&json!({ "secret": private, "overlap_seconds": 0 })).expect(200);
    let public = text(&rotated["public_key"]);
    assert!(public.starts_with("whpk_"));
    let shown = relay.get(&format!("/v1/subscriptions/{}", old.id));
    assert_eq!(shown["public_key"], public.as_str());
    relay.send(&shop, &order(2, &[]));
    let one = receiver.wait_for(2).remove(1);
    let signature = one
        .header("webhook-signature")
        .strip_prefix("v1a,")
        .unwrap();
    let signed = [
        one.id().as_bytes(),
        b".",
        one.header("webhook-timestamp").as_bytes(),
        b".",
        &one.body,
    ]
    .concat();
    verify_ed25519(&public, signature, &signed);

    for _ in 1..10 {
        again().expect(200);
    }
    again().expect(409);
    rotate(&json!({ "overlap_seconds": u64::MAX })).expect(422);
    rotate(&json!({ "overlap_seconds": 0 })).expect(200);
}

/// With a library that knows nothing of webhooks.
fn verify_ed25519(public: &str, signature: &str, signed: &[u8]) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let public = STANDARD
        .decode(public.strip_prefix("whpk_").unwrap())
        .unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
    key.verify(signed, &signature).unwrap();
    assert!(key.verify(&signed[1..], &signature).is_err());
}

#[test]
fn a_paced_subscription_is_sent_to_at_its_pace() {
    let (relay, shop) = start();
    let receiver = Receiver::start();
    let body = json!({ "url": receiver.url(), "events": ["**"], "rate_limit": 20 });
    relay.subscribe_as(&body);
    for n in 0..15 {
        relay.send(&shop, &order(n, &[]));
    }
    let arrived = receiver.wait_for(15);
    // Fourteen times a twentieth of a second; that it is not longer is not for a busy machine to show.
    let took = arrived[14].at - arrived[0].at;
    assert!(took >= Duration::from_millis(650), "{took:?}");
}

#[test]
fn an_endpoint_is_tried_with_a_signed_sample_that_leaves_nothing_behind() {
    let (relay, _) = start();
    let receiver = Receiver::start();
    let made = relay.subscribe(&receiver.url(), &["order.*"]);
    let path = format!("/v1/subscriptions/{}", made.id);
    relay
        .manage("POST", &format!("{path}/pause"), b"")
        .expect(200);
    let test = || {
        relay
            .manage("POST", &format!("{path}/test"), b"")
            .expect(200)
    };
    let said = test();
    assert_eq!(
        (&said["delivered"], &said["status_code"]),
        (&json!(true), &json!(200))
    );
    let sample = receiver.wait_for(1).remove(0);
    sample.verify(&made.secret);
    assert_eq!(sample.header("x-postrider-event"), "postrider.test");
    assert_eq!(sample.id(), said["webhook_id"]);

    receiver.now_answers(|_| Reply::status(500));
    let said = test();
    assert_eq!(
        (&said["delivered"], &said["status_code"]),
        (&json!(false), &json!(500))
    );
    // Nothing of it is an event or a delivery, and nothing is tried again.
    for list in ["events", "deliveries"] {
        assert_eq!(relay.get(&format!("/v1/{list}"))[list], json!([]));
    }
    let shown = relay
        .command(&["subscriptions", "test", &made.id])
        .output()
        .unwrap();
    assert_eq!(shown.status.code(), Some(1));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("delivered") && shown.contains("500"),
        "{shown}"
    );
    assert_eq!(receiver.count(), 3);
}

#[test]
fn an_endpoint_is_asked_whether_it_wants_events_only_when_somebody_says_so() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|delivery| {
        if delivery.method != "OPTIONS" {
            return Reply::status(200);
        }
        let origin = delivery.header("webhook-request-origin").to_owned();
        let rate = "120".to_owned();
        // Its status says nothing.
        Reply::Answer(
            405,
            vec![
                ("WebHook-Allowed-Origin", origin),
                ("WebHook-Allowed-Rate", rate),
            ],
        )
    });
    let made = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "headers": { "authorization": "Bearer of-bad-news" }, "rate_limit": 2,
    }));
    let path = format!("/v1/subscriptions/{}/test", made.id);
    let shake = |body: &Value| relay.manage("POST", &path, body.to_string().as_bytes());
    let said = shake(&json!({ "handshake": true, "origin": "relay.example.com" })).expect(200);
    let told = [
        "origin",
        "allowed",
        "allowed_rate_per_minute",
        "status_code",
    ]
    .map(|it| &said[it]);
    assert_eq!(
        told,
        [
            &json!("relay.example.com"),
            &json!(true),
            &json!(120),
            &json!(405)
        ]
    );
    let asked = receiver.wait_for(1).remove(0);
    assert_eq!((asked.method.as_str(), asked.body.len()), ("OPTIONS", 0));
    assert_eq!(asked.header("webhook-request-rate"), "120");
    assert_eq!(asked.header("authorization"), "Bearer of-bad-news");

    // Who says nothing, or cannot be reached, does not consent; and events are sent as ever.
    receiver.now_answers(|_| Reply::status(200));
    let said = shake(&json!({ "handshake": true })).expect(200);
    assert_eq!(
        (&said["origin"], &said["allowed"]),
        (&json!("postrider"), &json!(false))
    );
    receiver.now_answers(|_| Reply::HangUp);
    let said = shake(&json!({ "handshake": true })).expect(200);
    assert_eq!(
        (&said["error"], &said["allowed"]),
        (&json!("closed"), &json!(false))
    );
    receiver.now_answers(|_| Reply::status(200));
    relay.send(&shop, &order(1, &[]));
    let arrived = receiver.wait_for(4).remove(3);
    assert_eq!(arrived.method, "POST");

    for (body, complaint) in [
        (
            json!({ "origin": "relay.example.com" }),
            "origin: is for a handshake only",
        ),
        (
            json!({ "handshake": true, "origin": "a b" }),
            "origin: must be a host name",
        ),
        (json!({ "shake": true }), "shake"),
    ] {
        let refused = shake(&body).expect(422);
        assert!(text(&refused["message"]).contains(complaint), "{refused}");
    }
    assert_eq!(receiver.count(), 4);
    let shown = [
        "subscriptions",
        "test",
        &made.id,
        "--handshake",
        "--origin",
        "shop.example",
    ];
    let shown = relay.command(&shown).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("shop.example") && shown.contains("allowed"),
        "{shown}"
    );
}
