//! Writing a store as lines. The store is open and nobody changes it.
//!
//! Memory is bounded by one page of open events and one record of the journal.

use std::io::Write;

use super::directory::{AccountLine, ApiKeyLine, IntegrationLine, SubscriptionLine};
use super::event::{EventLine, IdempotencyLine};
use super::text::Time;
use super::{End, FORMAT, Header, Line, PortableError, VERSION, Which};
use crate::domain::event::{Event, Place};
use crate::domain::ids::EventId;
use crate::domain::sealed::Keyring;
use crate::store::Store;
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::ledger::Open;
use crate::store::state::rows::KeyedRequest;

/// Rows read at a time.
const PAGE: usize = 1000;

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Lines, the first and the last included.
    pub lines: u64,
    /// Events.
    pub events: u64,
}

/// Writes everything, but for the events that are not wanted.
pub fn export(
    store: &Store,
    which: Which,
    ring: &Keyring,
    now_ms: u64,
    to: &mut impl Write,
) -> Result<Exported, PortableError> {
    let mut export = Export {
        store,
        to,
        done: End::default(),
    };
    export.header(which, now_ms)?;
    export.directory(ring)?;
    export.idempotency_keys(now_ms)?;
    let start = store.log.start();
    match which {
        Which::Open => export.open_events(u64::MAX)?,
        Which::All => {
            // Of what was accepted before the log starts, only what is open is kept.
            export.open_events(start)?;
            export.accepted_events(start)?;
        }
    }
    let done = export.done;
    export.line(&Line::End(done))?;
    Ok(Exported {
        lines: done.lines + 1,
        events: done.events,
    })
}

struct Export<'a, W> {
    store: &'a Store,
    to: &'a mut W,
    done: End,
}

impl<W: Write> Export<'_, W> {
    fn header(&mut self, which: Which, now_ms: u64) -> Result<(), PortableError> {
        self.line(&Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            made_at: Time(now_ms),
            events: which,
        })
    }

    fn line(&mut self, line: &impl serde::Serialize) -> Result<(), PortableError> {
        let written = serde_json::to_writer(&mut *self.to, line).map_err(Into::into);
        written
            .and_then(|()| self.to.write_all(b"\n"))
            .map_err(PortableError::Write)?;
        self.done.lines += 1;
        Ok(())
    }

    fn directory(&mut self, ring: &Keyring) -> Result<(), PortableError> {
        let directory = self.store.ledger.directory();
        for account in directory.accounts() {
            self.line(&Line::Account(AccountLine::of(account)))?;
        }
        for integration in directory.integrations() {
            self.line(&Line::Integration(IntegrationLine::of(integration)))?;
        }
        for key in directory.keys() {
            self.line(&Line::ApiKey(ApiKeyLine::of(key)))?;
        }
        for subscription in directory.subscriptions() {
            self.line(&Line::Subscription(SubscriptionLine::of(
                subscription,
                ring,
            )?))?;
        }
        Ok(())
    }

    fn idempotency_keys(&mut self, now_ms: u64) -> Result<(), PortableError> {
        let mut after = None;
        loop {
            let page = self.store.ledger.keys_after(after, PAGE)?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(*last);
            for (scope, request) in page {
                if request.expires_at_ms > now_ms {
                    let ids = self.answer(&request)?;
                    let line = IdempotencyLine::of(scope, &request, ids);
                    self.line(&Line::IdempotencyKey(line))?;
                }
            }
        }
    }

    /// The ids that a key answers with.
    fn answer(&self, request: &KeyedRequest) -> Result<Vec<EventId>, StoreError> {
        let Place { position, index } = request.place;
        let (index, count) = (index as usize, request.events as usize);
        let record = self.store.log.at(position)?;
        Ok(match &record.entry {
            Some(Entry::Accepted(events)) => {
                let own = events.iter().skip(index).take(count);
                own.map(|event| event.meta.id).collect()
            }
            Some(Entry::Keys(keys)) => keys.get(index).map_or(Vec::new(), |key| key.ids.clone()),
            _ => Vec::new(),
        })
    }

    /// Events that are open for anybody and were accepted before a position.
    fn open_events(&mut self, before: u64) -> Result<(), PortableError> {
        let mut after = None;
        loop {
            let page = self.store.ledger.open_after(after, PAGE)?;
            let Some((&last, _)) = page.last_key_value() else {
                return Ok(());
            };
            after = Some(last);
            for (place, open) in page {
                if place.position >= before {
                    return Ok(());
                }
                // The event stands elsewhere than it was accepted if its segment was removed since.
                let at = open.first().map_or(place, |(_, entry)| entry.at);
                let event = self.store.log.event(at)?;
                let missing = StoreError::Gone {
                    position: at.position,
                };
                self.event(&event.ok_or(missing)?, &open)?;
            }
        }
    }

    /// All events from a position of the log on.
    fn accepted_events(&mut self, start: u64) -> Result<(), PortableError> {
        let mut position = start;
        while let Some(record) = self.store.log.next(position)? {
            position = record.next;
            let Some(Entry::Accepted(events)) = &record.entry else {
                continue;
            };
            for (index, event) in (0..).zip(events) {
                let position = record.position;
                let open = self.store.ledger.open_of(Place { position, index })?;
                self.event(event, &open)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, open: &[Open]) -> Result<(), PortableError> {
        let mut open = open.to_vec();
        open.sort_unstable_by_key(|(subscription, entry)| (*subscription, entry.slot));
        let open = &open;
        self.line(&Line::Event(EventLine::of(event, open)))?;
        self.done.events += 1;
        Ok(())
    }
}
