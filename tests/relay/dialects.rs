//! Who is refused, in which words: the two documents of the project's origin, to the letter.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::Answer;
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// The key that the document shows; nobody's.
const EXAMPLE_KEY: &str = "lwa.sk_live_abcdef1234567890abcdef1234567890";

fn ask(relay: &Relay, method: &str, path: &str, key: Option<&str>) -> Answer {
    let headers: Vec<_> = key.map(|key| ("X-API-Key", key)).into_iter().collect();
    let body = if method == "POST" {
        samples::event("a", 1)
    } else {
        Vec::new()
    };
    relay
        .connect()
        .request(method, path, &headers, &body)
        .unwrap()
}

/// Exactly these two members.
#[track_caller]
fn expect_ingest(answer: &Answer, status: u16, error: &str, message: &str) {
    assert_eq!(
        answer.expect(status),
        json!({ "error": error, "message": message })
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

/// Exactly these three members, the time in whole seconds.
#[track_caller]
fn expect_manage(answer: &Answer, status: u16, error: &str, message: &str) {
    let mut body = answer.expect(status);
    let timestamp = body.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert_eq!(body, json!({ "error": error, "message": message }));
    assert!(is_whole_second(&timestamp), "{timestamp}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

fn is_whole_second(time: &Value) -> bool {
    let time = text(time);
    time.len() == "2025-01-20T10:30:00Z".len() && time.ends_with('Z') && time.as_bytes()[10] == b'T'
}

#[test]
fn the_ingest_dialect_says_what_its_document_says() {
    let relay = Relay::start();
    let (shop, bank) = (relay.integration("shop"), relay.integration("bank"));
    let missing = ("Missing API key", "API key is required in X-API-Key header");
    let invalid = (
        "Invalid API key",
        "The provided API key is not valid or has been revoked",
    );
    for (key, (error, message)) in [
        (None, missing),
        (Some(""), missing),
        (Some(EXAMPLE_KEY), invalid),
        (Some("your-api-key-here"), invalid),
        (Some("lwa."), invalid),
        (Some(&relay.key[..20]), invalid),
    ] {
        for path in [shop.path(), format!("{}/batch", shop.path())] {
            expect_ingest(&ask(&relay, "POST", &path, key), 401, error, message);
        }
    }
    let message = "Your API key does not have permission to access this resource";
    let answer = ask(&relay, "POST", &shop.path(), Some(&bank.api_key));
    expect_ingest(&answer, 403, "Insufficient permissions", message);
    let body = json!({ "name": "reads", "permissions": ["events:read"] });
    let reads = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let answer = ask(&relay, "POST", &shop.path(), Some(&reads));
    expect_ingest(&answer, 403, "Insufficient permissions", message);
}

#[test]
fn the_management_dialect_says_what_its_document_says() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let missing = "Missing API key. Include your API key in the X-API-Key header.";
    let format = "Invalid API key format. Keys must start with 'lwa.' prefix.";
    let invalid = "Invalid API key. Check that your key is correct and active.";
    for (key, message) in [
        (None, missing),
        (Some(""), missing),
        (Some("your-api-key-here"), format),
        (Some("sk_live_abcdef1234567890abcdef1234567890"), format),
        (Some("LWA.sk_live_abcdef1234567890abcdef1234567890"), format),
        (Some(EXAMPLE_KEY), invalid),
        (Some("lwa.sk_live_YOUR_API_KEY"), invalid),
        (Some("lwa."), invalid),
    ] {
        for path in [
            "/v1/account",
            "/v1/subscriptions",
            "/v1/events",
            "/v1/nothing",
        ] {
            let answer = ask(&relay, "GET", path, key);
            expect_manage(&answer, 401, "UNAUTHORIZED", message);
        }
    }
    let answer = ask(&relay, "GET", "/v1/subscriptions", Some(&shop.api_key));
    let message = "Your API key does not have permission to access this resource";
    expect_manage(&answer, 403, "FORBIDDEN", message);
}

#[test]
fn routes_and_methods_that_do_not_exist_are_refused_in_the_dialect_of_their_prefix() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let key = Some(relay.key.as_str());
    for path in [
        "/api/webhooks",
        "/api/webhooks/",
        "/api/webhooks/a/b",
        "/api/webhooks/a/batch/c",
    ] {
        let answer = ask(&relay, "POST", path, key);
        expect_ingest(&answer, 404, "Not found", "Route not found");
    }
    let answer = ask(&relay, "POST", "/api/webhooks/nobody", key);
    expect_ingest(&answer, 404, "Not found", "Integration not found");
    for method in ["GET", "PUT", "DELETE", "PATCH", "BREW"] {
        let answer = ask(&relay, method, &shop.path(), key);
        expect_ingest(
            &answer,
            405,
            "Method not allowed",
            "This method is not allowed here",
        );
    }
    for path in [
        "/v1",
        "/v1/",
        "/v1/nothing",
        "/v1/events/a/b",
        "/",
        "/nothing",
    ] {
        let answer = ask(&relay, "GET", path, key);
        expect_manage(&answer, 404, "NOT_FOUND", "Route not found");
    }
    for (method, path) in [
        ("PUT", "/v1/subscriptions"),
        ("POST", "/v1/events"),
        ("DELETE", "/v1/account"),
    ] {
        let answer = ask(&relay, method, path, key);
        expect_manage(
            &answer,
            405,
            "METHOD_NOT_ALLOWED",
            "This method is not allowed here",
        );
    }
    for path in [
        "/v1/subscriptions/sub_none",
        "/v1/integrations/x",
        "/v1/account/api-keys/key_0",
    ] {
        assert_eq!(
            ask(&relay, "GET", path, key).expect(404)["error"],
            "NOT_FOUND"
        );
    }
}

#[test]
fn keys_have_the_documented_form_and_lists_never_hold_them() {
    let relay = Relay::start();
    for (environment, prefix) in [("live", "lwa.sk_live_"), ("test", "lwa.sk_test_")] {
        let body = json!({ "name": "Development Server", "environment": environment });
        let made = relay.create("/v1/account/api-keys", &body);
        let key = text(&made["key"]);
        let unique = key.strip_prefix(prefix).unwrap();
        assert!(unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(text(&made["id"]).starts_with("key_"));
        assert_eq!(made["name"], "Development Server");
        ask(&relay, "GET", "/v1/account", Some(&key)).expect(200);
    }
    let answer = relay.manage("GET", "/v1/account/api-keys", b"");
    assert!(!answer.text().contains("lwa."));
    let listed = answer.expect(200);
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3);
    for key in keys {
        assert!(is_whole_second(&key["created_at"]), "{key}");
        for member in ["id", "name", "last_used_at", "created_at"] {
            assert!(key.get(member).is_some(), "{key} has no {member}");
        }
    }
}

#[test]
fn a_key_cannot_grant_what_it_does_not_have() {
    let relay = Relay::start();
    let body = json!({ "name": "maker", "permissions": ["keys:write", "events:read"] });
    let maker = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let make = |permissions: Value| {
        let mut body = json!({ "name": "child" });
        if !permissions.is_null() {
            body["permissions"] = permissions;
        }
        let headers = [
            ("X-API-Key", maker.as_str()),
            ("Content-Type", "application/json"),
        ];
        let mut connection = relay.connect();
        let body = body.to_string();
        connection
            .request("POST", "/v1/account/api-keys", &headers, body.as_bytes())
            .unwrap()
    };
    make(json!(["events:read"])).expect(201);
    assert_eq!(
        make(Value::Null).expect(201)["permissions"],
        json!(["events:read", "keys:write"])
    );
    make(json!(["*"])).expect(403);
    make(json!(["events:read", "subscriptions:write"])).expect(403);
    make(json!(["events:fly"])).expect(422);
    make(json!([])).expect(422);
}

#[test]
fn when_a_key_was_last_used_is_known_soon_and_after_a_restart() {
    let mut relay = Relay::start();
    let made = relay.create("/v1/account/api-keys", &json!({ "name": "used" }));
    assert_eq!(made["last_used_at"], Value::Null);
    let path = format!("/v1/account/api-keys/{}", text(&made["id"]));
    assert_eq!(relay.get(&path)["last_used_at"], Value::Null);
    ask(&relay, "GET", "/v1/account", Some(&text(&made["key"]))).expect(200);
    let used_at = eventually("last_used_at", || {
        let shown = relay.get(&path);
        shown["last_used_at"]
            .is_string()
            .then(|| shown["last_used_at"].clone())
    });
    assert!(is_whole_second(&used_at));
    relay.kill();
    relay.restart();
    assert_eq!(relay.get(&path)["last_used_at"], used_at);
}

#[test]
fn beyond_the_window_the_answer_is_429_with_the_time_to_wait() {
    let relay = Relay::with(&[("RATE_LIMIT__MANAGE", "3/1h")]);
    let get = || relay.manage("GET", "/v1/account", b"");
    for remaining in ["2", "1", "0"] {
        let answer = get();
        assert_eq!(answer.status, 200);
        check_window(&answer, "3", remaining);
    }
    let refused = get();
    check_window(&refused, "3", "0");
    let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds));
    assert_eq!(refused.expect(429)["error"], "RATE_LIMITED");
    let unknown = ask(&relay, "GET", "/v1/account", Some(EXAMPLE_KEY));
    assert_eq!(
        (unknown.status, unknown.header("x-ratelimit-limit")),
        (401, None)
    );
}

fn check_window(answer: &Answer, limit: &str, remaining: &str) {
    assert_eq!(answer.header("x-ratelimit-limit"), Some(limit));
    assert_eq!(answer.header("x-ratelimit-remaining"), Some(remaining));
    let reset: u64 = answer.header("x-ratelimit-reset").unwrap().parse().unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(
        (now..=now + 3601).contains(&reset),
        "{reset} is not within the hour"
    );
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"manage\";q=3;w=3600")
    );
    assert!(
        answer
            .header("ratelimit")
            .unwrap()
            .starts_with(&format!("\"manage\";r={remaining};t="))
    );
}

#[test]
fn a_keys_own_limit_counts_each_event_of_a_batch_and_other_keys_have_their_own_window() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let body = json!({ "name": "few", "rate_limit": { "limit": 3, "window_seconds": 3600 } });
    let few = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let post = |path: &str, body: &[u8]| {
        let headers = [("X-API-Key", few.as_str())];
        relay
            .connect()
            .request("POST", path, &headers, body)
            .unwrap()
    };
    let two = br#"{"events":[{"event":"a","data":1},{"event":"a","data":2}]}"#;
    let batch = format!("{}/batch", shop.path());
    post(&batch, two).expect(202);
    let refused = post(&batch, two);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.expect(429)["error"], "Rate limit exceeded");
    post(&shop.path(), &samples::event("a", 1)).expect(202);
    post(&shop.path(), &samples::event("a", 1)).expect(429);
    let other = relay.post(&shop, &[], &samples::event("a", 1));
    assert_eq!(
        (other.status, other.header("x-ratelimit-limit")),
        (202, None)
    );
}

#[test]
fn health_needs_no_key() {
    let relay = Relay::start();
    for (path, status) in [("/health/live", "live"), ("/health/ready", "ready")] {
        assert_eq!(ask(&relay, "GET", path, None).expect(200)["status"], status);
    }
}
