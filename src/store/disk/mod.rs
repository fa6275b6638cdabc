//! What the store asks of a disk: the operations that the journal and the files beside it need, and
//! no more.
//!
//! A boundary, so that a simulated disk (`simulated`, for tests) can stand in for the real one
//! ([`real`]) and lose at a power cut whatever was not synced. What each operation makes durable is
//! part of its contract here. sled's own folder and the lock of the data directory stay outside: the
//! one is sled's, the other means nothing to a disk that no other process sees.

pub mod real;
#[cfg(test)]
pub mod simulated;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::error::StoreError;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A file that is there, for reading.
    Read,
    /// A file that is there, for reading and writing.
    Write,
    /// The same, made first if it is missing, for its owner alone (mode 0600). What is in it stays.
    Create,
}

/// A place for files.
pub trait Disk: Debug + Send + Sync {
    /// Opens a file. The name of one that was made lasts once its directory is synced.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;

    /// Whether there is a file or directory of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// The names in a directory, in any order. Those that are not Unicode are none of ours.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Removes a file. It stays away for good once its directory is synced.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory that only its owner may look into (mode 0700). Its name lasts once the
    /// directory above is synced.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;

    /// Makes the names in a directory last, and the removals.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// The bytes that may still be used where this directory is.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
}

/// An open file. What was written stands in a cache that a power cut empties, until it is synced.
pub trait DiskFile: Debug + Send + Sync {
    /// Reads until the buffer is full or the file ends, and says how much that was.
    fn read_up_to(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of it.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes a file at least this long, with the space for it taken where the file system can. What
    /// was written in it stays, the rest reads as zeros.
    fn allocate(&self, bytes: u64) -> io::Result<()>;

    /// Cuts a file down, for good, and gives back the space of what it loses.
    fn shrink(&self, bytes: u64) -> io::Result<()>;

    /// Makes what was written last, and as much of the file's length as reading that needs.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the whole file last, its length included; not its name.
    fn sync_all(&self) -> io::Result<()>;

    /// How long it is.
    fn size_bytes(&self) -> io::Result<u64>;
}

/// Makes a directory, and those above it that are missing; each is synced into the one above, or a
/// power cut could take all that it holds with its name.
pub fn make_dirs(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    if disk.exists(dir).map_err(StoreError::io("look for", dir))? {
        return Ok(());
    }
    make_dirs(disk, parent(dir))?;
    disk.make_dir(dir).map_err(StoreError::io("create", dir))?;
    disk.sync_dir(parent(dir))
        .map_err(StoreError::io("sync", parent(dir)))
}

/// Makes sure of the name of a directory that is there: whoever made it may have ended before it was
/// synced. Where that is not allowed, it was somebody else who made it.
pub fn sync_name(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    match disk.sync_dir(parent(dir)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(StoreError::io("sync", parent(dir))),
    }
}

/// The directory that holds this.
fn parent(dir: &Path) -> &Path {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
