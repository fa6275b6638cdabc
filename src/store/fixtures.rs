//! What the store's tests share: seeded numbers, small stores, records.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use super::committer::{Commit, Committed};
use super::ledger::{Effect, Open};
use super::{Machine, Options, Store};
use crate::domain::delivery::{Attempt, Outcome, Timing};
use crate::domain::event::{Content, Event, EventMeta, Place};
use crate::domain::ids::{AccountId, EventId, IntegrationId, SubscriptionId};

/// A directory in memory where there is such a place: these tests sync thousands of times.
pub fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// A stream of numbers that is the same for the same seed (`SplitMix64`).
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let length = u64::try_from(from.len()).unwrap();
        (length > 0).then(|| &from[usize::try_from(self.below(length)).unwrap()])
    }
}

/// The seed of a test, which is printed when it fails.
pub struct Seed(pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("seed {seed} failed; to run it alone: {ONLY_SEED}={seed}");
        }
    }
}

/// Names the one seed that the tests should run.
const ONLY_SEED: &str = "POSTRIDER_TEST_SEED";

/// The one seed that was asked for.
pub fn only_seed() -> Option<u64> {
    std::env::var(ONLY_SEED).ok()?.parse().ok()
}

/// So many seeds; `full` of them where everything is to be tested.
pub fn seeds(normal: u64, full: u64) -> impl Iterator<Item = Seed> {
    let all = std::env::var("POSTRIDER_TEST_FULL").is_ok_and(|value| value == "1");
    let count = if all { full } else { normal };
    let range = only_seed().map_or(0..count, |seed| seed..seed + 1);
    range.map(Seed)
}

/// Options for a store of small segments.
pub fn options(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        cache_bytes: 1 << 20,
        min_free_bytes: 0,
        segment_bytes: 16 << 10,
        first_wait_ms: 0,
        now_ms: 1,
        machine: Machine::real(),
    }
}

/// The id of the nth event; ids grow with n.
pub fn event_id(n: u64) -> EventId {
    EventId(Uuid::from_u64_pair(
        n,
        n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
    ))
}

/// The nth event: of account 1, through integration 1, of type `a`.
pub fn event(n: u64, body_bytes: usize) -> Event {
    let body = Bytes::from(vec![n.to_le_bytes()[0]; body_bytes]);
    let meta = EventMeta {
        id: event_id(n),
        account: AccountId::from_bits(1),
        integration: IntegrationId::from_bits(1),
        event_type: "a".parse().unwrap(),
        accepted_at_ms: 1_000 + n,
        idempotency: None,
        content: Content::Json,
        body_bytes: u32::try_from(body.len()).unwrap(),
    };
    Event { meta, body }
}

/// An attempt to deliver the event at a place.
pub fn attempt(
    event: EventId,
    place: Place,
    subscription: SubscriptionId,
    number: u16,
    outcome: Outcome,
) -> Attempt {
    Attempt {
        event,
        place,
        subscription,
        generation: 0,
        number,
        started_at_ms: 2_000,
        duration_ms: 3,
        timing: Timing::default(),
        outcome,
        status: Some(500),
        error: None,
        response_head: b"no".to_vec(),
    }
}

/// Commits and waits until it is synced.
pub fn commit(store: &Store, commit: Commit) -> Committed {
    let done = store.committer.submit(commit).blocking_recv();
    done.unwrap().unwrap()
}

/// Applies what was committed to the ledger.
pub fn apply_all(store: &mut Store) -> Vec<Effect> {
    let mut effects = Vec::new();
    while let Some(record) = store.log.next(store.ledger.applied().position).unwrap() {
        while !store.ledger.apply(&record, &mut effects).unwrap() {}
    }
    effects
}

/// What is open for the subscriptions that there are.
pub fn all_open(store: &Store) -> Vec<Open> {
    let among = store.ledger.directory().subscriptions();
    let among: Vec<_> = among.map(|it| it.id).collect();
    let open = store.ledger.open_before(&among, None, None, usize::MAX);
    open.unwrap()
}

/// Writes a checkpoint and waits until it is synced.
pub fn checkpoint(store: &mut Store) {
    let rows = store.ledger.freeze().unwrap();
    let done = store.checkpointer.submit(Arc::clone(&rows));
    done.blocking_recv().unwrap().unwrap();
    store.ledger.thaw();
}

/// Copies a directory and all in it, but for the reserve, which holds nothing.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if entry.file_name() != "reserve" {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
