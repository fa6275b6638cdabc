//! What the whole records of a journal add up to: counts, times, and who there is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::directory::{Change, Directory};
use crate::store::entry::Entry;
use crate::store::journal::Frame;

/// Counts over all whole records.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Contents {
    /// All of them.
    pub records: u64,
    /// By what they are.
    pub records_by_kind: BTreeMap<&'static str, u64>,
    /// Records of kinds that this release does not know, by kind.
    pub unknown_kinds: BTreeMap<u8, u64>,
    /// The formats they are written in.
    pub formats: BTreeSet<u8>,
    /// Events that were accepted.
    pub events: u64,
    /// Attempts to deliver them.
    pub attempts: u64,
    /// When the first event was accepted, in milliseconds of Unix time.
    pub first_event_ms: Option<u64>,
    /// When the last one was.
    pub last_event_ms: Option<u64>,
}

impl Contents {
    /// Takes one more record in. `entry` is `None` for a kind that this release does not know.
    pub fn add(&mut self, frame: &Frame, entry: Option<&Entry>) {
        self.records += 1;
        self.formats.insert(frame.header.version);
        let Some(entry) = entry else {
            *self.unknown_kinds.entry(frame.header.kind).or_default() += 1;
            return;
        };
        let kind = match entry {
            Entry::Accepted(events) => {
                self.events += events.len() as u64;
                for event in events {
                    let at_ms = event.meta.accepted_at_ms;
                    self.first_event_ms.get_or_insert(at_ms);
                    self.last_event_ms = Some(at_ms);
                }
                "accepted"
            }
            Entry::Settled(attempts) => {
                self.attempts += attempts.len() as u64;
                "settled"
            }
            Entry::Directory(_) => "directory",
            Entry::Snapshot(_) => "snapshot",
            Entry::Carried(_) => "carried",
            Entry::Keys(_) => "keys",
            Entry::Retired(_) => "retired",
        };
        *self.records_by_kind.entry(kind).or_default() += 1;
    }
}

/// How many there are of what the directory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Accounts.
    pub accounts: usize,
    /// Integrations.
    pub integrations: usize,
    /// API keys.
    pub keys: usize,
    /// Subscriptions.
    pub subscriptions: usize,
}

impl Counts {
    /// Counts.
    pub fn of(directory: &Directory) -> Self {
        Self {
            accounts: directory.accounts().count(),
            integrations: directory.integrations().count(),
            keys: directory.keys().count(),
            subscriptions: directory.subscriptions().count(),
        }
    }
}

/// The directory as of each record, also after some were lost: the whole directory stands at the head
/// of each segment.
#[derive(Debug, Default)]
pub struct Tracked {
    directory: Directory,
    /// The head of the segment, as far as it was read.
    head: Option<Directory>,
    is_known: bool,
}

impl Tracked {
    /// A segment begins.
    pub fn begin_segment(&mut self) {
        self.end_head();
        self.head = Some(Directory::default());
    }

    /// Records were lost, and maybe changes with them.
    pub fn lose(&mut self) {
        self.head = None;
        self.is_known = false;
    }

    /// Takes one more record in.
    pub fn add(&mut self, frame: &Frame, entry: Option<&Entry>) {
        if frame.header.sequence == 0 {
            // Before the very first record there was nobody.
            self.is_known = true;
        }
        let changes: &[Change] = match entry {
            Some(Entry::Snapshot(changes)) => {
                if let Some(head) = &mut self.head {
                    for change in changes {
                        head.apply(change);
                    }
                }
                // Better too much than too little, should the rest of the head be missing.
                if self.is_known { &[] } else { changes }
            }
            Some(Entry::Directory(changes)) => {
                self.end_head();
                changes
            }
            _ => {
                self.end_head();
                &[]
            }
        };
        for change in changes {
            self.directory.apply(change);
        }
    }

    /// The head is whole: it says all there is.
    fn end_head(&mut self) {
        if let Some(head) = self.head.take()
            && head != Directory::default()
            && !self.is_known
        {
            self.directory = head;
            self.is_known = true;
        }
    }

    /// Whether nothing is missing.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// This is what it is, whatever was read.
    pub fn set(&mut self, directory: &Directory) {
        self.directory = directory.clone();
        self.is_known = true;
    }

    /// The directory after the last record.
    pub fn finish(mut self) -> Directory {
        self.end_head();
        self.directory
    }
}
