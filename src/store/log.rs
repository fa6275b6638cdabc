//! The log as the rest of the relay reads it: decoded entries, by position.
//!
//! What was just written is kept in memory, so that whoever keeps up never touches the disk; what is
//! older is read from the journal. Nothing beyond the synced end is ever seen. All calls may block on
//! the disk when they miss.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::attempts::AttemptIndex;
use super::census::Census;
use super::entry::{Entry, UNDECODABLE};
use super::error::StoreError;
use super::holds::{Hold, Holds};
use super::journal::{Frame, Reader};
use crate::domain::delivery::Attempt;
use crate::domain::directory::Directory;
use crate::domain::event::{Event, Place};
use crate::domain::ids::{AccountId, EventId};

/// Payload bytes of the latest records that are kept in memory.
const RECENT_BYTES: usize = 8 << 20;
/// Payload bytes of older records that are kept after they were read.
const LOADED_BYTES: usize = 4 << 20;
const NOTHING_YET: u64 = u64::MAX;

/// One record of the log.
#[derive(Debug)]
pub struct LogRecord {
    /// Where it stands.
    pub position: u64,
    /// Where the next one stands, if it is in the same segment.
    pub next: u64,
    /// Where the one before stands.
    pub previous: Option<u64>,
    /// What it says; `None` for a kind that this release does not know.
    pub entry: Option<Entry>,
    /// The length of its payload.
    pub payload_bytes: usize,
}

impl LogRecord {
    fn decode(frame: &Frame) -> Result<Self, StoreError> {
        Ok(Self {
            position: frame.position,
            next: frame.next,
            previous: frame.previous,
            entry: Entry::decode(frame.header.kind, &frame.payload)?,
            payload_bytes: frame.payload.len(),
        })
    }
}

/// Reads the log. Shared by all who read.
#[derive(Debug)]
pub struct Log {
    journal: Reader,
    end: watch::Sender<u64>,
    last: AtomicU64,
    recent: Mutex<Kept>,
    loaded: Mutex<Kept>,
    attempts: AttemptIndex,
    holds: Holds,
    census: Mutex<Census>,
}

impl Log {
    /// The log of a recovered journal that starts at `start` and ends at `end`, with its last record at
    /// `last`.
    pub fn new(
        journal: Reader,
        start: u64,
        end: u64,
        last: Option<u64>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            attempts: AttemptIndex::open(&journal, end)?,
            holds: Holds::new(start),
            census: Mutex::new(Census::new(end)),
            journal,
            end: watch::Sender::new(end),
            last: AtomicU64::new(last.unwrap_or(NOTHING_YET)),
            recent: Mutex::new(Kept::new(RECENT_BYTES)),
            loaded: Mutex::new(Kept::new(LOADED_BYTES)),
        })
    }

    /// The journal beneath.
    pub fn journal(&self) -> &Reader {
        &self.journal
    }

    /// Where the log starts: what stood before was removed.
    pub fn start(&self) -> u64 {
        self.holds.start()
    }

    /// Keeps all that is there now from being removed.
    pub fn hold(&self) -> Hold {
        self.holds.hold()
    }

    /// Keeps all that is there from being removed, so that the event at a position can be delivered once
    /// more. `None` when that is leaving.
    pub fn hold_for(&self, position: u64) -> Option<Hold> {
        self.holds.hold_for(position)
    }

    /// Says that what stands before a position is leaving. Says whether nobody holds any of it.
    pub(super) fn begin_leaving(&self, end: u64) -> bool {
        self.holds.begin_leaving(end)
    }

    /// Moves the start forward, unless somebody holds what stands before it. Says whether it did.
    pub(super) fn advance(&self, start: u64) -> bool {
        self.holds.advance(start)
    }

    /// The position up to which everything is synced.
    pub fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Tells of each new end; whoever is slow hears only of the latest.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// The position of the last record.
    pub fn last(&self) -> Option<u64> {
        Some(self.last.load(Ordering::Acquire)).filter(|last| *last != NOTHING_YET)
    }

    /// A position that everything is published up to, and how much of this account was published until
    /// then since the start: events and attempts.
    pub fn census(&self, account: AccountId) -> (u64, u64) {
        let census = self.census.lock().unwrap_or_else(PoisonError::into_inner);
        census.of(account)
    }

    /// Takes in what was just synced; the directory says whose attempts are whose.
    pub(super) fn publish(&self, records: Vec<LogRecord>, directory: &Directory) {
        let Some((last, end)) = records.last().map(|record| (record.position, record.next)) else {
            return;
        };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut census = self.census.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            if let Some(entry) = &record.entry {
                census.add(entry, directory, record.next);
            }
            self.attempts.add(
                self.journal.layout(),
                record.position,
                record.entry.as_ref(),
            );
            recent.push(Arc::new(record));
        }
        drop((recent, census));
        self.last.store(last, Ordering::Release);
        self.end.send_replace(end);
    }

    /// The record at a position that is known to hold one, unless it is [`StoreError::Gone`].
    pub fn at(&self, position: u64) -> Result<Arc<LogRecord>, StoreError> {
        if let Some(record) = self.cached(position) {
            return Ok(record);
        }
        let frame = self.journal.read(position);
        self.keep_loaded(&frame.map_err(|error| self.gone_or(error, position))?)
    }

    /// A segment that retention has removed cannot be read, and that is no failure.
    fn gone_or(&self, error: StoreError, position: u64) -> StoreError {
        if position < self.start() {
            StoreError::Gone { position }
        } else {
            error
        }
    }

    /// The record at or after a position that follows a record. `None` at the end.
    pub fn next(&self, position: u64) -> Result<Option<Arc<LogRecord>>, StoreError> {
        let end = self.end();
        if position >= end {
            return Ok(None);
        }
        if let Some(record) = self.cached(position) {
            return Ok(Some(record));
        }
        let frame = self.journal.read_from(position, end);
        frame
            .map_err(|error| self.gone_or(error, position))?
            .map(|frame| self.keep_loaded(&frame))
            .transpose()
    }

    /// The event at a place, accepted or carried there. `None` when it is there no more.
    pub fn event(&self, place: Place) -> Result<Option<Event>, StoreError> {
        match self.at(place.position) {
            Ok(record) => Ok(event_of(&record, place)),
            Err(StoreError::Gone { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Like [`Self::event`], from memory alone.
    pub fn cached_event(&self, place: Place) -> Option<Event> {
        event_of(&*self.cached(place.position)?, place)
    }

    /// The attempts that were made to deliver an event, in the order in which they were settled.
    pub fn attempts_of(&self, id: EventId, place: Place) -> Result<Vec<Attempt>, StoreError> {
        let mut attempts = Vec::new();
        for position in self.attempts.positions(
            &self.journal,
            id,
            place.position.max(self.start()),
            self.end(),
        )? {
            let record = self.at(position)?;
            let settled = record.entry.iter().flat_map(Entry::attempts);
            attempts.extend(settled.filter(|attempt| attempt.event == id).cloned());
        }
        Ok(attempts)
    }

    fn cached(&self, position: u64) -> Option<Arc<LogRecord>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = recent.find_ordered(position) {
            return Some(record);
        }
        drop(recent);
        self.loaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .find(position)
    }

    fn keep_loaded(&self, frame: &Frame) -> Result<Arc<LogRecord>, StoreError> {
        // Not an error of the state, which could be rebuilt: there is nothing to rebuild this from.
        let undecodable = |_| self.journal.damaged(frame.position, UNDECODABLE);
        let record = Arc::new(LogRecord::decode(frame).map_err(undecodable)?);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.push(Arc::clone(&record));
        Ok(record)
    }
}

fn event_of(record: &LogRecord, place: Place) -> Option<Event> {
    let index = place.index as usize;
    match record.entry.as_ref()? {
        Entry::Accepted(events) => events.get(index).cloned(),
        Entry::Carried(events) => events.get(index).map(|carried| carried.event.clone()),
        _ => None,
    }
}

/// Records kept in memory, the oldest dropped first.
#[derive(Debug)]
struct Kept {
    records: VecDeque<Arc<LogRecord>>,
    bytes: usize,
    max_bytes: usize,
}

impl Kept {
    fn new(max_bytes: usize) -> Self {
        Self {
            records: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    fn push(&mut self, record: Arc<LogRecord>) {
        self.bytes += record.payload_bytes;
        self.records.push_back(record);
        while self.bytes > self.max_bytes && self.records.len() > 1 {
            let dropped = self.records.pop_front();
            self.bytes -= dropped.map_or(0, |record| record.payload_bytes);
        }
    }

    fn find(&self, position: u64) -> Option<Arc<LogRecord>> {
        self.records
            .iter()
            .rev()
            .find(|record| record.position == position)
            .cloned()
    }

    /// For records that were pushed in the order of their positions.
    fn find_ordered(&self, position: u64) -> Option<Arc<LogRecord>> {
        let at = self
            .records
            .partition_point(|record| record.position < position);
        self.records
            .get(at)
            .filter(|record| record.position == position)
            .cloned()
    }
}
