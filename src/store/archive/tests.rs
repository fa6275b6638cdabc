//! Backups are taken while the store goes on, and refused when anything about them is wrong.

use std::path::Path;

use bytes::Bytes;
use tempfile::TempDir;

use super::format::{self, HEADER_BYTES};
use super::*;
use crate::domain::delivery::Outcome;
use crate::domain::directory::Change;
use crate::domain::directory::fixtures::subscription;
use crate::domain::event::Place;
use crate::domain::ids::SubscriptionId;
use crate::domain::sealed::fixtures::ring;
use crate::store::committer::Commit;
use crate::store::entry::Entry;
use crate::store::fixtures::{
    Random, apply_all, attempt, commit, copy_dir, event, event_id, options, scratch,
};
use crate::store::ledger::Open;
use crate::store::{self, Store};

const NOW_MS: u64 = 5_000;
const SUBSCRIPTION: u64 = 7;

/// A store with one subscription to everything.
fn subscribed() -> (Store, TempDir) {
    let dir = scratch();
    let store = store::open(&options(dir.path())).unwrap();
    let changes = vec![Change::PutSubscription(
        subscription(SUBSCRIPTION, 1, &["**"]).into(),
    )];
    commit(
        &store,
        Commit {
            changes,
            ..Commit::default()
        },
    );
    (store, dir)
}

fn accept(store: &Store, n: u64, body_bytes: usize) -> Place {
    let events = vec![event(n, body_bytes)];
    let committed = commit(
        store,
        Commit {
            events,
            ..Commit::default()
        },
    );
    let position = committed.events_at.unwrap();
    Place { position, index: 0 }
}

fn settle(store: &Store, n: u64, place: Place, outcome: Outcome) {
    let to = SubscriptionId::from_bits(SUBSCRIPTION);
    let attempts = vec![attempt(event_id(n), place, to, 1, outcome)];
    commit(
        store,
        Commit {
            attempts,
            ..Commit::default()
        },
    );
}

fn begin(store: &Store) -> Backup {
    Backup::of_running(&store.log, Some(ring().current()), NOW_MS).unwrap()
}

fn drain(mut backup: Backup) -> Vec<u8> {
    let mut archive = Vec::new();
    while let Some(block) = backup.next_block().unwrap() {
        archive.extend_from_slice(&block);
    }
    archive
}

/// Restores into a new directory; on a refusal nothing may be left there.
fn restored(archive: &[u8]) -> Result<(Restored, TempDir), ArchiveError> {
    let parent = scratch();
    let dir = parent.path().join("new");
    let target = Target::new(&dir).unwrap();
    let done = restore(archive, &target, &ring());
    drop(target);
    if done.is_err() {
        assert!(!dir.exists(), "something is left behind");
    }
    done.map(|done| (done, parent))
}

fn refusal(archive: &[u8]) -> String {
    match restored(archive) {
        Ok(_) => panic!("it was restored"),
        Err(error) => error.to_string(),
    }
}

/// The bodies of all events in the log.
fn bodies(store: &Store) -> Vec<Bytes> {
    let mut bodies = Vec::new();
    let mut position = store.log.start();
    while let Some(record) = store.log.next(position).unwrap() {
        if let Some(Entry::Accepted(events)) = &record.entry {
            bodies.extend(events.iter().map(|event| event.body.clone()));
        }
        position = record.next;
    }
    bodies
}

fn open_of(store: &Store) -> Vec<Open> {
    let among = [SubscriptionId::from_bits(SUBSCRIPTION)];
    store.ledger.open_before(&among, None, None, 1_000).unwrap()
}

#[test]
fn a_backup_holds_what_was_there_when_it_began_and_nothing_of_what_came_later() {
    let (mut store, dir) = subscribed();
    for n in 0..60 {
        let place = accept(&store, n, 1_500);
        match n % 3 {
            0 => settle(&store, n, place, Outcome::Delivered),
            1 => settle(&store, n, place, Outcome::Retry { due_ms: 9_000 + n }),
            _ => {}
        }
    }
    apply_all(&mut store);
    let open = open_of(&store);
    let (expected, end) = (bodies(&store), store.log.end());
    assert_eq!((expected.len(), open.len()), (60, 40));

    let mut backup = begin(&store);
    let mut archive = Vec::new();
    let mut later = 60..;
    while let Some(block) = backup.next_block().unwrap() {
        archive.extend_from_slice(&block);
        for n in later.by_ref().take(20) {
            accept(&store, n, 1_500);
        }
    }
    let id = store.log.journal().layout().store_id;
    drop((store, dir));

    let (done, parent) = restored(&archive).unwrap();
    assert_eq!((done.events, done.made_at_ms), (60, NOW_MS));
    assert_eq!(done.last_event_at_ms, Some(1_059));
    let mut store = store::open(&options(&parent.path().join("new"))).unwrap();
    apply_all(&mut store);
    assert!(!store.report.is_new && store.report.state_rebuilt);
    assert_eq!(store.log.journal().layout().store_id, id);
    assert_eq!(store.log.end(), end);
    assert_eq!(bodies(&store), expected);
    assert_eq!(open_of(&store), open);
    accept(&store, 1_000, 10);
    assert_eq!(bodies(&store).len(), 61);
}

#[test]
fn what_a_backup_reads_is_held_until_it_is_done() {
    let (store, _dir) = subscribed();
    let backup = begin(&store);
    let later = store.log.end();
    assert!(!store.log.advance(later), "it was not held");
    drop(backup);
    assert!(store.log.advance(later), "it is still held");
}

/// An archive of a few events, small enough to be harmed in every place.
fn small() -> Vec<u8> {
    let (store, _dir) = subscribed();
    for n in 0..3 {
        accept(&store, n, 40);
    }
    drain(begin(&store))
}

#[test]
fn a_flipped_bit_is_noticed_wherever_it_is() {
    let archive = small();
    restored(&archive).unwrap();
    for byte in 0..archive.len() {
        for bit in 0..8 {
            let mut archive = archive.clone();
            archive[byte] ^= 1 << bit;
            assert!(restored(&archive).is_err(), "bit {bit} of byte {byte}");
        }
    }
}

#[test]
fn an_archive_that_is_cut_off_is_refused_whatever_its_length() {
    let archive = small();
    for length in 1..archive.len() {
        let said = refusal(&archive[..length]);
        assert!(
            said.contains(&format!("cut off after {length} bytes")),
            "{said}"
        );
    }
    let longer = [&archive[..], b"\n"].concat();
    assert!(refusal(&longer).contains("something follows the trailer"));
}

#[test]
fn what_is_no_backup_of_ours_or_a_newer_one_is_named() {
    let archive = small();
    let header: [u8; HEADER_BYTES] = *archive.first_chunk().unwrap();
    let with = |change: fn(&mut [u8; HEADER_BYTES])| {
        let mut header = header;
        change(&mut header);
        header[12..16].fill(0);
        let crc = crc32c::crc32c(&header);
        header[12..16].copy_from_slice(&crc.to_le_bytes());
        refusal(&[&header, &archive[HEADER_BYTES..]].concat())
    };
    assert!(refusal(b"").contains("this is no backup"));
    assert!(refusal(&[0x1f, 0x8b, 8]).contains("this is no backup"));
    assert!(refusal(&vec![b'x'; 1 << 20]).contains("this is no backup"));
    let newer = with(|header| header[8] = 2);
    assert!(
        newer.contains("newer release (format 2, this one reads up to 1)"),
        "{newer}"
    );
    let other = with(|header| header[32] ^= 1);
    assert!(
        other.contains("the whole is not what the trailer says"),
        "{other}"
    );
    let sealed = with(|header| header[64] ^= 1);
    assert!(sealed.contains("sealed under the key"), "{sealed}");
    assert!(sealed.contains("which is not at hand"), "{sealed}");
    let harm: [fn(&mut [u8; HEADER_BYTES]); 4] = [
        |header| header[63] = 1,
        |header| header[56] ^= 1,
        |header| header[47] = 0xff,
        |header| header[55] = 0xff,
    ];
    for harm in harm {
        assert!(with(harm).contains("the header contradicts itself"));
    }
}

/// Chunks whose checksums and trailer are right, whatever they hold.
fn forged(header: &Header, chunks: &[(u64, &[u8])], records: u64) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let mut archive = header.write().to_vec();
    let mut totals = Totals {
        records,
        ..Totals::default()
    };
    for (position, data) in chunks {
        archive.extend_from_slice(&format::chunk(*position, data));
        totals.chunks += 1;
        totals.bytes += data.len() as u64;
    }
    let digest = Sha256::digest(&archive).into();
    archive.extend_from_slice(&format::trailer(totals, digest));
    archive
}

#[test]
fn a_journal_that_is_not_whole_is_refused_though_the_archive_is() {
    let (store, dir) = subscribed();
    let places = [0, 1, 2].map(|n| accept(&store, n, 40));
    let layout = store.log.journal().layout();
    let header = Header {
        store_id: layout.store_id,
        made_at_ms: NOW_MS,
        start: store.log.start(),
        end: store.log.end(),
        segment_bytes: layout.segment_bytes,
        secrets_key: None,
    };
    let length = usize::try_from(header.end).unwrap();
    let mut segment = std::fs::read(layout.path(0)).unwrap();
    segment.truncate(length);
    restored(&forged(&header, &[(0, &segment)], 4)).unwrap();
    drop((store, dir));

    let said = refusal(&forged(&header, &[(0, &segment)], 5));
    assert!(
        said.contains("as many records as its trailer says"),
        "{said}"
    );
    let said = refusal(&forged(&header, &[(0, &segment[..length - 8])], 4));
    assert!(said.contains("00000000000000000000.seg"), "{said}");
    // Two records of the same length have changed places.
    let [_, second, third] = places.map(|place| usize::try_from(place.position).unwrap());
    assert_eq!(third - second, length - third);
    let swapped = [
        &segment[..second],
        &segment[third..],
        &segment[second..third],
    ]
    .concat();
    let said = refusal(&forged(&header, &[(0, &swapped)], 4));
    assert!(said.contains("does not follow the one before"), "{said}");
    let other = Header {
        store_id: [9; 16],
        ..header
    };
    refusal(&forged(&other, &[(0, &segment)], 4));
    let beyond = Header {
        end: header.end + 64,
        ..header
    };
    refusal(&forged(&beyond, &[(0, &segment)], 4));
    refusal(&forged(&header, &[], 4));
    refusal(&forged(&header, &[(8, &segment[8..])], 4));
    refusal(&forged(&header, &[(0, &segment), (0, &segment)], 4));
    refusal(&forged(&header, &[(0, &[])], 0));
}

#[test]
fn a_damaged_journal_is_not_carried_into_a_backup() {
    let (store, _dir) = subscribed();
    for n in 0..30 {
        accept(&store, n, 1_500);
    }
    let path = store.log.journal().layout().path(1);
    let mut segment = std::fs::read(&path).unwrap();
    segment[5_000] ^= 1;
    std::fs::write(&path, segment).unwrap();

    let mut backup = begin(&store);
    let mut archive = Vec::new();
    let error = loop {
        match backup.next_block() {
            Ok(Some(block)) => archive.extend_from_slice(&block),
            Ok(None) => panic!("the damage was not noticed"),
            Err(error) => break error,
        }
    };
    archive.extend_from_slice(&Backup::unfinished(&error));
    let said = refusal(&archive);
    assert!(
        said.contains("could not be finished") && said.contains("00000000000000000001.seg"),
        "{said}"
    );
}

#[test]
fn a_directory_that_holds_anything_is_left_alone() {
    let dir = scratch();
    std::fs::write(dir.path().join("mine"), "precious").unwrap();
    let error = Target::new(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!(names(dir.path()), 1);

    let empty = scratch();
    let target = Target::new(empty.path()).unwrap();
    assert!(Target::new(empty.path()).is_err(), "two at once");
    assert!(
        store::open(&options(empty.path())).is_err(),
        "a relay started on half a store"
    );
    assert!(restore(&b"nothing"[..], &target, &ring()).is_err());
    drop(target);
    assert_eq!(names(empty.path()), 0, "the directory itself stays");
    let target = Target::new(empty.path()).unwrap();
    restore(&small()[..], &target, &ring()).unwrap();
    drop(target);
    store::open(&options(empty.path())).unwrap();
}

#[test]
fn a_stopped_store_is_read_as_it_is_and_not_changed() {
    let seed = getrandom::u64().unwrap();
    println!("seed {seed}");
    let mut random = Random(seed);
    let (store, dir) = subscribed();
    for n in 0..20 {
        accept(&store, n, 1_500);
    }
    let running = drain(begin(&store));
    let end = store.log.end();
    let layout = store.log.journal().layout().clone();
    let key = Some(ring().current());
    let backup = || Backup::of_stopped(dir.path(), layout.segment_bytes, key, NOW_MS);
    let error = backup().unwrap_err().to_string();
    assert!(error.contains("in use by another process"), "{error}");
    drop(store);

    // What a power cut may leave after the end.
    let last = layout.path(layout.segment_of(end));
    let mut bytes = std::fs::read(&last).unwrap();
    let offset = usize::try_from(layout.offset_of(end)).unwrap();
    for byte in &mut bytes[offset..offset + 100] {
        *byte = random.next().to_le_bytes()[0];
    }
    std::fs::write(&last, bytes).unwrap();
    let before = scratch();
    copy_dir(dir.path(), before.path());
    assert!(
        drain(backup().unwrap()) == running,
        "another archive than the relay's own"
    );
    for entry in std::fs::read_dir(before.path().join("journal")).unwrap() {
        let name = entry.unwrap().file_name();
        let [before, after] = [before.path(), dir.path()]
            .map(|dir| std::fs::read(dir.join("journal").join(&name)).unwrap());
        assert!(before == after, "{} was changed", name.display());
    }

    let nowhere = scratch();
    let error = Backup::of_stopped(nowhere.path(), layout.segment_bytes, None, NOW_MS);
    assert!(matches!(error, Err(ArchiveError::NoStore { .. })));
    assert_eq!(std::fs::read_dir(nowhere.path()).unwrap().count(), 0);
}
