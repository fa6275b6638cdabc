//! Reading records, by position, forwards and backwards.
//!
//! A reader never goes past what it is told is synced, and never trusts a length before the checksum
//! has confirmed it. It holds a bounded number of open files.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::record::{self, Header, NO_PREVIOUS};
use super::segment::{HEADER_BYTES as SEGMENT_HEADER_BYTES, Layout};
use crate::store::disk::{Access, DiskFile};
use crate::store::error::StoreError;

/// Files that are kept open for reading.
const MAX_OPEN_FILES: usize = 16;

/// One record as it stands on disk.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where it stands.
    pub position: u64,
    /// Where the next one would stand, if it is in the same segment.
    pub next: u64,
    /// Where the one before stands, unless this is the first of all.
    pub previous: Option<u64>,
    /// The header.
    pub header: Header,
    /// What it holds.
    pub payload: Bytes,
}

/// What stands at a position.
#[derive(Debug)]
pub enum Found {
    /// A whole record.
    Record(Frame),
    /// Nothing was ever written here: the segment ends.
    Nothing,
    /// Something that is no whole record.
    Bad(&'static str),
}

/// Reads records. Cheap to share.
#[derive(Debug)]
pub struct Reader {
    layout: Layout,
    files: Mutex<VecDeque<(u64, Arc<dyn DiskFile>)>>,
}

impl Reader {
    /// A reader of these segments.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            files: Mutex::new(VecDeque::new()),
        }
    }

    /// Where segments are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Reads the record at a position that is known to hold one.
    pub fn read(&self, position: u64) -> Result<Frame, StoreError> {
        match self.find(position)? {
            Found::Record(frame) => Ok(frame),
            Found::Nothing => Err(self.damaged(position, "a record is missing")),
            Found::Bad(what) => Err(self.damaged(position, what)),
        }
    }

    /// Reads the first record at or after a position, which may be the end of a segment. `None` at
    /// `end`.
    pub fn read_from(&self, position: u64, end: u64) -> Result<Option<Frame>, StoreError> {
        if position >= end {
            return Ok(None);
        }
        match self.find(position)? {
            Found::Record(frame) => Ok(Some(frame)),
            Found::Nothing => {
                let next = self
                    .layout
                    .first_position(self.layout.segment_of(position) + 1);
                if next >= end {
                    return Err(self.damaged(position, "records that were synced are missing"));
                }
                self.read(next).map(Some)
            }
            Found::Bad(what) => Err(self.damaged(position, what)),
        }
    }

    /// Looks at a position without judging what is there.
    pub fn find(&self, position: u64) -> Result<Found, StoreError> {
        let number = self.layout.segment_of(position);
        let offset = self.layout.offset_of(position);
        let path = self.layout.path(number);
        let file = self.file(number)?;
        let mut head = [0; record::HEADER_BYTES];
        let read = file.read_up_to(&mut head, offset);
        let read = read.map_err(StoreError::io("read", &path))?;
        if read < head.len() {
            // Too little room for a record: the segment is full, or the file is shorter than it was.
            return Ok(if head[..read].iter().all(|byte| *byte == 0) {
                Found::Nothing
            } else {
                Found::Bad("a record's header is cut off")
            });
        }
        let Some(header) = Header::read(&head) else {
            return Ok(Found::Nothing);
        };
        let framed = record::framed_bytes(header.payload_bytes as usize) as u64;
        if offset + framed > self.layout.segment_bytes {
            return Ok(Found::Bad("a record's length points beyond its segment"));
        }
        let mut payload = vec![0; header.payload_bytes as usize];
        let payload_at = offset + record::HEADER_BYTES as u64;
        let read = file.read_up_to(&mut payload, payload_at);
        let read = read.map_err(StoreError::io("read", &path))?;
        if read < payload.len() || !header.verify(&head, &payload) {
            return Ok(Found::Bad("a record's checksum is wrong"));
        }
        if header.version > record::VERSION {
            let (found, known) = (u32::from(header.version), u32::from(record::VERSION));
            return Err(StoreError::Newer {
                path,
                offset,
                found,
                known,
            });
        }
        Ok(Found::Record(Frame {
            position,
            next: position + framed,
            previous: (header.previous != NO_PREVIOUS).then_some(header.previous),
            header,
            payload: Bytes::from(payload),
        }))
    }

    /// Closes the file of a segment that is about to go.
    pub fn close(&self, number: u64) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|(open, _)| *open != number);
    }

    /// The header of a segment that is known to be in use, checked.
    pub fn segment_header(&self, number: u64) -> Result<[u8; SEGMENT_HEADER_BYTES], StoreError> {
        let file = self.file(number)?;
        if !self.layout.check_header(number, &*file)? {
            let what = "the header of a segment in use is missing";
            return Err(self.damaged(self.layout.position(number, 0), what));
        }
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        file.read_up_to(&mut bytes, 0)
            .map_err(StoreError::io("read", &self.layout.path(number)))?;
        Ok(bytes)
    }

    /// Names what is wrong at a position.
    pub fn damaged(&self, position: u64, what: &'static str) -> StoreError {
        StoreError::Damaged {
            path: self.layout.path(self.layout.segment_of(position)),
            offset: self.layout.offset_of(position),
            what,
        }
    }

    fn file(&self, number: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, file)) = files.iter().find(|(open, _)| *open == number) {
            return Ok(Arc::clone(file));
        }
        let file = self.layout.open(number, Access::Read)?;
        if files.len() == MAX_OPEN_FILES {
            files.pop_front();
        }
        files.push_back((number, Arc::clone(&file)));
        Ok(file)
    }
}
