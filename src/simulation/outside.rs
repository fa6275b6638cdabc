//! Those who send events and those who manage subscriptions: what they ask, and how they take answers.

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::world::World;
use crate::actors::queue::{Accepted, Incoming, QueueError};
use crate::domain::directory::fixtures::subscription;
use crate::domain::directory::{Change, Subscription};
use crate::domain::event::{Content, NewEvent};
use crate::domain::event_type::EventType;
use crate::domain::idempotency;
use crate::domain::ids::{AccountId, IntegrationId, SubscriptionId};
use crate::domain::ordering::{KeyPath, Ordering};
use crate::domain::retry::Schedule;

const TYPES: [&str; 3] = ["a", "a.b", "c"];
const PATTERNS: [&str; 4] = ["**", "a", "a.*", "c"];
const KEYS: u64 = 4;
const MAX_SUBSCRIPTIONS: usize = 5;

/// A request that is not answered yet.
pub struct Request {
    answer: oneshot::Receiver<Result<Accepted, QueueError>>,
    bodies: Vec<Bytes>,
    scope: Option<[u8; 16]>,
    /// Another request with its key was not answered yet.
    is_second: bool,
}

impl World {
    pub(super) fn send(&mut self) {
        let key = self.random.chance(40).then(|| self.random.below(KEYS));
        let repeated = key.and_then(|key| self.repeat(key));
        let (key, events) = match repeated {
            Some(events) => (key, events),
            None => (key.filter(|key| self.is_free(*key)), self.some_events()),
        };
        self.send_these(key, events);
    }

    /// Sends one event, without a key.
    pub(super) fn send_one(&mut self) {
        let mut events = self.some_events();
        events.truncate(1);
        self.send_these(None, events);
    }

    fn send_these(&mut self, key: Option<u64>, events: Vec<NewEvent>) {
        let account = AccountId::from_bits(1);
        let bodies: Vec<Bytes> = events.iter().map(|event| event.body.clone()).collect();
        for event in &events {
            self.witness.sends(account, &event.event_type, &event.body);
        }
        let door = IntegrationId::from_bits(1);
        let marks = key.map(|key| {
            let scope = idempotency::scope(account, door, &key.to_string());
            (scope, idempotency::body(&bodies.concat()))
        });
        if let Some((scope, body)) = marks {
            self.witness.uses_key(scope, body, self.now_ms);
            self.keyed.retain(|(other, _)| Some(*other) != key);
            self.keyed.extend(key.map(|key| (key, events.clone())));
        }
        let scope = marks.map(|(scope, _)| scope);
        self.note(|| format!("send {bodies:?}, key {key:?}"));
        let incoming = Incoming {
            account,
            integration: door,
            events,
            idempotency: marks,
        };
        let now_ms = self.now_ms;
        let is_second = scope.is_some() && self.requests.iter().any(|it| it.scope == scope);
        let answer = self.process().request(incoming, now_ms);
        self.requests.push(Request {
            answer,
            bodies,
            scope,
            is_second,
        });
    }

    fn scope(key: u64) -> [u8; 16] {
        let (account, door) = (AccountId::from_bits(1), IntegrationId::from_bits(1));
        idempotency::scope(account, door, &key.to_string())
    }

    fn is_free(&self, key: u64) -> bool {
        let scope = Self::scope(key);
        let waits = self.requests.iter().any(|it| it.scope == Some(scope));
        !waits && self.witness.key_is_over(&scope, self.now_ms)
    }

    /// What was sent with this key before, while it is sure to be known by it.
    fn repeat(&self, key: u64) -> Option<Vec<NewEvent>> {
        let events = self.keyed.iter().find(|(of, _)| *of == key);
        let known = self.witness.key_holds(&Self::scope(key));
        events.filter(|_| known).map(|(_, events)| events.clone())
    }

    fn some_events(&mut self) -> Vec<NewEvent> {
        let count = if self.random.chance(80) {
            1
        } else {
            1 + self.random.below(3)
        };
        let one = |_| {
            self.next_body += 1;
            let padding = usize::try_from(self.random.below(400)).unwrap();
            let (n, k) = (self.next_body, self.random.below(3));
            let body = format!("{{\"n\":{n},\"k\":{k}}}{}", " ".repeat(padding));
            NewEvent {
                event_type: self
                    .random
                    .pick(&TYPES)
                    .unwrap()
                    .parse::<EventType>()
                    .unwrap(),
                content: Content::Json,
                body: body.into(),
            }
        };
        (0..count).map(one).collect()
    }

    /// Answers arrive.
    pub(super) fn hear(&mut self) {
        for mut request in std::mem::take(&mut self.requests) {
            match request.answer.try_recv() {
                Ok(answer) => self.answered(&request, answer),
                Err(TryRecvError::Empty) => self.requests.push(request),
                Err(TryRecvError::Closed) => {}
            }
        }
        let Some((changes, result)) = self.process().changed() else {
            return;
        };
        self.note(|| format!("changed: {result:?}"));
        for change in changes.iter().filter(|_| result.is_ok()) {
            match change {
                Change::PutSubscription(it) => self.witness.subscribed(it.id),
                Change::DeleteSubscription(id) => self.witness.deleted(*id),
                Change::Steered(all) => self.witness.steered(all),
                _ => {}
            }
        }
    }

    fn answered(&mut self, request: &Request, answer: Result<Accepted, QueueError>) {
        self.note(|| format!("{:?}: {answer:?}", request.bodies));
        match answer {
            Ok(Accepted::Now(ids)) => {
                assert_eq!(ids.len(), request.bodies.len());
                for (body, id) in request.bodies.iter().zip(&ids) {
                    self.witness.accepted(body, *id);
                }
                if let Some(scope) = request.scope {
                    self.witness.key_answered(&scope, ids[0]);
                }
            }
            Ok(Accepted::Before(known)) => {
                let scope = request.scope.expect("it had no key");
                assert_eq!(known.events as usize, request.bodies.len());
                self.witness.accepted(&request.bodies[0], known.first);
                self.witness.key_answered(&scope, known.first);
            }
            Err(QueueError::NoSpace) => {
                assert!(self.was_full, "there was room");
                self.counts.refused += 1;
            }
            Err(QueueError::KeyInFlight) => {
                assert!(request.is_second, "its key was not in flight");
            }
            Err(QueueError::Unavailable) => assert!(self.is_failing, "it is not failing"),
            Err(QueueError::Overloaded) => {}
            Err(QueueError::KeyReused) => panic!("its key came with the same body"),
        }
    }

    pub(super) fn change(&mut self) {
        if self.process().changing.is_some() {
            return;
        }
        let ids: Vec<SubscriptionId> = {
            let view = self.process().view.read();
            view.subscriptions().map(|it| it.id).collect()
        };
        let picked = self.random.pick(&ids).copied();
        let change = match (self.random.below(10), picked) {
            (0..=3, _) if ids.len() < MAX_SUBSCRIPTIONS => Some(self.a_subscription()),
            (4, Some(id)) => {
                self.witness.deletes(id);
                Some(Change::DeleteSubscription(id))
            }
            (5..=6, Some(id)) => self.process().with_status(id, false),
            (7..=8, Some(id)) => self.process().with_status(id, true),
            (9, Some(id)) => return self.wish(id),
            _ => None,
        };
        if let Some(change) = change {
            self.note(|| format!("{change:?}"));
            self.process().change(vec![change]);
        }
    }

    fn a_subscription(&mut self) -> Change {
        self.next_subscription += 1;
        let pattern = *self.random.pick(&PATTERNS).unwrap();
        let own = self.random.chance(40).then(|| {
            let first_ms = self.random.below(2) * 300;
            let waits = [first_ms, 2_000, 2_000];
            let count = 1 + usize::try_from(self.random.below(3)).unwrap();
            Schedule::new(waits[..count].to_vec()).unwrap()
        });
        let attempts = own.as_ref().unwrap_or(&self.schedule).waits_ms().len();
        let by = KeyPath::parse("k").unwrap();
        let orders = [Ordering::None, Ordering::Strict, Ordering::By(by)];
        let record = Subscription {
            ordering: self.random.pick(&orders).unwrap().clone(),
            retry_schedule: own,
            max_in_flight: self.random.chance(30).then_some(1),
            ..subscription(self.next_subscription, 1, &[pattern])
        };
        self.witness.subscribes(record.clone(), attempts);
        Change::PutSubscription(record.into())
    }
}
