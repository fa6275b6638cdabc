//! A relay elsewhere, reached with a key; what is wrong, and which exit status says so; what no error
//! repeats; and completions.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{printed, refused, refuses};
use crate::support::relay::{Relay, program, text};

/// The program against a relay elsewhere.
fn remote(url: &str, key: &str, arguments: &[&str]) -> Command {
    let mut command = program();
    command
        .args(arguments)
        .env("POSTRIDER_URL", url)
        .env("POSTRIDER_API_KEY", key);
    command
}

#[test]
fn a_relay_elsewhere_is_managed_with_a_key() {
    let relay = Relay::start();
    let url = format!("http://{}/", relay.address());
    let ask = |key: &str, arguments: &[&str]| remote(&url, key, arguments).output().unwrap();
    let made = printed(&ask(
        &relay.key,
        &["integrations", "create", "shop", "--json"],
    ));
    let made: Value = serde_json::from_str(&made).unwrap();
    let listed = printed(&ask(&relay.key, &["integrations", "list"]));
    assert!(listed.contains(made["id"].as_str().unwrap()), "{listed}");

    let sender = text(&made["api_key"]["key"]);
    let said = refused(&ask(&sender, &["keys", "list"]), 1);
    assert!(
        said.contains("403") && said.contains("does not have permission"),
        "{said}"
    );
    let mut mistyped = sender.clone();
    mistyped.pop();
    let said = refused(&ask(&mistyped, &["keys", "list"]), 1);
    assert!(said.contains("401") && !said.contains(&mistyped), "{said}");
    let said = refused(&ask(&relay.key, &["keys", "show", "key_000000000"]), 3);
    assert!(said.contains("404") && said.contains("not found"), "{said}");
}

#[test]
fn what_only_the_local_operator_may_is_not_asked_elsewhere() {
    let relay = Relay::start();
    let url = format!("http://{}", relay.address());
    let ask = |arguments: &[&str]| remote(&url, &relay.key, arguments).output().unwrap();
    for arguments in [&["accounts", "list"][..], &["accounts", "create", "acme"]] {
        let said = refused(&ask(arguments), 2);
        assert!(
            said.contains("on this machine") && said.contains("POSTRIDER_URL"),
            "{said}"
        );
    }
    let said = refused(&ask(&["keys", "list", "--account", "acct_000000000"]), 2);
    assert!(said.contains("--account"), "{said}");
    // Taken back, the relay on this machine is meant.
    let mut local = relay.command(&["keys", "list"]);
    printed(&local.env("POSTRIDER_URL", "").output().unwrap());
}

#[test]
fn a_relay_that_cannot_be_reached_is_a_failure_and_a_wrong_setting_is_not() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let said = refused(
        &remote(&nobody, "lwa.x", &["keys", "list"])
            .output()
            .unwrap(),
        1,
    );
    assert!(said.contains("cannot be reached"), "{said}");
    let stopped = Relay::stopped(&[]);
    refuses(&stopped, 1, &["integrations", "list"]);
    let said = refuses(
        &stopped,
        2,
        &["keys", "list", "--config", "no-such-file.toml"],
    );
    assert!(said.contains("no-such-file.toml"), "{said}");
    for wrong in [
        &["subscriptions", "create", "http://127.0.0.1:9999/"][..],
        &["keys", "create", "x", "--rate-limit", "often"],
        &["keys", "rotate", "key_000000000", "--overlap", "1500ms"],
        &["keys", "show"],
        &["audit", "--limit", "0"],
    ] {
        refuses(&stopped, 2, wrong);
    }
}

#[test]
fn no_error_repeats_a_secret() {
    let relay = Relay::start();
    let key = relay.key.clone();
    let end = &key[key.len() - 12..];
    let in_url = format!("http://me:{key}@{}", relay.address());
    let mut commands = vec![
        relay.command(&["keys", "show", &key]),
        relay.command(&["keys", "delete", &key]),
        relay.command(&["subscriptions", "pause", &key]),
        relay.command(&["send", "--integration", &key]),
        relay.command(&["keys", "list", "--url", &key]),
        relay.command(&["keys", "list", "--url", &in_url, "--api-key", &key]),
        remote("http://127.0.0.1:9", &format!("{key}\n"), &["keys", "list"]),
        relay.command(&[
            "subscriptions",
            "create",
            "http://127.0.0.1:9999/",
            "--events",
            "**",
            "--secret",
            &key,
        ]),
    ];
    for command in &mut commands {
        let output = command.output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{command:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !said.is_empty() && !said.contains(end),
            "{command:?}: {said}"
        );
        assert!(output.stdout.is_empty());
    }
    let help = remote(&in_url, &key, &["keys", "list", "--help"])
        .output()
        .unwrap();
    let help = printed(&help);
    assert!(
        help.contains("POSTRIDER_API_KEY") && !help.contains(end),
        "{help}"
    );
    assert_eq!(relay.get("/v1/subscriptions")["subscriptions"], json!([]));
}

#[test]
fn shells_understand_the_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&program().args(["completions", shell]).output().unwrap());
        assert!(
            script.contains("rotate-key") && script.contains("subscriptions"),
            "{shell}"
        );
        // These read a script without running it.
        if !["bash", "zsh", "fish"].contains(&shell) {
            continue;
        }
        let check = Command::new(shell).arg("-n").stdin(Stdio::piped()).spawn();
        match check {
            Ok(mut check) => {
                let mut stdin = check.stdin.take().unwrap();
                stdin.write_all(script.as_bytes()).unwrap();
                drop(stdin);
                assert!(check.wait().unwrap().success(), "{shell} cannot read it");
            }
            Err(error) if shell != "bash" => println!("not read by {shell}: {error}"),
            Err(error) => panic!("bash cannot be started: {error}"),
        }
    }
}
