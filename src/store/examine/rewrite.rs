//! Writes records to the positions they had, in new segments, with a chain of their own.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;

use crate::store::entry::{Entry, Retired};
use crate::store::error::StoreError;
use crate::store::journal::record::{HEADER_BYTES, Header, NO_PREVIOUS, VERSION, framed_bytes};
use crate::store::journal::{Frame, Layout, Raw};

/// What stood here was lost. No release gives this kind a meaning.
const LOST: u8 = u8::MAX;
/// The smallest record there is.
const MIN_RECORD_BYTES: u64 = (HEADER_BYTES as u64 + 1).next_multiple_of(8);
/// The largest record that fills a gap.
const MAX_FILLER_BYTES: u64 = 1 << 20;

/// See the module.
pub struct Rewriter {
    layout: Layout,
    segment: Option<Segment>,
    /// When the segment that comes next was begun, if that is known.
    begun: Option<(u64, u64)>,
    /// The segment that was written first.
    first: Option<u64>,
    last: Option<(Header, u64)>,
}

struct Segment {
    number: u64,
    file: BufWriter<File>,
    /// Where the next record goes.
    end: u64,
}

impl Rewriter {
    /// Writes to the directory of this layout, which holds nothing yet.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            segment: None,
            begun: None,
            first: None,
            last: None,
        }
    }

    /// Notes when a segment was begun, in milliseconds of Unix time.
    pub fn note_begun(&mut self, number: u64, at_ms: u64) {
        self.begun = Some((number, at_ms));
    }

    /// Writes a record to its position as one of this kind.
    pub fn copy(&mut self, frame: &Frame, kind: u8) -> Result<(), StoreError> {
        self.go_to(frame.position)?;
        self.append(frame.header.version, kind, &frame.payload)
    }

    /// Has the journal say that what stood before it is given up, unless it does so already: it names this
    /// position.
    pub fn give_up_before(&mut self, named: u64) -> Result<(), StoreError> {
        let (Some(first), Some(segment)) = (self.first, &self.segment) else {
            return Ok(());
        };
        let before = self.layout.position(first, 0);
        if before <= named {
            return Ok(());
        }
        // What is copied says which events there were.
        let given_up = Retired {
            before,
            last_event: None,
        };
        let Raw { kind, payload } = Entry::encode_retired(given_up)?;
        let end = self.layout.offset_of(segment.end) + framed_bytes(payload.len()) as u64;
        if end >= self.layout.segment_bytes {
            self.begin(segment.number + 1)?;
        }
        self.append(VERSION, kind, &payload)
    }

    /// Makes everything last.
    pub fn finish(mut self) -> Result<(), StoreError> {
        self.close()?;
        self.layout.sync_dir()?;
        let Some(out) = self.layout.dir.parent() else {
            return Ok(());
        };
        let synced = self.layout.disk.sync_dir(out);
        synced.map_err(StoreError::io("sync", out))
    }

    /// Fills what is missing before a position.
    fn go_to(&mut self, position: u64) -> Result<(), StoreError> {
        let number = self.layout.segment_of(position);
        let current = self.segment.as_ref().map(|segment| segment.number);
        if current != Some(number) {
            // A segment of which nothing is left is there all the same, or its successors would not be
            // found.
            for lost in current.map_or(number, |current| current + 1)..number {
                self.begin(lost)?;
                self.append(VERSION, LOST, b"lost")?;
            }
            self.begin(number)?;
        }
        let end = self
            .segment
            .as_ref()
            .map_or(position, |segment| segment.end);
        let mut gap = position.saturating_sub(end);
        while gap > 0 {
            let rest = gap.saturating_sub(MAX_FILLER_BYTES);
            let bytes = if rest < MIN_RECORD_BYTES {
                gap
            } else {
                gap - rest
            };
            let payload = vec![
                0;
                usize::try_from(bytes)
                    .unwrap_or(0)
                    .saturating_sub(HEADER_BYTES)
            ];
            self.append(VERSION, LOST, &payload)?;
            gap -= bytes;
        }
        Ok(())
    }

    fn begin(&mut self, number: u64) -> Result<(), StoreError> {
        self.close()?;
        self.first.get_or_insert(number);
        let path = self.layout.path(number);
        let created_at_ms = match self.begun {
            Some((known, at_ms)) if known == number => at_ms,
            _ => 0,
        };
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(StoreError::io("create", &path))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&self.layout.header(number, created_at_ms))
            .map_err(StoreError::io("write to", &path))?;
        self.segment = Some(Segment {
            number,
            file,
            end: self.layout.first_position(number),
        });
        Ok(())
    }

    fn append(&mut self, version: u8, kind: u8, payload: &[u8]) -> Result<(), StoreError> {
        let Some(segment) = &mut self.segment else {
            return Ok(());
        };
        let header = Header {
            payload_bytes: u32::try_from(payload.len()).unwrap_or(u32::MAX),
            crc: 0,
            version,
            kind,
            previous_crc: self.last.map_or(0, |(last, _)| last.crc),
            sequence: self.last.map_or(0, |(last, _)| last.sequence + 1),
            // All of it is synced before anybody reads it.
            synced_to: segment.end,
            previous: self.last.map_or(NO_PREVIOUS, |(_, position)| position),
        };
        let mut bytes = Vec::with_capacity(framed_bytes(payload.len()));
        let crc = header.append(payload, &mut bytes);
        let path = self.layout.path(segment.number);
        let written = segment.file.write_all(&bytes);
        written.map_err(StoreError::io("write to", &path))?;
        self.last = Some((Header { crc, ..header }, segment.end));
        segment.end += bytes.len() as u64;
        Ok(())
    }

    /// Gives the segment that was written its full size and syncs it.
    fn close(&mut self) -> Result<(), StoreError> {
        let Some(segment) = self.segment.take() else {
            return Ok(());
        };
        let path = self.layout.path(segment.number);
        let closed = segment
            .file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        closed
            .and_then(|file| {
                file.set_len(self.layout.segment_bytes)?;
                file.sync_all()
            })
            .map_err(StoreError::io("write to", &path))
    }
}
