//! Keys, integrations and subscriptions over the local socket: for people and for scripts.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use super::{beside, printed, refuses, told, told_json};
use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};

const EVENT: &[u8] = br#"{"event": "order.completed", "data": {"total": 1}}"#;

/// How the relay answers to this key.
fn status(relay: &Relay, key: &str) -> u16 {
    let headers = [("X-API-Key", key)];
    let answer = relay.connect().request("GET", "/v1/account", &headers, b"");
    answer.unwrap().status
}

#[test]
fn a_key_is_made_and_shown_and_deleted() {
    let relay = Relay::start();
    let key = told(
        &relay,
        &["keys", "create", "ci", "--permission", "keys:read"],
    );
    assert_eq!(
        status(&relay, key.trim_end()),
        200,
        "the key alone: {key:?}"
    );
    let made = told_json(
        &relay,
        &[
            "keys",
            "create",
            "reader",
            "--permission",
            "events:read",
            "--permission",
            "keys:read",
            "--environment",
            "test",
            "--expires-at",
            "2099-01-31T12:00:00Z",
            "--rate-limit",
            "1000/1m",
        ],
    );
    let id = text(&made["id"]);
    assert!(text(&made["key"]).starts_with("lwa.sk_test_"));
    assert_eq!(
        made["rate_limit"],
        json!({ "limit": 1000, "window_seconds": 60 })
    );

    let listed = told(&relay, &["keys", "list"]);
    let line = listed.lines().find(|line| line.starts_with(&id)).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let created = text(&made["created_at"]);
    assert_eq!(
        words,
        [&id, "reader", "test", &created, "-", "2099-01-31T12:00:00Z"]
    );
    let title = listed.lines().next().unwrap();
    let under = |title_word, word: &str| (title.find(title_word), line.find(word));
    let (above, below) = under("EXPIRES", "2099");
    assert!(above.is_some() && above == below, "{listed}");
    assert!(!listed.contains("lwa."), "{listed}");

    let shown = told(&relay, &["keys", "show", &id]);
    assert_eq!(beside(&shown, "permissions"), "events:read, keys:read");
    assert_eq!(beside(&shown, "rate limit"), "1000/1m");
    assert_eq!(
        told_json(&relay, &["keys", "show", &id]),
        relay.get(&format!("/v1/account/api-keys/{id}"))
    );
    assert_eq!(
        told(&relay, &["keys", "delete", &id]),
        format!("deleted {id}\n")
    );
    assert_eq!(status(&relay, &text(&made["key"])), 401);
}

#[test]
fn a_list_holds_all_pages() {
    let relay = Relay::start();
    let names: Vec<String> = (0..130).map(|n| format!("key {n:03}")).collect();
    for name in &names {
        relay.create("/v1/account/api-keys", &json!({ "name": name }));
    }
    let listed = told_json(&relay, &["keys", "list"]);
    let of = |key: &Value| text(&key["name"]);
    let listed: Vec<String> = listed["keys"].as_array().unwrap().iter().map(of).collect();
    let listed: BTreeSet<String> = listed.into_iter().collect();
    assert_eq!(listed.len(), 131, "none twice, and the owner's");
    assert!(names.iter().all(|name| listed.contains(name)), "{listed:?}");
    let table = told(&relay, &["keys", "list"]);
    assert_eq!(
        table.lines().count(),
        132,
        "a title, the owner's, and these"
    );
}

#[test]
fn of_several_what_can_be_deleted_is() {
    let relay = Relay::start();
    let keys: Vec<String> = (0..3)
        .map(|_| text(&told_json(&relay, &["keys", "create"])["id"]))
        .collect();
    let gone = &keys[1];
    relay.delete(&format!("/v1/account/api-keys/{gone}"));
    let arguments = ["keys", "delete", &keys[0], gone, &keys[2]];
    let output = relay.command(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(gone) && said.contains("not found"), "{said}");
    let deleted = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        deleted,
        format!("deleted {}\ndeleted {}\n", keys[0], keys[2])
    );
    let left = relay.get("/v1/account/api-keys")["keys"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(left, 1, "the owner's");
    // Nothing is deleted where one of them cannot be meant.
    let other = text(&told_json(&relay, &["keys", "create"])["id"]);
    refuses(&relay, 2, &["keys", "delete", &other, "sub_000000000"]);
    relay.get(&format!("/v1/account/api-keys/{other}"));
}

#[test]
fn a_key_is_changed_and_rotated() {
    let relay = Relay::start();
    let made = told_json(&relay, &["keys", "create", "ci", "--rate-limit", "5/1m"]);
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    let shown = told(
        &relay,
        &[
            "keys",
            "update",
            &id,
            "--name",
            "deploy",
            "--permission",
            "events:write",
            "--rate-limit",
            "default",
        ],
    );
    assert_eq!(beside(&shown, "name"), "deploy");
    assert_eq!(beside(&shown, "permissions"), "events:write");
    assert_eq!(beside(&shown, "rate limit"), "-");
    let changed = told_json(
        &relay,
        &[
            "keys",
            "update",
            &id,
            "--expires-at",
            "2099-01-31T12:00:00Z",
        ],
    );
    assert_eq!(changed["expires_at"], "2099-01-31T12:00:00Z");
    assert_eq!(changed["name"], "deploy", "what was not named stays");
    let changed = told_json(&relay, &["keys", "update", &id, "--expires-at", "never"]);
    assert_eq!(changed["expires_at"], Value::Null);
    let said = refuses(&relay, 2, &["keys", "update", &id]);
    assert!(said.contains("--name"), "{said}");

    let rotated = relay
        .command(&["keys", "rotate", &id, "--overlap", "1h"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&rotated.stderr).into_owned();
    assert!(said.contains("works until 20"), "{said}");
    let second = printed(&rotated);
    assert_eq!(
        (status(&relay, &key), status(&relay, second.trim_end())),
        (200, 200)
    );
    let third = told_json(&relay, &["keys", "rotate", &id]);
    assert_eq!(third["previous_expires_at"], Value::Null);
    assert_eq!(status(&relay, second.trim_end()), 401);
    assert_eq!(status(&relay, &text(&third["key"])), 200);
}

#[test]
fn an_integration_is_made_and_closed_and_opened() {
    let relay = Relay::start();
    let shown = told(&relay, &["integrations", "create", "shop"]);
    let (id, path) = (beside(&shown, "id"), beside(&shown, "ingest path"));
    let key = beside(&shown, "API key");
    let send = |path: &str| {
        let headers = [
            ("X-API-Key", key.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = relay.connect().request("POST", path, &headers, EVENT);
        answer.unwrap().status
    };
    assert_eq!(send(&path), 202, "{shown}");
    let later = told(&relay, &["integrations", "show", &id]);
    assert_eq!(beside(&later, "ingest path"), path);
    assert!(!later.contains("lwa."), "{later}");

    let shown = told(&relay, &["integrations", "disable", &id]);
    assert_eq!(beside(&shown, "enabled"), "no");
    assert_ne!(send(&path), 202);
    told(&relay, &["integrations", "enable", &id]);
    assert_eq!(send(&path), 202);
    let moved = beside(
        &told(&relay, &["integrations", "rotate-key", &id]),
        "ingest path",
    );
    assert_eq!((send(&path), send(&moved)), (404, 202));

    let renamed = told_json(
        &relay,
        &["integrations", "update", &id, "--name", "the shop"],
    );
    assert_eq!(renamed["name"], "the shop");
    let listed = told(&relay, &["integrations", "list"]);
    assert!(
        listed.contains(&id) && listed.contains("the shop"),
        "{listed}"
    );
    let all = told_json(&relay, &["integrations", "list"]);
    assert_eq!(all["integrations"][0]["id"], id.as_str());
    let deleted = told_json(&relay, &["integrations", "delete", &id]);
    assert_eq!(deleted, json!({ "deleted": [id] }));
}

#[test]
fn a_subscription_is_made_and_changed_and_paused() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let url = receiver.url();
    let shown = told(
        &relay,
        &[
            "subscriptions",
            "create",
            &url,
            "--events",
            "order.*",
            "payment.**",
            "--description",
            "books",
            "--integration-id",
            &shop.id,
            "--max-in-flight",
            "2",
            "--retry-schedule",
            "0s,5s,1m",
        ],
    );
    let id = beside(&shown, "id");
    assert!(beside(&shown, "secret").starts_with("whsec_"), "{shown}");
    assert_eq!(beside(&shown, "events"), "order.*, payment.**");
    relay.send(&shop, EVENT);
    receiver.wait_for(1);
    let plain = told(&relay, &["subscriptions", "show", &id]);
    assert_eq!(beside(&plain, "retry schedule"), "0s, 5s, 1m");
    assert!(!plain.contains("whsec_"), "{plain}");

    let paused = told(&relay, &["subscriptions", "pause", &id]);
    assert_eq!(beside(&paused, "status"), "paused");
    let listed = told(&relay, &["subscriptions", "list"]);
    assert!(
        listed.contains("paused") && listed.contains(&url),
        "{listed}"
    );
    assert_eq!(
        told_json(&relay, &["subscriptions", "resume", &id])["status"],
        "active"
    );

    let changed = told_json(
        &relay,
        &[
            "subscriptions",
            "update",
            &id,
            "--events",
            "user.*",
            "--to",
            "http://127.0.0.1:9999/",
            "--description",
            "x",
        ],
    );
    assert_eq!(changed["events"], json!(["user.*"]));
    assert_eq!(changed["url"], "http://127.0.0.1:9999/");
    assert_eq!(changed["max_in_flight"], 2, "what was not named stays");
    let changed = told_json(
        &relay,
        &[
            "subscriptions",
            "update",
            &id,
            "--max-in-flight",
            "default",
            "--description",
            "",
            "--retry-schedule",
            "default",
        ],
    );
    for field in ["max_in_flight", "description", "retry_schedule"] {
        assert_eq!(changed[field], Value::Null, "{field}");
    }
    told(&relay, &["subscriptions", "delete", &id]);
    assert_eq!(relay.get("/v1/subscriptions")["subscriptions"], json!([]));
}

#[test]
fn a_secret_of_ones_own_need_not_stand_on_the_command_line() {
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let relay = Relay::start();
    let mut command = relay.command(&[
        "subscriptions",
        "create",
        "http://127.0.0.1:9999/",
        "--events",
        "**",
        "--secret",
        "-",
        "--json",
    ]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{SECRET}").unwrap();
    let made = printed(&child.wait_with_output().unwrap());
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["secret"], SECRET);
}
