//! Whether the description of the interface is true: a program that knows nothing but the description asks
//! the relay everything that it may be asked, and much that it may not, and compares the answers with it.
//!
//! What it found once is in its seed, which is printed; `POSTRIDER_CONTRACT_SEED` gives another.
//! `clients/contract/hooks.py` says what no schema can say, and keeps the requests on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::clients::Client;
use crate::support::is_full;
use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};
use crate::support::samples;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/relay/clients/contract");
const SEED: &str = "20300131";
/// Made up for each operation, beside what its description gives as examples and bounds.
const EXAMPLES: u32 = 12;
const EXAMPLES_OF_MANY: u32 = 300;

/// A relay on which there is one of everything, and one that may come to harm of what can be deleted.
struct World {
    relay: Relay,
    receiver: Receiver,
    /// What all requests need: the key that asks, and what events come in by and go to.
    kept: [String; 3],
    /// What the program knows of it: the files of `schemathesis.toml`, and the id in each.
    known: [(&'static str, String); 7],
}

fn world() -> World {
    let relay = Relay::with(&[("RATE_LIMIT__AUTH_FAILURES", "off")]);
    let receiver = Receiver::start();
    let account = relay.get("/v1/account");
    let shop = relay.integration("shop");
    let kept = relay.subscribe(&receiver.url(), &["order.*"]);
    let uuid = relay.send(&shop, &samples::event("order.completed", 1));
    let event = relay.wait_for_deliveries(&uuid, "delivered");
    let key = relay.create("/v1/account/api-keys", &json!({ "name": "spare" }));
    let spare = relay.integration("spare");
    let subscription = relay.subscribe(&receiver.url(), &["order.*"]);
    let task = relay
        .manage("POST", "/v1/deliveries/retry", b"{}")
        .expect(202);
    let known = [
        ("keys.txt", text(&key["id"])),
        ("integrations.txt", spare.id),
        ("integration-keys.txt", shop.key),
        ("subscriptions.txt", subscription.id),
        ("events.txt", uuid),
        ("deliveries.txt", text(&event["deliveries"][0]["id"])),
        ("tasks.txt", text(&task["id"])),
    ];
    World {
        relay,
        receiver,
        kept: [text(&account["key_id"]), shop.id, kept.id],
        known,
    }
}

/// Runs the program against the relay with these arguments besides, in a folder of its own.
fn run(world: &World, arguments: &[&str]) -> Output {
    let seed = std::env::var("POSTRIDER_CONTRACT_SEED").unwrap_or_else(|_| SEED.to_owned());
    println!("the seed is {seed}");
    let scratch = tempfile::tempdir().unwrap();
    for file in ["schemathesis.toml", "hooks.py"] {
        fs::copy(Path::new(FOLDER).join(file), scratch.path().join(file)).unwrap();
    }
    for (file, id) in &world.known {
        // A line of a dictionary, as fuzzers write them.
        fs::write(scratch.path().join(file), format!("\"{id}\"\n")).unwrap();
    }
    let mut command = Client::Schemathesis.in_folder(scratch.path());
    command
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("http://{}/openapi.json", world.relay.address()))
        .args(["--checks", "all", "--continue-on-failure", "--seed", &seed])
        .args(arguments)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("CONTRACT_RECEIVER", world.receiver.url())
        .env("CONTRACT_KEPT", world.kept.join(" "));
    let output = command.output().unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
    output
}

#[track_caller]
fn passed(output: &Output, world: &World) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the relay and its description differ; see above\n{said}"
    );
    assert_eq!(world.relay.manage("GET", "/health/ready", b"").status, 200);
    let told = world.relay.said();
    assert!(
        !told.contains("panicked") && !told.contains("a request failed"),
        "{told}"
    );
}

#[test]
fn the_relay_does_what_its_description_says() {
    if !Client::Schemathesis.is_here() {
        return;
    }
    let world = world();
    let key = format!("X-API-Key: {}", world.relay.key);
    let examples = if is_full() {
        EXAMPLES_OF_MANY
    } else {
        EXAMPLES
    };
    let examples = examples.to_string();
    let mut arguments = vec!["--header", &key, "--max-examples", &examples];
    if !is_full() {
        // Every bound from both sides: thousands of requests.
        arguments.extend(["--phases", "examples,fuzzing,stateful"]);
    }
    passed(&run(&world, &arguments), &world);
}

#[test]
fn whoever_has_no_key_is_told_so_as_the_description_says() {
    if !Client::Schemathesis.is_here() {
        return;
    }
    let world = world();
    let output = run(
        &world,
        &["--max-examples", "3", "--phases", "examples,fuzzing"],
    );
    passed(&output, &world);
}

#[test]
fn the_description_is_one_by_the_standard_and_its_examples_are_right() {
    if !Client::Schemathesis.is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("openapi.json");
    let document: &Value = postrider::http::openapi::document();
    fs::write(&file, document.to_string()).unwrap();
    let mut command: Command = Client::Schemathesis.in_folder(folder.path());
    command.args(["-m", "openapi_spec_validator"]).arg(&file);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("OK"),
        "{said}{complained}"
    );
    let mut command = Client::Schemathesis.in_folder(folder.path());
    command
        .arg(Path::new(FOLDER).join("examples.py"))
        .arg(&file);
    let output = command.output().unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "an example is wrong: {complained}");
}
