//! Writing records: one write and one `fdatasync` for all that is appended at once.
//!
//! The next segment is allocated and synced in the background while the current one fills, so a
//! roll-over costs no more than any other write. A full disk is met there, before anything is
//! written, and is a refusal; a failed write or sync is final.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use bytes::Bytes;

use super::record::{self, Header, framed_bytes};
use super::recovery::Tail;
use super::segment::{HEADER_BYTES as SEGMENT_HEADER_BYTES, Layout};
use crate::store::disk::DiskFile;
use crate::store::error::StoreError;

/// A record to be written.
#[derive(Debug, Clone)]
pub struct Raw {
    /// What the payload is.
    pub kind: u8,
    /// What it holds; not empty.
    pub payload: Vec<u8>,
}

/// Where a record was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its position.
    pub position: u64,
    /// Where the next one would stand.
    pub next: u64,
    /// The position of the record before it.
    pub previous: Option<u64>,
    /// The payload, sharing the memory that was written.
    pub payload: Bytes,
}

/// Appends records. There is one of it for a journal.
#[derive(Debug)]
pub struct Writer {
    layout: Layout,
    file: Arc<dyn DiskFile>,
    tail: Tail,
    prepared: Prepared,
    poisoned: bool,
}

impl Writer {
    /// Goes on where a recovered journal ends.
    pub fn resume(layout: Layout, tail: Tail) -> Result<Self, StoreError> {
        let number = layout.segment_of(tail.position);
        let file = layout.prepare(number)?;
        let prepared = Prepared::start(layout.clone(), number + 1);
        Ok(Self {
            layout,
            file,
            tail,
            prepared,
            poisoned: false,
        })
    }

    /// Starts an empty journal: its first segment, with nothing in it yet.
    pub fn create(layout: &Layout, created_at_ms: u64) -> Result<(), StoreError> {
        let file = layout.prepare(0)?;
        let header = layout.header(0, created_at_ms);
        let written = file.write_all_at(&header, 0).and_then(|()| file.sync_all());
        written.map_err(StoreError::io("write to", &layout.path(0)))
    }

    /// Where the next record goes; everything before it is synced.
    pub fn end(&self) -> u64 {
        self.tail.position
    }

    /// Whether there will be a next segment. Where the disk was full, it is tried again if `retry`. An
    /// error is a refusal: what fits into the current segment can still be written.
    pub fn look_ahead(&mut self, retry: bool) -> Result<(), StoreError> {
        let next = self.layout.segment_of(self.tail.position) + 1;
        self.prepared.look_ahead(next, retry)
    }

    /// Appends the records, all in one segment, and returns once they are synced. `head` gives what a
    /// new segment starts with, should one be needed.
    pub fn append(
        &mut self,
        records: &[Raw],
        now_ms: u64,
        head: impl FnOnce() -> Result<Vec<Raw>, StoreError>,
    ) -> Result<Vec<Written>, StoreError> {
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        let bytes: usize = records
            .iter()
            .map(|record| framed_bytes(record.payload.len()))
            .sum();
        let offset = self.layout.offset_of(self.tail.position);
        // A segment filled to its last byte would make its end the start of the next one.
        if offset + (bytes as u64) < self.layout.segment_bytes {
            let mut buffer = Vec::with_capacity(bytes);
            let (tail, written) = frame(records, self.tail, self.tail.position, &mut buffer);
            return self.commit(buffer, offset, tail, written);
        }
        self.append_to_next(records, bytes, now_ms, &head()?)
    }

    fn append_to_next(
        &mut self,
        records: &[Raw],
        bytes: usize,
        now_ms: u64,
        head: &[Raw],
    ) -> Result<Vec<Written>, StoreError> {
        let head_bytes: usize = head
            .iter()
            .map(|record| framed_bytes(record.payload.len()))
            .sum();
        // A head that would leave too little room is left out: whoever rebuilds from here needs the
        // segments before this one.
        let fits = ((head_bytes * 2) as u64) < self.layout.segment_bytes;
        let (head, head_bytes) = if fits {
            (head, head_bytes)
        } else {
            (&[][..], 0)
        };
        let whole = SEGMENT_HEADER_BYTES + head_bytes + bytes;
        if whole as u64 >= self.layout.segment_bytes {
            return Err(StoreError::TooLarge { bytes: whole });
        }
        let number = self.layout.segment_of(self.tail.position) + 1;
        let file = self.prepared.take(number)?;
        let mut buffer = Vec::with_capacity(whole);
        buffer.extend_from_slice(&self.layout.header(number, now_ms));
        let synced_to = self.tail.position;
        let start = Tail {
            position: self.layout.first_position(number),
            ..self.tail
        };
        let (tail, mut written) = frame(head, start, synced_to, &mut buffer);
        let (tail, rest) = frame(records, tail, synced_to, &mut buffer);
        let head_count = written.len();
        written.extend(rest);
        self.file = file;
        let mut written = self.commit(buffer, 0, tail, written)?;
        Ok(written.split_off(head_count))
    }

    fn commit(
        &mut self,
        buffer: Vec<u8>,
        offset: u64,
        tail: Tail,
        written: Vec<Unshared>,
    ) -> Result<Vec<Written>, StoreError> {
        let buffer = Bytes::from(buffer);
        self.write(&buffer, offset)?;
        self.tail = tail;
        Ok(written
            .into_iter()
            .map(|record| record.share(&buffer))
            .collect())
    }

    fn write(&mut self, bytes: &[u8], offset: u64) -> Result<(), StoreError> {
        let done = self
            .file
            .write_all_at(bytes, offset)
            .and_then(|()| self.file.sync_data());
        done.map_err(|source| {
            self.poisoned = true;
            let path = self.layout.path(self.layout.segment_of(self.tail.position));
            StoreError::Io {
                what: "write to",
                path,
                source,
            }
        })
    }
}

/// A framed record whose buffer is not final yet.
struct Unshared {
    position: u64,
    next: u64,
    previous: u64,
    payload: std::ops::Range<usize>,
}

impl Unshared {
    fn share(self, buffer: &Bytes) -> Written {
        Written {
            position: self.position,
            next: self.next,
            previous: (self.previous != record::NO_PREVIOUS).then_some(self.previous),
            payload: buffer.slice(self.payload),
        }
    }
}

/// Frames records into the buffer, chaining each to the one before.
fn frame(
    records: &[Raw],
    mut tail: Tail,
    synced_to: u64,
    buffer: &mut Vec<u8>,
) -> (Tail, Vec<Unshared>) {
    let mut written = Vec::with_capacity(records.len());
    for raw in records {
        let header = Header {
            payload_bytes: u32::try_from(raw.payload.len()).unwrap_or(u32::MAX),
            crc: 0,
            version: record::VERSION,
            kind: raw.kind,
            previous_crc: tail.last_crc,
            sequence: tail.next_sequence,
            synced_to,
            previous: tail.last_position,
        };
        let payload_at = buffer.len() + record::HEADER_BYTES;
        let last_crc = header.append(&raw.payload, buffer);
        let next = tail.position + framed_bytes(raw.payload.len()) as u64;
        written.push(Unshared {
            position: tail.position,
            next,
            previous: tail.last_position,
            payload: payload_at..payload_at + raw.payload.len(),
        });
        tail = Tail {
            position: next,
            next_sequence: tail.next_sequence + 1,
            last_crc,
            last_position: tail.position,
        };
    }
    (tail, written)
}

/// The segment after the current one, which is prepared in the background.
#[derive(Debug)]
struct Prepared {
    layout: Layout,
    ahead: Ahead,
}

#[derive(Debug)]
enum Ahead {
    Requested(Receiver<Result<Arc<dyn DiskFile>, StoreError>>),
    Ready(Arc<dyn DiskFile>),
    Failed(StoreError),
}

impl Prepared {
    fn start(layout: Layout, first: u64) -> Self {
        let ahead = request(&layout, first);
        Self { layout, ahead }
    }

    /// Whether the segment is there or on its way. If `retry`, one that failed is tried again, and one that
    /// is on its way is waited for: a start on a full disk must not look like any other.
    fn look_ahead(&mut self, number: u64, retry: bool) -> Result<(), StoreError> {
        if matches!(self.ahead, Ahead::Failed(_)) && retry {
            self.ahead = self.layout.prepare(number).into();
        }
        if let Ahead::Requested(answer) = &self.ahead {
            let heard = if retry {
                answer.recv().ok()
            } else {
                answer.try_recv().ok()
            };
            if let Some(answer) = heard {
                self.ahead = answer.into();
            }
        }
        match &self.ahead {
            Ahead::Failed(StoreError::NoSpace(no_space)) => Err(no_space.clone().into()),
            // Anything else shows, with its cause, when the segment is taken.
            _ => Ok(()),
        }
    }

    /// The file of the segment that was requested.
    fn take(&mut self, number: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let ahead = std::mem::replace(&mut self.ahead, Ahead::Failed(StoreError::Poisoned));
        let ahead = match ahead {
            Ahead::Requested(answer) => answer.recv().map_or(
                // Its thread is gone without a word.
                Ahead::Failed(StoreError::Poisoned),
                Ahead::from,
            ),
            known => known,
        };
        let file = match ahead {
            Ahead::Ready(file) => Ok(file),
            _ => self.layout.prepare(number),
        };
        match &file {
            Ok(_) => self.ahead = request(&self.layout, number + 1),
            Err(StoreError::NoSpace(no_space)) => {
                self.ahead = Ahead::Failed(no_space.clone().into());
            }
            Err(_) => {}
        }
        file
    }
}

impl From<Result<Arc<dyn DiskFile>, StoreError>> for Ahead {
    fn from(prepared: Result<Arc<dyn DiskFile>, StoreError>) -> Self {
        prepared.map_or_else(Self::Failed, Self::Ready)
    }
}

fn request(layout: &Layout, number: u64) -> Ahead {
    let (done, answer) = sync_channel(1);
    let worker = layout.clone();
    let prepare = move || {
        // Whoever asked may be gone; a prepared segment is found again.
        let _ = done.send(worker.prepare(number));
    };
    match layout.background.run("journal-prepare", prepare) {
        Ok(()) => Ahead::Requested(answer),
        Err(error) => Ahead::Failed(StoreError::io("start a thread for", &layout.dir)(error)),
    }
}
