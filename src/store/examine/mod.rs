//! Examines a store without changing it, and saves what is left of a damaged one.
//!
//! The journal is read in place: no file of the data directory is ever made, written or removed, and
//! its lock is only looked at. sled writes when it is opened, so the state is opened from a copy
//! (`copy`). What a start would do is not guessed: it is done, by the same code, to that copy.
//!
//! Memory is bounded by one record, one checkpoint, the directory and [`MAX_LISTED`] damaged places.

mod contents;
mod copy;
mod patient;
mod rejoin;
mod report;
mod rewrite;
mod salvage;
mod segments;
mod walk;

pub use contents::{Contents, Counts};
pub use report::{OpenCounts, Report, Segments, Start, StateFound};
pub use salvage::{Salvaged, salvage};
pub use walk::Damage;

use std::fmt::Write;

use self::contents::Tracked;
use self::patient::Patient;
use self::walk::{Step, walk};
use super::Options;
use super::entry::{Entry, UNDECODABLE};
use super::error::StoreError;
use super::journal::{Frame, Layout, Reader};
use super::opening::LOST_START;

/// How many damaged places are listed. There may be more; all are counted.
pub const MAX_LISTED: usize = 1000;

/// Examines the store in a data directory. `None` where there is none. Of the options, the time and
/// the free space do not matter.
pub fn examine(options: &Options) -> Result<Option<Report>, StoreError> {
    let Some(patient) = Patient::find(options)? else {
        return Ok(None);
    };
    let reader = Reader::new(patient.layout.clone());
    let mut findings = Findings::default();
    let summary = walk(&reader, patient.synced_end(&reader)?, &mut |step| {
        findings.add(reader.layout(), step);
        Ok(())
    })?;
    // Of a relay that runs, retention may be at work.
    if !patient.is_running {
        findings.check_start(reader.layout());
    }
    let end = summary.last.map_or(0, |last| last.next);
    let (start, open) = patient.try_start()?;
    let directory = findings.tracked.finish();
    findings.segments.prepared = summary.prepared;
    findings.segments.bytes = patient.journal_bytes()?;
    Ok(Some(Report {
        dir: options.dir.clone(),
        store_id: hex(&patient.layout.store_id),
        is_running: patient.is_running,
        segments: findings.segments,
        first_sequence: summary.first_sequence,
        last_sequence: summary.last.map(|last| last.header.sequence),
        end,
        contents: findings.contents,
        directory: Counts::of(&directory),
        sealed_under: directory.sealed_under().collect(),
        damage: findings.damage.listed,
        damaged_places: findings.damage.places,
        missing_records: summary.missing_records,
        torn: summary.torn,
        state: patient.state_found(end),
        open: open.or(patient.open_at_checkpoint()),
        start,
    }))
}

#[derive(Default)]
struct Findings {
    segments: Segments,
    contents: Contents,
    tracked: Tracked,
    damage: Damages,
    /// The segment that the journal starts with.
    first: Option<u64>,
    /// Up to where the journal says that it may start.
    retired: u64,
}

impl Findings {
    fn add(&mut self, layout: &Layout, step: Step<'_>) {
        match step {
            Step::Segment(number, stated) => {
                self.first.get_or_insert(number);
                self.tracked.begin_segment();
                let segments = &mut self.segments;
                segments.used += 1;
                segments.formats.insert(stated.version);
                segments.first_begun_ms.get_or_insert(stated.created_at_ms);
                segments.last_begun_ms = Some(stated.created_at_ms);
            }
            Step::Record(frame) => match decode(layout, frame) {
                Ok(entry) => {
                    if let Some(Entry::Retired(retired)) = &entry {
                        self.retired = self.retired.max(retired.before);
                    }
                    self.contents.add(frame, entry.as_ref());
                    self.tracked.add(frame, entry.as_ref());
                }
                Err(damage) => self.damaged(damage),
            },
            Step::Damage(damage) => self.damaged(damage),
        }
    }

    /// Notes that the segments before the first are missing, if nobody removed them.
    fn check_start(&mut self, layout: &Layout) {
        let Some(first) = self.first else { return };
        if layout.position(first, 0) > self.retired {
            self.damage.add(Damage {
                path: layout.path(first - 1),
                offset: 0,
                bytes: 0,
                what: LOST_START,
            });
        }
    }

    fn damaged(&mut self, damage: Damage) {
        self.tracked.lose();
        self.damage.add(damage);
    }
}

/// Damaged places: the first of them, and how many and how large all are.
#[derive(Debug, Default)]
struct Damages {
    listed: Vec<Damage>,
    places: u64,
    bytes: u64,
}

impl Damages {
    fn add(&mut self, damage: Damage) {
        self.places += 1;
        self.bytes = self.bytes.saturating_add(damage.bytes);
        if self.listed.len() < MAX_LISTED {
            self.listed.push(damage);
        }
    }
}

/// What a whole record says. `None` for a kind that this release does not know. A record whose
/// checksum is right and that still says nothing is damage of another kind.
fn decode(layout: &Layout, frame: &Frame) -> Result<Option<Entry>, Damage> {
    Entry::decode(frame.header.kind, &frame.payload).map_err(|_| Damage {
        path: layout.path(layout.segment_of(frame.position)),
        offset: layout.offset_of(frame.position),
        bytes: frame.next - frame.position,
        what: UNDECODABLE,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
