//! Finding the next record after a damaged place, where no length can be trusted.
//!
//! Records start at multiples of eight, so each is tried. A record is whole if its checksum is right;
//! that it is one of ours, and not bytes in the body of an event that look like one, shows by what
//! comes after it: a later record that names a predecessor from before it was written when it was not
//! there.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::walk::Last;
use crate::store::error::StoreError;
use crate::store::journal::reader::Found;
use crate::store::journal::record::{self, Header, NO_PREVIOUS};
use crate::store::journal::{Frame, Reader};

/// What is read of a file at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// How far a record's followers are looked at before it is believed: more than any event's body.
const FOLLOWED_BYTES: u64 = 16 << 20;

/// A search in a journal whose last whole record is known.
pub struct Search<'a> {
    /// The journal.
    pub reader: &'a Reader,
    /// What was read last.
    pub last: Option<Last>,
}

impl Search<'_> {
    /// The next record of this segment that is whole and one of ours.
    pub fn rejoin(&self, from: u64) -> Result<Option<Frame>, StoreError> {
        let mut from = from;
        while let Some(candidate) = self.next_whole(from)? {
            match self.contradiction(&candidate)? {
                None => return Ok(Some(candidate)),
                Some(position) => from = position,
            }
        }
        Ok(None)
    }

    /// A later record that says that the candidate was never written: it names a predecessor that
    /// stands before it.
    fn contradiction(&self, candidate: &Frame) -> Result<Option<u64>, StoreError> {
        let mut last = Last::of(candidate);
        while last.position - candidate.position < FOLLOWED_BYTES {
            match self.find_in(last.next)? {
                Some(frame) if last.is_followed_by(&frame.header) => last = Last::of(&frame),
                _ => {
                    let later = self.next_whole(last.next)?;
                    let later = later.filter(|later| later.header.previous < candidate.position);
                    return Ok(later.map(|later| later.position));
                }
            }
        }
        Ok(None)
    }

    fn find_in(&self, position: u64) -> Result<Option<Frame>, StoreError> {
        Ok(match self.reader.find(position)? {
            Found::Record(frame) => Some(frame),
            Found::Nothing | Found::Bad(_) => None,
        })
    }

    /// The next bytes of this segment that are a whole record with a later number than the last.
    fn next_whole(&self, from: u64) -> Result<Option<Frame>, StoreError> {
        let layout = self.reader.layout();
        let number = layout.segment_of(from);
        let path = layout.path(number);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        let mut chunk = vec![0; CHUNK_BYTES + record::HEADER_BYTES];
        // Records start at multiples of eight.
        let mut offset = layout.offset_of(from).next_multiple_of(8);
        loop {
            let read = read_at(&file, &mut chunk, offset).map_err(StoreError::io("read", &path))?;
            let heads = read
                .saturating_sub(record::HEADER_BYTES - 1)
                .min(CHUNK_BYTES);
            for at in (0..heads).step_by(8) {
                let position = layout.position(number, offset + at as u64);
                let header = chunk[at..].first_chunk().and_then(Header::read);
                if header.is_some_and(|header| self.is_likely(&header, position))
                    && let Some(frame) = self.find_in(position)?
                {
                    return Ok(Some(frame));
                }
            }
            if read < chunk.len() {
                return Ok(None);
            }
            offset += CHUNK_BYTES as u64;
        }
    }

    fn is_likely(&self, header: &Header, position: u64) -> bool {
        let layout = self.reader.layout();
        let framed = record::framed_bytes(header.payload_bytes as usize) as u64;
        let last = self.last.as_ref();
        layout.offset_of(position) + framed <= layout.segment_bytes
            && (1..=record::VERSION).contains(&header.version)
            && header.synced_to <= position
            && (header.previous < position || header.previous == NO_PREVIOUS)
            && last.is_none_or(|last| header.sequence > last.header.sequence)
    }
}

/// Where the bytes of a segment end that are not zero, if there are any from an offset on.
pub fn written_end(reader: &Reader, number: u64, from: u64) -> Result<Option<u64>, StoreError> {
    let path = reader.layout().path(number);
    let file = File::open(&path).map_err(StoreError::io("open", &path))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut offset, mut end) = (from, None);
    loop {
        let read = read_at(&file, &mut chunk, offset).map_err(StoreError::io("read", &path))?;
        if read == 0 {
            return Ok(end);
        }
        if let Some(last) = chunk[..read].iter().rposition(|byte| *byte != 0) {
            end = Some(offset + last as u64 + 1);
        }
        offset += read as u64;
    }
}

/// Reads until the buffer is full or the file ends, and says how much that was.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
