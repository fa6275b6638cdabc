//! The ledger alone, on records that no journal ever held.

use std::collections::BTreeSet;

use tempfile::TempDir;

use super::backlog::MAX_ENTRIES;
use super::*;
use crate::domain::delivery::Outcome;
use crate::domain::directory::Change;
use crate::domain::directory::fixtures::subscription;
use crate::domain::event::IdempotencyMark;
use crate::store::fixtures::{attempt, event, event_id, scratch};
use crate::store::state::checkpoint;
use crate::store::state::rows::IDEMPOTENCY_KEEP_MS;

const STORE: [u8; 16] = [3; 16];
const SCOPE: [u8; 16] = [5; 16];

/// A ledger, and the position where its next record goes.
struct Lab {
    dir: TempDir,
    state: Arc<State>,
    ledger: Ledger,
    end: u64,
}

impl Lab {
    fn new() -> Self {
        let dir = scratch();
        let state = Arc::new(State::open(&dir.path().join("state"), 1 << 20).unwrap());
        let ledger = Ledger::blank(Arc::clone(&state), STORE, 64, 0);
        Self {
            dir,
            state,
            ledger,
            end: 64,
        }
    }

    /// With subscriptions of these numbers to everything.
    fn with_subscriptions(ids: impl Iterator<Item = u64>) -> Self {
        let mut lab = Self::new();
        let made = |id| Change::PutSubscription(subscription(id, 1, &["**"]).into());
        lab.apply(Entry::Directory(ids.map(made).collect()));
        lab
    }

    fn record(&self, entry: Entry, bytes: u64) -> LogRecord {
        LogRecord {
            position: self.end,
            next: self.end + bytes,
            previous: None,
            entry: Some(entry),
            payload_bytes: 0,
        }
    }

    fn apply(&mut self, entry: Entry) -> u64 {
        self.apply_long(entry, 1000)
    }

    /// Applies a record that takes so many bytes of the journal, and says where it stands.
    fn apply_long(&mut self, entry: Entry, bytes: u64) -> u64 {
        let record = self.record(entry, bytes);
        while !self.ledger.apply(&record, &mut Vec::new()).unwrap() {}
        self.end = record.next;
        record.position
    }

    /// Writes a checkpoint and goes on as the next process would.
    fn checkpoint_and_reload(&mut self) {
        let rows = self.ledger.freeze().unwrap();
        checkpoint::write(&self.state, &rows).unwrap();
        self.ledger = Ledger::load(&self.state, STORE, 0).unwrap().unwrap();
    }

    /// What is open for subscriptions that were not deleted, and for the first ones in any case.
    fn open(&self) -> Vec<Open> {
        let known = self.ledger.directory().subscriptions().map(|it| it.id);
        let among: BTreeSet<_> = known.chain((1..=2).map(id)).collect();
        let among: Vec<_> = among.into_iter().collect();
        let open = self.ledger.open_before(&among, None, None, usize::MAX);
        open.unwrap()
    }

    /// What a checkpoint would leave on disk for keys that start like this.
    fn rows(&mut self, prefix: u8) -> usize {
        let rows = self.ledger.freeze().unwrap();
        checkpoint::write(&self.state, &rows).unwrap();
        self.ledger.thaw();
        self.state.range(rows::all(prefix)).count()
    }

    fn keyed(&mut self, n: u64, at_ms: u64) {
        let mut first = event(n, 1);
        first.meta.accepted_at_ms = at_ms;
        first.meta.idempotency = Some(IdempotencyMark {
            scope: SCOPE,
            body: [6; 16],
            events: 1,
        });
        self.apply(Entry::Accepted(vec![first]));
    }
}

fn id(bits: u64) -> SubscriptionId {
    SubscriptionId::from_bits(bits)
}

#[test]
fn what_a_deleted_subscription_leaves_is_swept_in_bounded_steps_that_end() {
    const EVENTS: u64 = 10 * MAX_ENTRIES as u64;
    const LIMIT: usize = 2 * MAX_ENTRIES;
    for reload in [false, true] {
        let mut lab = Lab::with_subscriptions(1..=2);
        for n in 0..EVENTS {
            let position = lab.apply(Entry::Accepted(vec![event(n, 1)]));
            let place = Place { position, index: 0 };
            let settled = |outcome| attempt(event_id(n), place, id(1), 1, outcome);
            match n % 3 {
                0 => lab.apply(Entry::Settled(vec![settled(Outcome::Dead)])),
                1 => lab.apply(Entry::Settled(vec![settled(Outcome::Retry { due_ms: n })])),
                _ => 0,
            };
        }
        lab.apply(Entry::Directory(vec![Change::DeleteSubscription(id(1))]));
        if reload {
            lab.checkpoint_and_reload();
        }
        let mut left = lab.open().len() as u64;
        assert_eq!(left, 2 * EVENTS);
        let mut steps = 0;
        while lab.ledger.sweep(0, 0, LIMIT).unwrap() {
            let now = lab.open().len() as u64;
            assert!(left - now <= LIMIT as u64, "{} at once", left - now);
            left = now;
            steps += 1;
            assert!(steps < 20, "it does not end");
        }
        assert!(lab.open().iter().all(|(of, _)| *of == id(2)));
        assert_eq!(left, EVENTS, "the other subscription keeps what it had");
        assert_eq!(lab.rows(b'o'), 10);
    }
}

#[test]
fn what_is_settled_before_a_checkpoint_leaves_no_row() {
    let mut lab = Lab::with_subscriptions(1..=3);
    for n in 0..500 {
        let position = lab.apply(Entry::Accepted(vec![event(n, 1)]));
        let place = Place { position, index: 0 };
        let delivered = |of| attempt(event_id(n), place, id(of), 1, Outcome::Delivered);
        lab.apply(Entry::Settled((1..=3).map(delivered).collect()));
    }
    assert_eq!((lab.rows(b'o'), lab.open().len()), (0, 0));
}

#[test]
fn an_attempt_that_ends_after_its_subscription_went_leaves_nothing_open() {
    for outcome in [
        Outcome::Delivered,
        Outcome::Retry { due_ms: 5 },
        Outcome::Dead,
        Outcome::Cancelled,
    ] {
        let mut lab = Lab::with_subscriptions(1..=1);
        let position = lab.apply(Entry::Accepted(vec![event(1, 1)]));
        lab.apply(Entry::Directory(vec![Change::DeleteSubscription(id(1))]));
        let place = Place { position, index: 0 };
        let late = attempt(event_id(1), place, id(1), 1, outcome);
        lab.apply(Entry::Settled(vec![late]));
        assert_eq!(lab.open(), [], "after {outcome:?}");
        assert_eq!(lab.ledger.next_due_ms(id(1), 0).unwrap(), None);
    }
}

#[test]
fn an_idempotency_key_is_known_until_it_expires_and_then_forgotten() {
    let mut lab = Lab::new();
    lab.keyed(1, 1_000);
    let expires_at_ms = 1_000 + IDEMPOTENCY_KEEP_MS;
    lab.ledger.sweep(expires_at_ms, 0, 10).unwrap();
    assert_eq!((lab.rows(b'y'), lab.rows(b'z')), (1, 1));
    let row = lab.state.get(&rows::keyed(&SCOPE)).unwrap().unwrap();
    let known: KeyedRequest = rows::decode("a key", &row).unwrap();
    assert_eq!(
        (known.first, known.expires_at_ms),
        (event_id(1), expires_at_ms)
    );
    lab.ledger.sweep(expires_at_ms + 1, 0, 10).unwrap();
    assert_eq!((lab.rows(b'y'), lab.rows(b'z')), (0, 0));
}

#[test]
fn a_key_that_was_used_anew_is_not_forgotten_with_its_first_use() {
    let mut lab = Lab::new();
    lab.keyed(1, 1_000);
    let again_ms = 2_000 + IDEMPOTENCY_KEEP_MS;
    lab.keyed(2, again_ms);
    lab.ledger.sweep(again_ms + 1, 0, 10).unwrap();
    assert_eq!((lab.rows(b'y'), lab.rows(b'z')), (1, 1));
    lab.ledger
        .sweep(again_ms + IDEMPOTENCY_KEEP_MS + 1, 0, 10)
        .unwrap();
    assert_eq!((lab.rows(b'y'), lab.rows(b'z')), (0, 0));
}

#[test]
fn expired_keys_are_swept_a_few_at_a_time() {
    let mut lab = Lab::new();
    for n in 0..25 {
        let mut first = event(n, 1);
        first.meta.idempotency = Some(IdempotencyMark {
            scope: [n.to_le_bytes()[0]; 16],
            body: [6; 16],
            events: 1,
        });
        lab.apply(Entry::Accepted(vec![first]));
    }
    let mut left = Vec::new();
    while lab.ledger.sweep(u64::MAX, 0, 10).unwrap() {
        left.push(lab.rows(b'y'));
    }
    assert_eq!(left, [15, 5]);
    assert_eq!(lab.rows(b'y'), 0);
}

#[test]
fn every_event_is_found_near_its_place() {
    const RECORD_BYTES: u64 = 50_000;
    let mut lab = Lab::new();
    let mut places = Vec::new();
    for n in 1..=200 {
        if n % 40 == 0 {
            lab.checkpoint_and_reload();
        }
        let pair = vec![event(2 * n, 1), event(2 * n + 1, 1)];
        let position = lab.apply_long(Entry::Accepted(pair), RECORD_BYTES);
        places.extend([(2 * n, position), (2 * n + 1, position)]);
    }
    for (n, position) in places {
        let near = lab.ledger.near(event_id(n)).unwrap().unwrap();
        assert!(near <= position, "event {n} is before {near}");
        assert!(
            position - near < INDEX_EVERY_BYTES + RECORD_BYTES,
            "event {n} is far from {near}"
        );
    }
    assert_eq!(
        lab.ledger.near(event_id(0)).unwrap(),
        None,
        "before all events"
    );
    assert!(
        lab.rows(b'x') <= 200 * 50_000 / (256 << 10) + 1,
        "it is sparse"
    );
}

#[test]
fn a_wide_fan_out_is_applied_in_steps_and_none_is_missed_or_doubled() {
    const SUBSCRIPTIONS: u64 = 3_000;
    for reload in [false, true] {
        let mut lab = Lab::with_subscriptions(1..=SUBSCRIPTIONS);
        let events: Vec<Event> = (1..=5).map(|n| event(n, 1)).collect();
        let record = lab.record(Entry::Accepted(events), 1000);
        let (mut steps, mut created) = (0, Vec::new());
        loop {
            let mut effects = Vec::new();
            let done = lab.ledger.apply(&record, &mut effects).unwrap();
            steps += 1;
            let most = MAX_EFFECTS + usize::try_from(SUBSCRIPTIONS).unwrap();
            assert!(effects.len() <= most, "{} at once", effects.len());
            created.extend(effects);
            if done {
                break;
            }
            assert_eq!(lab.ledger.applied().position, record.position);
            if reload {
                lab.checkpoint_and_reload();
            }
        }
        assert_eq!(steps, 3);
        assert_eq!(
            (lab.ledger.applied().position, lab.ledger.applied().index),
            (record.next, 0)
        );
        let created: Vec<_> = created
            .into_iter()
            .map(|effect| match effect {
                Effect::Created(of, todo) if todo.due_ms == 0 => {
                    (todo.slot.place.index, of, todo.event)
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let wanted: BTreeSet<_> = (0..5_u32)
            .flat_map(|index| {
                (1..=SUBSCRIPTIONS).map(move |of| (index, id(of), event_id(u64::from(index) + 1)))
            })
            .collect();
        assert_eq!(created.len(), wanted.len());
        assert_eq!(created.into_iter().collect::<BTreeSet<_>>(), wanted);
        let open: BTreeSet<_> = lab
            .open()
            .into_iter()
            .map(|(of, open)| (open.slot.place.index, of, open.delivery.event))
            .collect();
        assert_eq!(open, wanted);
        drop(lab.dir);
    }
}

#[test]
fn a_checkpoint_of_another_store_is_none() {
    let mut lab = Lab::new();
    lab.checkpoint_and_reload();
    assert!(Ledger::load(&lab.state, [4; 16], 0).unwrap().is_none());
}
