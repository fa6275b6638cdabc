//! A data directory that cannot be started on: one sentence, exit status 1, and nothing changed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::doctor::everything;
use crate::support::receiver::Receiver;
use crate::support::relay::Relay;
use crate::support::samples;

/// A store with events in it, stopped.
fn store() -> Relay {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    for n in 0..3 {
        relay.send(&shop, &samples::event("order.paid", n));
    }
    relay.terminate();
    relay
}

/// Starts a process that must refuse, with one sentence that says this; the journal stays as it is.
#[track_caller]
fn refuses(relay: &Relay, says: &[&str]) {
    let kept = |dir: &Path| {
        let state = dir.join("state");
        let mut files = everything(dir);
        // sled writes when it is opened, and what it writes can be made anew.
        files.retain(|path, _| !path.starts_with(&state) && !path.ends_with("lock"));
        files
    };
    let dir = relay.data_dir();
    let before = dir.is_dir().then(|| kept(&dir));
    let (code, said) = relay.refusal();
    assert_eq!(code, Some(1), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let ours: Vec<_> = said
        .lines()
        .filter(|line| line.starts_with("postrider: "))
        .collect();
    assert_eq!(ours.len(), 1, "{said}");
    for expected in says {
        assert!(ours[0].contains(expected), "no {expected:?} in {said}");
    }
    assert_eq!(dir.is_dir().then(|| kept(&dir)), before, "{said}");
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// What is harmed, what is said then, and how.
type Harm = (&'static str, &'static [&'static str], fn(&mut Vec<u8>));

#[test]
fn a_damaged_journal_is_named_with_its_offset_and_the_way_on() {
    let way_on = "`postrider doctor --salvage`";
    let relay = store();
    let segment = relay.journal();
    let name = segment.to_str().unwrap().to_owned();
    let whole = std::fs::read(&segment).unwrap();
    let harms: [Harm; 3] = [
        ("header", &["damaged at byte 0"], |bytes| bytes[16] ^= 1),
        ("first record", &["damaged at byte 64"], |bytes| {
            bytes[64 + 50] ^= 1;
        }),
        ("first record's length", &["damaged at byte 64"], |bytes| {
            bytes[66] ^= 0x80;
        }),
    ];
    for (what, says, harm) in harms {
        std::fs::write(&segment, &whole).unwrap();
        change(&segment, harm);
        println!("{what}");
        refuses(&relay, &[says, &[name.as_str(), way_on]].concat());
    }
}

#[test]
fn a_start_that_is_refused_can_be_repeated_and_helped() {
    let mut relay = store();
    let segment = relay.journal();
    let whole = std::fs::read(&segment).unwrap();
    change(&segment, |bytes| bytes[80] ^= 1);
    refuses(&relay, &["damaged at byte 64"]);
    refuses(&relay, &["damaged at byte 64"]);
    std::fs::write(&segment, whole).unwrap();
    relay.restart();
    assert_eq!(
        relay.get("/v1/events")["events"].as_array().unwrap().len(),
        3
    );
}

#[test]
fn a_store_without_its_journal_is_no_first_start() {
    let relay = store();
    std::fs::remove_dir_all(relay.data_dir().join("journal")).unwrap();
    let state = relay.data_dir().join("state");
    refuses(
        &relay,
        &[
            state.to_str().unwrap(),
            "journal is missing",
            "bring the folder",
        ],
    );
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let relay = Relay::stopped(&[]);
    std::fs::write(relay.data_dir(), b"a file").unwrap();
    let name = relay.data_dir();
    refuses(
        &relay,
        &[name.to_str().unwrap(), "is not a directory", "`data_dir`"],
    );
    assert_eq!(std::fs::read(name).unwrap(), b"a file");
}

#[test]
fn a_directory_with_other_peoples_files_is_refused() {
    let relay = Relay::stopped(&[]);
    std::fs::create_dir(relay.data_dir()).unwrap();
    std::fs::write(relay.data_dir().join("thesis.odt"), b"years of work").unwrap();
    refuses(&relay, &["holds no store", "thesis.odt", "`data_dir`"]);
    assert_eq!(everything(&relay.data_dir()).len(), 1);
}

#[test]
fn a_directory_that_may_not_be_read_is_refused() {
    let relay = store();
    if rustix::process::geteuid().is_root() {
        println!("root may read everything: this is not shown here");
        return;
    }
    let mode = |mode| std::fs::set_permissions(relay.data_dir(), PermissionsExt::from_mode(mode));
    mode(0o000).unwrap();
    let (code, said) = relay.refusal();
    mode(0o700).unwrap();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Permission denied"), "{said}");
    assert!(said.contains(relay.data_dir().to_str().unwrap()), "{said}");
}

#[test]
fn a_store_that_is_in_use_is_refused() {
    let mut relay = store();
    relay.restart();
    let (code, said) = relay.refusal();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is in use by another process"), "{said}");
}

#[test]
fn a_lock_or_a_reserve_that_is_gone_or_harmed_is_made_anew() {
    let mut relay = store();
    let dir = relay.data_dir();
    for name in ["lock", "reserve"] {
        std::fs::remove_file(dir.join(name)).unwrap();
        relay.restart();
        relay.terminate();
        std::fs::write(dir.join(name), b"?").unwrap();
        relay.restart();
        relay.terminate();
        std::fs::remove_file(dir.join(name)).unwrap();
    }
    relay.restart();
    relay.terminate();
    std::fs::remove_file(dir.join("lock")).unwrap();
    std::fs::create_dir(dir.join("lock")).unwrap();
    let lock = dir.join("lock");
    refuses(&relay, &[lock.to_str().unwrap(), "Is a directory"]);
}

#[test]
fn whatever_is_wrong_with_the_state_is_made_anew() {
    let mut relay = store();
    let state = relay.data_dir().join("state");
    let receiver = Receiver::start();
    relay.restart();
    relay.subscribe(&receiver.url(), &["**"]);
    relay.terminate();
    for file in ["db", "conf"] {
        for harm in ["removed", "emptied", "flipped", "cut", "a directory"] {
            let path = state.join(file);
            match harm {
                "removed" => std::fs::remove_file(&path).unwrap(),
                "emptied" => std::fs::write(&path, b"").unwrap(),
                "flipped" => change(&path, |bytes| {
                    bytes.iter_mut().step_by(7).for_each(|it| *it ^= 1);
                }),
                "cut" => change(&path, |bytes| bytes.truncate(bytes.len() / 2)),
                _ => {
                    std::fs::remove_file(&path).unwrap();
                    std::fs::create_dir(&path).unwrap();
                }
            }
            println!("{file} {harm}");
            relay.restart();
            assert_eq!(
                relay.get("/v1/events")["events"].as_array().unwrap().len(),
                3
            );
            assert_eq!(
                relay.get("/v1/subscriptions")["subscriptions"]
                    .as_array()
                    .unwrap()
                    .len(),
                1
            );
            relay.terminate();
        }
    }
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::write(&state, b"a file").unwrap();
    relay.restart();
    assert_eq!(
        relay.get("/v1/events")["events"].as_array().unwrap().len(),
        3
    );
}
