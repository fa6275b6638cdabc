//! What is exported and imported again is the same store to everyone outside.

use std::io::BufReader;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

mod records;

use self::records::directory;
use super::*;
use crate::domain::delivery::Outcome;
use crate::domain::directory::Change;
use crate::domain::directory::fixtures::{key, subscription};
use crate::domain::event::{Content, Event, IdempotencyMark, Place};
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::sealed::fixtures::ring;
use crate::store::archive::Target;
use crate::store::committer::Commit;
use crate::store::fixtures::{apply_all, attempt, commit, event, event_id, options, scratch};
use crate::store::state::rows::IDEMPOTENCY_KEEP_MS;
use crate::store::{self, Store};

const NOW_MS: u64 = 5_000;
const SEGMENT_BYTES: u64 = 16 << 10;

fn sub(id: u64) -> SubscriptionId {
    SubscriptionId::from_bits(id)
}

/// Events 0 to 59 with every kind of delivery and body; the first three came with an idempotency key.
fn lived() -> (Store, TempDir) {
    let dir = scratch();
    let mut store = store::open(&options(dir.path())).unwrap();
    commit(&store, changes(directory()));
    let mut first: Vec<Event> = (0..3).map(|n| event(n, 10)).collect();
    first[0].meta.idempotency = Some(IdempotencyMark {
        scope: [0xab; 16],
        body: [0xcd; 16],
        events: 3,
    });
    let mut places: Vec<Place> = accept(&store, first);
    for n in 3..60 {
        let mut event = event(n, 0);
        event.body = match n % 3 {
            0 => Bytes::from(vec![0xff; 1_500]),
            1 => Bytes::from(format!(
                "{{\"n\": {n}.0, \"x\": \"é\\u0000{}\"}}",
                "y".repeat(900)
            )),
            _ => Bytes::new(),
        };
        event.meta.body_bytes = u32::try_from(event.body.len()).unwrap();
        if n % 3 == 0 {
            event.meta.content = Content::Binary {
                content_type: Some("image/png".to_owned()),
                attributes: vec![("id".to_owned(), n.to_string())],
            };
        }
        places.extend(accept(&store, vec![event]));
    }
    let mut attempts = Vec::new();
    for (n, &place) in (0..).zip(&places) {
        let outcome = match n % 4 {
            0 => Outcome::Delivered,
            1 => Outcome::Retry { due_ms: 70_000 + n },
            2 => Outcome::Dead,
            _ => continue,
        };
        attempts.push(attempt(event_id(n), place, sub(8), 3, outcome));
        if n % 8 < 5 {
            attempts.push(attempt(event_id(n), place, sub(7), 1, Outcome::Delivered));
        }
    }
    commit(
        &store,
        Commit {
            attempts,
            ..Commit::default()
        },
    );
    apply_all(&mut store);
    (store, dir)
}

fn changes(changes: Vec<Change>) -> Commit {
    Commit {
        changes,
        ..Commit::default()
    }
}

fn accept(store: &Store, events: Vec<Event>) -> Vec<Place> {
    let count = u32::try_from(events.len()).unwrap();
    let commit_of_events = Commit {
        events,
        ..Commit::default()
    };
    let position = commit(store, commit_of_events).events_at.unwrap();
    (0..count).map(|index| Place { position, index }).collect()
}

fn exported(store: &Store, which: Which) -> String {
    let mut out = Vec::new();
    let done = export(store, which, &ring(), NOW_MS, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count() as u64, done.lines);
    text
}

/// Imports into a new directory; on a refusal nothing may be left there.
fn imported(text: &[u8]) -> Result<(Imported, TempDir), PortableError> {
    let parent = scratch();
    let dir = parent.path().join("new");
    let target = Target::new(&dir).unwrap();
    let done = import(
        BufReader::new(text),
        &target,
        SEGMENT_BYTES,
        &ring(),
        NOW_MS,
    );
    drop(target);
    if done.is_err() {
        assert!(!dir.exists(), "something is left behind");
    }
    done.map(|done| (done, parent))
}

fn refusal(text: &str) -> String {
    match imported(text.as_bytes()) {
        Ok(_) => panic!("it was imported"),
        Err(error) => error.to_string(),
    }
}

fn opened(parent: &Path) -> Store {
    let mut store = store::open(&options(&parent.join("new"))).unwrap();
    apply_all(&mut store);
    store
}

/// What is open: whose, of which event, in which state, and the event itself.
fn open_of(store: &Store) -> Vec<String> {
    let located = store.ledger.open_after(None, usize::MAX).unwrap();
    let all = located.into_values().flatten().map(|(to, entry)| {
        let event = store.log.event(entry.at).unwrap().unwrap();
        assert_eq!(event.meta.id, entry.delivery.event);
        let Event { mut meta, body } = event;
        meta.idempotency = None;
        format!("{to} {:?} {meta:?} {body:?}", entry.delivery)
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

#[test]
fn an_imported_store_is_the_same_to_everyone_outside() {
    let (store, _dir) = lived();
    let text = exported(&store, Which::Open);
    let (done, parent) = imported(text.as_bytes()).unwrap();
    assert_eq!((done.directory, done.keys, done.settled), (5, 1, 0));
    assert_eq!((done.events, done.deliveries), (45, 74));

    let mut copy = opened(parent.path());
    assert!(!copy.report.is_new);
    assert_ne!(
        copy.log.journal().layout().store_id,
        store.log.journal().layout().store_id
    );
    for (copied, original) in copy
        .ledger
        .directory()
        .subscriptions()
        .zip(store.ledger.directory().subscriptions())
    {
        let mut under = copied.sealed_under();
        let current = Some(ring().current());
        assert!(under.all(|key| key == current), "it is in clear");
        assert_eq!(copied.keys.len(), original.keys.len());
        for (copied_key, original_key) in copied.keys.iter().zip(&original.keys) {
            let opened = ring().open(&copied_key.secret, copied.id.to_bits());
            let before = ring().open(&original_key.secret, original.id.to_bits());
            assert_eq!(opened.unwrap(), before.unwrap());
            assert_eq!(copied_key.ends_at_ms, original_key.ends_at_ms);
        }
    }
    assert_eq!(open_of(&copy), open_of(&store));
    assert!(exported(&copy, Which::Open) == text, "it differs");
    assert_eq!(
        exported(&copy, Which::All),
        text.replace("\"open\"", "\"all\"")
    );

    // It goes on: new events are matched, old ones are not, and what is settled stays settled.
    let entry = copy.ledger.open_after(None, 1).unwrap();
    let (to, entry) = entry.into_values().flatten().next().unwrap();
    let (slot, id) = (entry.slot, entry.delivery.event);
    let attempts = vec![attempt(id, slot.place, to, 9, Outcome::Delivered)];
    commit(
        &copy,
        Commit {
            attempts,
            ..Commit::default()
        },
    );
    accept(&copy, vec![event(1_000, 10)]);
    apply_all(&mut copy);
    let open = open_of(&copy);
    assert_eq!(open.len(), 74 - 1 + 2);
    drop(copy);
    std::fs::remove_dir_all(parent.path().join("new/state")).unwrap();
    assert_eq!(open_of(&opened(parent.path())), open);
}

#[test]
fn all_that_is_kept_is_exported_on_demand_and_what_is_settled_is_not_taken_over() {
    let (store, _dir) = lived();
    let text = exported(&store, Which::All);
    let uuids = text.lines().filter(|line| line.starts_with("{\"event\""));
    assert_eq!(uuids.count(), 60);
    let (done, parent) = imported(text.as_bytes()).unwrap();
    assert_eq!((done.events, done.settled), (45, 15));
    assert_eq!(open_of(&opened(parent.path())), open_of(&store));
}

#[test]
fn an_idempotency_key_is_exported_for_as_long_as_it_counts() {
    let (store, _dir) = lived();
    let end_ms = 1_000 + IDEMPOTENCY_KEEP_MS;
    for (now_ms, keys) in [(end_ms - 1, 1), (end_ms, 0)] {
        let mut out = Vec::new();
        export(&store, Which::Open, &ring(), now_ms, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let found: Vec<_> = lines
            .iter()
            .filter_map(|line| line.get("idempotency_key"))
            .collect();
        assert_eq!(found.len(), keys);
        for key in found {
            let ids = [0, 1, 2].map(|n| event_id(n).to_string());
            assert_eq!(key["uuids"], serde_json::json!(ids));
        }
    }
}

/// The export with one line changed, by the number of the first line that starts like this.
fn with_line(text: &str, start: &str, change: impl Fn(&str) -> String) -> (usize, String) {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = lines
        .iter()
        .position(|line| line.starts_with(start))
        .unwrap();
    lines[at] = change(&lines[at]);
    (at + 1, lines.join("\n") + "\n")
}

#[test]
fn what_is_wrong_is_named_by_its_line() {
    let (store, _dir) = lived();
    let text = exported(&store, Which::Open);
    let cases = [
        ("{\"account\"", "acct_", "key_", "acct_"),
        (
            "{\"account\"",
            "created_at\":\"",
            "created_at\":\"x",
            "not a time",
        ),
        ("{\"integration\"", "acct_", "acct_zz", "expected an id"),
        (
            "{\"integration\"",
            "acct_000000001",
            "acct_000000009",
            "no account",
        ),
        ("{\"api_key\"", "\"name\"", "\"nom\"", "unknown field `nom`"),
        (
            "{\"api_key\"",
            "sha256\":\"",
            "sha256\":\"zz",
            "64 hexadecimal digits",
        ),
        ("{\"subscription\"", "whsec_", "whsk_", "secret must be"),
        ("{\"subscription\"", "\"a\"", "\"a b\"", ""),
        (
            "{\"idempotency_key\"",
            "\"uuids\":[",
            "\"uuids\":[],\"y\":[",
            "unknown field",
        ),
        ("{\"event\"", "0000", "ffff", "no version 7 uuid"),
        ("{\"event\"", "sub_", "sub_zz", "expected an id"),
        (
            "{\"event\"",
            "sub_000000008",
            "sub_000000009",
            "has no subscription",
        ),
        (
            "{\"event\"",
            "\"attempts\"",
            "\"due_at\":\"2030-01-31T12:00:00Z\",\"attempts\"",
            "",
        ),
        (
            "{\"event\"",
            "\"body\":",
            "\"body_base64\":\"\",\"body\":",
            "exactly one of",
        ),
        (
            "{\"end\"",
            "\"events\":45",
            "\"events\":44",
            "45 events came before",
        ),
        ("{\"end\"", "{\"end\"", "what", "expected"),
    ];
    for (start, from, to, words) in cases {
        let (number, changed) = with_line(&text, start, |line| line.replacen(from, to, 1));
        assert!(changed != text, "{from} is not there");
        let said = refusal(&changed);
        let named = said.starts_with(&format!("line {number}: "));
        assert!(named && said.contains(words), "{from} to {to}: {said}");
    }
    for start in ["{\"account\"", "{\"event\"", "{\"subscription\""] {
        let (number, twice) = with_line(&text, start, |line| format!("{line}\n{line}"));
        let said = refusal(&twice);
        assert!(
            said.starts_with(&format!("line {}: ", number + 1)),
            "{said}"
        );
    }
    let account = text.lines().nth(1).unwrap();
    let (number, late) = with_line(&text, "{\"end\"", |line| {
        format!(
            "{}\n{line}",
            account.replace("acct_000000001", "acct_000000002")
        )
    });
    let said = refusal(&late);
    assert!(
        said.starts_with(&format!("line {number}: it comes too late")),
        "{said}"
    );
    let said = refusal(&format!("{text}\n"));
    assert!(said.contains("something follows the end"), "{said}");
}

#[test]
fn an_export_that_is_cut_off_foreign_or_newer_is_refused() {
    let (store, _dir) = lived();
    let text = exported(&store, Which::Open);
    let lines: Vec<&str> = text.lines().collect();
    for kept in 1..lines.len() {
        let said = refusal(&(lines[..kept].join("\n") + "\n"));
        assert_eq!(
            said,
            format!("the export is cut off after line {kept}: its last line is missing")
        );
    }
    for length in (0..text.len() - 2).step_by(397) {
        if let Some(cut) = text.get(..length) {
            refusal(cut);
        }
    }
    for foreign in [
        "",
        "\n",
        "{}",
        "[1]",
        "{\"format\":\"other\",\"version\":1}",
    ] {
        assert!(refusal(foreign).contains("this is no export"), "{foreign}");
    }
    let newer = text.replacen("\"version\":4", "\"version\":5", 1);
    assert!(refusal(&newer).contains("newer release (version 5"));
}
