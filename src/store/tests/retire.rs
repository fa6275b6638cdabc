//! Retention within a history: its steps with everything else going on between them.

use std::path::Path;

use super::history::History;
use crate::domain::delivery::{Attempt, OpenState};
use crate::domain::directory::Change;
use crate::domain::directory::fixtures::subscription;
use crate::domain::event::IdempotencyMark;
use crate::domain::retention::Retention;
use crate::store::carried::CarriedKey;
use crate::store::committer::Commit;
use crate::store::error::StoreError;
use crate::store::fixtures::{
    all_open, apply_all, checkpoint, commit, event, event_id, options, scratch,
};
use crate::store::retention::Oldest;
use crate::store::state::rows::{self, IDEMPOTENCY_KEEP_MS, KeyedRequest};
use crate::store::{Store, open, retention};

/// Events that one step carries: few, so that there are many steps.
const CARRIED: usize = 7;
/// Retires by size alone.
pub const TWO_SEGMENTS: Retention = Retention {
    events_ms: u64::MAX,
    dead_ms: u64::MAX,
    max_bytes: Some(2 * (16 << 10)),
};

/// Carries over what is open in the oldest segments and removes them, until the journal is small
/// enough. Now and then it stops before a segment goes, as a crash would have it.
pub fn retire(history: &mut History, kept: &Retention) -> Result<(), StoreError> {
    while let Some(oldest) = retention::oldest(&history.store().log, kept, 1)? {
        loop {
            history.apply_all()?;
            let store = history.store();
            let located = store.ledger.located_before(oldest.end, CARRIED)?;
            if located.is_empty() {
                break;
            }
            let found = (store.ledger.applied().position, located);
            let carry = retention::carry(&store.log, kept, found, 1)?;
            if history.random.chance(50) {
                // What it tells may be over before it is written.
                history.run(1)?;
            }
            let made = Commit {
                carry,
                ..Commit::default()
            };
            history.store().work.commit(made)?;
        }
        announce(history, &oldest)?;
        history.checkpoint()?;
        if history.random.chance(20) {
            return Ok(());
        }
        let remains = retention::remove(&history.store().log, &oldest)?;
        let remains = remains.expect("nobody holds it");
        while remains.free_some()? {}
    }
    Ok(())
}

/// Has the journal say that a segment goes, and carries its keys.
fn announce(history: &mut History, oldest: &Oldest) -> Result<(), StoreError> {
    let mut from = Some(history.store().log.start());
    while let Some(position) = from {
        let store = history.store();
        let found = retention::keys(&store.log, oldest, position, 1)?;
        from = found.next;
        let made = Commit {
            carry: found.carry,
            ..Commit::default()
        };
        store.work.commit(made)?;
    }
    history.apply_all()
}

fn step(store: &mut Store, kept: &Retention, now_ms: u64) -> Vec<Attempt> {
    let oldest = retention::oldest(&store.log, kept, now_ms)
        .unwrap()
        .unwrap();
    let mut ended = Vec::new();
    loop {
        let located = store.ledger.located_before(oldest.end, CARRIED).unwrap();
        if located.is_empty() {
            break;
        }
        let found = (store.ledger.applied().position, located);
        let carry = retention::carry(&store.log, kept, found, now_ms).unwrap();
        ended.extend(carry.ended.clone());
        let made = Commit {
            carry,
            at_ms: now_ms,
            ..Commit::default()
        };
        commit(store, made);
        apply_all(store);
    }
    let start = store.log.start();
    let last = retention::keys(&store.log, &oldest, start, now_ms).unwrap();
    let made = Commit {
        carry: last.carry,
        ..Commit::default()
    };
    commit(store, made);
    apply_all(store);
    checkpoint(store);
    assert!(retention::remove(&store.log, &oldest).unwrap().is_some());
    ended
}

/// A store whose first segment is full and holds open deliveries of events that were accepted shortly
/// after the first second.
fn full_of_undelivered(dir: &Path) -> Store {
    let mut store = open(&options(dir)).unwrap();
    let made = Change::PutSubscription(subscription(1, 1, &["**"]).into());
    let changes = Commit {
        changes: vec![made],
        at_ms: 1_000,
        ..Commit::default()
    };
    commit(&store, changes);
    for n in 1..=30 {
        let events = Commit {
            events: vec![event(n, 1_000)],
            at_ms: 1_000 + n,
            ..Commit::default()
        };
        commit(&store, events);
    }
    apply_all(&mut store);
    store
}

#[test]
fn what_was_not_delivered_in_time_dies_and_is_forgotten_later() {
    let dir = scratch();
    let mut store = full_of_undelivered(dir.path());
    let kept = Retention {
        events_ms: 50_000,
        dead_ms: 500_000,
        max_bytes: Some(u64::MAX),
    };
    assert_eq!(retention::oldest(&store.log, &kept, 40_000).unwrap(), None);
    let all = all_open(&store).len();
    let died = step(&mut store, &kept, 60_000).len();
    assert!(died > 5, "{died} died");
    let carried = all_open(&store);
    let dead = carried
        .iter()
        .filter(|(_, it)| it.delivery.state == OpenState::Dead);
    assert_eq!((carried.len(), dead.count()), (all, died));
    for (_, entry) in &carried {
        let event = store.log.event(entry.at).unwrap().unwrap();
        assert_eq!(event.meta.id, entry.delivery.event);
        assert!(entry.at.position >= store.log.start());
    }

    drop(store);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let mut store = open(&options(dir.path())).unwrap();
    assert!(store.report.state_rebuilt);
    assert_eq!(all_open(&store), carried, "the journal alone says the same");

    // Whatever is in the segment that is being written stays: so it has to be another one.
    let end = store.log.end();
    let mut n = 100;
    while store.log.journal().layout().segment_of(store.log.end())
        <= store.log.journal().layout().segment_of(end)
    {
        n += 1;
        let events = Commit {
            events: vec![event(n, 1_000)],
            at_ms: 60_000,
            ..Commit::default()
        };
        commit(&store, events);
    }
    apply_all(&mut store);
    while retention::oldest(&store.log, &kept, 600_000)
        .unwrap()
        .is_some()
    {
        step(&mut store, &kept, 600_000);
    }
    let left = all_open(&store);
    let forgotten = carried.iter().all(|(_, entry)| {
        entry.delivery.state != OpenState::Dead || !left.iter().any(|(_, it)| it.slot == entry.slot)
    });
    assert!(forgotten, "what was dead for long enough is gone");
}

#[test]
fn a_segment_that_is_held_stays() {
    let dir = scratch();
    let store = full_of_undelivered(dir.path());
    let kept = Retention {
        max_bytes: Some(0),
        ..TWO_SEGMENTS
    };
    let hold = store.log.hold();
    assert_eq!(retention::oldest(&store.log, &kept, 1).unwrap(), None);
    drop(hold);
    let oldest = retention::oldest(&store.log, &kept, 1).unwrap().unwrap();
    let hold = store.log.hold();
    assert!(retention::remove(&store.log, &oldest).unwrap().is_none());
    assert!(store.log.at(store.log.start()).is_ok());
    drop(hold);
    assert!(retention::remove(&store.log, &oldest).unwrap().is_some());
}

#[test]
fn a_key_that_was_used_anew_keeps_its_newest_answer_when_its_segment_goes() {
    const SCOPE: [u8; 16] = [7; 16];
    let dir = scratch();
    let mut store = open(&options(dir.path())).unwrap();
    let made = Change::PutSubscription(subscription(1, 1, &["c"]).into());
    let changes = Commit {
        changes: vec![made],
        ..Commit::default()
    };
    commit(&store, changes);
    let mut n = 0;
    let mut keyed = |at_ms: u64| {
        n += 1;
        let mut event = event(n, 1_000);
        event.meta.accepted_at_ms = at_ms;
        event.meta.idempotency = Some(IdempotencyMark {
            scope: SCOPE,
            body: [n.to_le_bytes()[0]; 16],
            events: 1,
        });
        let events = Commit {
            events: vec![event],
            at_ms,
            ..Commit::default()
        };
        commit(&store, events);
    };
    keyed(1_000);
    let later_ms = 2_000 + IDEMPOTENCY_KEEP_MS;
    for _ in 0..30 {
        keyed(later_ms);
    }
    apply_all(&mut store);
    let newest = store.ledger.last_event();
    let kept = Retention {
        max_bytes: Some(0),
        ..TWO_SEGMENTS
    };
    let oldest = retention::oldest(&store.log, &kept, later_ms).unwrap();
    let start = store.log.start();
    let found = retention::keys(&store.log, &oldest.unwrap(), start, later_ms).unwrap();
    let over = |key: &CarriedKey| key.request.expires_at_ms <= later_ms;
    assert!(!found.carry.keys.is_empty() && !found.carry.keys.iter().any(over));
    let carried = Commit {
        carry: found.carry,
        ..Commit::default()
    };
    commit(&store, carried);
    apply_all(&mut store);
    checkpoint(&mut store);
    let row = store.state.get(&rows::keyed(&SCOPE)).unwrap().unwrap();
    let known: KeyedRequest = rows::decode("an idempotency key", &row).unwrap();
    assert_eq!(Some(known.first), newest);
}

#[test]
fn ids_go_on_after_an_event_whose_segment_is_gone_also_in_the_journal_alone() {
    let kept = Retention {
        max_bytes: Some(0),
        ..TWO_SEGMENTS
    };
    let dir = scratch();
    let mut store = open(&options(dir.path())).unwrap();
    let events = Commit {
        events: vec![event(1, 10), event(2, 10)],
        ..Commit::default()
    };
    let accepted_at = commit(&store, events).events_at.unwrap();
    // The second time nothing but the record of the first tells of them.
    for _ in 0..2 {
        fill_with_changes(&store);
        apply_all(&mut store);
        while retention::oldest(&store.log, &kept, 1).unwrap().is_some() {
            step(&mut store, &kept, 1);
        }
        assert!(accepted_at < store.log.start(), "their segment is gone");
        drop(store);
        std::fs::remove_dir_all(dir.path().join("state")).unwrap();
        store = open(&options(dir.path())).unwrap();
        assert!(store.report.state_rebuilt);
        assert_eq!(store.ledger.last_event(), Some(event_id(2)));
    }
}

/// Changes the directory until the segment is another one.
fn fill_with_changes(store: &Store) {
    let layout = store.log.journal().layout();
    let full = layout.segment_of(store.log.end());
    while layout.segment_of(store.log.end()) == full {
        let made = Change::PutSubscription(subscription(1, 1, &["a"]).into());
        let changes = Commit {
            changes: vec![made],
            ..Commit::default()
        };
        commit(store, changes);
    }
}
