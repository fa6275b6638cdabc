//! What a history adds up to, kept in the plainest way: no index, no overlay, no disk.

use std::collections::BTreeMap;

use crate::domain::delivery::{Attempt, OpenDelivery, OpenState, Outcome};
use crate::domain::directory::{Change, Directory, Steered};
use crate::domain::event::{Event, Place};
use crate::domain::filter::Body;
use crate::domain::ids::{EventId, SubscriptionId};
use crate::store::ledger::Todo;
use crate::store::ledger::backlog::Entry;
use crate::store::opening::Opened;
use crate::store::state::rows::Slot;

#[derive(Debug, Clone, Default)]
pub struct Model {
    pub directory: Directory,
    pub open: BTreeMap<(Place, SubscriptionId), OpenDelivery>,
    pub events: Vec<(EventId, Place)>,
    pub attempts: Vec<Attempt>,
    /// Every subscription that ever was.
    pub subscriptions: Vec<SubscriptionId>,
    /// Deliveries whose subscription was deleted while they were open.
    pub gone: Vec<(Place, SubscriptionId, EventId)>,
}

impl Model {
    pub fn change(&mut self, change: &Change) {
        self.directory.apply(change);
        match change {
            Change::PutSubscription(it) if !self.subscriptions.contains(&it.id) => {
                self.subscriptions.push(it.id);
            }
            Change::DeleteSubscription(id) => {
                let gone = self.open.extract_if(.., |(_, of), _| of == id);
                self.gone
                    .extend(gone.map(|((place, of), open)| (place, of, open.event)));
            }
            Change::Steered(all) => all.iter().for_each(|it| self.retry(it)),
            Change::Cancelled(all) => all.iter().for_each(|it| self.settle(it)),
            _ => {}
        }
    }

    fn retry(&mut self, steered: &Steered) {
        let key = (steered.place, steered.delivery.subscription);
        let Some(open) = self.open.get_mut(&key) else {
            return;
        };
        if open.state == OpenState::Dead {
            open.group = None;
        }
        if open.state != OpenState::Waiting {
            let due_ms = steered.at_ms;
            open.state = OpenState::Retrying { due_ms };
            open.forgiven = open.attempts;
        }
    }

    pub fn settle(&mut self, attempt: &Attempt) {
        self.attempts.push(attempt.clone());
        let key = (attempt.place, attempt.subscription);
        let Some(open) = self.open.get_mut(&key) else {
            self.gone.retain(|(place, of, _)| (*place, *of) != key);
            return;
        };
        open.attempts = attempt.number;
        match attempt.outcome {
            // What died of age while an attempt was under way stays dead.
            Outcome::Retry { .. } if open.state == OpenState::Dead => {}
            Outcome::Retry { due_ms } => open.state = OpenState::Retrying { due_ms },
            Outcome::Dead => open.state = OpenState::Dead,
            Outcome::Delivered | Outcome::Cancelled => {
                self.open.remove(&key);
            }
        }
    }

    pub fn accept(&mut self, event: &Event, place: Place, default_wait_ms: u64) {
        self.events.push((event.meta.id, place));
        for subscription in self.directory.subscriptions() {
            let wanted = subscription.account == event.meta.account
                && subscription
                    .events
                    .iter()
                    .any(|pattern| pattern.matches(&event.meta.event_type));
            if !wanted {
                continue;
            }
            let own = subscription.retry_schedule.as_ref();
            let wait_ms = own.map_or(default_wait_ms, |own| own.waits_ms()[0]);
            let state = match wait_ms {
                0 => OpenState::Waiting,
                _ => OpenState::Retrying {
                    due_ms: event.meta.accepted_at_ms + wait_ms,
                },
            };
            let open = OpenDelivery {
                group: subscription.ordering.group(&mut Body::of(event)),
                state,
                ..OpenDelivery::waiting(event.meta.id)
            };
            self.open.insert((place, subscription.id), open);
        }
    }

    /// Compares all that can be asked of a store with this.
    pub fn check(&self, store: &Opened, now_ms: u64) {
        let ledger = &store.ledger;
        assert_eq!(ledger.directory(), &self.directory);
        assert_eq!(ledger.last_event(), self.events.last().map(|it| it.0));
        let all: Vec<_> = self.open.iter().rev().map(listed).collect();
        let among = &self.subscriptions;
        let found = ledger.open_before(among, None, None, usize::MAX);
        let found = found.unwrap();
        let unlike = found
            .iter()
            .map(unmoved)
            .zip(&all)
            .find(|(it, wanted)| it != *wanted);
        assert_eq!((unlike, found.len()), (None, all.len()));
        for (of, entry) in &found {
            let id = entry.delivery.event;
            assert_eq!(ledger.open_of_id(&[*of], id).unwrap(), Some(*entry));
            let event = store.log.event(entry.at).unwrap();
            assert_eq!(event.map(|event| event.meta.id), Some(id));
        }
        for &(event, place) in &self.events {
            let own = self.open.iter().filter(|((at, _), _)| *at == place);
            let own: Vec<_> = own.map(listed).collect();
            let found = ledger.open_of(place).unwrap();
            assert_eq!(found.iter().map(unmoved).collect::<Vec<_>>(), own);
            if place.position < store.log.start() {
                continue;
            }
            let made = self.attempts.iter().filter(|it| it.event == event);
            let made: Vec<_> = made.cloned().collect();
            assert_eq!(store.log.attempts_of(event, place).unwrap(), made);
            let near = ledger.near(event).unwrap().unwrap();
            assert!(near <= place.position, "{near} is after {place:?}");
        }
        for &subscription in &self.subscriptions {
            let mut waiting = Vec::new();
            loop {
                let after = waiting.last().map(|todo: &Todo| todo.slot);
                let page = ledger.in_line(subscription, after, 3).unwrap();
                if page.is_empty() {
                    break;
                }
                waiting.extend(page.into_iter().map(unmoved_todo));
            }
            assert_eq!(waiting, self.waiting(subscription));
            let retrying = self.retrying(subscription);
            let due: Vec<_> = retrying.iter().filter(|(due, _)| *due <= now_ms).collect();
            let due: Vec<_> = due.into_iter().map(|(_, todo)| *todo).collect();
            let found = ledger.due(subscription, now_ms, usize::MAX).unwrap();
            let found: Vec<_> = found.into_iter().map(unmoved_todo).collect();
            assert_eq!(found, due);
            let next = retrying
                .iter()
                .map(|(due, _)| *due)
                .find(|due| *due > now_ms);
            assert_eq!(ledger.next_due_ms(subscription, now_ms).unwrap(), next);
        }
    }

    fn of(&self, subscription: SubscriptionId) -> impl Iterator<Item = (OpenState, Todo)> {
        let own = self
            .open
            .iter()
            .filter(move |((_, of), _)| *of == subscription);
        own.map(|((place, _), open)| {
            let todo = Todo {
                slot: slot(*place),
                at: *place,
                event: open.event,
                attempts: open.attempts,
                forgiven: open.forgiven,
                group: open.group,
                due_ms: open.due_ms(),
            };
            (open.state, todo)
        })
    }

    fn waiting(&self, subscription: SubscriptionId) -> Vec<Todo> {
        let own = self.of(subscription);
        own.filter(|(state, todo)| *state != OpenState::Dead && todo.is_in_line())
            .map(|(_, todo)| todo)
            .collect()
    }

    fn retrying(&self, subscription: SubscriptionId) -> Vec<(u64, Todo)> {
        let due = |(state, todo): (OpenState, Todo)| match state {
            OpenState::Retrying { due_ms } if todo.group.is_none() => Some((due_ms, todo)),
            _ => None,
        };
        let mut retrying: Vec<_> = self.of(subscription).filter_map(due).collect();
        retrying.sort_by_key(|(due_ms, todo)| (*due_ms, todo.slot));
        retrying
    }
}

fn slot(place: Place) -> Slot {
    Slot {
        place,
        generation: 0,
    }
}

fn listed(
    ((place, subscription), open): (&(Place, SubscriptionId), &OpenDelivery),
) -> (SubscriptionId, Entry) {
    let entry = Entry {
        slot: slot(*place),
        at: *place,
        delivery: *open,
    };
    (*subscription, entry)
}

/// As if retention had never touched its event.
fn unmoved((of, entry): &(SubscriptionId, Entry)) -> (SubscriptionId, Entry) {
    let at = entry.slot.place;
    (*of, Entry { at, ..*entry })
}

fn unmoved_todo(todo: Todo) -> Todo {
    let at = todo.slot.place;
    Todo { at, ..todo }
}
