//! Making a backup: blocks of bytes that, one after the other, are the archive.
//!
//! Reads the journal while it goes on growing; what is read was synced before the backup began, and
//! never changes. Holds one record and one chunk in memory, however large the journal is. Calls may
//! block on the disk.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use super::error::ArchiveError;
use super::format::{self, Header};
use super::read::Totals;
use crate::domain::sealed::SealingKeyId;
use crate::store::Machine;
use crate::store::claim::{known_store, lock};
use crate::store::error::StoreError;
use crate::store::holds::Hold;
use crate::store::journal::{Frame, Layout, Reader, Walk, recovery};
use crate::store::log::Log;
use crate::store::opening::first_position;

/// Journal bytes of one chunk: enough for the disk, and soon done, so that nobody waits long behind it.
const CHUNK_BYTES: usize = 256 << 10;

/// What keeps the journal in place while it is read.
#[derive(Debug)]
enum Kept {
    Hold(#[expect(dead_code, reason = "kept until it is dropped")] Hold),
    Lock(#[expect(dead_code, reason = "kept until it is dropped")] std::fs::File),
}

/// A backup that is being made.
#[derive(Debug)]
pub struct Backup {
    header: Header,
    walk: Walk,
    stage: Stage,
    /// A record that starts the next segment, and so the next chunk.
    next_segment: Option<Frame>,
    /// Where `gathered` stands in the journal.
    position: u64,
    gathered: BytesMut,
    digest: Sha256,
    totals: Totals,
    _kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Chunks,
    Done,
}

impl Backup {
    /// Begins a backup of a log that goes on: everything that is synced by now.
    pub fn of_running(
        log: &Arc<Log>,
        secrets_key: Option<SealingKeyId>,
        now_ms: u64,
    ) -> Result<Self, StoreError> {
        let hold = log.hold();
        let (start, end) = (hold.start(), log.end());
        let layout = log.journal().layout();
        Self::new(layout, start..end, secrets_key, now_ms, Kept::Hold(hold))
    }

    /// Begins a backup of a store that no relay has open, and changes nothing in it.
    pub fn of_stopped(
        dir: &Path,
        segment_bytes: u64,
        secrets_key: Option<SealingKeyId>,
        now_ms: u64,
    ) -> Result<Self, ArchiveError> {
        let journal = dir.join("journal");
        let no_store = || ArchiveError::NoStore {
            path: dir.to_owned(),
        };
        if !journal.is_dir() {
            return Err(no_store());
        }
        let kept = Kept::Lock(lock(&dir.join("lock"))?);
        let Machine {
            disk, background, ..
        } = Machine::real();
        let layout = Layout {
            store_id: known_store(&*disk, &journal)?.ok_or_else(no_store)?,
            dir: journal,
            segment_bytes,
            min_free_bytes: 0,
            disk,
            background,
        };
        let tail = recovery::find_end(&Reader::new(layout.clone()), None)?.ok_or_else(no_store)?;
        let start = first_position(&layout)?;
        let all = start..tail.position;
        Ok(Self::new(&layout, all, secrets_key, now_ms, kept)?)
    }

    fn new(
        layout: &Layout,
        Range { start, end }: Range<u64>,
        secrets_key: Option<SealingKeyId>,
        now_ms: u64,
        kept: Kept,
    ) -> Result<Self, StoreError> {
        let walk = Walk::new(Reader::new(layout.clone()), start, end)?;
        let first = layout.segment_of(start);
        let head = walk.reader().segment_header(first)?;
        Ok(Self {
            header: Header {
                store_id: layout.store_id,
                made_at_ms: now_ms,
                start,
                end,
                segment_bytes: layout.segment_bytes,
                secrets_key: secrets_key.map(|key| key.0),
            },
            stage: Stage::Header,
            next_segment: None,
            position: layout.position(first, 0),
            gathered: BytesMut::from(&head[..]),
            digest: Sha256::new(),
            totals: Totals::default(),
            walk,
            _kept: kept,
        })
    }

    /// The next block of the archive; `None` at its end. After an error the archive ends with
    /// [`Self::unfinished`].
    pub fn next_block(&mut self) -> Result<Option<Bytes>, StoreError> {
        let block = match self.stage {
            Stage::Done => return Ok(None),
            Stage::Header => {
                self.stage = Stage::Chunks;
                self.header.write().to_vec()
            }
            Stage::Chunks => match self.chunk()? {
                Some(chunk) => chunk,
                None => return Ok(Some(self.trailer())),
            },
        };
        self.digest.update(&block);
        Ok(Some(block.into()))
    }

    /// What was read so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The end of an archive that cannot be finished.
    pub fn unfinished(reason: &StoreError) -> Bytes {
        format::chunk(format::UNFINISHED, reason.to_string().as_bytes()).into()
    }

    fn trailer(&mut self) -> Bytes {
        self.stage = Stage::Done;
        let digest = std::mem::take(&mut self.digest).finalize();
        format::trailer(self.totals, digest.into()).into()
    }

    fn chunk(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        while self.gathered.len() < CHUNK_BYTES {
            if let Some(frame) = self.next_segment.take() {
                if !self.gathered.is_empty() {
                    self.next_segment = Some(frame);
                    break;
                }
                self.begin_segment(&frame)?;
                self.gather(&frame);
                continue;
            }
            let Some(frame) = self.walk.next_record()? else {
                break;
            };
            let layout = self.walk.reader().layout();
            if layout.segment_of(frame.position) == layout.segment_of(self.position) {
                self.gather(&frame);
            } else {
                self.next_segment = Some(frame);
            }
        }
        if self.gathered.is_empty() {
            return Ok(None);
        }
        let data = self.gathered.split_to(self.gathered.len().min(CHUNK_BYTES));
        let chunk = format::chunk(self.position, &data);
        self.position += data.len() as u64;
        self.totals.chunks += 1;
        self.totals.bytes += data.len() as u64;
        Ok(Some(chunk))
    }

    fn begin_segment(&mut self, frame: &Frame) -> Result<(), StoreError> {
        let reader = self.walk.reader();
        let number = reader.layout().segment_of(frame.position);
        self.gathered
            .extend_from_slice(&reader.segment_header(number)?);
        self.position = reader.layout().position(number, 0);
        Ok(())
    }

    /// Adds a record as it stands on disk.
    fn gather(&mut self, frame: &Frame) {
        let mut bytes = Vec::with_capacity(frame.payload.len() + 64);
        frame.header.append(&frame.payload, &mut bytes);
        self.gathered.extend_from_slice(&bytes);
        self.totals.records += 1;
    }
}
