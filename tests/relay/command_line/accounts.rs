//! Accounts, which are the local operator's alone, and who changed what in them.

use serde_json::json;

use super::{beside, refuses, told, told_json};
use crate::support::relay::{Relay, text};

fn status(relay: &Relay, key: &str) -> u16 {
    let headers = [("X-API-Key", key)];
    let answer = relay.connect().request("GET", "/v1/account", &headers, b"");
    answer.unwrap().status
}

#[test]
fn an_account_is_made_suspended_and_deleted() {
    let relay = Relay::start();
    let made = told_json(&relay, &["accounts", "create", "acme"]);
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    assert_eq!(made["name"], "acme");
    assert_eq!(status(&relay, &key), 200);
    let listed = told(&relay, &["accounts", "list"]);
    assert!(
        listed.contains("default") && listed.contains("acme"),
        "{listed}"
    );
    assert!(!listed.contains("lwa."), "{listed}");

    let suspended = told(&relay, &["accounts", "suspend", &id]);
    assert_eq!(beside(&suspended, "suspended"), "yes");
    assert_ne!(status(&relay, &key), 200);
    told(&relay, &["accounts", "resume", &id]);
    assert_eq!(status(&relay, &key), 200);

    let said = refuses(&relay, 2, &["accounts", "delete", &id]);
    assert!(said.contains("--yes"), "{said}");
    assert_eq!(status(&relay, &key), 200, "it is still there");
    let deleted = told_json(&relay, &["accounts", "delete", &id, "--yes"]);
    assert_eq!(deleted, json!({ "deleted": [id] }));
    assert_eq!(status(&relay, &key), 401);
    refuses(&relay, 3, &["accounts", "delete", &id, "--yes"]);
    let all = told_json(&relay, &["accounts", "list"]);
    let last = text(&all["accounts"][0]["id"]);
    refuses(&relay, 1, &["accounts", "delete", &last, "--yes"]);
}

#[test]
fn the_operator_acts_for_the_account_he_names() {
    let relay = Relay::start();
    let shown = told(&relay, &["accounts", "create", "acme"]);
    let id = beside(&shown, "id");
    let theirs = told(
        &relay,
        &["integrations", "create", "theirs", "--account", &id],
    );
    told(&relay, &["integrations", "create", "ours"]);
    let listed = told(&relay, &["integrations", "list", "--account", &id]);
    assert!(
        listed.contains("theirs") && !listed.contains("ours"),
        "{listed}"
    );
    let listed = told(&relay, &["integrations", "list"]);
    assert!(
        listed.contains("ours") && !listed.contains("theirs"),
        "{listed}"
    );
    let integration = beside(&theirs, "id");
    refuses(&relay, 3, &["integrations", "show", &integration]);
    refuses(&relay, 2, &["integrations", "list", "--account", "acme"]);
    refuses(
        &relay,
        3,
        &["integrations", "list", "--account", "acct_000000000"],
    );
}

#[test]
fn the_audit_says_who_changed_what() {
    let relay = Relay::start();
    let made = told_json(&relay, &["keys", "create", "ci"]);
    let id = text(&made["id"]);
    told(&relay, &["keys", "delete", &id]);
    let audit = told(&relay, &["audit"]);
    let created = audit
        .lines()
        .find(|line| line.contains(&id) && line.contains("api_key.created"));
    assert!(
        created.is_some_and(|line| line.ends_with("operator")),
        "{audit}"
    );
    let newest = told_json(&relay, &["audit", "--limit", "1"]);
    let entries = newest["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["action"], "api_key.deleted");
    assert!(!audit.contains("lwa."), "{audit}");
}
