//! Where in the journal the attempts of an event are.
//!
//! One index for each segment: a digest of the event's id and the offset of the record that holds an
//! attempt for it, sorted. The open segment's is kept in memory; a closed segment's is a file beside
//! it, made from the segment whenever it is missing or does not match. It can say too much (digests
//! may collide, so the record decides) and never too little.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::{Access, Disk};
use super::entry::{Entry, UNDECODABLE};
use super::error::StoreError;
use super::journal::reader::Found;
use super::journal::{Layout, Reader};
use crate::domain::ids::EventId;

/// Closed segments whose index is kept in memory.
const MAX_LOADED: usize = 16;
/// How many segments one look-up goes through: 256 GiB of journal.
const MAX_SEGMENTS: u64 = 4096;
const ROW_BYTES: usize = 12;

type Rows = Vec<(u64, u32)>;

/// See the module.
#[derive(Debug)]
pub struct AttemptIndex {
    active: Mutex<(u64, Rows)>,
    closed: Mutex<VecDeque<(u64, Arc<Rows>)>>,
}

impl AttemptIndex {
    /// Reads the segment that the journal ends in.
    pub fn open(journal: &Reader, end: u64) -> Result<Self, StoreError> {
        let segment = journal.layout().segment_of(end);
        let rows = scan(journal, segment, end)?;
        Ok(Self {
            active: Mutex::new((segment, rows)),
            closed: Mutex::default(),
        })
    }

    /// Takes in a record that was just written.
    pub fn add(&self, layout: &Layout, position: u64, entry: Option<&Entry>) {
        let segment = layout.segment_of(position);
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if active.0 != segment {
            let (closed, rows) = std::mem::replace(&mut *active, (segment, Rows::new()));
            save_later(layout, closed, rows);
        }
        active.1.extend(rows_of(layout, position, entry));
    }

    /// The positions of records that hold attempts for an event whose own record stands at `from`.
    pub fn positions(
        &self,
        journal: &Reader,
        event: EventId,
        from: u64,
        end: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let layout = journal.layout();
        let digest = digest(event);
        let first = layout.segment_of(from);
        let last = layout
            .segment_of(end)
            .min(first.saturating_add(MAX_SEGMENTS));
        let mut positions = Vec::new();
        for segment in first..=last {
            let found = |rows: &[(u64, u32)]| -> Vec<u64> {
                let wanted = rows.iter().filter(|(row, _)| *row == digest);
                wanted
                    .map(|(_, offset)| layout.position(segment, u64::from(*offset)))
                    .collect()
            };
            let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            if active.0 == segment {
                positions.extend(found(&active.1));
                continue;
            }
            drop(active);
            let rows = self.closed(journal, segment)?;
            let start = rows.partition_point(|(row, _)| *row < digest);
            let length = rows[start..].partition_point(|(row, _)| *row == digest);
            positions.extend(found(&rows[start..start + length]));
        }
        positions.dedup();
        Ok(positions)
    }

    fn closed(&self, journal: &Reader, segment: u64) -> Result<Arc<Rows>, StoreError> {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rows)) = closed.iter().find(|(number, _)| *number == segment) {
            return Ok(Arc::clone(rows));
        }
        drop(closed);
        let layout = journal.layout();
        let rows = if let Some(rows) = load(&*layout.disk, &path(layout, segment)) {
            rows
        } else {
            let end = layout.position(segment + 1, 0);
            let mut rows = scan(journal, segment, end)?;
            rows.sort_unstable();
            save(layout, segment, &rows);
            rows
        };
        let rows = Arc::new(rows);
        closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        if closed.len() == MAX_LOADED {
            closed.pop_front();
        }
        closed.push_back((segment, Arc::clone(&rows)));
        Ok(rows)
    }
}

/// The random half of a version 7 uuid.
fn digest(event: EventId) -> u64 {
    event.0.as_u64_pair().1
}

fn rows_of(layout: &Layout, position: u64, entry: Option<&Entry>) -> Rows {
    let offset = u32::try_from(layout.offset_of(position)).unwrap_or(u32::MAX);
    let attempts = entry.into_iter().flat_map(Entry::attempts);
    attempts
        .map(|attempt| (digest(attempt.event), offset))
        .collect()
}

fn scan(journal: &Reader, segment: u64, end: u64) -> Result<Rows, StoreError> {
    let layout = journal.layout();
    let mut rows = Rows::new();
    let mut position = layout.first_position(segment);
    while position < end {
        let Found::Record(frame) = journal.find(position)? else {
            break;
        };
        let entry = Entry::decode(frame.header.kind, &frame.payload)
            .map_err(|_| journal.damaged(frame.position, UNDECODABLE))?;
        rows.extend(rows_of(layout, position, entry.as_ref()));
        position = frame.next;
    }
    Ok(rows)
}

fn path(layout: &Layout, segment: u64) -> PathBuf {
    layout.path(segment).with_extension("idx")
}

/// Sorts and writes an index without holding up whoever writes the journal.
fn save_later(layout: &Layout, segment: u64, mut rows: Rows) {
    let own = layout.clone();
    let spawned = layout.background.run("index", move || {
        rows.sort_unstable();
        save(&own, segment, &rows);
    });
    if let Err(error) = spawned {
        log::warn!("the index of segment {segment} is left to be made when it is needed: {error}");
    }
}

/// Writes an index. It can be made anew at any time, so a failure is only worth a line.
fn save(layout: &Layout, segment: u64, rows: &[(u64, u32)]) {
    let mut bytes = Vec::with_capacity(4 + rows.len() * ROW_BYTES);
    bytes.extend_from_slice(&[0; 4]);
    for (digest, offset) in rows {
        bytes.extend_from_slice(&digest.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    let crc = checksum(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    let path = path(layout, segment);
    if let Err(error) = replace(&*layout.disk, &path, &bytes) {
        log::warn!("cannot write the index {}: {error}", path.display());
    }
}

/// Never zero for no rows: four zeros are what a power cut may leave of any index.
fn checksum(rows: &[u8]) -> u32 {
    crc32c::crc32c_append(1, rows)
}

fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if disk.exists(path)? {
        disk.remove(path)?;
    }
    disk.open(path, Access::Create)?.write_all_at(bytes, 0)
}

fn load(disk: &dyn Disk, path: &Path) -> Option<Rows> {
    let file = disk.open(path, Access::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.size_bytes().ok()?).ok()?];
    if file.read_up_to(&mut bytes, 0).ok()? < bytes.len() {
        return None;
    }
    let (crc, rows) = bytes.split_first_chunk::<4>()?;
    if checksum(rows) != u32::from_le_bytes(*crc) || rows.len() % ROW_BYTES != 0 {
        return None;
    }
    let read = |row: &[u8]| {
        let (digest, offset) = row.split_first_chunk::<8>()?;
        Some((
            u64::from_le_bytes(*digest),
            u32::from_le_bytes(offset.try_into().ok()?),
        ))
    };
    rows.chunks_exact(ROW_BYTES).map(read).collect()
}

#[cfg(test)]
mod tests;
