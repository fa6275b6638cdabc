//! Whatever comes in: a clear error in its dialect, nothing stored, nobody else disturbed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::http::{self, Answer};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

/// Few, so that a lost one would be missed.
pub const WORKERS: usize = 2;

pub fn start() -> (Relay, Integration) {
    let relay = Relay::with(&[("SERVER__WORKERS", &WORKERS.to_string())]);
    let shop = relay.integration("shop");
    (relay, shop)
}

/// Nothing was stored, and every worker still takes events, several times over.
#[track_caller]
pub fn check_unharmed(relay: &Relay, shop: &Integration) {
    assert_eq!(
        relay.get("/v1/events")["events"],
        json!([]),
        "something was stored"
    );
    let mut connections: Vec<_> = (0..WORKERS * 4).map(|_| relay.connect()).collect();
    for n in 0..4 {
        let event = samples::event("a", n);
        let request = http::request("POST", &shop.path(), &key(shop), &event);
        for connection in &mut connections {
            connection.send_raw(&request).unwrap();
        }
        for connection in &mut connections {
            connection.answer().unwrap().expect(202);
        }
    }
    assert!(!relay.said().contains("panicked"), "{}", relay.said());
}

pub fn key(shop: &Integration) -> [(&'static str, &str); 1] {
    [("X-API-Key", shop.api_key.as_str())]
}

/// An error of the ingest dialect, and its message.
#[track_caller]
pub fn refusal(answer: &Answer, status: u16) -> String {
    let error = answer.expect(status);
    let members: BTreeSet<_> = error
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, BTreeSet::from(["error", "message"]));
    text(&error["message"])
}

/// An error of the management dialect, and its word.
#[track_caller]
fn manage_refusal(answer: &Answer, status: u16) -> String {
    let error = answer.expect(status);
    let members: BTreeSet<_> = error
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, BTreeSet::from(["error", "message", "timestamp"]));
    text(&error["error"])
}

#[test]
fn bodies_that_are_wrong_are_refused_and_the_field_is_named() {
    let (relay, shop) = start();
    let deep = samples::deep(65);
    let abyss = "[".repeat(200_000);
    let long_type = format!(r#"{{"event":"{}","data":1}}"#, "a".repeat(129));
    let bodies: &[(&[u8], u16, &str)] = &[
        (b"", 400, ""),
        (b"   ", 400, ""),
        (b"{", 400, ""),
        (br#"{"event":"a","data":1"#, 400, ""),
        (br#"{"event":"a","data":1}}"#, 400, ""),
        (br#"{"event":"a","data":1} {"event":"a","data":1}"#, 400, ""),
        (br#"{"event":"a","data":01}"#, 400, ""),
        (br#"{"event":"a","data":NaN}"#, 400, ""),
        (br#"{"event":"a","data":'x'}"#, 400, ""),
        (br#"{"event":"a",}"#, 400, ""),
        (b"{\"event\":\"a\",\"data\":\"\xff\"}", 400, ""),
        (b"{\"event\":\"a\",\"data\":\"\n\"}", 400, ""),
        (b"\xef\xbb\xbf{\"event\":\"a\",\"data\":1}", 400, ""),
        (b"event=a&data=1", 400, ""),
        (br#""event""#, 422, "object"),
        (b"[]", 422, "object"),
        (b"null", 422, "object"),
        (b"{}", 422, "`event`"),
        (br#"{"data":1}"#, 422, "`event`"),
        (br#"{"event":"a"}"#, 422, "`data`"),
        (br#"{"event":null,"data":1}"#, 422, "`event`"),
        (br#"{"event":["a"],"data":1}"#, 422, "`event`"),
        (br#"{"event":"","data":1}"#, 422, "`event`"),
        (br#"{"event":"a..b","data":1}"#, 422, "`event`"),
        (br#"{"event":".a","data":1}"#, 422, "`event`"),
        (br#"{"event":"a b","data":1}"#, 422, "`event`"),
        (br#"{"event":"a.*","data":1}"#, 422, "`event`"),
        (br#"{"event":"a\r\nx-evil: 1","data":1}"#, 422, "`event`"),
        ("{\"event\":\"é\",\"data\":1}".as_bytes(), 422, "`event`"),
        (long_type.as_bytes(), 422, "`event`"),
        (br#"{"event":"a","event":"b","data":1}"#, 422, "`event`"),
        (br#"{"event":"a","data":1,"d\u0061ta":2}"#, 422, "`data`"),
        (&deep, 422, "deep"),
        (abyss.as_bytes(), 422, "deep"),
    ];
    for (body, status, named) in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = relay.post(&shop, &[], body);
        assert_eq!(answer.status, *status, "{shown:?}: {}", answer.text());
        let message = refusal(&answer, *status);
        assert!(message.contains(named), "{shown:?}: {message}");
    }
    check_unharmed(&relay, &shop);
}

#[test]
fn a_body_that_is_too_large_is_refused_whether_or_not_it_says_so() {
    let (relay, shop) = start();
    let limit = 256 << 10;
    let large = samples::sized(limit + 1);
    refusal(&relay.post(&shop, &[], &large), 413);

    // Declared, and never sent: refused before a byte of it is read.
    let mut connection = relay.connect();
    let declared = [key(&shop)[0], ("Content-Length", "1000000000000")];
    connection
        .send_raw(&http::request("POST", &shop.path(), &declared, b""))
        .unwrap();
    refusal(&connection.answer().unwrap(), 413);

    // Not declared: refused once there is too much of it.
    let mut connection = relay.connect();
    let chunked = [key(&shop)[0], ("Transfer-Encoding", "chunked")];
    connection
        .send_raw(&http::request("POST", &shop.path(), &chunked, b""))
        .unwrap();
    for chunk in large.chunks(10_000) {
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        if connection.send_raw(&framed).is_err() {
            break;
        }
    }
    let _ = connection.send_raw(b"0\r\n\r\n");
    refusal(&connection.answer().unwrap(), 413);

    let name = json!({ "name": "x".repeat(70_000) }).to_string();
    let answer = relay.manage("POST", "/v1/integrations", name.as_bytes());
    assert_eq!(manage_refusal(&answer, 413), "PAYLOAD_TOO_LARGE");
    check_unharmed(&relay, &shop);
}

#[test]
fn a_body_in_chunks_is_a_body() {
    let (relay, shop) = start();
    let chunked = [key(&shop)[0], ("Transfer-Encoding", "chunked")];
    let mut connection = relay.connect();
    connection
        .send_raw(&http::request("POST", &shop.path(), &chunked, b""))
        .unwrap();
    for byte in samples::event("a", 1) {
        connection
            .send_raw(&[b'1', b'\r', b'\n', byte, b'\r', b'\n'])
            .unwrap();
    }
    connection.send_raw(b"0\r\n\r\n").unwrap();
    connection.answer().unwrap().expect(202);
}

#[test]
fn types_and_encodings_that_are_not_read_here_are_refused() {
    let (relay, shop) = start();
    let event = samples::event("a", 1);
    let with = |name, value| {
        let headers = [key(&shop)[0], (name, value)];
        relay
            .connect()
            .request("POST", &shop.path(), &headers, &event)
            .unwrap()
    };
    for media_type in [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "json",
    ] {
        refusal(&with("Content-Type", media_type), 415);
    }
    for encoding in ["gzip", "br", "deflate", "gzip, identity"] {
        refusal(&with("Content-Encoding", encoding), 415);
    }
    let headers = [
        ("X-API-Key", relay.key.as_str()),
        ("Content-Type", "text/plain"),
    ];
    let path = "/v1/integrations";
    let answer = relay
        .connect()
        .request("POST", path, &headers, b"{\"name\":\"x\"}")
        .unwrap();
    assert_eq!(manage_refusal(&answer, 415), "UNSUPPORTED_MEDIA_TYPE");
    let get = relay.connect().request("GET", path, &headers, b"").unwrap();
    assert_eq!(get.status, 200, "a GET's Content-Type is ignored");
    check_unharmed(&relay, &shop);
    with("content-TYPE", "Application/JSON; charset=utf-8").expect(202);
}

#[test]
fn keys_that_are_no_keys_are_refused() {
    let (relay, shop) = start();
    let long = format!("lwa.sk_live_{}", "a".repeat(10_000));
    let event = samples::event("a", 1);
    let real = ("X-API-Key", shop.api_key.as_str());
    let keys: [&[(&str, &str)]; 6] = [
        &[("X-API-Key", &long)],
        &[("X-API-Key", "lwa.sk_live_ключключключ")],
        &[("X-API-Key", "lwa.\u{85}")],
        &[real, real],
        &[real, ("x-api-key", "")],
        &[("X-API-Key", "lwa.sk_live_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")],
    ];
    for headers in keys {
        let answer = relay
            .connect()
            .request("POST", &shop.path(), headers, &event)
            .unwrap();
        refusal(&answer, 401);
        let answer = relay
            .connect()
            .request("GET", "/v1/account", headers, b"")
            .unwrap();
        assert_eq!(manage_refusal(&answer, 401), "UNAUTHORIZED");
    }
    let bearer = [("Authorization", format!("Bearer {}", shop.api_key))];
    let bearer = [(bearer[0].0, bearer[0].1.as_str())];
    refusal(
        &relay
            .connect()
            .request("POST", &shop.path(), &bearer, &event)
            .unwrap(),
        401,
    );
    check_unharmed(&relay, &shop);
}

#[test]
fn unknown_integrations_are_not_found_whatever_their_name_is() {
    let (relay, shop) = start();
    let (id, key_in_capitals) = (shop.id.clone(), shop.key.to_uppercase());
    let long = "x".repeat(5_000);
    for name in [
        "nobody",
        &id,
        &key_in_capitals,
        &long,
        "%00",
        "%ff",
        "%2e%2e%2f",
        "..",
        "%F0%9F%92%A9",
    ] {
        let unknown = Integration {
            key: name.to_owned(),
            ..shop.clone()
        };
        let answer = relay.post(&unknown, &[], &samples::event("a", 1));
        let shown = &name[..name.len().min(40)];
        assert_eq!(answer.status, 404, "{shown}: {}", answer.text());
        refusal(&answer, 404);
    }
    for path in [
        "/v1/events/%ff",
        "/v1/subscriptions/%ff",
        "/v1/deliveries/%00",
        "/v1/%ff",
    ] {
        let answer = relay.manage("GET", path, b"");
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        manage_refusal(&answer, 404);
    }
    check_unharmed(&relay, &shop);
}

#[test]
fn management_bodies_that_are_wrong_change_nothing() {
    let (relay, shop) = start();
    let url = "https://example.com/";
    let name = "x".repeat(257);
    let patterns = vec!["a"; 65];
    let cases: &[(&str, Value)] = &[
        ("integrations", json!({})),
        ("integrations", json!({ "name": 5 })),
        ("integrations", json!({ "name": "" })),
        ("integrations", json!({ "name": " " })),
        ("integrations", json!({ "name": "a\u{0}b" })),
        ("integrations", json!({ "name": name })),
        ("integrations", json!({ "name": "a", "nam": "b" })),
        ("integrations", json!([])),
        ("subscriptions", json!({ "events": ["**"] })),
        ("subscriptions", json!({ "url": url })),
        ("subscriptions", json!({ "url": url, "events": [] })),
        ("subscriptions", json!({ "url": url, "events": "**" })),
        ("subscriptions", json!({ "url": url, "events": ["a b"] })),
        ("subscriptions", json!({ "url": url, "events": patterns })),
        (
            "subscriptions",
            json!({ "url": url, "events": ["**"], "secret": "whsec_short" }),
        ),
        (
            "subscriptions",
            json!({ "url": url, "events": ["**"], "max_in_flight": 0 }),
        ),
        (
            "subscriptions",
            json!({ "url": url, "events": ["**"], "max_in_flight": 70000 }),
        ),
        (
            "subscriptions",
            json!({ "url": url, "events": ["**"], "integration_id": "int_" }),
        ),
        (
            "subscriptions",
            json!({ "url": url, "events": ["**"], "surprise": 1 }),
        ),
        (
            "account/api-keys",
            json!({ "name": "k", "expires_at": "2020-01-01T00:00:00Z" }),
        ),
        (
            "account/api-keys",
            json!({ "name": "k", "expires_at": "tomorrow" }),
        ),
        (
            "account/api-keys",
            json!({ "name": "k", "environment": "prod" }),
        ),
        (
            "account/api-keys",
            json!({ "name": "k", "rate_limit": { "limit": 0, "window_seconds": 1 } }),
        ),
        ("account/api-keys", json!({ "name": "k", "rate_limit": 5 })),
        (
            "account/api-keys",
            json!({ "name": "k", "integration_id": "sub_0" }),
        ),
    ];
    for (list, body) in cases {
        let answer = relay.manage("POST", &format!("/v1/{list}"), body.to_string().as_bytes());
        assert_eq!(answer.status, 422, "{list} {body}: {}", answer.text());
        assert_eq!(manage_refusal(&answer, 422), "VALIDATION_FAILED");
    }
    for body in [
        &b""[..],
        b"{",
        b"\xff",
        b"{\"name\":\"a\"} x",
        "[".repeat(5_000).as_bytes(),
    ] {
        let answer = relay.manage("POST", "/v1/integrations", body);
        assert!([400, 422].contains(&answer.status), "{}", answer.text());
        manage_refusal(&answer, answer.status);
    }
    assert_eq!(
        relay.get("/v1/integrations")["integrations"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(relay.get("/v1/subscriptions")["subscriptions"], json!([]));
    assert_eq!(
        relay.get("/v1/account/api-keys")["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    check_unharmed(&relay, &shop);
}
