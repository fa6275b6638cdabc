//! A store moved as lines of JSON: the same accounts, keys and secrets, and nothing sent twice.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::{eventually, samples};

#[track_caller]
fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_relay_moves_with_everything_that_matters_to_others() {
    // Everything is to be tried again and again here.
    let mut relay = Relay::with(&[("DELIVERY__PROBE_AFTER", "0")]);
    let shop = relay.integration("shop");
    let (steady, failing) = (
        Receiver::start(),
        Receiver::answering(|_| Reply::status(500)),
    );
    let settles = relay.subscribe(&steady.url(), &["**"]);
    let schedule = vec!["30ms"; 50];
    let retried = relay.subscribe_as(&json!({
        "url": failing.url(), "events": ["**"], "retry_schedule": schedule,
    }));
    let revoked = relay.create("/v1/account/api-keys", &json!({ "name": "revoked" }));
    relay.delete(&format!("/v1/account/api-keys/{}", text(&revoked["id"])));
    let mut sent = Vec::new();
    for (name, body) in samples::files().into_iter().chain(samples::tricky()) {
        sent.push((name, relay.send(&shop, &body), body));
    }
    let once = [("Idempotency-Key", "once")];
    let body = samples::event("once", 1);
    let keyed = text(&relay.post(&shop, &once, &body).expect(202)["uuid"]);
    sent.push(("keyed".to_owned(), keyed.clone(), body.clone()));
    for (name, uuid, _) in &sent {
        eventually(&format!("{name} is delivered and retried"), || {
            let event = relay.event(uuid)?;
            let deliveries = event["deliveries"].as_array().unwrap();
            let is = |status: &str| deliveries.iter().any(|it| it["status"] == status);
            (is("delivered") && is("retrying")).then_some(())
        });
    }
    let shelf = tempfile::tempdir().unwrap();
    let file = shelf.path().join("export.ndjson");
    let path = file.to_str().unwrap();
    let said = failed(&relay.command(&["export", path]).output().unwrap());
    assert!(said.contains("a relay runs on"), "{said}");
    assert!(!file.exists());
    relay.terminate();
    done(&relay.command(&["export", path]).output().unwrap());
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let lines = std::fs::read_to_string(&file).unwrap();
    assert!(lines.contains(&retried.secret) && !lines.contains(&relay.key));
    assert!(!lines.contains(&text(&revoked["id"])));

    let mut moved = Relay::stopped(&[]);
    moved.key.clone_from(&relay.key);
    let dir = moved.data_dir();
    let import = ["import", path, "--data-dir", dir.to_str().unwrap()];
    let said = done(&moved.command(&import).output().unwrap());
    let expected = format!("{} events with {} open deliveries", sent.len(), sent.len());
    assert!(said.contains(&expected), "{said}");
    let said = failed(&moved.command(&import).output().unwrap());
    assert!(said.contains("is not empty"), "{said}");
    let again = done(&moved.command(&["export"]).output().unwrap());
    let rest = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert!(rest(&again) == rest(&lines), "exported again, it differs");

    let before = failing.count();
    failing.now_answers(|_| Reply::status(200));
    moved.restart();
    let arrived = failing.wait_for(before + sent.len());
    for (name, uuid, body) in &sent {
        let delivery = arrived[before..].iter().find(|it| it.id() == uuid);
        let delivery = delivery.unwrap_or_else(|| panic!("{name} did not come"));
        assert!(delivery.body == *body, "{name} is changed");
        assert!(
            delivery.attempt() > 1,
            "{name}: its attempts were forgotten"
        );
        delivery.verify(&retried.secret);
    }
    let answer = moved.post(&shop, &once, &body);
    assert_eq!(answer.header("idempotent-replayed"), Some("true"));
    assert_eq!(answer.expect(202)["uuid"], keyed.as_str());
    let key = text(&revoked["key"]);
    let headers = [("X-API-Key", key.as_str())];
    let mut connection = moved.connect();
    let refused = connection.request("GET", "/v1/account", &headers, b"");
    refused.unwrap().expect(401);
    let new = moved.send(&shop, &samples::event("goes.on", 1));
    moved.wait_for_deliveries(&new, "delivered");
    assert_eq!(
        steady.count(),
        sent.len() + 1,
        "what was settled stays settled"
    );
    steady.arrived().last().unwrap().verify(&settles.secret);
    let open: Value = moved.get("/v1/deliveries?status=retrying");
    assert_eq!(open["deliveries"], json!([]));
    moved.terminate();
    moved.restart();
    assert_eq!(failing.count(), before + sent.len() + 1, "delivered again");
}

#[test]
fn a_wrong_line_is_named_and_nothing_is_left_behind() {
    let mut relay = Relay::start();
    relay.integration("shop");
    relay.terminate();
    let lines = done(&relay.command(&["export", "-"]).output().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    let changed = lines.replacen("\"integration_key\"", "\"colour\"", 1);
    std::fs::write(file.path(), changed).unwrap();
    let new = Relay::stopped(&[]);
    let dir = new.data_dir();
    let path = file.path().to_str().unwrap();
    let import = ["import", path, "--data-dir", dir.to_str().unwrap()];
    let said = failed(&new.command(&import).output().unwrap());
    assert!(said.contains("line 3: unknown field `colour`"), "{said}");
    assert!(!dir.exists());
    let said = failed(&new.command(&["export"]).output().unwrap());
    assert!(said.contains("there is no store in"), "{said}");
    assert!(!dir.exists());
}
