//! What happened, step by step: from a record of the log to what a reader is told of it.
//!
//! A reader sees what the lists of events and deliveries would show him, and of that what he asked for.
//! An attempt tells the type and the integration of its event as long as that stands where it was
//! accepted. Once retention has moved it, it does not, and whoever asked for a type does not hear of it.

use serde::Serialize;

use super::wanted::Wanted;
use crate::actors::auth::Principal;
use crate::actors::directory::View;
use crate::domain::delivery::{Attempt, Outcome, Status};
use crate::domain::directory::Change;
use crate::domain::event::{Event, EventMeta};
use crate::domain::event_type::EventType;
use crate::domain::ids::{EventId, IntegrationId, SubscriptionId};
use crate::domain::time;
use crate::http::deliveries::AttemptView;
use crate::http::events::EventView;
use crate::store::entry::Entry;
use crate::store::log::{Log, LogRecord};

/// One thing that happened.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number in its record.
    pub number: u64,
    /// What it is called.
    pub name: &'static str,
    /// What there is to say of it: JSON on one line.
    pub data: String,
}

/// What a record holds for a reader.
#[derive(Debug, Default)]
pub struct Steps {
    /// What he asked for, in order.
    pub wanted: Vec<Step>,
    /// How much of his account there was, asked for or not, as [`crate::store::census`] counts.
    pub of_account: u64,
}

/// Who reads, and what he can be told.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Who he is.
    pub who: &'a Principal,
    /// What he asked for.
    pub wanted: &'a Wanted,
    /// Where the events of attempts are.
    pub log: &'a Log,
    /// Whose subscriptions are whose.
    pub view: &'a View,
}

#[derive(Serialize)]
struct About {
    delivery_id: String,
    event_uuid: EventId,
    event: Option<EventType>,
    integration_id: Option<IntegrationId>,
    subscription_id: SubscriptionId,
    status: Status,
}

#[derive(Serialize)]
struct Attempted<'a> {
    #[serde(flatten)]
    about: &'a About,
    #[serde(flatten)]
    attempt: AttemptView,
}

#[derive(Serialize)]
struct Settled<'a> {
    #[serde(flatten)]
    about: &'a About,
    attempts: u16,
    ended_at: String,
}

impl Reader<'_> {
    /// What this record holds for the reader, from this step on.
    pub fn steps(&self, record: &LogRecord, from: u64) -> Steps {
        let mut steps = Steps::default();
        match &record.entry {
            Some(Entry::Accepted(events)) => {
                for (number, event) in (0..).zip(events) {
                    self.accepted(event, number, &mut steps);
                }
            }
            Some(Entry::Settled(attempts)) => {
                for (number, attempt) in (0..).step_by(2).zip(attempts) {
                    self.settled(attempt, number, &mut steps);
                }
            }
            Some(Entry::Directory(changes)) => {
                let ended = changes.iter().flat_map(|change| match change {
                    Change::Cancelled(attempts) => &attempts[..],
                    _ => [].as_slice(),
                });
                for (number, attempt) in (0..).step_by(2).zip(ended) {
                    self.settled(attempt, number, &mut steps);
                }
                // The census counts what is settled in records of their own.
                steps.of_account = 0;
            }
            _ => {}
        }
        steps.wanted.retain(|step| step.number >= from);
        steps
    }

    fn accepted(&self, event: &Event, number: u64, steps: &mut Steps) {
        let meta = &event.meta;
        if meta.account != self.who.account() {
            return;
        }
        steps.of_account += 1;
        if !self.who.reaches(Some(meta.integration)) || !self.wanted.accepted(meta) {
            return;
        }
        let data = json(&EventView::of(meta));
        if self.wanted.text_in(&[data.as_bytes(), &event.body]) {
            let name = "event.accepted";
            steps.wanted.push(Step { number, name, data });
        }
    }

    /// An attempt, and that it was the last if it was; each has a number of its own.
    fn settled(&self, attempt: &Attempt, number: u64, steps: &mut Steps) {
        let subscription = self.view.subscription(attempt.subscription);
        if subscription.is_some_and(|it| it.account == self.who.account()) {
            steps.of_account += 1;
        }
        if !self.wanted.attempt(attempt) {
            return;
        }
        // That it cannot be read is told by whoever has to.
        let event = self.log.event(attempt.place).ok().flatten();
        let meta = event.map(|event| event.meta);
        if !self.may_see(attempt, meta.as_ref()) || !self.wanted.event_of_attempt(meta.as_ref()) {
            return;
        }
        let about = About::of(attempt, meta);
        let mut push = |number, name, data: String| {
            if self.wanted.text_in(&[data.as_bytes()]) {
                steps.wanted.push(Step { number, name, data });
            }
        };
        if attempt.was_made() {
            let attempt = AttemptView::of(attempt);
            let about = &about;
            push(
                number,
                "delivery.attempt",
                json(&Attempted { about, attempt }),
            );
        }
        if !matches!(attempt.outcome, Outcome::Retry { .. }) {
            let at_ms = attempt.started_at_ms + u64::from(attempt.duration_ms);
            let settled = Settled {
                about: &about,
                attempts: attempt.number,
                ended_at: time::rfc3339(at_ms),
            };
            push(number + 1, "delivery.settled", json(&settled));
        }
    }

    /// Whether the lists would show it: by its event, or where that is not there any more by its
    /// subscription.
    fn may_see(&self, attempt: &Attempt, event: Option<&EventMeta>) -> bool {
        if let Some(event) = event {
            return event.account == self.who.account()
                && self.who.reaches(Some(event.integration));
        }
        let subscription = self.view.subscription(attempt.subscription);
        subscription
            .is_some_and(|it| it.account == self.who.account() && self.who.reaches(it.integration))
    }
}

impl About {
    fn of(attempt: &Attempt, event: Option<EventMeta>) -> Self {
        let (event, integration) = event.map(|it| (it.event_type, it.integration)).unzip();
        Self {
            delivery_id: attempt.delivery().to_string(),
            event_uuid: attempt.event,
            event,
            integration_id: integration.filter(|id| *id != IntegrationId::RELAY),
            subscription_id: attempt.subscription,
            status: status(attempt.outcome),
        }
    }
}

/// How a delivery stands after an attempt.
pub fn status(outcome: Outcome) -> Status {
    match outcome {
        Outcome::Delivered => Status::Delivered,
        Outcome::Retry { .. } => Status::Retrying,
        Outcome::Dead => Status::Dead,
        Outcome::Cancelled => Status::Cancelled,
    }
}

/// In JSON, on one line.
pub fn json(view: &impl Serialize) -> String {
    // These are plain values; if one ever could not be written, the reader sees that something is there.
    serde_json::to_string(view).unwrap_or_else(|error| {
        log::error!("a step of the tail cannot be written: {error}");
        "{}".to_owned()
    })
}
