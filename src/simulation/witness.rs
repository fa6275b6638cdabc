//! What the world outside knows: those who send events, and those who receive them.
//!
//! It sees answers and requests as they cross the wire, and what a commit held that is on disk for
//! sure. From that it says what the relay owes, and panics at the first thing that breaks a promise.

mod keys;
mod steering;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use self::keys::UsedKey;
use super::attempts::MAX_IN_FLIGHT;
use super::process::{OnDisk, Written};
use crate::domain::delivery::{Attempt, Outcome, Reply, TOO_OLD};
use crate::domain::directory::Subscription;
use crate::domain::event::Event;
use crate::domain::event_type::EventType;
use crate::domain::ids::{AccountId, DeliveryId, EventId, SubscriptionId};
use crate::domain::ordering::Ordering;

/// By how much the clock may go back in all: what depends on time is unsure for so long.
pub const UNSURE_MS: u64 = 600_000;

/// An event that somebody sent. Its body is unlike any other.
#[derive(Debug, Clone)]
struct Sent {
    account: AccountId,
    event_type: EventType,
    /// When it was first sent.
    asked: u64,
    /// When it was acknowledged.
    answered: Option<u64>,
    id: Option<EventId>,
}

#[derive(Debug)]
struct Subscribed {
    record: Subscription,
    attempts: usize,
    asked: u64,
    answered: Option<u64>,
    delete_asked: Option<u64>,
    delete_answered: bool,
}

/// A delivery: an event, for whom, and which replay.
pub type Key = (EventId, SubscriptionId, u16);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Received,
    TooOld,
    Died,
    GivenUp,
}

#[derive(Debug, Default)]
struct Delivery {
    /// The last attempt that is journalled for sure, and what came of it.
    last: (u16, Option<Outcome>),
    /// Those that may be.
    maybe: BTreeSet<u16>,
    /// The attempt that was sent last.
    sent: u16,
    /// The process that sent it, until its outcome is journalled.
    by: Option<u64>,
    /// The process that has it at the receiver.
    at_receiver_by: Option<u64>,
    /// What became of it: that it was received, that it was too old, that an attempt was the last of its
    /// schedule, that somebody asked for its end.
    fates: BTreeSet<Fate>,
    /// Somebody asked for an attempt: its schedule has begun anew, maybe more than once.
    steered: bool,
    /// It is a replay that was answered.
    owed: bool,
}

impl Delivery {
    /// Those of its group that are behind it may go on.
    fn is_over(&self) -> bool {
        !self.fates.is_empty()
    }

    fn has(&self, fate: Fate) -> bool {
        self.fates.contains(&fate)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Witness {
    /// Counts what crosses the wire.
    moment: u64,
    /// Which process is running.
    process: u64,
    /// The latest that the clock ever was.
    pub latest_ms: u64,
    events: BTreeMap<Bytes, Sent>,
    by_id: BTreeMap<EventId, Bytes>,
    subscriptions: BTreeMap<SubscriptionId, Subscribed>,
    deliveries: BTreeMap<Key, Delivery>,
    keys: BTreeMap<[u8; 16], UsedKey>,
    last_id: Option<EventId>,
    /// Attempts at each receiver now.
    at_receiver: BTreeMap<SubscriptionId, u16>,
    pub accepted: u64,
    pub attempts: u64,
    pub repeats: u64,
}

impl Witness {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Somebody sends an event, maybe again.
    pub fn sends(&mut self, account: AccountId, event_type: &EventType, body: &Bytes) {
        let asked = self.tick();
        self.events.entry(body.clone()).or_insert(Sent {
            account,
            event_type: event_type.clone(),
            asked,
            answered: None,
            id: None,
        });
    }

    /// A 202 with this id arrived for an event.
    pub fn accepted(&mut self, body: &Bytes, id: EventId) {
        let moment = self.tick();
        self.named(body, id);
        let sent = self.events.get_mut(body).unwrap();
        sent.answered.get_or_insert(moment);
        self.accepted += 1;
    }

    fn named(&mut self, body: &Bytes, id: EventId) {
        let sent = self.events.get_mut(body).expect("nobody sent this");
        let known = *sent.id.get_or_insert(id);
        assert_eq!(known, id, "one event, two ids");
        let other = self.by_id.entry(id).or_insert_with(|| body.clone());
        assert_eq!(other, body, "one id, two events");
    }

    pub fn subscribes(&mut self, record: Subscription, attempts: usize) {
        let asked = self.tick();
        let subscribed = Subscribed {
            record,
            attempts,
            asked,
            answered: None,
            delete_asked: None,
            delete_answered: false,
        };
        let id = subscribed.record.id;
        self.subscriptions.insert(id, subscribed);
    }

    pub fn subscribed(&mut self, id: SubscriptionId) {
        let moment = self.tick();
        let of = self.subscriptions.get_mut(&id).unwrap();
        of.answered.get_or_insert(moment);
    }

    pub fn deletes(&mut self, id: SubscriptionId) {
        let moment = self.tick();
        let of = self.subscriptions.get_mut(&id).unwrap();
        of.delete_asked.get_or_insert(moment);
    }

    pub fn deleted(&mut self, id: SubscriptionId) {
        self.tick();
        self.subscriptions.get_mut(&id).unwrap().delete_answered = true;
    }

    /// Subscriptions that are there for sure, and those that may be.
    pub fn subscriptions(&self) -> (BTreeSet<SubscriptionId>, BTreeSet<SubscriptionId>) {
        let all = self.subscriptions.iter();
        let sure = all
            .clone()
            .filter(|(_, of)| of.answered.is_some() && of.delete_asked.is_none());
        let maybe = all.filter(|(_, of)| !of.delete_answered);
        (
            sure.map(|(id, _)| *id).collect(),
            maybe.map(|(id, _)| *id).collect(),
        )
    }

    /// An attempt arrives at its receiver.
    pub fn receives(
        &mut self,
        event: &Event,
        subscription: SubscriptionId,
        generation: u16,
        number: u16,
    ) {
        let id = event.meta.id;
        let who = format!("{id} for {subscription}, {generation}");
        self.tick();
        self.named(&event.body, id);
        let sent = &self.events[&event.body];
        assert_eq!(sent.event_type, event.meta.event_type);
        let of = &self.subscriptions[&subscription];
        assert!(!of.delete_answered, "{who} after the deletion was answered");
        assert!(
            generation > 0 || may_want(of, sent),
            "{who} was never wanted"
        );
        let known = self.deliveries.get(&(id, subscription, generation));
        let steered = known.is_some_and(|known| known.steered);
        assert!(steered || generation == 0, "{who}: nobody asked for it");
        if !steered {
            self.check_order(event, of);
        }
        let of = &self.subscriptions[&subscription];
        assert!(
            steered || usize::from(number) <= of.attempts,
            "{who}: attempt {number}"
        );
        let key = (id, subscription, generation);
        let delivery = self.deliveries.entry(key).or_default();
        // What keeps its order stays with its lane, and does not wait until its failure is journalled.
        let goes_on = of.record.ordering != Ordering::None && generation == 0;
        let goes_on = goes_on && delivery.by == Some(self.process) && number == delivery.sent + 1;
        let own = Some(self.process);
        let is_under_way = delivery.by == own && !goes_on || delivery.at_receiver_by == own;
        assert!(!is_under_way, "{who} is in flight already");
        let (last, outcome) = delivery.last;
        match outcome {
            None => {}
            _ if steered => {}
            Some(Outcome::Retry { due_ms }) => {
                let early = due_ms.saturating_sub(self.latest_ms);
                assert!(
                    early == 0 || number != last + 1,
                    "{who} is {early} ms early"
                );
            }
            // Retention ends what an attempt may still be under way for.
            Some(over) => {
                let ended = delivery.has(Fate::TooOld) || delivery.has(Fate::GivenUp);
                assert!(ended, "{who} after {over:?}");
            }
        }
        let next = number == last + 1 || delivery.maybe.contains(&(number - 1)) || goes_on;
        assert!(next, "{who}: attempt {number} after {last}");
        let at_once = self.at_receiver.entry(subscription).or_default();
        *at_once += 1;
        let most = of.record.max_in_flight.unwrap_or(MAX_IN_FLIGHT);
        assert!(*at_once <= most, "{who}: one of {at_once} at once");
        self.attempts += 1;
        self.repeats += u64::from(number <= delivery.sent);
        delivery.sent = number;
        delivery.by = Some(self.process);
        delivery.at_receiver_by = delivery.by;
    }

    /// The receiver answers, or lets it be.
    pub fn replies(&mut self, key: Key, reply: &Reply) {
        *self.at_receiver.get_mut(&key.1).unwrap() -= 1;
        let delivery = self.deliveries.get_mut(&key).unwrap();
        if matches!(reply, Reply::Status { code: 200, .. }) {
            delivery.fates.insert(Fate::Received);
        }
        delivery.at_receiver_by = None;
    }

    /// What an attempt came to.
    pub fn concluded(&mut self, key: Key, outcome: Outcome) {
        if outcome == Outcome::Dead {
            let delivery = self.deliveries.get_mut(&key).unwrap();
            delivery.fates.insert(Fate::Died);
        }
    }

    /// Another process begins.
    pub fn begins(&mut self) {
        self.process += 1;
        self.at_receiver.clear();
    }

    /// A commit was tried.
    pub fn committed(&mut self, written: &Written) {
        if written.on_disk == OnDisk::No {
            return;
        }
        let sure = written.on_disk == OnDisk::Surely;
        for attempt in &written.attempts {
            self.settled(attempt, sure);
        }
        for id in &written.ids {
            assert!(Some(*id) > self.last_id, "{id} after {:?}", self.last_id);
            if sure {
                self.last_id = Some(*id);
            }
        }
    }

    fn settled(&mut self, attempt: &Attempt, sure: bool) {
        let of = &self.subscriptions[&attempt.subscription];
        let deleted = of.delete_asked.is_some();
        let key = key_of(attempt.delivery());
        let delivery = self.deliveries.entry(key).or_default();
        if attempt.error.as_deref() == Some(TOO_OLD) {
            delivery.fates.insert(Fate::TooOld);
        }
        match attempt.outcome {
            Outcome::Delivered => {
                assert!(delivery.has(Fate::Received), "{key:?} was never received");
            }
            Outcome::Cancelled => {
                let ended = deleted || delivery.has(Fate::TooOld) || delivery.has(Fate::GivenUp);
                assert!(ended, "{key:?} was cancelled");
            }
            Outcome::Dead => {
                let used_up = usize::from(attempt.number) == of.attempts;
                let ended = used_up || delivery.has(Fate::TooOld) || delivery.steered;
                assert!(ended, "{key:?} died early");
            }
            Outcome::Retry { .. } => {}
        }
        if !attempt.was_made() {
            // What is left out when it is written stays as it was.
            return;
        }
        if sure {
            delivery.last = (attempt.number, Some(attempt.outcome));
            // A later one may be under way, where the order keeps a failure with its lane.
            if attempt.number >= delivery.sent {
                delivery.by = None;
            }
        } else {
            delivery.maybe.insert(attempt.number);
        }
    }

    /// After everything had its time: what was promised was kept. `dead` is what the relay shows as dead.
    pub fn check(&self, dead: &BTreeSet<Key>) {
        for (key, delivery) in self.deliveries.iter().filter(|(_, it)| it.owed) {
            let gone = self.subscriptions[&key.1].delete_asked.is_some();
            let is_over = delivery.is_over() || gone || dead.contains(key);
            assert!(is_over, "{key:?} is lost: {delivery:?}");
        }
        for (sent, id) in self.events.values().filter_map(|it| Some((it, it.id?))) {
            for (subscription, of) in &self.subscriptions {
                if !must_get(of, sent) {
                    continue;
                }
                let key = (id, *subscription, 0);
                let delivery = self.deliveries.get(&key);
                let fates = [Fate::Received, Fate::TooOld, Fate::GivenUp];
                let ended = delivery.is_some_and(|it| fates.iter().any(|fate| it.has(*fate)));
                assert!(
                    ended || dead.contains(&key),
                    "{id} for {subscription} is lost: {delivery:?}"
                );
            }
        }
    }
}

impl Witness {
    /// Every event that was acknowledged is in the log.
    pub fn check_log(&self, ids: &BTreeSet<EventId>) {
        let answered = self.events.values().filter(|it| it.answered.is_some());
        for id in answered.filter_map(|it| it.id) {
            assert!(ids.contains(&id), "{id} is not in the log");
        }
    }
}

fn key_of(id: DeliveryId) -> Key {
    (id.event, id.subscription, id.generation)
}

fn matches(of: &Subscribed, sent: &Sent) -> bool {
    let patterns = &of.record.events;
    of.record.account == sent.account
        && patterns
            .iter()
            .any(|pattern| pattern.matches(&sent.event_type))
}

fn may_want(of: &Subscribed, sent: &Sent) -> bool {
    matches(of, sent) && sent.answered.is_none_or(|answered| of.asked < answered)
}

/// It was there before the event was sent, the event was acknowledged, and nobody asked for its end.
fn must_get(of: &Subscribed, sent: &Sent) -> bool {
    let before = of.answered.is_some_and(|made| made < sent.asked);
    let before = before && sent.answered.is_some();
    // Once it is to go, what is open is cancelled.
    matches(of, sent) && before && of.delete_asked.is_none()
}
