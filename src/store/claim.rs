//! Whether a directory is ours to keep a store in: it holds one, or nothing, and nobody else has it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::disk::Disk;
use super::error::StoreError;
use super::journal::segment;

/// How often the lock is tried: `postrider doctor` holds it for a moment to see if it is free.
const LOCK_TRIES: usize = 5;
/// The pause before the next try.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What may be in a data directory that holds no store yet: what a first start makes before the
/// journal, and what a file system has at its root.
const MAY_BE_THERE: [&str; 3] = ["lock", "reserve", "lost+found"];

/// Refuses to make a store among other people's files.
pub fn refuse_occupied(dir: &Path) -> Result<(), StoreError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(StoreError::NotADirectory {
                path: dir.to_owned(),
            });
        }
        Err(error) => return Err(StoreError::io("list", dir)(error)),
    };
    let mut strange = None;
    for entry in entries {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        let name = name.to_string_lossy();
        if name == "journal" || name == "state" {
            return Ok(());
        }
        if !MAY_BE_THERE.contains(&&*name) && !name.starts_with('.') {
            strange = Some(name.into_owned());
        }
    }
    match strange {
        Some(name) => Err(StoreError::Occupied {
            dir: dir.to_owned(),
            name,
        }),
        None => Ok(()),
    }
}

/// The id of the store that these segments belong to: the one that most of them carry, so that one
/// that strayed in is named and not all others. `None` where nothing was ever stored.
pub fn known_store(disk: &dyn Disk, journal_dir: &Path) -> Result<Option<[u8; 16]>, StoreError> {
    let mut counts: BTreeMap<[u8; 16], usize> = BTreeMap::new();
    let mut headless = Vec::new();
    let exists = disk.exists(journal_dir);
    if !exists.map_err(StoreError::io("look for", journal_dir))? {
        return Ok(None);
    }
    let names = disk.list(journal_dir);
    for name in names.map_err(StoreError::io("list", journal_dir))? {
        let path = journal_dir.join(name);
        if path.extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        match segment::store_id_of(disk, &path)? {
            Some(id) => *counts.entry(id).or_default() += 1,
            None => headless.push(path),
        }
    }
    if let Some((id, _)) = counts.into_iter().max_by_key(|(_, count)| *count) {
        return Ok(Some(id));
    }
    // Prepared for a first start that did not come further, or all that is left of a journal.
    for path in headless {
        if segment::holds_records(disk, &path)? {
            return Err(StoreError::Damaged {
                path,
                offset: 0,
                what: "the header of a segment in use is missing",
            });
        }
    }
    Ok(None)
}

/// Locks a data directory for the life of the file.
pub fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    for _ in 0..LOCK_TRIES {
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(file);
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    Err(StoreError::Locked {
        path: path.to_owned(),
    })
}
