//! The thread that commits: the only one that writes the journal.
//!
//! A commit is written and synced as a whole, published to the log's readers, and only then answered.
//! It keeps the directory as of the journal's end, which is what a new segment starts with. An error
//! that is no refusal is final: later commits are refused without being tried.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use tokio::sync::oneshot;

use super::entry::Entry;
use super::error::StoreError;
use super::journal::Writer;
use super::journal::writer::Written;
use super::log::{Log, LogRecord};
use crate::domain::delivery::Attempt;
use crate::domain::directory::{Change, Directory};
use crate::domain::event::Event;

/// Everything that is made durable by one sync.
#[derive(Debug, Default)]
pub struct Commit {
    /// When it was made, in milliseconds of Unix time.
    pub at_ms: u64,
    /// Directory changes; they come first.
    pub changes: Vec<Change>,
    /// Attempts; they come next.
    pub attempts: Vec<Attempt>,
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
}

type Job = (Commit, oneshot::Sender<Result<Committed, StoreError>>);

/// Hands commits to their thread.
#[derive(Debug)]
pub struct Committer {
    jobs: SyncSender<Job>,
}

impl Committer {
    /// Starts the thread. `directory` is the one as of the journal's end.
    pub fn start(writer: Writer, log: Arc<Log>, directory: Directory) -> Result<Self, StoreError> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let dir = log.journal().layout().dir.clone();
        let mut work = Work {
            writer,
            log,
            directory,
        };
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

struct Work {
    writer: Writer,
    log: Arc<Log>,
    directory: Directory,
}

impl Work {
    fn commit(&mut self, commit: Commit) -> Result<Committed, StoreError> {
        let retry = commit.look_for_space;
        let events_at = self.write(commit)?;
        let refusal = self
            .writer
            .look_ahead(retry)
            .err()
            .map(|error| error.to_string());
        Ok(Committed { events_at, refusal })
    }

    /// Writes and publishes; returns where the events stand.
    fn write(&mut self, commit: Commit) -> Result<Option<u64>, StoreError> {
        let Commit {
            at_ms,
            changes,
            attempts,
            events,
            ..
        } = commit;
        if changes.is_empty() && attempts.is_empty() && events.is_empty() {
            return Ok(None);
        }
        let mut records = Vec::with_capacity(3);
        if !changes.is_empty() {
            records.push(Entry::encode_directory(&changes)?);
        }
        if !attempts.is_empty() {
            records.push(Entry::encode_settled(&attempts)?);
        }
        if !events.is_empty() {
            records.push(Entry::encode_accepted(&events)?);
        }
        let directory = &self.directory;
        let written = self.writer.append(&records, at_ms, || {
            Entry::encode_snapshot(&directory.to_changes())
        })?;
        for change in &changes {
            self.directory.apply(change);
        }
        let events_at = written
            .last()
            .filter(|_| !events.is_empty())
            .map(|record| record.position);
        let mut entries = Vec::with_capacity(3);
        entries.extend((!changes.is_empty()).then_some(Entry::Directory(changes)));
        entries.extend((!attempts.is_empty()).then_some(Entry::Settled(attempts)));
        if let Some(record) = written.last().filter(|_| !events.is_empty()) {
            entries.push(Entry::Accepted(shared(events, record)));
        }
        let records = entries.into_iter().zip(written);
        self.log.publish(
            records
                .map(|(entry, written)| log_record(entry, &written))
                .collect(),
        );
        Ok(events_at)
    }
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
