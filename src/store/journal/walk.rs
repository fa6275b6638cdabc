//! Going through a journal that has a known end, record by record, as copies of it are made and
//! checked.
//!
//! Every record's checksum, its place behind the one before, and the header of every segment must be
//! right: at the first that is not, the walk ends with an error that names it. It never writes.

use super::reader::{Frame, Reader};
use super::record::Header;
use crate::store::error::StoreError;

/// See the module.
#[derive(Debug)]
pub struct Walk {
    reader: Reader,
    /// Where the next record stands, or the segment of the last one ends.
    position: u64,
    end: u64,
    last: Option<(u64, Header)>,
}

impl Walk {
    /// From the first record of the segment that holds `start` up to `end`, which is known to be the
    /// end of a record.
    pub fn new(reader: Reader, start: u64, end: u64) -> Result<Self, StoreError> {
        let layout = reader.layout();
        let first = layout.segment_of(start);
        reader.segment_header(first)?;
        Ok(Self {
            position: layout.first_position(first),
            reader,
            end,
            last: None,
        })
    }

    /// What reads for it.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The next record; `None` at the end.
    pub fn next_record(&mut self) -> Result<Option<Frame>, StoreError> {
        let Some(frame) = self.reader.read_from(self.position, self.end)? else {
            return Ok(None);
        };
        if frame.next > self.end {
            return Err(self
                .reader
                .damaged(frame.position, "a record reaches past the end"));
        }
        let layout = self.reader.layout();
        let segment = layout.segment_of(frame.position);
        if segment != layout.segment_of(self.position) {
            self.reader.segment_header(segment)?;
        }
        if self
            .last
            .is_some_and(|(position, last)| !follows(&frame, position, &last))
        {
            let what = "a record does not follow the one before";
            return Err(self.reader.damaged(frame.position, what));
        }
        self.last = Some((frame.position, frame.header));
        self.position = frame.next;
        Ok(Some(frame))
    }
}

fn follows(frame: &Frame, position: u64, last: &Header) -> bool {
    frame.header.sequence == last.sequence + 1
        && frame.header.previous_crc == last.crc
        && frame.header.previous == position
}
