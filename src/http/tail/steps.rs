//! What happened, step by step: from a record of the log to what a reader is told of it.
//!
//! A reader sees what the lists of events and deliveries would show him, and of that what he asked for.
//! An attempt tells the type and the integration of its event as long as that stands where it was
//! accepted. Once retention has moved it, it does not, and whoever asked for a type does not hear of it.

use std::sync::Arc;

use serde::Serialize;

use super::told::{Message, Told, Which};
use super::wanted::Wanted;
use crate::actors::auth::Principal;
use crate::actors::directory::View;
use crate::domain::delivery::{Attempt, Outcome, Status};
use crate::domain::directory::Change;
use crate::domain::event::{Event, EventMeta};
use crate::domain::event_type::EventType;
use crate::domain::ids::{EventId, IntegrationId, SubscriptionId};
use crate::domain::time;
use crate::http::cursor::Cursors;
use crate::http::deliveries::AttemptView;
use crate::http::error::ApiError;
use crate::http::events::EventView;
use crate::store::entry::Entry;
use crate::store::log::{Log, LogRecord};

/// What a record holds for a reader.
#[derive(Debug, Default)]
pub struct Steps {
    /// What he asked for, in order.
    pub wanted: Vec<Arc<Message>>,
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
    /// What others were told.
    pub told: &'a Told,
    /// Seals what readers come back with.
    pub cursors: &'a Cursors,
}

/// The steps of one record, for one reader.
struct Reading<'a> {
    reader: &'a Reader<'a>,
    position: u64,
    /// The first step that he has not seen.
    from: u64,
    steps: Steps,
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
    pub fn steps(&self, record: &LogRecord, from: u64) -> Result<Steps, ApiError> {
        let mut reading = Reading {
            reader: self,
            position: record.position,
            from,
            steps: Steps::default(),
        };
        reading.read(record.entry.as_ref())?;
        Ok(reading.steps)
    }

    /// What a reader comes back with that has seen everything before this step.
    pub fn id(&self, position: u64, step: u64) -> Result<String, ApiError> {
        let account = self.who.account();
        self.cursors.seal(account, &[position, step])
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

impl Reading<'_> {
    fn read(&mut self, entry: Option<&Entry>) -> Result<(), ApiError> {
        match entry {
            Some(Entry::Accepted(events)) => {
                for (number, event) in (0..).zip(events) {
                    self.accepted(event, number)?;
                }
            }
            Some(Entry::Settled(attempts)) => {
                for (number, attempt) in (0..).step_by(2).zip(attempts) {
                    self.settled(attempt, number)?;
                }
            }
            Some(Entry::Directory(changes)) => {
                let ended = changes.iter().flat_map(|change| match change {
                    Change::Cancelled(attempts) => &attempts[..],
                    _ => [].as_slice(),
                });
                for (number, attempt) in (0..).step_by(2).zip(ended) {
                    self.settled(attempt, number)?;
                }
                // The census counts what is settled in records of their own.
                self.steps.of_account = 0;
            }
            _ => {}
        }
        Ok(())
    }

    fn accepted(&mut self, event: &Event, number: u64) -> Result<(), ApiError> {
        let (meta, reader) = (&event.meta, self.reader);
        if meta.account != reader.who.account() {
            return Ok(());
        }
        self.steps.of_account += 1;
        if !reader.who.reaches(Some(meta.integration)) || !reader.wanted.accepted(meta) {
            return Ok(());
        }
        let data = || json(&EventView::of(meta));
        self.step(number, "event.accepted", data, &event.body)
    }

    /// An attempt, and that it was the last if it was; each has a number of its own.
    fn settled(&mut self, attempt: &Attempt, number: u64) -> Result<(), ApiError> {
        let reader = self.reader;
        let subscription = reader.view.subscription(attempt.subscription);
        if subscription.is_some_and(|it| it.account == reader.who.account()) {
            self.steps.of_account += 1;
        }
        if !reader.wanted.attempt(attempt) {
            return Ok(());
        }
        // That it cannot be read is told by whoever has to.
        let event = reader.log.event(attempt.place).ok().flatten();
        let meta = event.map(|event| event.meta);
        let is_wanted = reader.wanted.event_of_attempt(meta.as_ref());
        if !reader.may_see(attempt, meta.as_ref()) || !is_wanted {
            return Ok(());
        }
        let about = About::of(attempt, meta);
        if attempt.was_made() {
            let data = || {
                json(&Attempted {
                    about: &about,
                    attempt: AttemptView::of(attempt),
                })
            };
            self.step(number, "delivery.attempt", data, &[])?;
        }
        if !matches!(attempt.outcome, Outcome::Retry { .. }) {
            let at_ms = attempt.started_at_ms + u64::from(attempt.duration_ms);
            let data = || {
                json(&Settled {
                    about: &about,
                    attempts: attempt.number,
                    ended_at: time::rfc3339(at_ms),
                })
            };
            self.step(number + 1, "delivery.settled", data, &[])?;
        }
        Ok(())
    }

    /// Notes a step, unless he has seen it or looks for a text that is neither in it nor in this body.
    fn step(
        &mut self,
        number: u64,
        name: &str,
        data: impl FnOnce() -> String,
        body: &[u8],
    ) -> Result<(), ApiError> {
        if number < self.from {
            return Ok(());
        }
        let (reader, position) = (self.reader, self.position);
        let which = Which {
            account: reader.who.account(),
            position,
            number,
        };
        let message = reader.told.message(which, || {
            let id = reader.id(position, number + 1)?;
            Ok::<_, ApiError>(Message::new(name, &id, &data()))
        })?;
        if reader.wanted.text_in(&[message.data().as_bytes(), body]) {
            self.steps.wanted.push(message);
        }
        Ok(())
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
