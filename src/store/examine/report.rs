//! What an examination finds, as plain values.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use super::contents::{Contents, Counts};
use super::walk::Damage;
use crate::domain::event::Place;
use crate::domain::sealed::SealingKeyId;

/// Everything there is to say about a store.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The data directory.
    pub dir: PathBuf,
    /// The id that the journal carries, in hexadecimal digits.
    pub store_id: String,
    /// A relay has it open: what it had not synced when it was looked at is left out.
    pub is_running: bool,
    /// The files of the journal.
    pub segments: Segments,
    /// The first record's number. It is 0 until retention has removed the first segment.
    pub first_sequence: Option<u64>,
    /// The last record's number.
    pub last_sequence: Option<u64>,
    /// Where the journal ends.
    pub end: u64,
    /// What the whole records hold.
    pub contents: Contents,
    /// Who there is after the last record.
    pub directory: Counts,
    /// The keys that secrets are sealed under after the last record.
    #[serde(skip)]
    pub sealed_under: BTreeSet<SealingKeyId>,
    /// What is wrong, in the order of the journal; at most [`super::MAX_LISTED`].
    pub damage: Vec<Damage>,
    /// All of it, counted.
    pub damaged_places: u64,
    /// Records that must have stood there, by the numbers of those around them.
    pub missing_records: u64,
    /// The end of a write that a crash cut off, and nobody was answered for.
    pub torn: Option<Damage>,
    /// What the last checkpoint says.
    pub state: StateFound,
    /// Deliveries that are not settled for good: after the last record if a start would succeed, as of
    /// the checkpoint otherwise.
    pub open: Option<OpenCounts>,
    /// What a start would do.
    pub start: Start,
}

impl Report {
    /// Nothing is damaged, and a start would succeed.
    pub fn is_healthy(&self) -> bool {
        let state_is_well = matches!(
            self.state,
            StateFound::Checkpoint {
                is_ahead: false,
                ..
            } | StateFound::Missing
                | StateFound::Empty
                | StateFound::OtherFormat { .. }
                | StateFound::Changing { .. }
        );
        self.damaged_places == 0 && state_is_well && !matches!(self.start, Start::Refuses { .. })
    }
}

/// The files of the journal.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Segments {
    /// In use.
    pub used: u64,
    /// Allocated ahead.
    pub prepared: u64,
    /// The bytes of all of them.
    pub bytes: u64,
    /// The formats they are written in.
    pub formats: BTreeSet<u32>,
    /// When the first one was begun, in milliseconds of Unix time.
    pub first_begun_ms: Option<u64>,
    /// When the last one was.
    pub last_begun_ms: Option<u64>,
}

/// What was found where the state should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum StateFound {
    /// Nothing.
    Missing,
    /// A checkpoint of this store.
    Checkpoint {
        /// Everything before this place is in it.
        place: Place,
        /// The journal ends before that: something that was synced is gone from it.
        is_ahead: bool,
    },
    /// No checkpoint yet: the journal alone holds everything.
    Empty,
    /// A checkpoint of another store.
    Other,
    /// A state of another format. A start makes it anew.
    OtherFormat {
        /// The format.
        found: u8,
        /// The one that this release writes.
        known: u8,
    },
    /// A relay noted that what it read was damaged.
    Condemned,
    /// It cannot be read.
    Unreadable {
        /// Why not.
        why: String,
    },
    /// It cannot be read, and the relay that runs was writing it.
    Changing {
        /// Why not.
        why: String,
    },
}

/// Deliveries that are not settled for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OpenCounts {
    /// Not attempted yet.
    pub waiting: u64,
    /// Failed, and due again.
    pub retrying: u64,
    /// Failed too often.
    pub dead: u64,
}

/// What a start would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Start {
    /// A relay runs already.
    Running,
    /// It would succeed.
    Succeeds {
        /// Records that the checkpoint does not hold.
        replays_records: u64,
        /// The state would be made anew from the whole journal.
        rebuilds_state: bool,
    },
    /// It would be refused.
    Refuses {
        /// With this sentence.
        why: String,
    },
}
