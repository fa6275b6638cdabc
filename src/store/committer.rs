//! The thread that commits: the only one that writes the journal.
//!
//! A commit is written and synced as a whole, published to the log's readers, and only then answered.
//! It keeps the directory as of the journal's end, which is what a new segment starts with. An error
//! that is no refusal is final: later commits are refused without being tried.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::carried::Carry;
use super::entry::{Entry, Retired};
use super::error::StoreError;
use super::journal::Writer;
use super::journal::writer::Written;
use super::log::{Log, LogRecord};
use super::state::rows::Slot;
use crate::domain::delivery::Attempt;
use crate::domain::directory::{Change, Directory};
use crate::domain::event::Event;
use crate::domain::ids::{EventId, SubscriptionId};

/// Everything that is made durable by one sync.
#[derive(Debug, Default)]
pub struct Commit {
    /// When it was made, in milliseconds of Unix time.
    pub at_ms: u64,
    /// Directory changes; they come first.
    pub changes: Vec<Change>,
    /// Attempts; they come next.
    pub attempts: Vec<Attempt>,
    /// What outlives its segment.
    pub carry: Carry,
    /// Accepted events, in the order of their ids.
    pub events: Vec<Event>,
    /// Whether to look if a full disk has room again.
    pub look_for_space: bool,
}

/// A commit that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The position of the record that holds the events, if there were any.
    pub events_at: Option<u64>,
    /// Why events should be refused from here on, although this went well: there is no room for the
    /// next segment, and what is left of this one is for what was accepted already.
    pub refusal: Option<String>,
    /// How long encoding, writing and syncing took, if there was anything to write.
    pub written_in: Option<Duration>,
}

/// How far retention's view may be behind the log: that much is in memory still.
const MAX_LAG_BYTES: u64 = 4 << 20;

type Job = (Commit, oneshot::Sender<Result<Committed, StoreError>>);

/// Hands commits to their thread.
#[derive(Debug)]
pub struct Committer {
    jobs: SyncSender<Job>,
}

impl Committer {
    /// Starts the thread.
    pub fn start(mut work: Work) -> Result<Self, StoreError> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let dir = work.log.journal().layout().dir.clone();
        std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || {
                for (commit, done) in todo {
                    // Whoever asked may be gone; what is committed is committed all the same.
                    let _ = done.send(work.commit(commit));
                }
            })
            .map_err(StoreError::io("start a thread for", &dir))?;
        Ok(Self { jobs })
    }

    /// Has a commit written. One may be under way and one may wait; the receiver hears once it is
    /// synced.
    pub fn submit(&self, commit: Commit) -> oneshot::Receiver<Result<Committed, StoreError>> {
        let (done, heard) = oneshot::channel();
        if let Err(refused) = self.jobs.try_send((commit, done)) {
            let (TrySendError::Full((_, done)) | TrySendError::Disconnected((_, done))) = refused;
            let _ = done.send(Err(StoreError::Poisoned));
        }
        heard
    }
}

/// What the thread does, for whoever has no thread.
#[derive(Debug)]
pub struct Work {
    writer: Writer,
    log: Arc<Log>,
    directory: Directory,
    last_event: Option<EventId>,
}

impl Work {
    /// `directory` and `last_event` are those as of the journal's end.
    pub fn new(
        writer: Writer,
        log: Arc<Log>,
        directory: Directory,
        last_event: Option<EventId>,
    ) -> Self {
        Self {
            writer,
            log,
            directory,
            last_event,
        }
    }

    /// Writes a commit and publishes it; returns once it is synced.
    pub fn commit(&mut self, commit: Commit) -> Result<Committed, StoreError> {
        let retry = commit.look_for_space;
        let (began, end) = (Instant::now(), self.writer.end());
        let events_at = self.write(commit)?;
        let written_in = (self.writer.end() > end).then(|| began.elapsed());
        let refusal = self
            .writer
            .look_ahead(retry)
            .err()
            .map(|error| error.to_string());
        Ok(Committed {
            events_at,
            refusal,
            written_in,
        })
    }

    /// What retention found open may have been settled by now, or stand otherwise. If it looked too long
    /// ago to tell at little cost, it looks again.
    fn bring_up_to_date(&self, commit: &mut Commit) -> Result<(), StoreError> {
        if commit.carry.is_empty() {
            return Ok(());
        }
        let mut position = commit.carry.as_of;
        if self.log.end() - position > MAX_LAG_BYTES {
            commit.carry.ended.clear();
            commit.carry.events.clear();
            return Ok(());
        }
        let mut touched = HashSet::new();
        touch(&commit.attempts, &commit.changes, &mut touched);
        while let Some(record) = self.log.next(position)? {
            match &record.entry {
                Some(Entry::Settled(attempts)) => touch(attempts, &[], &mut touched),
                Some(Entry::Directory(changes)) => touch(&[], changes, &mut touched),
                _ => {}
            }
            position = record.next;
        }
        commit.carry.leave_out(&touched);
        commit.attempts.append(&mut commit.carry.ended);
        Ok(())
    }

    /// Writes and publishes; returns where the events stand.
    fn write(&mut self, mut commit: Commit) -> Result<Option<u64>, StoreError> {
        self.bring_up_to_date(&mut commit)?;
        let mut records = Vec::with_capacity(6);
        if !commit.changes.is_empty() {
            records.push(Entry::encode_directory(&commit.changes)?);
        }
        if !commit.attempts.is_empty() {
            records.push(Entry::encode_settled(&commit.attempts)?);
        }
        if !commit.carry.events.is_empty() {
            records.push(Entry::encode_carried(&commit.carry.events)?);
        }
        if !commit.carry.keys.is_empty() {
            records.push(Entry::encode_keys(&commit.carry.keys)?);
        }
        let retired = commit.carry.retired.map(|before| Retired {
            before,
            last_event: self.last_event,
        });
        if let Some(retired) = retired {
            records.push(Entry::encode_retired(retired)?);
        }
        if !commit.events.is_empty() {
            records.push(Entry::encode_accepted(&commit.events)?);
        }
        if records.is_empty() {
            return Ok(None);
        }
        let directory = &self.directory;
        let written = self.writer.append(&records, commit.at_ms, || {
            Entry::encode_snapshot(&directory.to_changes())
        })?;
        for change in &commit.changes {
            self.directory.apply(change);
        }
        let has_events = !commit.events.is_empty();
        let events_at = written.last().filter(|_| has_events);
        let events_at = events_at.map(|record| record.position);
        // Those of another store are carried in, and may be newer.
        let carried = commit.carry.events.iter().map(|carried| &carried.event);
        let newest = commit.events.last().into_iter().chain(carried);
        self.last_event = self.last_event.max(newest.map(|event| event.meta.id).max());
        let entries = entries(commit, retired, written.last()).into_iter();
        let records = entries.zip(&written);
        let records = records.map(|(entry, written)| log_record(entry, written));
        self.log.publish(records.collect(), &self.directory);
        Ok(events_at)
    }
}

/// Adds the deliveries that attempts and changes were about.
fn touch(attempts: &[Attempt], changes: &[Change], touched: &mut HashSet<(SubscriptionId, Slot)>) {
    let slot = |attempt: &Attempt| (attempt.subscription, attempt.slot());
    touched.extend(attempts.iter().map(slot));
    for change in changes {
        match change {
            Change::Cancelled(attempts) => touched.extend(attempts.iter().map(slot)),
            Change::Steered(all) => touched.extend(all.iter().map(|steered| {
                let slot = Slot::of(steered.place, steered.delivery.generation);
                (steered.delivery.subscription, slot)
            })),
            _ => {}
        }
    }
}

/// What was written, in the same order; `last` is the last record of it.
fn entries(commit: Commit, retired: Option<Retired>, last: Option<&Written>) -> Vec<Entry> {
    let Commit {
        changes,
        attempts,
        carry,
        events,
        ..
    } = commit;
    let mut entries = Vec::with_capacity(6);
    entries.extend((!changes.is_empty()).then_some(Entry::Directory(changes)));
    entries.extend((!attempts.is_empty()).then_some(Entry::Settled(attempts)));
    entries.extend((!carry.events.is_empty()).then_some(Entry::Carried(carry.events)));
    entries.extend((!carry.keys.is_empty()).then_some(Entry::Keys(carry.keys)));
    entries.extend(retired.map(Entry::Retired));
    if let Some(record) = last.filter(|_| !events.is_empty()) {
        entries.push(Entry::Accepted(shared(events, record)));
    }
    entries
}

/// Lets the events' bodies share the written record, so that what the callers sent can be freed.
fn shared(events: Vec<Event>, record: &Written) -> Vec<Event> {
    let bodies: usize = events.iter().map(|event| event.body.len()).sum();
    let mut at = record.payload.len().saturating_sub(bodies);
    let share = |event: Event| {
        let end = at + event.body.len();
        let body = record.payload.slice(at..end);
        at = end;
        Event { body, ..event }
    };
    events.into_iter().map(share).collect()
}

fn log_record(entry: Entry, written: &Written) -> LogRecord {
    LogRecord {
        position: written.position,
        next: written.next,
        previous: written.previous,
        entry: Some(entry),
        payload_bytes: written.payload.len(),
    }
}
