//! `status` and `man`.

use serde_json::json;

use super::{told, told_json};
use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::Relay;
use crate::support::samples;

#[test]
fn one_screen_tells_how_the_relay_is_and_who_fails() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(500));
    let failing = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s", "1h"],
    }));
    let fine = relay.subscribe(&Receiver::start().url(), &["nothing.**"]);
    let screen = told(&relay, &["status"]);
    assert!(screen.contains("ready, version"), "{screen}");
    assert!(
        !screen.contains("SUBSCRIPTION") && !screen.contains(&fine.id),
        "{screen}"
    );

    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    relay.wait_for_deliveries(&uuid, "retrying");
    let screen = told(&relay, &["status"]);
    for part in [
        "1 in all",
        "0 pending, 1 retrying, 0 dead",
        &failing.id,
        &receiver.url(),
        "free",
    ] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    assert!(!screen.contains(&fine.id), "{screen}");
    eventually("the oldest to be noticed", || {
        let status = told_json(&relay, &["status"]);
        let oldest = status["relay"]["oldest_pending_seconds"].as_f64()?;
        (oldest > 0.0).then_some(())
    });
    let status = told_json(&relay, &["status"]);
    assert_eq!(status["problem"], json!(null));
    assert!(status["relay"]["disk_free_bytes"].as_f64().unwrap() > 0.0);
    relay
        .manage(
            "POST",
            &format!("/v1/subscriptions/{}/pause", failing.id),
            b"",
        )
        .expect(200);
    let screen = told(&relay, &["status"]);
    assert!(
        screen.contains("paused") && screen.contains("paused by request"),
        "{screen}"
    );
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let relay = Relay::stopped(&[]);
    let first = told(&relay, &["man"]);
    for expected in [".TH postrider 1", "postrider\\-tail(1)", "Examples"] {
        assert!(first.contains(expected), "{expected}: {first}");
    }
    let folder = tempfile::tempdir().unwrap();
    told(
        &relay,
        &["man", "--all-in", folder.path().to_str().unwrap()],
    );
    for name in ["postrider", "postrider-tail", "postrider-events-list"] {
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap();
        assert!(page.contains("Examples"), "{name}");
    }
}
