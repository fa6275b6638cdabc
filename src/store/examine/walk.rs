//! Goes through a whole journal, whatever is wrong with it, and changes nothing.
//!
//! Where [`recovery`] stops at the first thing that is wrong, this goes on with the next record that is
//! whole ([`Search`]).
//!
//! Never keeps more than one record; takes as long as reading the journal does, and for each damaged
//! place as long again as reading its segment.

use std::path::PathBuf;

use serde::Serialize;

use super::rejoin::{Search, written_end};
use super::segments::{Kind, Segments};
use crate::store::error::StoreError;
use crate::store::journal::reader::Found;
use crate::store::journal::record::Header;
use crate::store::journal::segment::{HEADER_BYTES, Stated};
use crate::store::journal::{Frame, Reader, recovery};

/// Something that was met on the way.
#[derive(Debug)]
pub enum Step<'a> {
    /// A segment in use begins.
    Segment(u64, Stated),
    /// A whole record.
    Record(&'a Frame),
    /// Something is wrong.
    Damage(Damage),
}

/// A part of the journal that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// How much; 0 where something is missing between two bytes.
    pub bytes: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// What there is to say about the whole.
#[derive(Debug, Default)]
pub struct Summary {
    /// The last whole record and where the next one would stand.
    pub last: Option<Last>,
    /// The number of the first record.
    pub first_sequence: Option<u64>,
    /// What a power cut left of a write that nobody was answered for. A start cuts it off.
    pub torn: Option<Damage>,
    /// Records that are missing, by the numbers of those before and after them.
    pub missing_records: u64,
    /// Segments that are allocated ahead.
    pub prepared: u64,
}

/// The end of what is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// The last record.
    pub position: u64,
    /// Where the next one would stand.
    pub next: u64,
    /// Its header.
    pub header: Header,
}

impl Last {
    /// As if this record were the last.
    pub fn of(frame: &Frame) -> Self {
        Self {
            position: frame.position,
            next: frame.next,
            header: frame.header,
        }
    }

    /// Whether a record names this one as the one before.
    pub fn is_followed_by(&self, header: &Header) -> bool {
        header.sequence.checked_sub(1) == Some(self.header.sequence)
            && header.previous_crc == self.header.crc
            && header.previous == self.position
    }
}

/// Told of every step. An error of it ends the walk.
pub type Visit<'a> = dyn FnMut(Step<'_>) -> Result<(), StoreError> + 'a;

/// Walks through all segments, up to `end` if there is one.
pub fn walk(
    reader: &Reader,
    end: Option<u64>,
    visit: &mut Visit<'_>,
) -> Result<Summary, StoreError> {
    let segments = Segments::look(reader.layout(), end)?;
    let mut walk = Walk {
        reader,
        end,
        last_used: segments.last_used,
        summary: Summary::default(),
        is_broken: false,
        synced_to: 0,
        visit,
    };
    walk.run(&segments)?;
    Ok(walk.summary)
}

struct Walk<'a, 'v> {
    reader: &'a Reader,
    end: Option<u64>,
    last_used: u64,
    summary: Summary,
    /// Something was skipped since the last whole record.
    is_broken: bool,
    /// The highest position that any record states as synced.
    synced_to: u64,
    visit: &'a mut Visit<'v>,
}

impl Walk<'_, '_> {
    fn run(&mut self, segments: &Segments) -> Result<(), StoreError> {
        let layout = self.reader.layout();
        let mut expected = segments.all.first().map_or(0, |(number, _)| *number);
        for &(number, kind) in &segments.all {
            if self.summary.torn.is_some() {
                break;
            }
            if number > expected && number <= self.last_used {
                let bytes = (number - expected).saturating_mul(layout.segment_bytes);
                self.damage(expected, 0, bytes, "the segment is missing")?;
            }
            expected = number + 1;
            match kind {
                Kind::Used(stated) => {
                    (self.visit)(Step::Segment(number, stated))?;
                    self.segment(number)?;
                }
                Kind::Headless => self.headless(number)?,
                Kind::Beyond => self.summary.prepared += 1,
                Kind::Unusable(what) => self.damage(number, 0, layout.segment_bytes, what)?,
            }
        }
        Ok(())
    }

    /// A segment without a header was prepared and not used yet, or lost it.
    fn headless(&mut self, number: u64) -> Result<(), StoreError> {
        let start = self.reader.layout().position(number, 0);
        if number < self.last_used || recovery::counted_on(self.reader, start, number)? {
            let bytes = HEADER_BYTES as u64;
            self.damage(
                number,
                0,
                bytes,
                "the header of a segment in use is missing",
            )?;
            return self.segment(number);
        }
        if let Some(end) = written_end(self.reader, number, 0)? {
            let what = "a new segment was not written to its end";
            self.summary.torn = Some(self.part(number, 0, end, what));
        } else {
            self.summary.prepared += 1;
        }
        Ok(())
    }

    fn segment(&mut self, number: u64) -> Result<(), StoreError> {
        let mut here = self.reader.layout().first_position(number);
        while self.end.is_none_or(|end| here < end) {
            let what = match self.reader.find(here)? {
                Found::Record(frame) if self.continues(&frame) => {
                    here = self.take(&frame)?;
                    continue;
                }
                Found::Record(_) => "a record does not follow the one before",
                Found::Nothing => "records are missing",
                Found::Bad(what) => what,
            };
            let search = Search {
                reader: self.reader,
                last: self.summary.last,
            };
            let Some(frame) = search.rejoin(here)? else {
                return self.end_segment(number, here, what);
            };
            if self.is_torn(here)? {
                return self.end_segment(number, here, what);
            }
            let offset = self.reader.layout().offset_of(here);
            self.damage(number, offset, frame.position - here, what)?;
            here = self.take(&frame)?;
        }
        Ok(())
    }

    /// Nothing whole follows in this segment: it ends here, or what follows is torn or damaged.
    fn end_segment(
        &mut self,
        number: u64,
        here: u64,
        what: &'static str,
    ) -> Result<(), StoreError> {
        let offset = self.reader.layout().offset_of(here);
        let Some(end) = written_end(self.reader, number, offset)? else {
            return Ok(());
        };
        if self.is_torn(here)? {
            self.summary.torn = Some(self.part(number, offset, end - offset, what));
            return Ok(());
        }
        self.damage(number, offset, end - offset, what)
    }

    fn continues(&self, frame: &Frame) -> bool {
        match &self.summary.last {
            Some(last) if self.is_broken => frame.header.sequence > last.header.sequence,
            Some(last) => last.is_followed_by(&frame.header),
            None => true,
        }
    }

    /// Passes a record on and returns where the next one would stand.
    fn take(&mut self, frame: &Frame) -> Result<u64, StoreError> {
        match &self.summary.last {
            Some(last) => {
                let between = frame.header.sequence - last.header.sequence - 1;
                self.summary.missing_records += between;
            }
            None => self.summary.first_sequence = Some(frame.header.sequence),
        }
        self.is_broken = false;
        self.synced_to = self.synced_to.max(frame.header.synced_to);
        self.summary.last = Some(Last::of(frame));
        (self.visit)(Step::Record(frame))?;
        Ok(frame.next)
    }

    fn damage(
        &mut self,
        number: u64,
        offset: u64,
        bytes: u64,
        what: &'static str,
    ) -> Result<(), StoreError> {
        self.is_broken = true;
        let damage = self.part(number, offset, bytes, what);
        (self.visit)(Step::Damage(damage))
    }

    fn part(&self, number: u64, offset: u64, bytes: u64, what: &'static str) -> Damage {
        Damage {
            path: self.reader.layout().path(number),
            offset,
            bytes,
            what,
        }
    }

    /// Whether a start would cut off what follows here: nothing that follows was written when this was
    /// already synced.
    fn is_torn(&self, here: u64) -> Result<bool, StoreError> {
        let number = self.reader.layout().segment_of(here);
        // What is appended at once lies in one segment.
        if number + 1 < self.last_used || here < self.synced_to {
            return Ok(false);
        }
        for number in number..=self.last_used.max(number) {
            if recovery::counted_on(self.reader, here, number)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
