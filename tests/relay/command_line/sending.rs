//! Sending many events, one on each line.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use super::{printed, refused};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::relay::{Integration, Relay};

fn send(relay: &Relay, shop: &Integration, lines: &str, more: &[&str]) -> Output {
    let arguments = ["send", "--integration", &shop.key, "--ndjson", "-"];
    let mut command = relay.command(&[&arguments, more].concat());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may have seen enough before its end.
    let _ = stdin.write_all(lines.as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn lines(count: usize) -> String {
    let line = |n| format!("{}\n", json!({ "event": "a", "data": n }));
    (0..count).map(line).collect()
}

#[test]
fn each_line_is_an_event_and_its_uuid_is_printed_in_its_order() {
    const EVENTS: usize = 2_345;
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "max_in_flight": 1,
    }));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines(EVENTS)).unwrap();
    let path = file.path().to_str().unwrap();
    let command = ["send", "--integration", &shop.key, "--ndjson", path];
    let output = relay.command(&command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.ends_with("2345 events are accepted\n"), "{said}");
    let uuids = printed(&output);
    let uuids: Vec<&str> = uuids.lines().collect();
    assert_eq!(uuids.len(), EVENTS);
    let arrived = receiver.wait_for(EVENTS);
    let order: Vec<&str> = arrived.iter().map(Delivery::id).collect();
    assert_eq!(order, uuids);

    let said = printed(&send(
        &relay,
        &shop,
        "\n{\"event\":\"a\",\"data\":1}",
        &["--json"],
    ));
    let answer: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(answer["uuids"].as_array().unwrap().len(), 1);
}

#[test]
fn a_line_that_is_refused_is_named_and_what_came_before_it_is_counted() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    // The first batch is whole, and the second is not taken for one line.
    let wrong = format!(
        "{}\n{}{{\"event\": \"a\"}}\n{}",
        lines(1000),
        lines(2),
        lines(5)
    );
    let output = send(&relay, &shop, &wrong, &[]);
    let said = refused(&output, 1);
    assert!(
        said.contains("line 1004: ") && said.contains("`data` is missing"),
        "{said}"
    );
    assert!(
        said.contains("1000 events before line 1002") && said.contains("tail -n +1002"),
        "{said}"
    );
    let uuids = String::from_utf8(output.stdout).unwrap();
    assert_eq!(uuids.lines().count(), 1000);

    let said = refused(
        &send(&relay, &shop, "{\"event\":\"postrider.x\",\"data\":1}", &[]),
        1,
    );
    assert!(
        said.contains("line 1: ") && said.contains("relay's own"),
        "{said}"
    );
    let said = refused(&send(&relay, &shop, "\n \n", &[]), 1);
    assert!(said.contains("no event"), "{said}");
    let nobody = Integration {
        key: "nobody".to_owned(),
        ..shop
    };
    refused(&send(&relay, &nobody, &lines(1), &[]), 3);
    refused(&send(&relay, &nobody, &lines(1), &["file.json"]), 2);
}
