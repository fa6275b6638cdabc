//! The store as a whole: whatever happens to the state beside it, the journal says what is open.

mod examine;
mod first_start;
mod history;
mod model;
mod refusal;
mod retire;

use std::path::Path;

use self::history::History;
use self::history::cuts::Rig;
use self::retire::{TWO_SEGMENTS, retire};
use super::error::StoreError;
use super::fixtures::{
    Random, Seed, all_open, apply_all, checkpoint, commit, copy_dir, event, options, scratch,
};
use super::*;
use crate::domain::directory::Change;
use crate::domain::directory::fixtures::subscription;
use crate::domain::ids::SubscriptionId;
use crate::store::committer::Commit;

/// Histories per test.
fn seeds() -> impl Iterator<Item = Seed> {
    fixtures::seeds(30, 500)
}

/// Subscriptions, so many that a record of a few events is applied in several turns.
const MANY: u64 = 3_000;

/// Runs a history, crashes it, lets `harm` loose on what is left, and expects the model's state of it.
fn survives(harm: impl Fn(&Path, &mut Random), rebuilt: bool) {
    for seed in seeds() {
        let mut history = History::new(seed.0);
        for _ in 0..2 {
            history.run(40).unwrap();
            history.crash();
            let state = history.dir().join("state");
            harm(&state, &mut history.random);
            let report = history.reopen();
            assert_eq!(report.state_rebuilt, rebuilt);
            history.check();
        }
    }
}

#[test]
fn after_a_crash_all_that_was_open_is_open_and_nothing_else() {
    survives(|_, _| {}, false);
}

/// With segments removed in between, by a store that goes on or by the journal alone.
fn survives_retention(harm: impl Fn(&Path, &mut Random)) {
    let mut removed = 0;
    for seed in fixtures::seeds(10, 200) {
        let mut history = History::new(seed.0);
        for _ in 0..4 {
            history.run(25).unwrap();
            let before = history.store().log.start();
            retire(&mut history, &TWO_SEGMENTS).unwrap();
            removed += u32::from(history.store().log.start() > before);
            if history.random.chance(50) {
                history.run(5).unwrap();
            }
            history.crash();
            let state = history.dir().join("state");
            harm(&state, &mut history.random);
            history.reopen();
            history.check();
        }
    }
    let alone = fixtures::only_seed().is_some();
    assert!(removed > 10 || alone, "segments went {removed} times only");
}

#[test]
fn what_is_open_outlives_its_segment() {
    survives_retention(|_, _| {});
}

#[test]
fn what_is_open_outlives_its_segment_also_in_the_journal_alone() {
    survives_retention(|state, random| {
        if random.chance(70) {
            std::fs::remove_dir_all(state).unwrap();
        }
    });
}

#[test]
fn a_state_that_was_deleted_is_rebuilt() {
    survives(|state, _| std::fs::remove_dir_all(state).unwrap(), true);
}

#[test]
fn a_state_that_was_emptied_is_rebuilt() {
    let empty = |state: &Path, _: &mut Random| {
        std::fs::remove_dir_all(state).unwrap();
        std::fs::create_dir(state).unwrap();
    };
    survives(empty, true);
}

#[test]
fn a_state_that_was_garbled_is_rebuilt() {
    survives(garble, true);
}

fn garble(dir: &Path, random: &mut Random) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            garble(&path, random);
            continue;
        }
        // Garbage for as long as sled ever wrote, at most; the rest of its file was zeros.
        let length = std::fs::metadata(&path).unwrap().len().min(1 << 17);
        let bytes: Vec<u8> = (0..length)
            .map(|_| random.next().to_le_bytes()[0])
            .collect();
        std::fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_state_that_was_found_damaged_in_use_is_rebuilt_once() {
    let mut history = History::new(1);
    history.run(40).unwrap();
    history.store().state.condemn();
    history.crash();
    assert!(history.reopen().state_rebuilt);
    history.check();
    history.run(10).unwrap();
    history.crash();
    assert!(
        !history.reopen().state_rebuilt,
        "the state that was made anew is a good one"
    );
    history.check();
}

#[test]
fn a_segment_whose_first_write_was_torn_is_made_anew_and_can_be_read() {
    let mut history = History::new(2);
    history.run(20).unwrap();
    let end = history.store().log.end();
    history.crash();
    let layout = history.layout();
    let torn = layout.segment_of(end) + 1;
    let mut bytes = layout.header(torn, 1).to_vec();
    bytes.resize(600, 0x5a);
    // The next segment, prepared or not: its header made it to the disk, its first record did not.
    std::fs::write(layout.path(torn), bytes).unwrap();
    history.reopen();
    history.check();
    let before = layout.list().unwrap().len();
    while layout.list().unwrap().len() < before + 3 {
        history.run(5).unwrap();
    }
    history.check();
}

#[test]
fn a_journal_that_is_shorter_than_its_checkpoint_is_refused() {
    for seed in seeds() {
        let mut history = History::new(seed.0);
        history.run(20).unwrap();
        let older = history.keep_journal();
        history.run(30).unwrap();
        history.checkpoint().unwrap();
        history.crash();
        history.restore_journal(older);
        for _ in 0..2 {
            let refused = open(&options(history.dir())).map(|store| store.report);
            assert!(
                matches!(refused, Err(StoreError::Damaged { .. })),
                "seed {}: {refused:?}",
                seed.0
            );
        }
        std::fs::remove_dir_all(history.dir().join("state")).unwrap();
        assert!(history.reopen().state_rebuilt, "with what is left");
        history.check();
    }
}

#[test]
fn a_journal_without_a_record_that_is_half_applied_is_refused() {
    let large = |dir: &Path| Options {
        segment_bytes: 1 << 20,
        ..options(dir)
    };
    let dir = scratch();
    let mut store = open(&large(dir.path())).unwrap();
    let made = |id| Change::PutSubscription(subscription(id, 1, &["**"]).into());
    let changes = (1..=MANY).map(made).collect();
    let first = Commit {
        changes,
        ..Commit::default()
    };
    commit(&store, first);
    apply_all(&mut store);
    let older = scratch();
    copy_dir(&dir.path().join("journal"), older.path());
    let events = |first: u64| Commit {
        events: (first..first + 5).map(|n| event(n, 1)).collect(),
        ..Commit::default()
    };
    commit(&store, events(1));
    let record = store.log.next(store.ledger.applied().position).unwrap();
    let done = store
        .ledger
        .apply(&record.unwrap(), &mut Vec::new())
        .unwrap();
    assert!(!done, "the checkpoint is to stand within the record");
    checkpoint(&mut store);
    drop(store);

    let copy = scratch();
    copy_dir(dir.path(), copy.path());
    std::fs::remove_dir_all(copy.path().join("journal")).unwrap();
    copy_dir(older.path(), &copy.path().join("journal"));
    let refused = open(&large(copy.path())).map(|store| store.report);
    assert!(
        matches!(refused, Err(StoreError::Damaged { .. })),
        "{refused:?}"
    );
}

/// An account with subscription 7, which was made between two events and is deleted after them.
fn around_a_subscription(dir: &Path) -> Store {
    let mut store = open(&options(dir)).unwrap();
    let id = SubscriptionId::from_bits(7);
    let events = |n| Commit {
        events: vec![event(n, 10)],
        ..Commit::default()
    };
    let change = |change| Commit {
        changes: vec![change],
        ..Commit::default()
    };
    commit(&store, events(1));
    let made = subscription(7, 1, &["**"]);
    commit(&store, change(Change::PutSubscription(made.into())));
    commit(&store, events(2));
    apply_all(&mut store);
    let open = all_open(&store);
    let ids: Vec<_> = open.iter().map(|(_, open)| open.delivery.event).collect();
    assert_eq!(ids, [event(2, 10).meta.id], "only what came after it");
    commit(&store, change(Change::DeleteSubscription(id)));
    commit(&store, events(3));
    store
}

#[test]
fn a_subscription_gets_what_came_while_it_was_there_also_when_that_is_replayed() {
    let dir = scratch();
    let mut store = around_a_subscription(dir.path());
    apply_all(&mut store);
    while store.ledger.sweep(0, 0, 10).unwrap() {}
    assert_eq!(all_open(&store), []);
    let copy = scratch();
    copy_dir(dir.path(), copy.path());
    std::fs::remove_dir_all(copy.path().join("state")).unwrap();
    let mut store = open(&options(copy.path())).unwrap();
    while store.ledger.sweep(0, 0, 10).unwrap() {}
    assert_eq!(all_open(&store), []);
}

#[test]
fn a_state_without_its_journal_is_not_taken_for_a_first_start() {
    let dir = scratch();
    let first = open(&options(dir.path())).unwrap();
    assert!(first.report.is_new);
    let copy = scratch();
    copy_dir(dir.path(), copy.path());
    std::fs::remove_dir_all(copy.path().join("journal")).unwrap();
    let error = open(&options(copy.path())).unwrap_err();
    assert!(matches!(error, StoreError::NoJournal { .. }), "{error}");
}

#[test]
fn the_state_of_another_store_is_not_used() {
    let (mine, other) = (scratch(), scratch());
    drop(around_a_subscription(mine.path()));
    drop(open(&options(other.path())).unwrap());
    let copy = scratch();
    copy_dir(mine.path(), copy.path());
    std::fs::remove_dir_all(copy.path().join("state")).unwrap();
    copy_dir(&other.path().join("state"), &copy.path().join("state"));
    let store = open(&options(copy.path())).unwrap();
    assert!(store.report.state_rebuilt);
    assert_eq!(store.ledger.last_event(), Some(event(3, 10).meta.id));
}

#[test]
fn a_data_directory_is_open_once() {
    let dir = scratch();
    let store = open(&options(dir.path())).unwrap();
    let error = open(&options(dir.path())).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    drop(store);
}

#[test]
fn whenever_the_power_goes_the_store_opens_with_all_that_was_acknowledged() {
    let (mut cuts, mut in_recovery) = (0, 0);
    for seed in fixtures::seeds(100, 5_000) {
        let mut rig = Rig::new(seed.0);
        for _ in 0..5 {
            rig.run_and_break();
        }
        cuts += rig.cuts;
        in_recovery += rig.cuts_in_recovery;
    }
    println!("{cuts} power cuts, {in_recovery} of them during a recovery");
    let alone = fixtures::only_seed().is_some();
    assert!(alone || cuts > 300 && in_recovery > 100, "too few cuts");
}
