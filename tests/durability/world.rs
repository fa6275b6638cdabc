//! What a log adds up to, kept in the plainest way: no index, no overlay, no disk.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider::domain::delivery::{Attempt, OpenDelivery, OpenState, Outcome};
use postrider::domain::directory::{Change, Directory};
use postrider::domain::event::{EventMeta, Place};
use postrider::domain::ids::{EventId, SubscriptionId};
use postrider::store::Store;
use postrider::store::committer::Commit;
use postrider::store::entry::Entry;
use postrider::store::log::LogRecord;
use postrider::store::state::rows::{self, KeyedRequest};

/// One record, as it was handed to the store or is read from its log.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// The directory changed.
    Changes(Vec<Change>),
    /// Attempts were made.
    Attempts(Vec<Attempt>),
    /// Events came in.
    Events(Vec<(EventMeta, Bytes)>),
}

impl Said {
    /// The records of a commit, in the order in which it is written.
    pub fn by(commit: &Commit) -> Vec<Self> {
        let mut said = Vec::new();
        if !commit.changes.is_empty() {
            said.push(Self::Changes(commit.changes.clone()));
        }
        if !commit.attempts.is_empty() {
            said.push(Self::Attempts(commit.attempts.clone()));
        }
        if !commit.events.is_empty() {
            let events = commit.events.iter().cloned();
            said.push(Self::Events(events.map(|it| (it.meta, it.body)).collect()));
        }
        said
    }

    /// What a record of the log says; `None` for what only repeats what was said before.
    pub fn read(record: &LogRecord) -> Option<Self> {
        match record.entry.as_ref()? {
            Entry::Directory(changes) => Some(Self::Changes(changes.clone())),
            Entry::Settled(attempts) => Some(Self::Attempts(attempts.clone())),
            Entry::Accepted(events) => {
                let events = events.iter().cloned();
                Some(Self::Events(events.map(|it| (it.meta, it.body)).collect()))
            }
            _ => None,
        }
    }

    /// How many events it holds.
    pub fn events(&self) -> usize {
        match self {
            Self::Events(events) => events.len(),
            _ => 0,
        }
    }
}

/// What the answer to an idempotency key was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answered {
    first: EventId,
    place: Place,
    body: [u8; 16],
    events: u32,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub directory: Directory,
    pub open: BTreeMap<(Place, SubscriptionId), OpenDelivery>,
    keys: BTreeMap<[u8; 16], Answered>,
    last_event: Option<EventId>,
}

impl World {
    /// Takes a record into account that stands at a position.
    pub fn hear(&mut self, said: &Said, position: u64) {
        match said {
            Said::Changes(changes) => changes.iter().for_each(|change| self.change(change)),
            Said::Attempts(attempts) => attempts.iter().for_each(|it| self.settle(it)),
            Said::Events(events) => {
                for (index, (meta, _)) in (0..).zip(events) {
                    self.accept(meta, Place { position, index });
                }
            }
        }
    }

    fn change(&mut self, change: &Change) {
        self.directory.apply(change);
        if let Change::DeleteSubscription(id) = change {
            self.open.retain(|(_, of), _| of != id);
        }
    }

    fn settle(&mut self, attempt: &Attempt) {
        let key = (attempt.place, attempt.subscription);
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        open.attempts = attempt.number;
        match attempt.outcome {
            // What died of age while an attempt was under way stays dead.
            Outcome::Retry { .. } if open.state == OpenState::Dead => {}
            Outcome::Retry { due_ms } => open.state = OpenState::Retrying { due_ms },
            Outcome::Dead => open.state = OpenState::Dead,
            _ => {
                self.open.remove(&key);
            }
        }
    }

    fn accept(&mut self, meta: &EventMeta, place: Place) {
        self.last_event = Some(meta.id);
        if let Some(mark) = meta.idempotency {
            let answered = Answered {
                first: meta.id,
                place,
                body: mark.body,
                events: mark.events,
            };
            self.keys.insert(mark.scope, answered);
        }
        for subscription in self.directory.subscriptions() {
            let patterns = &subscription.events;
            if patterns.iter().any(|it| it.matches(&meta.event_type)) {
                let open = OpenDelivery::waiting(meta.id);
                self.open.insert((place, subscription.id), open);
            }
        }
    }

    /// Compares what a store says with this: who there is, what is open, what keys were answered.
    pub fn expect_of(&self, store: &mut Store) {
        let ledger = &mut store.ledger;
        while ledger.sweep(0, store.log.start(), 100).unwrap() {}
        assert_eq!(ledger.directory(), &self.directory, "the directory");
        assert_eq!(ledger.last_event(), self.last_event, "the last event");
        let among: Vec<_> = self.directory.subscriptions().map(|it| it.id).collect();
        let open = ledger.open_before(&among, None, None, usize::MAX);
        let open = open.unwrap().into_iter();
        let open: Vec<_> = open
            .map(|(of, entry)| ((entry.at, of), entry.delivery))
            .collect();
        let expected = self.open.iter().rev();
        let expected: Vec<_> = expected.map(|(key, open)| (*key, *open)).collect();
        assert_eq!(open, expected, "what is open");
        for (scope, expected) in &self.keys {
            let row = store.state.get(&rows::keyed(scope)).unwrap();
            let row = row.expect("an idempotency key is forgotten");
            let known: KeyedRequest = rows::decode("a key", &row).unwrap();
            let known = Answered {
                first: known.first,
                place: known.place,
                body: known.body,
                events: known.events,
            };
            assert_eq!(known, *expected, "the answer to an idempotency key");
        }
    }
}
