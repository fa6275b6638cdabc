//! Making a new store of lines.
//!
//! All or nothing: what is wrong is named by its line, and nothing is left behind. Memory is bounded by
//! the directory and by what is written at once.
//!
//! An event is written as *carried*: with the state of each open delivery, and never matched again. The
//! place that names it is before the journal's first record, as for any event that another store
//! accepted; places grow with uuids.

use std::io::{BufRead, Read};

use super::event::{DeliveryLine, EventLine, IdempotencyLine};
use super::{End, FORMAT, Header, Line, MAX_LINE_BYTES, PortableError, VERSION};
use crate::domain::directory::{Change, Directory};
use crate::domain::event::Place;
use crate::domain::ids::{AccountId, EventId, IntegrationId};
use crate::domain::sealed::Keyring;
use crate::store::archive::Target;
use crate::store::carried::{CarriedEvent, CarriedKey};
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::journal::{Raw, Reader, Writer, recovery};
use crate::store::opening::new_id;

/// What is written and synced at once, if segments are not much smaller, and but for one event that is
/// larger.
const MAX_WRITE_BYTES: usize = 1 << 20;
/// An event's share of that beside its body; an estimate.
const EVENT_BYTES: usize = 256;
const DELIVERY_BYTES: usize = 32;

/// How far the clock that gave a uuid may be ahead of ours: a day.
const MAX_AHEAD_MS: u64 = 24 * 3600 * 1000;

/// What was imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Imported {
    /// Accounts, integrations, keys and subscriptions.
    pub directory: u64,
    /// Idempotency keys.
    pub keys: u64,
    /// Events with open deliveries.
    pub events: u64,
    /// Open deliveries.
    pub deliveries: u64,
    /// Events without any, which were not taken over.
    pub settled: u64,
}

/// Reads an export to its end and makes a store of it.
pub fn import(
    from: impl BufRead,
    target: &Target,
    segment_bytes: u64,
    ring: &Keyring,
    now_ms: u64,
) -> Result<Imported, PortableError> {
    let mut lines = Lines { from, number: 0 };
    read_header(&mut lines)?;
    let mut import = Import::begin(target, segment_bytes, ring, now_ms)?;
    loop {
        let text = lines
            .next()?
            .ok_or(PortableError::Cut { line: lines.number })?;
        let wrong = |what| PortableError::Line {
            line: lines.number,
            what,
        };
        let line = serde_json::from_slice(&text).map_err(|error| wrong(words(&error)))?;
        if let Line::End(end) = line {
            let lines_before = lines.number - 1;
            let events = import.done.events + import.done.settled;
            if end
                != (End {
                    lines: lines_before,
                    events,
                })
            {
                let what = format!("{lines_before} lines and {events} events came before the end");
                return Err(wrong(what));
            }
            if lines.next()?.is_some() {
                let what = "something follows the end".to_owned();
                return Err(PortableError::Line {
                    line: lines.number,
                    what,
                });
            }
            break;
        }
        import.take(line).map_err(|error| match error {
            Refused::Line(what) => wrong(what),
            Refused::Store(error) => error.into(),
        })?;
    }
    let done = import.finish()?;
    target.commit()?;
    Ok(done)
}

fn read_header(lines: &mut Lines<impl BufRead>) -> Result<(), PortableError> {
    #[derive(serde::Deserialize)]
    struct Any {
        format: String,
        version: u32,
    }
    let text = lines.next()?.ok_or(PortableError::Foreign)?;
    let any: Any = serde_json::from_slice(&text).map_err(|_| PortableError::Foreign)?;
    if any.format != FORMAT {
        return Err(PortableError::Foreign);
    }
    if any.version > VERSION {
        let found = any.version;
        return Err(PortableError::Newer { found });
    }
    let header: Result<Header, _> = serde_json::from_slice(&text);
    header.map(|_| ()).map_err(|error| PortableError::Line {
        line: 1,
        what: words(&error),
    })
}

/// What is wrong, without serde's "at line 1", which is not the line that people look for.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    format!("{} (at its character {})", &text[..end], error.column())
}

struct Lines<R> {
    from: R,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, PortableError> {
        let mut text = Vec::new();
        let mut bounded = (&mut self.from).take(MAX_LINE_BYTES);
        bounded
            .read_until(b'\n', &mut text)
            .map_err(PortableError::Read)?;
        if text.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if text.len() as u64 == MAX_LINE_BYTES {
            let what = format!("it is longer than {MAX_LINE_BYTES} bytes");
            let line = self.number;
            return Err(PortableError::Line { line, what });
        }
        Ok(Some(text))
    }
}

/// Why a line is not taken.
enum Refused {
    Line(String),
    Store(StoreError),
}

impl From<String> for Refused {
    fn from(what: String) -> Self {
        Self::Line(what)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// What may still come: the directory, idempotency keys, events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Part {
    Directory,
    Keys,
    Events,
}

struct Import<'a> {
    writer: Writer,
    /// Seals what comes in clear.
    ring: &'a Keyring,
    now_ms: u64,
    part: Part,
    directory: Directory,
    keys: Vec<CarriedKey>,
    events: Vec<CarriedEvent>,
    /// What waits to be written, and when it is: estimates.
    bytes: usize,
    max_write_bytes: usize,
    last: Option<EventId>,
    done: Imported,
}

impl<'a> Import<'a> {
    fn begin(
        target: &Target,
        segment_bytes: u64,
        ring: &'a Keyring,
        now_ms: u64,
    ) -> Result<Self, StoreError> {
        let layout = target.layout(new_id()?, segment_bytes);
        Writer::create(&layout, now_ms)?;
        let tail = recovery::recover(&Reader::new(layout.clone()), None)?;
        let tail = tail.ok_or_else(|| StoreError::Foreign {
            path: layout.dir.clone(),
            what: "the journal that was just made is not there",
        })?;
        Ok(Self {
            writer: Writer::resume(layout, tail)?,
            ring,
            now_ms,
            part: Part::Directory,
            directory: Directory::default(),
            keys: Vec::new(),
            events: Vec::new(),
            bytes: 0,
            max_write_bytes: usize::try_from(segment_bytes / 4)
                .map_or(MAX_WRITE_BYTES, |quarter| quarter.min(MAX_WRITE_BYTES)),
            last: None,
            done: Imported::default(),
        })
    }

    fn take(&mut self, line: Line) -> Result<(), Refused> {
        match line {
            Line::Account(line) => {
                is_new(self.directory.account(line.id).is_none())?;
                self.put(&line.change())
            }
            Line::Integration(line) => {
                is_new(self.directory.integration(line.id).is_none())?;
                self.refer(line.account_id, None)?;
                self.put(&line.change())
            }
            Line::ApiKey(line) => {
                is_new(self.directory.key(line.id).is_none())?;
                self.refer(line.account_id, line.integration_id)?;
                self.put(&line.change()?)
            }
            Line::Subscription(line) => {
                is_new(self.directory.subscription(line.id).is_none())?;
                self.refer(line.account_id, line.integration_id)?;
                self.put(&line.change(self.ring)?)
            }
            Line::IdempotencyKey(line) => self.key(line),
            Line::Event(line) => self.event(line),
            Line::End(_) => Ok(()),
        }
    }

    fn put(&mut self, change: &Change) -> Result<(), Refused> {
        self.enter(Part::Directory)?;
        self.directory.apply(change);
        self.done.directory += 1;
        Ok(())
    }

    /// What a record refers to must have come.
    fn refer(&self, account: AccountId, door: Option<IntegrationId>) -> Result<(), String> {
        if self.directory.account(account).is_none() {
            return Err(format!("there is no account {account} before it"));
        }
        match door.filter(|door| self.directory.integration(*door).is_none()) {
            Some(door) => Err(format!("there is no integration {door} before it")),
            None => Ok(()),
        }
    }

    fn key(&mut self, line: IdempotencyLine) -> Result<(), Refused> {
        self.enter(Part::Keys)?;
        let key = line.carried()?;
        self.bytes += EVENT_BYTES + 16 * key.ids.len();
        self.keys.push(key);
        self.done.keys += 1;
        Ok(self.write_if_large()?)
    }

    fn event(&mut self, line: EventLine) -> Result<(), Refused> {
        self.enter(Part::Events)?;
        let uuid = line.uuid;
        if self.last.is_some_and(|last| uuid <= last) {
            return Err(format!("uuid {uuid} does not exceed the one before").into());
        }
        self.last = Some(uuid);
        // Later ids grow from here: one from the far future would never be caught up with.
        if uuid.0.as_u64_pair().0 >> 16 > self.now_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(format!("uuid {uuid} is no version 7 uuid of the past").into());
        }
        self.refer(line.account_id, None)?;
        self.check_deliveries(&line)?;
        let place = place(self.done.events);
        let carried = line.carried(place)?;
        if carried.open.is_empty() {
            self.done.settled += 1;
            return Ok(());
        }
        self.bytes += EVENT_BYTES + carried.event.body.len() + DELIVERY_BYTES * carried.open.len();
        self.done.deliveries += carried.open.len() as u64;
        self.done.events += 1;
        self.events.push(carried);
        Ok(self.write_if_large()?)
    }

    /// Deliveries are of the account's own subscriptions, and none comes twice.
    fn check_deliveries(&self, line: &EventLine) -> Result<(), String> {
        let key = |it: &DeliveryLine| (it.subscription_id, it.generation);
        if !line
            .deliveries
            .is_sorted_by(|one, next| key(one) < key(next))
        {
            return Err("deliveries must grow by subscription_id and generation".to_owned());
        }
        for delivery in &line.deliveries {
            let to = delivery.subscription_id;
            let known = self.directory.subscription(to);
            if known.is_none_or(|known| known.account != line.account_id) {
                return Err(format!("its account has no subscription {to}"));
            }
        }
        Ok(())
    }

    /// Parts come in order; what is complete is written.
    fn enter(&mut self, part: Part) -> Result<(), Refused> {
        if part < self.part {
            let what = "it comes too late: first the directory, then idempotency keys, then events";
            return Err(what.to_owned().into());
        }
        while self.part != part {
            self.part = self.complete()?;
        }
        Ok(())
    }

    /// Writes what is left of a part, and says which is next.
    fn complete(&mut self) -> Result<Part, StoreError> {
        if self.part == Part::Directory {
            // One at a time: together they may not fit into one segment.
            for record in Entry::encode_snapshot(&self.directory.to_changes())? {
                self.append(&[record])?;
            }
            return Ok(Part::Keys);
        }
        self.write()?;
        Ok(Part::Events)
    }

    fn write_if_large(&mut self) -> Result<(), StoreError> {
        if self.bytes < self.max_write_bytes {
            return Ok(());
        }
        self.write()
    }

    fn write(&mut self) -> Result<(), StoreError> {
        let mut records = Vec::new();
        if !self.keys.is_empty() {
            records.push(Entry::encode_keys(&std::mem::take(&mut self.keys))?);
        }
        if !self.events.is_empty() {
            records.push(Entry::encode_carried(&std::mem::take(&mut self.events))?);
        }
        self.bytes = 0;
        if records.is_empty() {
            return Ok(());
        }
        self.append(&records)
    }

    fn append(&mut self, records: &[Raw]) -> Result<(), StoreError> {
        let directory = &self.directory;
        let head = || Entry::encode_snapshot(&directory.to_changes());
        self.writer.append(records, self.now_ms, head).map(|_| ())
    }

    fn finish(mut self) -> Result<Imported, StoreError> {
        while self.part != Part::Events {
            self.part = self.complete()?;
        }
        self.write()?;
        Ok(self.done)
    }
}

fn is_new(is_new: bool) -> Result<(), String> {
    let twice = || "a record of this id came before".to_owned();
    is_new.then_some(()).ok_or_else(twice)
}

/// The place that names the nth event.
fn place(n: u64) -> Place {
    Place {
        position: n >> 32,
        index: u32::try_from(n & u64::from(u32::MAX)).unwrap_or(u32::MAX),
    }
}
