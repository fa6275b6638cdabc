//! Finding events in the log: by what they are, newest first, and by id.
//!
//! Reads backwards from the log's end or from a place, a bounded number of records at a time, so a
//! page may be shorter than its limit while there is more to come.

use std::sync::Arc;

use super::error::ApiError;
use super::{Relay, blocking};
use crate::actors::auth::Principal;
use crate::domain::event::{Event, EventMeta, Place};
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{AccountId, EventId, IntegrationId, SubscriptionId};
use crate::domain::time;
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::log::Log;

/// Payload bytes that one page may read.
const MAX_PAGE_BYTES: usize = 16 << 20;
/// Records that one page may read.
const MAX_PAGE_RECORDS: usize = 4000;

/// Which events are wanted. Everything that is visible to the caller, if nothing else is said.
#[derive(Debug, Clone)]
pub struct Wanted {
    who: Principal,
    event_type: Option<TypePattern>,
    integration: Option<IntegrationId>,
    since_ms: u64,
    until_ms: u64,
}

impl Wanted {
    /// Reads the parameters that lists of events and deliveries share.
    pub fn parse(
        who: Principal,
        (type_name, event_type): (&str, Option<&str>),
        integration_id: Option<&str>,
        since: Option<&str>,
        until: Option<&str>,
    ) -> Result<Self, ApiError> {
        let pattern = event_type.map(str::parse).transpose();
        let integration = integration_id.map(str::parse).transpose();
        Ok(Self {
            who,
            event_type: pattern
                .map_err(|error| ApiError::Invalid(format!("{type_name}: {error}")))?,
            integration: integration
                .map_err(|error| ApiError::Invalid(format!("integration_id: {error}")))?,
            since_ms: moment("since", since, 0)?,
            until_ms: moment("until", until, u64::MAX)?,
        })
    }

    /// Whose events.
    pub fn account(&self) -> AccountId {
        self.who.account()
    }

    /// Whether an event is wanted.
    pub fn holds(&self, event: &EventMeta) -> bool {
        event.account == self.who.account()
            && self.who.reaches(Some(event.integration))
            && self
                .integration
                .is_none_or(|only| only == event.integration)
            && self
                .event_type
                .as_ref()
                .is_none_or(|pattern| pattern.matches(&event.event_type))
            && (self.since_ms..=self.until_ms).contains(&event.accepted_at_ms)
    }
}

/// Reads a time; `otherwise` where none is given.
pub fn moment(name: &str, text: Option<&str>, otherwise: u64) -> Result<u64, ApiError> {
    let Some(text) = text else {
        return Ok(otherwise);
    };
    time::parse(text).ok_or_else(|| {
        let message = format!("{name} must be a time in the form 2030-01-31T12:00:00Z");
        ApiError::Invalid(message)
    })
}

/// An event that was found by its id.
pub struct FoundEvent {
    /// The place that it was accepted at.
    pub place: Place,
    /// Where it stands now.
    pub at: Place,
    /// The event.
    pub event: Event,
}

/// Part of the log, read backwards.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest first.
    pub events: Vec<(Place, Event)>,
    /// Everything at and after this place was looked at. `None` when all was.
    pub next: Option<Place>,
}

/// The newest events strictly before a place.
pub fn newest(
    log: &Log,
    wanted: &Wanted,
    before: Option<Place>,
    limit: usize,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let mut bytes = 0;
    let mut at = match before {
        // A cursor from elsewhere may point anywhere; only a place that holds a record is read.
        Some(place) if place.position < log.end() => {
            log.at(place.position).ok().map(|it| it.position)
        }
        Some(_) => None,
        None => log.last(),
    };
    for _ in 0..MAX_PAGE_RECORDS {
        let Some(position) = at else {
            found.next = None;
            return Ok(found);
        };
        let record = match log.at(position) {
            // What is older was removed.
            Err(StoreError::Gone { .. }) => {
                found.next = None;
                return Ok(found);
            }
            record => record?,
        };
        bytes += record.payload_bytes;
        if let Some(Entry::Accepted(events)) = &record.entry {
            for (index, event) in events.iter().enumerate().rev() {
                let place = Place {
                    position,
                    index: u32::try_from(index).unwrap_or(u32::MAX),
                };
                if before.is_some_and(|before| place >= before) || !wanted.holds(&event.meta) {
                    continue;
                }
                found.events.push((place, event.clone()));
                if found.events.len() == limit {
                    found.next = Some(place);
                    return Ok(found);
                }
            }
        }
        found.next = Some(Place { position, index: 0 });
        if bytes > MAX_PAGE_BYTES {
            return Ok(found);
        }
        at = record.previous;
    }
    Ok(found)
}

/// The event of this id, if the caller may see it.
pub async fn find(relay: &Relay, who: Principal, id: EventId) -> Result<FoundEvent, ApiError> {
    let account = who.account();
    let everything = Wanted::parse(who, ("type", None), None, None, None)?;
    let accepted = match relay.dispatch.near(id).await? {
        Some(near) => {
            let log = Arc::clone(&relay.log);
            blocking(move || search(&log, near, id)).await?
        }
        None => None,
    };
    let found = match accepted {
        None => carried(relay, account, id).await?,
        accepted => accepted,
    };
    found
        .filter(|found| everything.holds(&found.event.meta))
        .ok_or(ApiError::NotFound("Event"))
}

/// An event whose segment was removed, and which is still open for someone.
async fn carried(
    relay: &Relay,
    account: AccountId,
    id: EventId,
) -> Result<Option<FoundEvent>, ApiError> {
    let among = subscriptions(relay, account);
    let Some(open) = relay.dispatch.open_of_id(among, id).await? else {
        return Ok(None);
    };
    let log = Arc::clone(&relay.log);
    let event = blocking(move || log.event(open.at)).await?;
    Ok(event.map(|event| FoundEvent {
        place: open.slot.place,
        at: open.at,
        event,
    }))
}

/// The subscriptions of an account.
pub fn subscriptions(relay: &Relay, account: AccountId) -> Vec<SubscriptionId> {
    let directory = relay.directory.view().read();
    let own = directory.subscriptions().filter(|it| it.account == account);
    own.map(|it| it.id).collect()
}

/// Reads forwards until the event or a later one is found: ids grow in the order of the log.
fn search(log: &Log, near: u64, id: EventId) -> Result<Option<FoundEvent>, StoreError> {
    let mut position = near.max(log.start());
    while let Some(record) = log.next(position)? {
        position = record.next;
        let Some(Entry::Accepted(events)) = &record.entry else {
            continue;
        };
        if let Ok(index) = events.binary_search_by(|event| event.meta.id.cmp(&id)) {
            let place = Place {
                position: record.position,
                index: u32::try_from(index).unwrap_or(u32::MAX),
            };
            return Ok(Some(FoundEvent {
                place,
                at: place,
                event: events[index].clone(),
            }));
        }
        if events.last().is_some_and(|last| last.meta.id > id) {
            break;
        }
    }
    Ok(None)
}
