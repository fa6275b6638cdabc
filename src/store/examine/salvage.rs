//! Writes what can still be read of a store into a new one.
//!
//! Records refer to each other by their positions, so every whole record keeps its own; what stood
//! between them becomes records of a kind that says nothing, and the chain is made anew over all of
//! them. The new store is then opened, which rebuilds its state from that journal, and its directory is
//! brought to what is known of it: from the last checkpoint of the old state, or from the head of the
//! segment after the damage. So a key that was revoked is revoked there too, unless only what was lost
//! could tell.
//!
//! The old store is not touched. A salvage that fails half-way leaves a directory to be removed.

use std::path::Path;

use serde::Serialize;

use super::contents::{Counts, Tracked};
use super::copy::make_private;
use super::patient::{Patient, count_open};
use super::report::OpenCounts;
use super::rewrite::Rewriter;
use super::walk::{Damage, Step, walk};
use super::{Damages, decode};
use crate::domain::directory::{Change, Directory};
use crate::domain::event::Place;
use crate::store::committer::Commit;
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::journal::{Layout, Raw, Reader};
use crate::store::state::checkpoint;
use crate::store::{Options, Store, open};

/// What was saved, and what was not.
#[derive(Debug, Clone, Serialize)]
pub struct Salvaged {
    /// Records that were copied.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Records that were lost, by the numbers of those around them; more, if the last ones were.
    pub lost_records: u64,
    /// Bytes that could not be read as records.
    pub lost_bytes: u64,
    /// Where they stood; at most [`super::MAX_LISTED`] places.
    pub lost: Vec<Damage>,
    /// How many places those were.
    pub lost_places: u64,
    /// Changes of accounts, keys, integrations or subscriptions may be among what was lost.
    pub directory_is_uncertain: bool,
    /// Who there is.
    pub directory: Counts,
    /// Deliveries that the new store will go on with, and dead ones.
    pub open: OpenCounts,
}

/// Salvages the store in a data directory into a directory that is empty or missing. `None` where there
/// is no store. A store that a relay has open is refused.
pub fn salvage(options: &Options, out: &Path) -> Result<Option<Salvaged>, StoreError> {
    let Some(patient) = Patient::find(options)? else {
        return Ok(None);
    };
    if patient.is_running {
        let path = options.dir.join("lock");
        return Err(StoreError::Locked { path });
    }
    let mut saved = copy_journal(&patient, out)?;
    let mut store = open(&Options {
        dir: out.to_owned(),
        min_free_bytes: 0,
        ..options.clone()
    })?;
    correct(&mut store, &saved.directory, options.now_ms)?;
    let directory = Counts::of(store.ledger.directory());
    let open = count_open(&store.ledger);
    let places = std::mem::take(&mut saved.lost);
    Ok(Some(Salvaged {
        records: saved.records,
        events: saved.events,
        lost_records: saved.lost_records,
        lost_bytes: places.bytes,
        lost_places: places.places,
        lost: places.listed,
        directory_is_uncertain: saved.directory_is_uncertain,
        directory,
        open,
    }))
}

#[derive(Default)]
struct Saved {
    records: u64,
    events: u64,
    lost_records: u64,
    lost: Damages,
    directory: Directory,
    directory_is_uncertain: bool,
}

/// Copies the whole records of a journal, and finds out who there is.
fn copy_journal(patient: &Patient<'_>, out: &Path) -> Result<Saved, StoreError> {
    let layout = Layout {
        dir: out.join("journal"),
        ..patient.layout.clone()
    };
    if !out.is_dir() {
        make_private(out)?;
    }
    make_private(&layout.dir)?;
    let reader = Reader::new(patient.layout.clone());
    let mut copying = Copying {
        rewriter: Rewriter::new(layout),
        tracked: Tracked::default(),
        checkpoint: patient.directory_at_checkpoint(),
        saved: Saved::default(),
        retired: 0,
    };
    let summary = walk(&reader, None, &mut |step| {
        copying.add(&patient.layout, step)
    })?;
    let Copying {
        mut rewriter,
        mut tracked,
        checkpoint,
        mut saved,
        retired,
    } = copying;
    rewriter.give_up_before(retired)?;
    rewriter.finish()?;
    if let Some((_, directory)) = checkpoint {
        tracked.set(directory);
    }
    saved.lost_records += summary.missing_records;
    saved.directory_is_uncertain = !tracked.is_known();
    saved.directory = tracked.finish();
    Ok(saved)
}

struct Copying<'a> {
    rewriter: Rewriter,
    tracked: Tracked,
    /// The directory of the old state, until the copy has come to where it was right.
    checkpoint: Option<(Place, &'a Directory)>,
    saved: Saved,
    /// Up to where the journal says that it may start.
    retired: u64,
}

impl Copying<'_> {
    fn add(&mut self, from: &Layout, step: Step<'_>) -> Result<(), StoreError> {
        let frame = match step {
            Step::Segment(number, stated) => {
                self.tracked.begin_segment();
                self.rewriter.note_begun(number, stated.created_at_ms);
                return Ok(());
            }
            Step::Damage(damage) => {
                self.lose(damage);
                return Ok(());
            }
            Step::Record(frame) => frame,
        };
        if let Some((place, directory)) = self.checkpoint
            && frame.position >= place.position
        {
            self.checkpoint = None;
            self.tracked.set(directory);
        }
        let entry = match decode(from, frame) {
            Ok(entry) => entry,
            Err(damage) => {
                self.saved.lost_records += 1;
                self.lose(damage);
                return Ok(());
            }
        };
        self.tracked.add(frame, entry.as_ref());
        self.saved.records += 1;
        if let Some(Entry::Accepted(events)) = &entry {
            self.saved.events += events.len() as u64;
        }
        if let Some(Entry::Retired(retired)) = &entry {
            self.retired = self.retired.max(retired.before);
        }
        let kind = match &entry {
            // A rebuild passes over heads, since it has seen the changes that led to them. These it
            // has not: they are changes now.
            Some(Entry::Snapshot(_)) if !self.tracked.is_known() => {
                let Raw { kind, .. } = Entry::encode_directory(&[])?;
                kind
            }
            _ => frame.header.kind,
        };
        self.rewriter.copy(frame, kind)
    }

    fn lose(&mut self, damage: Damage) {
        self.tracked.lose();
        self.saved.lost.add(damage);
    }
}

/// Brings the directory of the new store to what is known of the old one.
fn correct(store: &mut Store, known: &Directory, now_ms: u64) -> Result<(), StoreError> {
    let changes = differences(store.ledger.directory(), known);
    if changes.is_empty() {
        return Ok(());
    }
    let commit = Commit {
        at_ms: now_ms,
        changes,
        ..Commit::default()
    };
    let done = store.committer.submit(commit).blocking_recv();
    done.unwrap_or(Err(StoreError::Poisoned))?;
    let mut effects = Vec::new();
    while let Some(record) = store.log.next(store.ledger.applied().position)? {
        while !store.ledger.apply(&record, &mut effects)? {}
        effects.clear();
    }
    let rows = store.ledger.freeze()?;
    checkpoint::write(&store.state, &rows)?;
    store.ledger.thaw();
    Ok(())
}

/// The changes that lead from one directory to another.
fn differences(from: &Directory, to: &Directory) -> Vec<Change> {
    let before = from.to_changes();
    let mut changes: Vec<Change> = to
        .to_changes()
        .into_iter()
        .filter(|change| !before.contains(change))
        .collect();
    let gone = from.subscriptions().map(|it| it.id);
    let gone = gone.filter(|id| to.subscription(*id).is_none());
    changes.extend(gone.map(Change::DeleteSubscription));
    let gone = from.keys().map(|it| it.id);
    let gone = gone.filter(|id| to.key(*id).is_none());
    changes.extend(gone.map(Change::DeleteKey));
    let gone = from.integrations().map(|it| it.id);
    let gone = gone.filter(|id| to.integration(*id).is_none());
    changes.extend(gone.map(Change::DeleteIntegration));
    let gone = from.accounts().map(|it| it.id);
    let gone = gone.filter(|id| to.account(*id).is_none());
    changes.extend(gone.map(Change::DeleteAccount));
    changes
}
