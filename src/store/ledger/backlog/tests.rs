//! A backlog against the plainest model of one: a map. Random changes, the same for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::domain::delivery::{OpenDelivery, OpenState};
use crate::domain::event::Place;
use crate::domain::ordering::Group;
use crate::store::fixtures::{Random, event_id, scratch};
use crate::store::state::checkpoint;

const LANES: u64 = 3;
const STEPS: usize = 6_000;
/// Positions are below this: several pages of them.
const HORIZON: u64 = 3_000;
const NOW_MS: u64 = 500;

struct Lab {
    random: Random,
    overlay: Overlay,
    state: Arc<State>,
    backlog: Backlog,
    model: BTreeMap<(SubscriptionId, Slot), Entry>,
    _dir: tempfile::TempDir,
}

fn lane(n: u64) -> SubscriptionId {
    SubscriptionId::from_bits(n)
}

impl Lab {
    fn new(seed: u64) -> Self {
        let dir = scratch();
        let state = Arc::new(State::open(&dir.path().join("state"), 1 << 20).unwrap());
        Self {
            random: Random(seed),
            overlay: Overlay::new(Arc::clone(&state)),
            state,
            backlog: Backlog::default(),
            model: BTreeMap::new(),
            _dir: dir,
        }
    }

    fn state_of_one(&mut self) -> OpenState {
        match self.random.below(3) {
            0 => OpenState::Waiting,
            1 => OpenState::Dead,
            _ => OpenState::Retrying {
                due_ms: self.random.below(2 * NOW_MS),
            },
        }
    }

    /// Mostly after all others, as events come in; now and then anywhere.
    fn put(&mut self) {
        let of = lane(self.random.below(LANES));
        let last = self.model.keys().map(|(_, slot)| slot.place.position).max();
        let position = match last {
            Some(last) if self.random.chance(80) => last + self.random.below(3),
            _ => 1 + self.random.below(HORIZON),
        };
        let place = Place { position, index: 0 };
        let entry = Entry {
            slot: Slot {
                place,
                generation: u16::from(self.random.chance(5)),
            },
            at: place,
            delivery: OpenDelivery {
                group: self.random.chance(30).then_some(Group(7)),
                state: self.state_of_one(),
                ..OpenDelivery::waiting(event_id(position))
            },
        };
        self.backlog.put(&self.overlay, of, entry).unwrap();
        self.model.insert((of, entry.slot), entry);
    }

    fn change(&mut self) {
        let keys: Vec<_> = self.model.keys().copied().collect();
        let Some(&(of, slot)) = self.random.pick(&keys) else {
            return;
        };
        let state = self.state_of_one();
        let gone = self.random.chance(60);
        let moved = self.random.chance(10);
        let changed = |mut entry: Entry| {
            entry.delivery.state = state;
            if moved {
                entry.at.position += HORIZON;
            }
            (!gone).then_some(entry)
        };
        let overlay = &mut self.overlay;
        assert!(self.backlog.change(overlay, of, slot, changed).unwrap());
        assert!(
            !self
                .backlog
                .change(overlay, lane(9), slot, changed)
                .unwrap()
        );
        match changed(self.model[&(of, slot)]) {
            Some(entry) => self.model.insert((of, slot), entry),
            None => self.model.remove(&(of, slot)),
        };
    }

    fn checkpoint(&mut self, reload: bool) {
        self.backlog.save(&mut self.overlay).unwrap();
        let rows = self.overlay.freeze();
        checkpoint::write(&self.state, &rows).unwrap();
        self.overlay.thaw();
        assert_eq!(self.backlog.dirty_bytes(), 0);
        if reload {
            self.backlog = Backlog::load(&self.state).unwrap();
        }
    }

    fn of(&self, of: SubscriptionId) -> impl DoubleEndedIterator<Item = Entry> {
        let own = self
            .model
            .range((of, Slot::FIRST)..(lane(of.to_bits() + 1), Slot::FIRST));
        own.map(|(_, entry)| *entry)
    }

    fn check(&mut self) {
        for of in (0..LANES).map(lane) {
            self.check_lane(of);
        }
        self.check_across_lanes();
    }

    fn check_lane(&mut self, of: SubscriptionId) {
        let limit = usize::try_from(1 + self.random.below(400)).unwrap();
        let after = self.of(of).nth(limit / 2).map(|entry| entry.slot);
        let stands = |it: &Entry| match it.delivery.state {
            OpenState::Waiting => true,
            OpenState::Retrying { .. } => it.delivery.group.is_some(),
            OpenState::Dead => false,
        };
        let in_line = self.of(of).filter(|it| stands(it) && Some(it.slot) > after);
        let in_line: Vec<_> = in_line.take(limit).collect();
        let (backlog, overlay) = (&self.backlog, &self.overlay);
        assert_eq!(backlog.in_line(overlay, of, after, limit).unwrap(), in_line);
        let some: Vec<_> = self.of(of).filter(|it| Some(it.slot) > after).collect();
        let found = backlog.some(overlay, of, after, 2).unwrap();
        assert!(some.starts_with(&found) && found.is_empty() == some.is_empty());
        let mut pending = self.of(of).filter(|it| it.slot.generation == 0);
        let pending = pending.find(|it| it.delivery.state != OpenState::Dead);
        let pending = pending.map(|it| it.delivery.event);
        assert_eq!(backlog.oldest_pending(of), pending);
        let mut retrying: Vec<_> = self
            .of(of)
            .filter_map(|entry| match entry.delivery.state {
                OpenState::Retrying { due_ms } => Some((due_ms, entry.slot, entry)),
                _ => None,
            })
            .collect();
        let all_retrying = retrying.len();
        retrying.retain(|(.., entry)| entry.delivery.group.is_none());
        retrying.sort_unstable_by_key(|(due_ms, slot, _)| (*due_ms, *slot));
        let earliest = retrying.first().map(|(due_ms, ..)| *due_ms);
        assert_eq!(backlog.earliest_due_ms(of), earliest);
        let due = retrying.iter().filter(|(due_ms, ..)| *due_ms <= NOW_MS);
        let due: Vec<_> = due.map(|(.., entry)| *entry).take(limit).collect();
        assert_eq!(backlog.due(overlay, of, NOW_MS, limit).unwrap(), due);
        let next = retrying.iter().map(|(due_ms, ..)| *due_ms);
        let next = next.filter(|due_ms| *due_ms > NOW_MS).min();
        assert_eq!(backlog.next_due_ms(overlay, of, NOW_MS).unwrap(), next);
        let dead = self
            .of(of)
            .filter(|it| it.delivery.state == OpenState::Dead);
        let dead = dead.count();
        let counts = Counts {
            waiting: self.of(of).count() - all_retrying - dead,
            retrying: all_retrying,
            dead,
        };
        assert_eq!(backlog.counts(of), counts);
        if let Some(entry) = self.of(of).next_back() {
            let id = entry.delivery.event;
            let found = backlog.of_id(overlay, &[lane(9), of], id).unwrap();
            assert_eq!(found.map(|it| it.delivery.event), Some(id));
            assert_eq!(backlog.get(overlay, of, entry.slot).unwrap(), Some(entry));
        }
    }

    fn check_across_lanes(&mut self) {
        let all: Vec<_> = (0..LANES).map(lane).collect();
        let mut counts = Counts::default();
        for of in &all {
            counts.add(self.backlog.counts(*of));
        }
        assert_eq!(self.backlog.counts_of_all(), counts);
        let key = |(of, slot): &(SubscriptionId, Slot)| (slot.place, *of, slot.generation);
        let mut newest: Vec<_> = self
            .model
            .iter()
            .map(|(at, entry)| (key(at), *entry))
            .collect();
        newest.sort_unstable_by_key(|(key, _)| std::cmp::Reverse(*key));
        let skipped = usize::try_from(self.random.below(100)).unwrap();
        let before = skipped.checked_sub(1).and_then(|last| newest.get(last));
        let before = before.map(|((_, of, _), entry)| (*of, entry.slot));
        let rest: Vec<_> = newest
            .iter()
            .skip(before.map_or(0, |_| skipped))
            .map(|((_, of, _), entry)| (*of, *entry))
            .collect();
        let (backlog, overlay) = (&self.backlog, &self.overlay);
        let page = backlog.newest(overlay, &all, None, before, 50).unwrap();
        assert_eq!(page, rest[..rest.len().min(50)]);
        let dead = rest
            .iter()
            .filter(|(_, it)| it.delivery.state == OpenState::Dead);
        let dead: Vec<_> = dead.copied().take(30).collect();
        let page = backlog.newest(overlay, &all, Some(Status::Dead), before, 30);
        assert_eq!(page.unwrap(), dead);

        let end = HORIZON / 2;
        let places: BTreeSet<_> = self.model.values().map(|entry| entry.at).collect();
        let places: Vec<_> = places
            .into_iter()
            .filter(|at| at.position < end)
            .take(40)
            .collect();
        let located = backlog.located_before(overlay, end, 40).unwrap();
        assert_eq!(located.keys().copied().collect::<Vec<_>>(), places);
        for (at, found) in located {
            let own = self.model.values().filter(|entry| entry.at == at);
            assert_eq!(found.len(), own.count(), "all that stand at {at:?}");
        }
        if let Some(entry) = self.model.values().next() {
            let place = entry.slot.place;
            let own = self.model.values().filter(|it| it.slot.place == place);
            let found = backlog.of_event(overlay, place).unwrap();
            assert_eq!(found.len(), own.count());
        }
    }
}

#[test]
fn whatever_happens_a_backlog_answers_as_a_map_would() {
    for seed in 0..4 {
        println!("seed {seed}");
        let mut lab = Lab::new(seed);
        for step in 0..STEPS {
            // It grows, then shrinks, so that pages are split and joined.
            let growing = step < STEPS / 2;
            if lab.random.chance(if growing { 75 } else { 15 }) {
                lab.put();
            } else {
                lab.change();
            }
            match lab.random.below(200) {
                0 => lab.checkpoint(false),
                1 => lab.checkpoint(true),
                2 | 3 => lab.check(),
                _ => {}
            }
        }
        lab.checkpoint(true);
        lab.check();
    }
}

const EVENTS: u64 = 100 * MAX_ENTRIES as u64;

#[test]
fn what_stays_behind_of_many_pages_is_put_together() {
    let mut lab = Lab::new(1);
    let place = |n| Place {
        position: n,
        index: 0,
    };
    let slot = |n| Slot {
        place: place(n),
        generation: 0,
    };
    for n in 1..=EVENTS {
        let delivery = OpenDelivery::waiting(event_id(n));
        let (slot, at) = (slot(n), place(n));
        let entry = Entry { slot, at, delivery };
        lab.backlog.put(&lab.overlay, lane(0), entry).unwrap();
    }
    lab.checkpoint(true);
    assert_eq!(lab.state.range(rows::all(b'o')).count(), 100);
    for n in (1..=EVENTS).filter(|n| n % 64 != 0) {
        let removed = lab
            .backlog
            .change(&mut lab.overlay, lane(0), slot(n), |_| None);
        assert!(removed.unwrap());
    }
    lab.checkpoint(false);
    let pages = lab.state.range(rows::all(b'o')).count();
    assert!(pages <= 4, "200 deliveries take {pages} pages");
    assert_eq!(
        lab.backlog.forget(&mut lab.overlay, lane(0), usize::MAX),
        200
    );
    assert_eq!(lab.backlog.counts_of_all(), Counts::default());
    lab.checkpoint(false);
    assert_eq!(lab.state.range(rows::all(b'o')).count(), 0);
}
