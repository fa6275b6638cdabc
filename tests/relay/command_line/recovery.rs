//! What is done from the command line about deliveries that failed: looked at, tried again, given up,
//! delivered once more.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{beside, refuses, told, told_json};
use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, Subscription, text};
use crate::support::samples;

/// A relay with three dead deliveries, and a receiver that has recovered since.
struct Aftermath {
    relay: Relay,
    shop: Integration,
    receiver: Receiver,
    subscription: Subscription,
    uuids: Vec<String>,
}

fn aftermath() -> Aftermath {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(500));
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s", "0s"],
    }));
    let uuids: Vec<String> = ["order.paid", "order.sent", "order.sent"]
        .into_iter()
        .zip(0..)
        .map(|(kind, n)| {
            let uuid = relay.send(&shop, &samples::event(kind, n));
            relay.wait_for_deliveries(&uuid, "dead");
            uuid
        })
        .collect();
    receiver.now_answers(|_| Reply::status(200));
    Aftermath {
        relay,
        shop,
        receiver,
        subscription,
        uuids,
    }
}

fn delivery(relay: &Relay, uuid: &str) -> Value {
    relay.event(uuid).unwrap()["deliveries"][0].clone()
}

fn delivery_id(relay: &Relay, uuid: &str) -> String {
    text(&delivery(relay, uuid)["id"])
}

/// What the command says on standard error that does what it should.
#[track_caller]
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

#[test]
fn deliveries_are_found_and_shown_with_what_each_attempt_met() {
    let Aftermath {
        relay,
        subscription,
        uuids,
        ..
    } = aftermath();
    let id = delivery_id(&relay, &uuids[0]);
    let listed = told(
        &relay,
        &["deliveries", "list", "--event-type", "order.paid"],
    );
    let lines: Vec<&str> = listed.lines().collect();
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words, [&id, "dead", "order.paid", "2", "HTTP", "500"]);
    assert_eq!(lines.len(), 2, "{listed}");
    let count = |arguments: &[&str]| {
        let all = [&["deliveries", "list"], arguments].concat();
        let listed = told_json(&relay, &all);
        listed["deliveries"].as_array().unwrap().len()
    };
    assert_eq!(count(&["--status", "dead", "--since", "1h"]), 3);
    assert_eq!(
        count(&["--subscription", &subscription.id, "--limit", "2"]),
        2
    );
    assert_eq!(count(&["--status", "delivered"]), 0);
    assert_eq!(count(&["--until", "1h"]), 0, "an hour ago there was none");

    let shown = told(&relay, &["deliveries", "show", &id]);
    assert_eq!(beside(&shown, "status"), "dead");
    assert_eq!(beside(&shown, "event uuid"), uuids[0]);
    let attempts: Vec<&str> = shown
        .lines()
        .filter(|line| line.ends_with("HTTP 500"))
        .collect();
    assert_eq!(attempts.len(), 2, "{shown}");
    assert!(attempts[0].contains(" ms  "), "{shown}");
    assert_eq!(
        told_json(&relay, &["deliveries", "show", &id]),
        relay.get(&format!("/v1/deliveries/{id}"))
    );
    let more = said(&mut relay.command(&["deliveries", "list", "--limit", "1"]));
    assert!(more.contains("--limit"), "{more}");
}

#[test]
fn named_deliveries_are_retried_and_cancelled_and_those_that_cannot_be_are_told() {
    let Aftermath { relay, uuids, .. } = aftermath();
    let ids: Vec<String> = uuids.iter().map(|uuid| delivery_id(&relay, uuid)).collect();
    let retried = told(&relay, &["deliveries", "retry", &ids[0], &ids[1]]);
    assert_eq!(retried, format!("retried {}\nretried {}\n", ids[0], ids[1]));
    relay.wait_for_deliveries(&uuids[1], "delivered");
    let cancelled = told_json(&relay, &["deliveries", "cancel", &ids[2]]);
    assert_eq!(cancelled["deliveries"][0]["status"], "cancelled");

    let arguments = ["deliveries", "retry", &ids[1], &ids[2]];
    let said = refuses(&relay, 1, &arguments);
    assert_eq!(said.lines().count(), 2, "{said}");
    assert!(said.contains("replay its event"), "{said}");
    let unknown = format!("dlv_{}", "0".repeat(34));
    refuses(&relay, 3, &["deliveries", "cancel", &unknown]);
    refuses(
        &relay,
        2,
        &["deliveries", "cancel", &ids[2], "sub_000000000"],
    );
}

#[test]
fn all_that_are_selected_are_counted_and_retried_once_somebody_has_agreed() {
    let Aftermath {
        relay,
        receiver,
        subscription,
        uuids,
        ..
    } = aftermath();
    let before = receiver.count();
    let retry = ["deliveries", "retry", "--all"];
    let with = |more: &[&'static str]| [&retry, more].concat();
    assert_eq!(
        told(&relay, &with(&["--dry-run", "--event-type", "order.sent"])),
        "2 deliveries would be retried\n"
    );
    // Nobody can agree without a terminal.
    let refused = refuses(&relay, 2, &retry);
    assert!(
        refused.contains("--yes") && refused.contains("--dry-run"),
        "{refused}"
    );
    assert_eq!(receiver.count(), before, "nothing was sent");

    let output = relay
        .command(&with(&["--event-type", "order.paid", "--yes"]))
        .output();
    let output = output.unwrap();
    let counted = String::from_utf8_lossy(&output.stderr);
    assert!(
        counted.starts_with("1 delivery would be retried\n"),
        "{counted}"
    );
    assert_eq!(output.stdout, b"retried 1 delivery\n");
    relay.wait_for_deliveries(&uuids[0], "delivered");
    assert_eq!(delivery(&relay, &uuids[1])["status"], "dead");

    let task = told_json(&relay, &with(&["--since", "1h", "--yes"]));
    assert_eq!(
        (&task["status"], &task["affected"]),
        (&json!("done"), &json!(2))
    );
    relay.wait_for_deliveries(&uuids[2], "delivered");
    let nothing = told(&relay, &with(&["--yes"]));
    assert_eq!(nothing, "0 deliveries would be retried\n");

    for wrong in [
        &["deliveries", "retry"][..],
        &["deliveries", "retry", "--status", "dead"],
        &["deliveries", "retry", "dlv_0", "--all"],
        &["deliveries", "retry", "dlv_0", "--since", "1h"],
        &["deliveries", "retry", "--all", "--since", "yesterday"],
        &["deliveries", "retry", "--all", "--yes", "--dry-run"],
        &[
            "deliveries",
            "cancel",
            "--all",
            "--yes",
            "--subscription",
            &subscription.secret,
        ],
    ] {
        let said = refuses(&relay, 2, wrong);
        assert!(!said.contains(&subscription.secret[10..]), "{said}");
    }
}

#[test]
fn a_range_is_replayed_by_a_task_that_is_listed_and_shown_and_stopped() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["a"]);
    let again = ["subscriptions", "replay", &subscription.id];
    let uuid = relay.send(&shop, &samples::event("a", 1));
    relay.wait_for_deliveries(&uuid, "delivered");
    let counted = told(&relay, &[&again[..], &["--dry-run"]].concat());
    assert_eq!(counted, "1 event would be replayed\n");
    assert_eq!(told(&relay, &again), "replayed 1 event\n");
    receiver.wait_for(2);

    let listed = told_json(&relay, &["tasks", "list"]);
    let tasks = listed["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 2);
    let id = text(&tasks[1]["id"]);
    let shown = told(&relay, &["tasks", "show", &id]);
    assert_eq!(beside(&shown, "kind"), "replay");
    assert_eq!(beside(&shown, "affected"), "1");
    assert!(told(&relay, &["tasks", "list"]).contains(&id));
    let stopped = told(&relay, &["tasks", "stop", &id]);
    assert_eq!(beside(&stopped, "status"), "done", "it was over before");
    refuses(&relay, 3, &["tasks", "stop", "task_000000000"]);
    refuses(&relay, 2, &["tasks", "show", &subscription.id]);
}

#[test]
fn events_are_listed_and_shown_with_their_payload_as_it_came() {
    let Aftermath {
        relay, shop, uuids, ..
    } = aftermath();
    let odd =
        br#"{"event": "odd", "data": {"z": 1.50, "a": 12345678901234567890123, "half": "\ud800"}}"#;
    let odd_uuid = relay.send(&shop, odd);
    let listed = told(
        &relay,
        &["events", "list", "--type", "order.*", "--since", "1h"],
    );
    let shown: Vec<&str> = listed.lines().skip(1).map(|line| &line[..36]).collect();
    let newest: Vec<&str> = uuids.iter().rev().map(String::as_str).collect();
    assert_eq!(shown, newest);
    let of = [
        "events",
        "list",
        "--integration-id",
        &shop.id,
        "--limit",
        "1",
    ];
    let listed = told_json(&relay, &of);
    assert_eq!(listed["events"][0]["uuid"], odd_uuid);

    let shown = told(&relay, &["events", "show", &uuids[0]]);
    assert_eq!(beside(&shown, "event"), "order.paid");
    let id = delivery_id(&relay, &uuids[0]);
    assert!(
        shown.contains(&format!("{id} to sub_")) && shown.contains(": dead\n"),
        "{shown}"
    );
    assert_eq!(shown.matches("HTTP 500").count(), 2, "{shown}");
    assert_eq!(
        told_json(&relay, &["events", "show", &uuids[0]]),
        relay.event(&uuids[0]).unwrap()
    );
    let payload = std::str::from_utf8(odd).unwrap();
    let shown = told(&relay, &["events", "show", &odd_uuid]);
    assert!(
        shown.ends_with(&format!("\nPayload\n{payload}\n")),
        "{shown}"
    );
    let raw = told(&relay, &["events", "show", &odd_uuid, "--json"]);
    assert!(raw.contains(payload), "{raw}");

    let said = refuses(&relay, 2, &["events", "show", &relay.key]);
    assert!(
        !said.contains(&relay.key[8..]) && said.contains("events list"),
        "{said}"
    );
    let missing = uuids[0].replace('0', "1");
    refuses(&relay, 3, &["events", "show", &missing]);
}

#[test]
fn an_event_is_replayed_to_one_or_to_those_who_want_it() {
    let Aftermath {
        relay,
        receiver,
        subscription,
        uuids,
        ..
    } = aftermath();
    let before = receiver.count();
    let replay = ["events", "replay", &uuids[0]];
    let dry = told(&relay, &[&replay[..], &["--dry-run"]].concat());
    assert!(
        dry.contains(&subscription.id) && dry.contains("dlv_"),
        "{dry}"
    );
    assert_eq!(receiver.count(), before);
    let made = told_json(&relay, &[&replay[..], &["--to", &subscription.id]].concat());
    assert_eq!(made["deliveries"].as_array().unwrap().len(), 1);
    let again = &receiver.wait_for(before + 1)[before];
    assert_eq!(again.id(), uuids[0]);
    told(
        &relay,
        &[
            "subscriptions",
            "update",
            &subscription.id,
            "--events",
            "other",
        ],
    );
    let nobody = told(&relay, &replay);
    assert!(
        nobody.contains("nobody") && nobody.contains("--to"),
        "{nobody}"
    );
}

#[test]
fn a_subscription_says_what_blocks_it_and_since_when_it_fails() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(500));
    let url = receiver.url();
    let create = ["subscriptions", "create", &url, "--events", "**"];
    let more = [
        "--ordering",
        "by:data.order_id",
        "--retry-schedule",
        "0s,10m",
    ];
    let made = told(&relay, &[&create[..], &more].concat());
    let id = beside(&made, "id");
    assert_eq!(beside(&made, "ordering"), "by:data.order_id");
    let strict = ["subscriptions", "update", &id, "--ordering", "strict"];
    assert_eq!(told_json(&relay, &strict)["ordering"], "strict");
    assert!(told(&relay, &["subscriptions", "list"]).contains("  strict  "));
    refuses(
        &relay,
        2,
        &["subscriptions", "update", &id, "--ordering", "by"],
    );

    let first = relay.send(&shop, &samples::event("a", 1));
    relay.send(&shop, &samples::event("a", 2));
    let look = ["subscriptions", "show", &id];
    let shown = eventually("what blocks to be shown", || {
        let shown = told(&relay, &look);
        (beside(&shown, "blocked by") != "-").then_some(shown)
    });
    let blocked = beside(&shown, "blocked by");
    assert!(
        blocked.contains(&first) && blocked.contains("dlv_"),
        "{shown}"
    );
    assert_eq!(beside(&shown, "pending"), "1");
    assert_eq!(beside(&shown, "retrying"), "1");
    assert_eq!(beside(&shown, "probing"), "no");
    assert!(
        beside(&shown, "failing since").ends_with("failures: 1"),
        "{shown}"
    );
    assert!(!shown.contains('{'), "{shown}");
}

#[test]
fn who_closes_the_pipe_has_seen_enough() {
    let Aftermath { relay, .. } = aftermath();
    let mut command = relay.command(&["deliveries", "list", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}
