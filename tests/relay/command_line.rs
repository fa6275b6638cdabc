//! What can be typed: `config`, `demo`, `send`, the commands that manage a relay, and the local socket
//! that they go through.

mod accounts;
mod elsewhere;
mod following;
mod recovery;
mod sending;
mod status;
mod things;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, program};
use crate::support::samples;

#[track_caller]
fn printed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command prints that does what it should.
#[track_caller]
fn told(relay: &Relay, arguments: &[&str]) -> String {
    printed(&relay.command(arguments).output().unwrap())
}

/// The same in JSON, which is on one line.
#[track_caller]
fn told_json(relay: &Relay, arguments: &[&str]) -> Value {
    let text = told(relay, &[arguments, &["--json"]].concat());
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// What a command says that ends with this exit status.
#[track_caller]
fn refuses(relay: &Relay, code: i32, arguments: &[&str]) -> String {
    let output = relay.command(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

/// What stands beside a name where one thing is shown.
#[track_caller]
fn beside(shown: &str, name: &str) -> String {
    let line = shown
        .lines()
        .find(|line| line.starts_with(&format!("{name}  ")));
    let line = line.unwrap_or_else(|| panic!("no {name} in:\n{shown}"));
    line[name.len()..].trim().to_owned()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_printed_settings_can_be_fed_back() {
    let relay = Relay::stopped(&[
        ("QUEUE__CAPACITY", "77"),
        ("DELIVERY__RETRY_SCHEDULE", "0s,250ms,3d"),
        ("OUTBOUND__ALLOW", "127.0.0.0/8,fd00::/8"),
    ]);
    let first = printed(
        &relay
            .command(&["config", "--listen", "127.0.0.1:4321"])
            .output()
            .unwrap(),
    );
    assert!(
        first.contains("environment POSTRIDER_QUEUE__CAPACITY"),
        "{first}"
    );
    assert!(
        first.contains("command line") && first.contains("default"),
        "{first}"
    );
    assert!(!first.contains("\x1b["), "no colour in a pipe");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &first).unwrap();
    let again = program()
        .args(["config", "--config"])
        .arg(file.path())
        .output()
        .unwrap();
    assert_eq!(values(&printed(&again)), values(&first));
    assert_eq!(values(&first)["queue.capacity"], "77");
}

/// Each setting and its value.
fn values(config: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let table: toml::Table = config.parse().unwrap();
    for (name, value) in table {
        match value {
            toml::Value::Table(section) => values.extend(
                section
                    .into_iter()
                    .map(|(key, value)| (format!("{name}.{key}"), value.to_string())),
            ),
            value => _ = values.insert(name, value.to_string()),
        }
    }
    values
}

#[test]
fn the_demo_shows_every_delivery_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let mut demo = program();
    demo.args(["demo", "--once"])
        .env("TMPDIR", temporary.path());
    let shown = printed(&demo.output().unwrap());
    assert!(!shown.contains("\x1b["), "no colour in a pipe");
    let delivered = |name: &str, answer: &str| {
        let of =
            |line: &&str| line.contains(name) && line.contains(answer) && line.contains("verified");
        shown.lines().filter(of).count()
    };
    assert_eq!(delivered(" steady ", " 200 "), 5, "{shown}");
    assert_eq!(delivered(" flaky ", " 200 "), 5, "{shown}");
    assert_eq!(
        delivered(" flaky ", " 500 ") + delivered(" flaky ", " 503 "),
        2,
        "{shown}"
    );
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[test]
fn the_local_socket_lets_in_whoever_runs_the_relay_and_nobody_else() {
    let mut relay = Relay::start();
    let dir = relay.data_dir();
    for round in ["at first", "after a crash"] {
        assert_eq!(mode(&dir), 0o700, "{round}");
        assert_eq!(mode(&dir.join("postrider.sock")), 0o600, "{round}");
        assert_eq!(mode(&dir.join("journal")), 0o700, "{round}");
        assert_eq!(mode(&relay.journal()), 0o600, "{round}");
        let key = printed(&relay.command(&["keys", "create", round]).output().unwrap());
        let owner = std::mem::replace(&mut relay.key, key.trim().to_owned());
        assert_eq!(
            relay.get("/v1/account")["permissions"],
            relay_permissions(&relay, &owner)
        );
        relay.key = owner;
        relay.kill();
        relay.restart();
    }
    let listed = printed(&relay.command(&["keys", "list"]).output().unwrap());
    assert!(
        listed.contains("at first") && listed.contains("after a crash"),
        "{listed}"
    );
    assert!(!listed.contains("lwa."), "{listed}");
}

fn relay_permissions(relay: &Relay, key: &str) -> Value {
    let headers = [("X-API-Key", key)];
    let account = relay.connect().request("GET", "/v1/account", &headers, b"");
    account.unwrap().expect(200)["permissions"].clone()
}

#[test]
fn send_takes_a_file_or_standard_input_with_a_key_or_without() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    relay.subscribe(&receiver.url(), &["**"]);
    let (_, sample) = &samples::files()[0];
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), sample).unwrap();
    let path = file.path().to_str().unwrap();

    let output = relay
        .command(&["send", "--integration", &shop.key, path])
        .output();
    let mut uuids = vec![printed(&output.unwrap()).trim().to_owned()];

    let url = format!("http://{}", relay.address());
    let mut remote = program();
    remote
        .args(["send", "--integration", &shop.key])
        .env("POSTRIDER_URL", &url)
        .env("POSTRIDER_API_KEY", &shop.api_key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = remote.spawn().unwrap();
    child.stdin.take().unwrap().write_all(sample).unwrap();
    uuids.push(
        printed(&child.wait_with_output().unwrap())
            .trim()
            .to_owned(),
    );

    for delivery in receiver.wait_for(2) {
        assert_eq!(&delivery.body, sample);
        assert!(uuids.contains(&delivery.id().to_owned()));
    }
}

#[test]
fn what_fails_says_why_in_one_sentence() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let nothing = ["send", "--integration", "nobody", "no-such-file.json"];
    let said = refused(&relay.command(&nothing).output().unwrap(), 1);
    assert!(said.contains("no-such-file.json"), "{said}");
    let said = refused(
        &relay
            .command(&["send", "--integration", &shop.key])
            .output()
            .unwrap(),
        1,
    );
    assert!(said.contains("400"), "an empty body: {said}");
    let said = refused(&relay.command(&["keys", "create", ""]).output().unwrap(), 1);
    assert!(said.contains("name"), "{said}");
    let stopped = Relay::stopped(&[]);
    let said = refused(&stopped.command(&["keys", "list"]).output().unwrap(), 1);
    assert!(said.contains("no relay runs on"), "{said}");
    let url = format!("http://{}", relay.address());
    let said = refused(
        &relay
            .command(&["keys", "list", "--url", &url])
            .output()
            .unwrap(),
        2,
    );
    assert!(said.contains("POSTRIDER_API_KEY"), "{said}");
    refused(&program().args(["fly"]).output().unwrap(), 2);
    assert_eq!(relay.get("/v1/events")["events"], json!([]));
}
