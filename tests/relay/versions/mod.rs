//! Every format that was ever released is opened by this release, and nothing in it is lost.
//!
//! `tests/fixtures/README.md` says what a fixture is and how the next one is made.

mod check;
mod packed;
mod traffic;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::receiver::Receiver;
use crate::support::relay::Relay;

/// Where a fixture made by a test is kept, if it is to be kept.
const KEEP_IN: &str = "POSTRIDER_TEST_FIXTURE";
/// The program that makes it, if that is another than the one under test.
const MADE_BY: &str = "POSTRIDER_TEST_FIXTURE_BY";

fn fixtures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut fixtures: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    fixtures.sort();
    assert!(!fixtures.is_empty(), "no fixtures in {}", dir.display());
    fixtures
}

/// A store as in the fixture, without a relay yet.
fn unpacked(fixture: &Path) -> (Relay, Value) {
    let expected = std::fs::read(fixture.join("expected.json")).unwrap();
    let mut relay = Relay::stopped(&[]);
    traffic::OWNER_KEY.clone_into(&mut relay.key);
    // Years later, too, what waits is to be delivered and not to be given up.
    let settings = relay.command(&["config"]).output().unwrap();
    if String::from_utf8_lossy(&settings.stdout).contains("[retention]") {
        relay.set("RETENTION__EVENTS", "3650d");
        relay.set("RETENTION__DEAD", "3650d");
    }
    packed::unpack(&fixture.join("store"), &relay.data_dir());
    let key_file = fixture.join("store.key");
    if key_file.exists() {
        std::fs::copy(key_file, relay.key_file()).unwrap();
        let owner_alone = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(relay.key_file(), owner_alone).unwrap();
    }
    (relay, serde_json::from_slice(&expected).unwrap())
}

/// The receiver that the fixture's subscriptions are sent to.
fn receiver_of(expected: &Value) -> Receiver {
    Receiver::at(expected["receiver"].as_str().unwrap().parse().unwrap())
}

#[test]
fn a_store_of_each_released_format_is_opened_and_nothing_is_lost() {
    for fixture in fixtures() {
        println!("{}", fixture.display());
        let (mut relay, expected) = unpacked(&fixture);
        let receiver = receiver_of(&expected);
        let examined = relay.command(&["doctor"]).output().unwrap();
        let said = String::from_utf8_lossy(&examined.stdout);
        assert_eq!(examined.status.code(), Some(0), "{said}");
        relay.restart();
        check::everything(&mut relay, &receiver, &expected);
    }
}

#[test]
fn a_store_of_each_released_format_is_rebuilt_from_its_journal_alone() {
    for fixture in fixtures() {
        println!("{}", fixture.display());
        let (mut relay, expected) = unpacked(&fixture);
        let receiver = receiver_of(&expected);
        std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
        relay.restart();
        check::everything(&mut relay, &receiver, &expected);
    }
}

/// Also the way to make the fixture of a release.
#[test]
fn a_fixture_of_this_release_holds_what_it_should() {
    let kept = std::env::var_os(KEEP_IN).map(PathBuf::from);
    let temporary = TempDir::new().unwrap();
    let fixture = kept.as_deref().unwrap_or(temporary.path());
    let receiver = Receiver::at(traffic::ANY_PORT.parse().unwrap());
    let mut relay = Relay::stopped(&[]);
    traffic::OWNER_KEY.clone_into(&mut relay.key);
    if let Some(program) = std::env::var_os(MADE_BY) {
        relay.run_by(program.into());
    }
    let expected = traffic::make(&mut relay, &receiver);
    packed::pack(&relay.data_dir(), &fixture.join("store"));
    // Releases before format 3 have none.
    if relay.key_file().exists() {
        std::fs::copy(relay.key_file(), fixture.join("store.key")).unwrap();
    }
    let text = serde_json::to_string_pretty(&expected).unwrap();
    std::fs::write(fixture.join("expected.json"), text + "\n").unwrap();
    drop((relay, receiver));

    let (mut relay, expected) = unpacked(fixture);
    let receiver = receiver_of(&expected);
    relay.restart();
    check::everything(&mut relay, &receiver, &expected);
    if kept.is_some() {
        println!("kept in {}", fixture.display());
    }
}
