//! Who did what, and when: told once, newest first, to nobody else, and never with a secret.

use serde_json::{Value, json};

use super::{Account, KEYS, Key, ask, locally};
use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

/// What was done, to what, by whom.
type Told = [String; 3];

fn told(entry: &Value) -> Told {
    ["action", "target", "by"].map(|member| text(&entry[member]))
}

/// The whole audit of a key's account, a few entries at a time, the newest first.
fn audit(relay: &Relay, key: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = "/v1/account/audit?limit=3".to_owned();
    loop {
        let page = ask(relay, key, "GET", &next, &Value::Null).expect(200);
        let entries = page["entries"].as_array().unwrap();
        all.extend(entries.clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            return all;
        };
        assert_eq!(entries.len(), 3, "a page before the last one is full");
        next = format!("/v1/account/audit?limit=3&cursor={cursor}");
    }
}

/// Waits until this is the audit, the newest first.
#[track_caller]
fn expect_audit(relay: &Relay, key: &str, expected: &[Told]) -> Vec<Value> {
    let all = || audit(relay, key);
    eventually("all deeds", || {
        (all().len() >= expected.len()).then_some(())
    });
    let all = all();
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), expected);
    all
}

/// Does one of everything, each once, and returns what was done, the oldest first, and all secrets.
fn one_of_everything(relay: &Relay, by: &Key, receiver: &Receiver) -> (Vec<Told>, Vec<String>) {
    let mut done: Vec<Told> = Vec::new();
    let mut secrets = vec![by.secret.clone()];
    let mut note = |action: &str, target: &str| {
        done.push([action.to_owned(), target.to_owned(), by.id.clone()]);
    };
    let act = |method: &str, path: &str, body: Value| {
        let answer = ask(relay, &by.secret, method, path, &body);
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
        if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()
        }
    };

    let key = Key::of(&act("POST", KEYS, json!({ "name": "a key" })));
    note("api_key.created", &key.id);
    act("PATCH", &key.path(), json!({ "name": "renamed" }));
    note("api_key.updated", &key.id);
    let rotated = act("POST", &format!("{}/rotate", key.path()), Value::Null);
    note("api_key.rotated", &key.id);
    act("DELETE", &key.path(), Value::Null);
    note("api_key.deleted", &key.id);
    secrets.extend([key.secret, text(&rotated["key"])]);

    let made = act("POST", "/v1/integrations", json!({ "name": "shop" }));
    let id = text(&made["id"]);
    let integration = format!("/v1/integrations/{id}");
    note("integration.created", &id);
    note("api_key.created", &text(&made["api_key"]["id"]));
    act("PATCH", &integration, json!({ "name": "renamed" }));
    note("integration.updated", &id);
    act("POST", &format!("{integration}/disable"), Value::Null);
    note("integration.disabled", &id);
    // Done already: nothing is done, and nothing told.
    act("POST", &format!("{integration}/disable"), Value::Null);
    act("PATCH", &integration, json!({ "name": "renamed" }));
    act("POST", &format!("{integration}/enable"), Value::Null);
    note("integration.enabled", &id);
    let moved = act("POST", &format!("{integration}/rotate-key"), Value::Null);
    note("integration.key_rotated", &id);
    act("DELETE", &integration, Value::Null);
    note("integration.deleted", &id);
    note("api_key.deleted", &text(&made["api_key"]["id"]));
    secrets.extend([&made["integration_key"], &moved["integration_key"]].map(text));
    secrets.push(text(&made["api_key"]["key"]));

    let body = json!({ "url": receiver.url(), "events": ["**"] });
    let made = act("POST", "/v1/subscriptions", body);
    let id = text(&made["id"]);
    let subscription = format!("/v1/subscriptions/{id}");
    note("subscription.created", &id);
    act("PATCH", &subscription, json!({ "description": "renamed" }));
    note("subscription.updated", &id);
    act("POST", &format!("{subscription}/pause"), Value::Null);
    note("subscription.paused", &id);
    act("POST", &format!("{subscription}/pause"), Value::Null);
    act("POST", &format!("{subscription}/resume"), Value::Null);
    note("subscription.resumed", &id);
    act("DELETE", &subscription, Value::Null);
    note("subscription.deleted", &id);
    secrets.extend([text(&made["secret"]), receiver.url()]);
    (done, secrets)
}

/// How an account that the operator made begins, the oldest first.
fn made_by_the_operator(relay: &Relay, account: &Account) -> [Told; 2] {
    let shown = ask(relay, &account.key, "GET", "/v1/account", &Value::Null).expect(200);
    let made = |action: &str, target: String| [action.to_owned(), target, "operator".to_owned()];
    [
        made("account.created", account.id.clone()),
        made("api_key.created", text(&shown["key_id"])),
    ]
}

#[test]
fn every_deed_is_told_once_newest_first_also_after_a_crash_and_from_the_journal_alone() {
    let mut relay = Relay::start();
    let (acme, other) = (
        Account::make(&relay, "acme"),
        Account::make(&relay, "other"),
    );
    let of_account = |account: &Account, action: &str| {
        let target = account.id.clone();
        [format!("account.{action}"), target, "operator".to_owned()]
    };
    let by = Key::of(&acme.create(&relay, KEYS, &json!({ "name": "the doer" })));
    acme.change(&relay, "POST", "/suspend").expect(200);
    acme.change(&relay, "POST", "/resume").expect(200);
    let (done, secrets) = one_of_everything(&relay, &by, &Receiver::start());

    let owner = ask(&relay, &acme.key, "GET", "/v1/account", &Value::Null).expect(200);
    let created = ["api_key.created", &by.id, &text(&owner["key_id"])].map(str::to_owned);
    let mut expected = made_by_the_operator(&relay, &acme).to_vec();
    expected.extend([
        created,
        of_account(&acme, "suspended"),
        of_account(&acme, "resumed"),
    ]);
    let mut of_other = made_by_the_operator(&relay, &other);
    of_other.reverse();
    expected.extend(done);
    let in_order = expected.clone();
    expected.reverse();

    let told = expect_audit(&relay, &acme.key, &expected);
    let times: Vec<_> = told.iter().map(|entry| text(&entry["at"])).collect();
    assert!(
        times.is_sorted_by(|newer, older| newer >= older),
        "{times:?}"
    );
    for entry in &told {
        assert_eq!(entry.as_object().unwrap().len(), 4, "{entry}");
    }
    let as_text = Value::Array(told).to_string();
    for secret in secrets.iter().chain([&acme.key]) {
        assert!(
            !as_text.contains(secret.as_str()),
            "the audit tells {secret}"
        );
        assert!(
            !relay.said().contains(secret.as_str()),
            "the log tells {secret}"
        );
    }
    // Its neighbours see none of it.
    expect_audit(&relay, &other.key, &of_other);
    let first = text(&relay.get("/v1/account")["id"]);
    let begun = ["account.created", &first, "relay"].map(str::to_owned);
    expect_audit(&relay, &relay.key, &[begun]);
    the_log_tells(&relay, &in_order);

    relay.kill();
    relay.restart();
    expect_audit(&relay, &acme.key, &expected);
    relay.kill();
    std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
    relay.restart();
    expect_audit(&relay, &acme.key, &expected);
    expect_audit(&relay, &other.key, &of_other);

    other.change(&relay, "DELETE", "").expect(204);
    the_log_tells(&relay, &[of_account(&other, "deleted")]);
    expect_audit(&relay, &acme.key, &expected);
}

/// The relay's log has a line for each deed, in this order, as soon as it is read.
#[track_caller]
fn the_log_tells(relay: &Relay, deeds: &[Told]) {
    eventually("a line for each deed", || {
        let said = relay.said();
        let lines = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or(Value::Null));
        let told = lines.filter(|line: &Value| line["account"].is_string());
        let told = told.map(|line| ["msg", "id", "by"].map(|member| line[member].clone()));
        let told: Vec<_> = told.collect();
        let mut rest = told.iter();
        let mut is_told = |deed: &Told| rest.any(|line| line.iter().eq(deed.iter()));
        deeds.iter().all(&mut is_told).then_some(())
    });
}

#[test]
fn what_was_refused_was_not_done() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    relay.subscribe_as(&json!({
        "url": "http://127.0.0.1:4321/", "events": ["**"], "integration_id": shop.id,
    }));
    let weak = Key::that_may(&relay, &["keys:write", "events:read"]);
    let before = eventually("all deeds", || {
        let all = audit(&relay, &relay.key);
        (all.len() == 5).then_some(all)
    });
    let path = format!("/v1/integrations/{}", shop.id);
    ask(&relay, &relay.key, "DELETE", &path, &Value::Null).expect(409);
    ask(&relay, &relay.key, "PATCH", &path, &json!({ "name": "" })).expect(422);
    let nobody = "/v1/subscriptions/sub_000000000";
    ask(&relay, &relay.key, "DELETE", nobody, &Value::Null).expect(404);
    ask(
        &relay,
        &weak.secret,
        "POST",
        KEYS,
        &json!({ "name": "a", "permissions": ["*"] }),
    )
    .expect(403);
    ask(&relay, &weak.secret, "DELETE", &path, &Value::Null).expect(403);
    ask(
        &relay,
        &weak.secret,
        "GET",
        "/v1/account/audit",
        &Value::Null,
    )
    .expect(403);
    ask(&relay, "nonsense", "DELETE", &path, &Value::Null).expect(401);
    // A later deed shows that nothing is still to come.
    relay.delete(&weak.path());
    let after = eventually("one deed more", || {
        let all = audit(&relay, &relay.key);
        (all.len() > before.len()).then_some(all)
    });
    assert_eq!(told(&after[0])[0], "api_key.deleted");
    assert_eq!(after[1..], before);
}

#[test]
fn what_the_relay_and_its_operator_do_is_told_as_theirs() {
    let relay = Relay::start();
    let shop: Integration = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(410));
    let subscription = relay.subscribe(&receiver.url(), &["**"]);
    relay.send(&shop, &samples::event("a", 1));
    let paused = eventually("the pause", || {
        let all = audit(&relay, &relay.key);
        all.into_iter()
            .find(|entry| entry["action"] == "subscription.paused")
    });
    assert_eq!(
        told(&paused)[1..],
        [subscription.id.clone(), "relay".to_owned()]
    );
    let path = format!("/v1/subscriptions/{}/resume", subscription.id);
    locally(&relay, "POST", &path, &[], &Value::Null).expect(200);
    let resumed = eventually("the resumption", || {
        let all = audit(&relay, &relay.key);
        all.into_iter()
            .find(|entry| entry["action"] == "subscription.resumed")
    });
    assert_eq!(
        told(&resumed)[1..],
        [subscription.id, "operator".to_owned()]
    );
}
