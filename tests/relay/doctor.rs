//! `postrider doctor`: what it says of a store, that it changes nothing, and what it saves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// Every file and directory: when it was changed, and a checksum of what is in it.
pub fn everything(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Option<u32>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = path.symlink_metadata().unwrap();
        let changed = meta.modified().unwrap();
        if meta.is_dir() {
            found.extend(everything(&path));
            found.insert(path, (changed, None));
        } else {
            let crc = meta
                .is_file()
                .then(|| crc32c::crc32c(&std::fs::read(&path).unwrap()));
            found.insert(path, (changed, crc));
        }
    }
    found
}

#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}\n{error}");
    assert!(!error.contains("panicked"), "{error}");
    text
}

/// What is said about a name.
#[track_caller]
fn about<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("nothing about {name}:\n{said}"))
        .trim()
}

#[track_caller]
fn doctor(relay: &Relay, code: i32) -> String {
    let before = everything(&relay.data_dir());
    let said = said(&relay.command(&["doctor"]).output().unwrap(), code);
    assert_eq!(
        everything(&relay.data_dir()),
        before,
        "doctor changed something"
    );
    said
}

/// A stopped store: an integration, a key that was revoked, one delivery made, one dead, three waiting.
struct Shop {
    relay: Relay,
    receiver: Receiver,
    patient: String,
    waiting: Vec<String>,
    revoked: String,
}

impl Shop {
    fn closed() -> Self {
        let relay = Relay::start();
        let shop = relay.integration("shop");
        let receiver = Receiver::answering(|delivery| {
            Reply::status(if delivery.path == "/dead" { 500 } else { 200 })
        });
        let base = receiver.url();
        let base = base.trim_end_matches("/hook");
        let made = relay.create("/v1/account/api-keys", &json!({"name": "revoked"}));
        relay.subscribe(&format!("{base}/steady"), &["order.paid"]);
        relay.subscribe_as(&json!({
            "url": format!("{base}/dead"), "events": ["order.paid"], "retry_schedule": ["0s"],
        }));
        let patient = relay.subscribe(&format!("{base}/patient"), &["waits"]).id;
        relay
            .manage("POST", &format!("/v1/subscriptions/{patient}/pause"), b"")
            .expect(200);
        let uuid = relay.send(&shop, &samples::event("order.paid", 1));
        crate::support::eventually("one delivered, one dead", || {
            let open = ["pending", "retrying"];
            let event = relay.event(&uuid)?;
            let mut deliveries = event["deliveries"].as_array().unwrap().iter();
            deliveries
                .all(|it| !open.contains(&it["status"].as_str().unwrap()))
                .then_some(())
        });
        let waiting = (0..3).map(|n| relay.send(&shop, &samples::event("waits", n)));
        let waiting = waiting.collect();
        relay.delete(&format!("/v1/account/api-keys/{}", text(&made["id"])));
        let mut shop = Self {
            relay,
            receiver,
            patient,
            waiting,
            revoked: text(&made["key"]),
        };
        shop.relay.terminate();
        shop
    }

    /// The offsets of all records in the first segment.
    fn records(&self) -> Vec<usize> {
        let bytes = std::fs::read(self.relay.journal()).unwrap();
        let mut offsets = Vec::new();
        let mut at = 64;
        loop {
            let length = u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
            if length == 0 {
                return offsets;
            }
            offsets.push(at);
            at += (40 + length).next_multiple_of(8);
        }
    }

    /// The offset of the record that holds this.
    fn record_with(&self, needle: &str) -> usize {
        let bytes = std::fs::read(self.relay.journal()).unwrap();
        let find = |hay: &[u8]| {
            hay.windows(needle.len())
                .position(|it| it == needle.as_bytes())
        };
        let at = find(&bytes[..1 << 20]).unwrap();
        self.records()
            .into_iter()
            .rfind(|offset| *offset < at)
            .unwrap()
    }

    /// Changes bytes of the journal's first segment.
    fn harm(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(self.relay.journal()).unwrap();
        change(&mut bytes);
        std::fs::write(self.relay.journal(), bytes).unwrap();
    }
}

#[test]
fn a_healthy_store_is_described_and_not_changed() {
    let shop = Shop::closed();
    let said = doctor(&shop.relay, 0);
    for (name, expected) in [
        ("relay", "is not running"),
        ("damage", "none"),
        ("events", "4, from "),
        ("accounts", "1"),
        ("integrations", "1"),
        ("keys", "2"),
        ("subscriptions", "3"),
        ("deliveries", "3 waiting, 0 retrying, 1 dead"),
        ("a start", "would succeed"),
    ] {
        assert!(about(&said, name).starts_with(expected), "{name}:\n{said}");
    }
    assert!(
        about(&said, "records").ends_with("the chain is whole"),
        "{said}"
    );
    assert!(
        about(&said, "journal").starts_with("1 segment in use, 1 prepared"),
        "{said}"
    );

    let output = shop.relay.command(&["doctor", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["open"],
        json!({"waiting": 3, "retrying": 0, "dead": 1})
    );
    assert_eq!(report["state"]["is"], "checkpoint");
    assert_eq!(report["start"]["outcome"], "succeeds");
}

#[test]
fn a_store_that_may_only_be_read_is_examined_all_the_same() {
    let shop = Shop::closed();
    let dir = shop.relay.data_dir();
    let done = Command::new("chmod")
        .args(["-R", "a=rX"])
        .arg(&dir)
        .status();
    assert!(done.unwrap().success());
    let mut command = shop.relay.command(&["doctor"]);
    if rustix::process::geteuid().is_root() {
        // Root may write whatever the mode says, so another user looks.
        for above in dir
            .ancestors()
            .skip(1)
            .take_while(|above| above.starts_with(std::env::temp_dir()))
        {
            Command::new("chmod")
                .arg("a+rx")
                .arg(above)
                .status()
                .unwrap();
        }
        let program = command.get_program().to_owned();
        let mut as_nobody = Command::new("setpriv");
        as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        as_nobody
            .arg(program)
            .args(["doctor", "--data-dir"])
            .arg(&dir);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("POSTRIDER_")) {
            // What the tests are told is nothing that the program knows.
            as_nobody.env_remove(name);
        }
        command = as_nobody;
    }
    let before = everything(&dir);
    let output = command.output().unwrap();
    assert_eq!(everything(&dir), before);
    let done = Command::new("chmod").args(["-R", "u+w"]).arg(&dir).status();
    assert!(done.unwrap().success());
    assert_eq!(about(&said(&output, 0), "damage"), "none");
}

#[test]
fn a_store_is_examined_while_a_relay_runs_on_it() {
    let mut shop = Shop::closed();
    shop.relay.restart();
    let output = shop.relay.command(&["doctor"]).output().unwrap();
    let said = said(&output, 0);
    assert!(about(&said, "relay").starts_with("is running"), "{said}");
    assert_eq!(about(&said, "damage"), "none");
    assert_eq!(
        about(&said, "a start"),
        "is not possible while the relay runs"
    );
    // It goes on, and can be restarted.
    let path = format!("/v1/subscriptions/{}/resume", shop.patient);
    shop.relay.manage("POST", &path, b"").expect(200);
    for uuid in &shop.waiting {
        shop.relay.wait_for_deliveries(uuid, "delivered");
    }
    shop.relay.terminate();
    shop.relay.restart();
}

#[test]
fn a_store_is_healthy_from_its_first_moment_on() {
    let mut relay = Relay::start();
    let running = said(&relay.command(&["doctor"]).output().unwrap(), 0);
    assert!(
        about(&running, "relay").starts_with("is running"),
        "{running}"
    );
    relay.kill();
    let killed = doctor(&relay, 0);
    assert_eq!(about(&killed, "damage"), "none");
    assert!(
        about(&killed, "a start").starts_with("would succeed"),
        "{killed}"
    );
}

#[test]
fn without_its_sealing_key_a_store_is_not_well() {
    let mut shop = Shop::closed();
    let key_file = shop.relay.key_file();
    let whole = doctor(&shop.relay, 0);
    let given_by = format!("given by {}", key_file.display());
    assert!(about(&whole, "secrets").ends_with(&given_by), "{whole}");

    let aside = key_file.with_extension("aside");
    std::fs::rename(&key_file, &aside).unwrap();
    let missing = doctor(&shop.relay, 1);
    assert!(
        about(&missing, "a start")
            .starts_with("would be refused: signing secrets cannot be opened"),
        "{missing}"
    );
    std::fs::rename(&aside, &key_file).unwrap();
    shop.relay.restart();
}

#[test]
fn every_damaged_place_is_listed_with_file_and_offset() {
    let shop = Shop::closed();
    let records = shop.records();
    let (first, second) = (records[2], records[6]);
    shop.harm(|bytes| {
        bytes[first + 41] ^= 1;
        bytes[second] ^= 1;
    });
    let said = doctor(&shop.relay, 1);
    assert!(
        about(&said, "damage").starts_with("2 places; 2 records missing"),
        "{said}"
    );
    for offset in [first, second] {
        let place = format!("{} at byte {offset}, ", shop.relay.journal().display());
        assert!(said.contains(&place), "{place}\n{said}");
    }
}

#[test]
fn a_torn_end_is_no_damage_and_a_start_cuts_it_off() {
    let mut shop = Shop::closed();
    let last = *shop.records().last().unwrap();
    shop.harm(|bytes| bytes[last + 20] ^= 1);
    // The checkpoint holds what was in the torn record: without it the journal is all there is.
    std::fs::remove_dir_all(shop.relay.data_dir().join("state")).unwrap();
    let said = doctor(&shop.relay, 0);
    assert_eq!(about(&said, "damage"), "none");
    let torn = format!("{} at byte {last}, ", shop.relay.journal().display());
    assert!(about(&said, "torn end").starts_with(&torn), "{said}");
    assert!(
        about(&said, "a start").contains("cuts off a torn end of"),
        "{said}"
    );
    shop.relay.restart();
    shop.relay.kill();
    let said = doctor(&shop.relay, 0);
    assert!(!said.contains("torn end"), "{said}");
}

#[test]
fn a_journal_that_ends_before_its_checkpoint_has_lost_something() {
    let shop = Shop::closed();
    let last = *shop.records().last().unwrap();
    shop.harm(|bytes| bytes.truncate(last));
    let said = doctor(&shop.relay, 1);
    assert!(
        about(&said, "state").ends_with("bytes of it are gone"),
        "{said}"
    );
    assert!(
        about(&said, "a start").contains("would be refused"),
        "{said}"
    );
}

#[test]
fn without_a_store_there_is_nothing_to_examine() {
    let relay = Relay::stopped(&[]);
    let output = relay.command(&["doctor"]).output().unwrap();
    said(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds no store"));
    assert!(!relay.data_dir().exists());
    let shop = Shop::closed();
    let taken = shop.relay.data_dir();
    let output = shop
        .relay
        .command(&["doctor", "--salvage"])
        .arg(&taken)
        .output();
    said(&output.unwrap(), 2);
}

#[test]
fn what_is_left_of_a_damaged_store_is_salvaged_and_served() {
    let mut shop = Shop::closed();
    // The delivery that is dead comes before, the events that wait after what is lost: the first event.
    let lost = shop.record_with(r#"{"n":1}"#);
    shop.harm(|bytes| bytes[lost + 45] ^= 1);
    let (code, refused) = shop.relay.refusal();
    assert_eq!(code, Some(1));
    assert!(refused.contains(&format!("at byte {lost}")), "{refused}");
    assert!(refused.contains("postrider doctor"), "{refused}");

    let out = tempfile::tempdir().unwrap();
    let before = everything(&shop.relay.data_dir());
    let output = shop
        .relay
        .command(&["doctor", "--salvage"])
        .arg(out.path())
        .output();
    let said = said(&output.unwrap(), 0);
    assert_eq!(everything(&shop.relay.data_dir()), before);
    assert!(
        about(&said, "lost").starts_with("1 record at least"),
        "{said}"
    );
    assert!(said.contains(&format!("at byte {lost}")), "{said}");

    let saved = shop.relay.data_dir();
    std::fs::remove_dir_all(&saved).unwrap();
    std::fs::rename(out.path(), &saved).unwrap();
    shop.relay.restart();
    let path = format!("/v1/subscriptions/{}/resume", shop.patient);
    shop.relay.manage("POST", &path, b"").expect(200);
    for uuid in &shop.waiting {
        shop.relay.wait_for_deliveries(uuid, "delivered");
    }
    let headers = [("X-API-Key", shop.revoked.as_str())];
    let answer = shop
        .relay
        .connect()
        .request("GET", "/v1/account", &headers, b"");
    answer.unwrap().expect(401);
    let arrived = shop.receiver.arrived();
    let waited = arrived.iter().filter(|it| it.path == "/patient").count();
    assert_eq!(waited, 3);
    shop.relay.terminate();
    doctor(&shop.relay, 0);
}

#[test]
fn a_revocation_that_is_damaged_is_known_from_the_state() {
    let mut shop = Shop::closed();
    // The last directory change is the revocation; what follows it keeps it from being a torn end.
    let revocation = shop.last_directory_change();
    shop.relay.restart();
    let integration = shop.relay.integration("another");
    shop.relay
        .send(&integration, &samples::event("nobody.cares", 1));
    shop.relay
        .send(&integration, &samples::event("nobody.cares", 2));
    shop.relay.terminate();
    shop.harm(|bytes| bytes[revocation + 40] ^= 1);
    let out = tempfile::tempdir().unwrap();
    let output = shop
        .relay
        .command(&["doctor", "--salvage"])
        .arg(out.path())
        .output();
    let said = said(&output.unwrap(), 0);
    assert!(!said.contains("look whether"), "{said}");
    let saved = shop.relay.data_dir();
    std::fs::remove_dir_all(&saved).unwrap();
    std::fs::rename(out.path(), &saved).unwrap();
    shop.relay.restart();
    let headers = [("X-API-Key", shop.revoked.as_str())];
    let answer = shop
        .relay
        .connect()
        .request("GET", "/v1/account", &headers, b"");
    answer.unwrap().expect(401);
}

impl Shop {
    fn last_directory_change(&self) -> usize {
        let bytes = std::fs::read(self.relay.journal()).unwrap();
        let mut changes = self.records().into_iter().filter(|at| bytes[at + 9] == 13);
        changes.next_back().unwrap()
    }
}
