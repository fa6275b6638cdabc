//! The commands of the guides, in their order, as somebody types them who reads one from its beginning to
//! its end.

use std::fs;
use std::path::Path;

use postrider::domain::signature::SigningKey;
use serde_json::json;

use super::page::Page;
use super::{free_port, sending, verifying};
use crate::clients::Client;
use crate::signatures::PRIVATE_KEY;
use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};

/// The guides whose commands are run here.
pub const GUIDES: [&str; 3] = [sending::GUIDE, verifying::GUIDE, OPERATING];
const OPERATING: &str = "operating.md";
/// What the test has done already, with settings of its own.
const SERVE: &str = "POSTRIDER_OUTBOUND__ALLOW=127.0.0.0/8 postrider serve\n";

/// Types all of it, up to the first command that fails; returns what was to be seen.
#[track_caller]
fn typed(relay: &Relay, folder: &Path, script: &str, variables: &[(&str, &str)]) -> String {
    // What was started and goes on ends with the session.
    let whole = format!("set -eu\ntrap 'kill ${{!:-}} 2>/dev/null || :' EXIT\n{script}");
    fs::write(folder.join("session"), &whole).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_postrider")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.display());
    let store = relay.data_dir();
    let mut all = vec![
        ("PATH", path.as_str()),
        ("POSTRIDER_DATA_DIR", store.to_str().unwrap()),
    ];
    all.extend(variables);
    let output = Client::Shell.run(folder, "session", &all, Path::new("/nowhere"));
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(output.status.success(), "{whole}\n---- said:\n{out}\n{err}");
    out
}

#[test]
fn the_quick_start_leads_from_an_integration_to_a_delivery() {
    if !Client::Shell.is_here() {
        return;
    }
    let relay = Relay::start();
    let folder = tempfile::tempdir().unwrap();
    let verifying = Page::read(verifying::GUIDE);
    for (section, file) in [("By hand", "verify.py"), ("A receiver", "receive.py")] {
        fs::write(folder.path().join(file), verifying.program(section, file)).unwrap();
    }
    let port = free_port().to_string();
    let page = Page::read(sending::GUIDE);
    let mut commands = page.commands();
    assert_eq!(commands.remove(0), SERVE);
    let script = commands.concat();
    assert_eq!(script.matches("127.0.0.1:8080").count(), 1);
    let script = script.replace("127.0.0.1:8080", &relay.address().to_string());
    assert_eq!(script.matches("9000").count(), 2);
    let script = script.replace("9000", &port);
    let until = "until postrider events show \"$uuid\" --json |\n  \
                 jq -e '.deliveries[0].status == \"delivered\"' > delivered; do sleep 0.1; done\n\
                 printf 'the last is %s\\n' \"$uuid\"\n";
    let seen = typed(&relay, folder.path(), &format!("{script}{until}"), &[]);
    let uuid = seen.lines().last().unwrap().rsplit(' ').next().unwrap();
    let received =
        format!(r#"{uuid} {{"event": "order.completed", "data": {{"order_id": 3000}}}}"#);
    assert!(seen.lines().any(|line| line == received), "{seen}");
    assert!(seen.contains("accepted   order.completed"), "{seen}");
    let events = relay.get("/v1/events");
    // One, two in a batch, two lines by either of two ways, and the last.
    assert_eq!(events["events"].as_array().unwrap().len(), 8, "{events}");
    relay.wait_for_deliveries(uuid, "delivered");
}

#[test]
fn a_secret_is_replaced_as_the_guide_says() {
    if !Client::Shell.is_here() {
        return;
    }
    let relay = Relay::start();
    let subscription = relay.subscribe("https://example.com/", &["order.*"]);
    let folder = tempfile::tempdir().unwrap();
    let page = Page::read(verifying::GUIDE);
    let variables = [
        ("SUBSCRIPTION", subscription.id.as_str()),
        ("PRIVATE_KEY", PRIVATE_KEY),
    ];
    let script = page.commands().concat();
    let seen = typed(&relay, folder.path(), &script, &variables);
    assert!(seen.contains("whsec_"), "{seen}");
    let public = SigningKey::parse(PRIVATE_KEY).unwrap().public().unwrap();
    assert!(seen.contains(&public), "{public} is not in {seen}");
}

/// A store with a damaged journal, where the guide's reader has his own.
fn damage(store: &Path) {
    let mut segments: Vec<_> = fs::read_dir(store.join("journal")).unwrap().collect();
    segments.sort_by_key(|entry| entry.as_ref().unwrap().path());
    let first = segments.remove(0).unwrap().path();
    let mut bytes = fs::read(&first).unwrap();
    bytes[800] ^= 1;
    fs::write(first, bytes).unwrap();
}

#[test]
fn an_operator_s_commands_do_what_the_guide_says() {
    if !Client::Shell.is_here() {
        return;
    }
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::status(410));
    let subscription = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s"],
    }));
    let uuid = relay.send(&shop, br#"{"event": "order.paid", "data": 1}"#);
    relay.wait_for_deliveries(&uuid, "dead");
    let path = format!("/v1/subscriptions/{}", subscription.id);
    eventually("the receiver's 410 to pause it", || {
        (relay.get(&path)["status"] == "paused").then_some(())
    });
    // Somebody repairs it.
    receiver.now_answers(|_| Reply::status(200));
    // A store of any age has a checkpoint.
    relay.terminate();
    relay.restart();
    let folder = tempfile::tempdir().unwrap();
    let keys = relay.get("/v1/account/api-keys");
    let keys: Vec<_> = keys["keys"].as_array().unwrap().iter().collect();
    let bound = keys.iter().find(|key| key["integration_id"].is_string());
    let bound = text(&bound.unwrap()["id"]);
    let leaked = relay.create("/v1/account/api-keys", &json!({ "name": "leaked" }));
    let leaked = text(&leaked["id"]);
    let variables = [
        ("SUBSCRIPTION", subscription.id.as_str()),
        ("KEY", &bound),
        ("LEAKED", &leaked),
    ];
    let page = Page::read(OPERATING);
    let parent = relay.data_dir().parent().unwrap().to_owned();
    let script = page.commands().concat();
    let script = script.replace("/var/lib/postrider", parent.to_str().unwrap());
    // A reader's own damage, made out of a copy of what he restored.
    let (before, after) = script
        .split_once("postrider doctor --data-dir broken/")
        .unwrap();
    let seen = typed(&relay, folder.path(), before, &variables);
    assert!(seen.contains("damage         none"), "{seen}");
    fs::rename(folder.path().join("restored"), folder.path().join("broken")).unwrap();
    damage(&folder.path().join("broken/store"));
    // With it goes the key file, while the relay runs.
    fs::remove_file(relay.key_file()).unwrap();
    let after = format!("postrider doctor --data-dir broken/{after}");
    let seen = typed(&relay, folder.path(), &after, &variables);
    assert!(seen.contains("it is damaged"), "{seen}");
    assert!(!seen.contains("lost           nothing"), "{seen}");
    assert!(folder.path().join("saved/store/journal").is_dir(), "{seen}");
    assert!(relay.key_file().is_file(), "{seen}");
    relay.wait_for_deliveries(&uuid, "delivered");
    assert_eq!(relay.get(&path)["status"], "active");
    let keys = relay.get("/v1/account/api-keys").to_string();
    assert!(
        !keys.contains(&leaked) && keys.contains("\"owner\""),
        "{keys}"
    );
}
