//! Segment files: their names, their header, and how they come into being.
//!
//! A segment is allocated at its full size and synced, file and directory, before it is needed; its
//! header is written only with its first records, so a file without one is merely prepared.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::remains::Remains;
use crate::store::background::Background;
use crate::store::disk::{Access, Disk, DiskFile};
use crate::store::error::{NoSpace, StoreError};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 64;
/// The format that this release writes.
pub const VERSION: u32 = 1;
const CREATED_AT: u64 = 48;
const MAGIC: &[u8; 8] = b"PSTRJRNL";

/// Where segments are and how they are cut.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The directory that holds them.
    pub dir: PathBuf,
    /// The store they belong to.
    pub store_id: [u8; 16],
    /// The size of each.
    pub segment_bytes: u64,
    /// Free space that is never touched by new segments.
    pub min_free_bytes: u64,
    /// What they are on.
    pub disk: Arc<dyn Disk>,
    /// Where work on them is done that nobody waits for.
    pub background: Background,
}

impl Layout {
    /// The file of a segment.
    pub fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:020}.seg"))
    }

    /// The segment that holds a position.
    pub fn segment_of(&self, position: u64) -> u64 {
        position / self.segment_bytes
    }

    /// The offset of a position in its segment.
    pub fn offset_of(&self, position: u64) -> u64 {
        position % self.segment_bytes
    }

    /// The position of an offset in a segment.
    pub fn position(&self, number: u64, offset: u64) -> u64 {
        number * self.segment_bytes + offset
    }

    /// Where the first record of a segment stands.
    pub fn first_position(&self, number: u64) -> u64 {
        self.position(number, HEADER_BYTES as u64)
    }

    /// The numbers of all segment files, in order.
    pub fn list(&self) -> Result<Vec<u64>, StoreError> {
        let names = self.disk.list(&self.dir);
        let names = names.map_err(StoreError::io("list", &self.dir))?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|it| self.number_of(it)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The number of the segment with this file name. `None` for any name that [`Self::path`] would not
    /// give, and for numbers whose positions cannot be written down.
    fn number_of(&self, name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".seg")?;
        let number = digits.parse().ok()?;
        let fits = number < u64::MAX / self.segment_bytes;
        (fits && digits == format!("{number:020}")).then_some(number)
    }

    /// Allocates a segment and syncs it, so that nothing of that is left to do when it is needed.
    /// A segment that was prepared before is taken as it is.
    pub fn prepare(&self, number: u64) -> Result<Arc<dyn DiskFile>, StoreError> {
        let path = self.path(number);
        let exists = self.disk.exists(&path);
        let is_new = !exists.map_err(StoreError::io("look for", &path))?;
        if is_new {
            self.check_space(self.segment_bytes)?;
        }
        let file = self.open(number, Access::Create)?;
        if let Err(error) = file.allocate(self.segment_bytes) {
            if is_new {
                // Half a segment must neither look like a whole one nor keep its space.
                let _ = self.disk.remove(&path);
            }
            return Err(match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    self.no_space(0, self.segment_bytes)
                }
                _ => StoreError::io("allocate", &path)(error),
            });
        }
        file.sync_all().map_err(StoreError::io("sync", &path))?;
        self.sync_dir()?;
        Ok(file)
    }

    /// When a segment was begun, in milliseconds of Unix time. `None` when it was not yet.
    pub fn created_at_ms(&self, number: u64) -> Result<Option<u64>, StoreError> {
        let path = self.path(number);
        let file = self.open(number, Access::Read)?;
        if !self.check_header(number, &*file)? {
            return Ok(None);
        }
        let mut bytes = [0; 8];
        let read = file.read_up_to(&mut bytes, CREATED_AT);
        read.map_err(StoreError::io("read", &path))?;
        Ok(Some(u64::from_le_bytes(bytes)))
    }

    /// Removes a segment and what belongs to it, and syncs that. Its space is given back with what is
    /// returned, as slowly as the caller likes.
    pub fn remove(&self, number: u64) -> Result<Remains, StoreError> {
        let path = self.path(number);
        let index = path.with_extension("idx");
        let io = || StoreError::io("remove", &path);
        if self.disk.exists(&index).map_err(io())? {
            self.disk.remove(&index).map_err(io())?;
        }
        let file = self.open(number, Access::Write)?;
        self.disk.remove(&path).map_err(io())?;
        self.sync_dir()?;
        Ok(Remains { path, file })
    }

    /// Opens the file of a segment.
    pub fn open(&self, number: u64, access: Access) -> Result<Arc<dyn DiskFile>, StoreError> {
        let path = self.path(number);
        let file = self.disk.open(&path, access);
        file.map_err(StoreError::io("open", &path))
    }

    /// Makes the names of all segments last, and the removals.
    pub fn sync_dir(&self) -> Result<(), StoreError> {
        let synced = self.disk.sync_dir(&self.dir);
        synced.map_err(StoreError::io("sync", &self.dir))
    }

    /// Whether so much can be used without touching the reserve.
    fn check_space(&self, bytes: u64) -> Result<(), StoreError> {
        let free_bytes = self.disk.free_bytes(&self.dir);
        let free_bytes =
            free_bytes.map_err(StoreError::io("measure the free space of", &self.dir))?;
        if free_bytes < bytes.saturating_add(self.min_free_bytes) {
            return Err(self.no_space(free_bytes, bytes));
        }
        Ok(())
    }

    fn no_space(&self, free_bytes: u64, bytes: u64) -> StoreError {
        let needed_bytes = bytes.saturating_add(self.min_free_bytes);
        NoSpace {
            dir: self.dir.clone(),
            free_bytes,
            needed_bytes,
        }
        .into()
    }

    /// The header that makes a prepared file a segment in use.
    pub fn header(&self, number: u64, created_at_ms: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.store_id);
        bytes[32..40].copy_from_slice(&number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[48..56].copy_from_slice(&created_at_ms.to_le_bytes());
        let crc = crc32c::crc32c(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Checks a segment's header. `Ok(false)` when the file is merely prepared, or its header was
    /// torn while it was being written.
    pub fn check_header(&self, number: u64, file: &dyn DiskFile) -> Result<bool, StoreError> {
        let path = self.path(number);
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_up_to(&mut bytes, 0);
        if read.map_err(StoreError::io("read", &path))? < HEADER_BYTES {
            return Ok(false);
        }
        if &bytes[0..8] != MAGIC || !header_is_whole(&bytes) {
            return Ok(false);
        }
        let foreign = |what| StoreError::Foreign {
            path: path.clone(),
            what,
        };
        let found = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if found > VERSION {
            return Err(StoreError::Newer {
                path: path.clone(),
                offset: 0,
                found,
                known: VERSION,
            });
        }
        if bytes[16..32] != self.store_id {
            return Err(foreign("it carries another store's id"));
        }
        if bytes[32..40] != number.to_le_bytes() {
            return Err(foreign("its name and its number differ"));
        }
        if bytes[40..48] != self.segment_bytes.to_le_bytes() {
            return Err(foreign("its segment size is another"));
        }
        Ok(true)
    }
}

/// What the header of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stated {
    /// The format of the segment.
    pub version: u32,
    /// The store it belongs to.
    pub store_id: [u8; 16],
    /// Its number.
    pub number: u64,
    /// The size of the store's segments.
    pub segment_bytes: u64,
    /// When it was begun, in milliseconds of Unix time.
    pub created_at_ms: u64,
}

impl Stated {
    /// Reads a header. `None` when it is not whole.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        if &bytes[0..8] != MAGIC || !header_is_whole(bytes) {
            return None;
        }
        let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes[at..].first_chunk()?));
        Some(Self {
            version: u32::from_le_bytes(*bytes[8..].first_chunk()?),
            store_id: *bytes[16..].first_chunk()?,
            number: u64_at(32)?,
            segment_bytes: u64_at(40)?,
            created_at_ms: u64_at(48)?,
        })
    }
}

/// The store id in the header of a segment, if it has a whole header.
pub fn store_id_of(disk: &dyn Disk, path: &Path) -> Result<Option<[u8; 16]>, StoreError> {
    let file = disk.open(path, Access::Read);
    let file = file.map_err(StoreError::io("open", path))?;
    let mut bytes = [0; HEADER_BYTES];
    let read = file.read_up_to(&mut bytes, 0);
    let read = read.map_err(StoreError::io("read", path))?;
    if read < HEADER_BYTES || &bytes[0..8] != MAGIC || !header_is_whole(&bytes) {
        return Ok(None);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[16..32]);
    Ok(Some(id))
}

/// Whether a file without a whole header has anything behind where that would be.
pub fn holds_records(disk: &dyn Disk, path: &Path) -> Result<bool, StoreError> {
    let file = disk.open(path, Access::Read);
    let file = file.map_err(StoreError::io("open", path))?;
    let mut chunk = vec![0; 1 << 20];
    let mut offset = HEADER_BYTES as u64;
    loop {
        let read = file.read_up_to(&mut chunk, offset);
        let read = read.map_err(StoreError::io("read", path))?;
        if read == 0 || chunk[..read].iter().any(|byte| *byte != 0) {
            return Ok(read > 0);
        }
        offset += read as u64;
    }
}

fn header_is_whole(bytes: &[u8; HEADER_BYTES]) -> bool {
    let mut unsummed = *bytes;
    unsummed[12..16].fill(0);
    crc32c::crc32c(&unsummed).to_le_bytes() == bytes[12..16]
}
