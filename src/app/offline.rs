//! What is done with a store without running a relay on it: backing it up, restoring it, exporting and
//! importing it.
//!
//! Everything here blocks; the command line gives it a thread.

use std::io::{BufRead, Read, Write};
use std::path::Path;

use super::told::store_options;
use super::{AppError, secrets};
use crate::actors::now_ms;
use crate::config::Config;
use crate::store::archive::{self, ArchiveError, Backup, Restored, Target, read};
use crate::store::error::StoreError;
use crate::store::portable::{self, Exported, Imported, PortableError, Which};
use crate::store::{self, SEGMENT_BYTES};

/// A backup that was made.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// When it was begun, in milliseconds of Unix time. Whatever was accepted before is in it.
    pub made_at_ms: u64,
    /// Records of the journal.
    pub records: u64,
    /// Bytes of the journal.
    pub bytes: u64,
}

/// Copies an archive that a relay makes, and checks all of it.
pub fn receive(from: impl Read, to: &mut impl Write) -> Result<Made, AppError> {
    let (header, totals) = read::copy(from, to)?;
    Ok(Made {
        made_at_ms: header.made_at_ms,
        records: totals.records,
        bytes: totals.bytes,
    })
}

/// Makes an archive of a store that no relay runs on.
pub fn back_up(config: &Config, to: &mut impl Write) -> Result<Made, AppError> {
    let made_at_ms = now_ms();
    let key = secrets::find(config)?.map(|ring| ring.current());
    let mut backup = Backup::of_stopped(&config.data_dir, SEGMENT_BYTES, key, made_at_ms)?;
    while let Some(block) = backup.next_block()? {
        to.write_all(&block).map_err(ArchiveError::Write)?;
    }
    let totals = backup.totals();
    Ok(Made {
        made_at_ms,
        records: totals.records,
        bytes: totals.bytes,
    })
}

/// Takes a directory for a new store.
pub fn target(data_dir: &Path) -> Result<Target, AppError> {
    Ok(Target::new(data_dir)?)
}

/// Makes a store of an archive, whose sealing key must be at hand.
pub fn restore(config: &Config, from: impl Read, target: &Target) -> Result<Restored, AppError> {
    let ring = secrets::find(config)?.unwrap_or_default();
    Ok(archive::restore(from, target, &ring)?)
}

/// Writes a store that no relay runs on as lines. The store is recovered first, as a start would.
pub fn export(config: &Config, all: bool, to: &mut impl Write) -> Result<Exported, AppError> {
    let dir = &config.data_dir;
    if !dir.join("journal").is_dir() {
        return Err(ArchiveError::NoStore { path: dir.clone() }.into());
    }
    let store = store::open(&store_options(config)).map_err(|error| match error {
        StoreError::Locked { .. } => AppError::RelayRuns { dir: dir.clone() },
        error => error.into(),
    })?;
    let which = if all { Which::All } else { Which::Open };
    let ring = secrets::find(config)?.unwrap_or_default();
    Ok(portable::export(&store, which, &ring, now_ms(), to)?)
}

/// What a failed write of an export is called.
pub fn not_written(error: std::io::Error) -> AppError {
    PortableError::Write(error).into()
}

/// Makes a store of lines, its secrets sealed under the key at hand.
pub fn import(config: &Config, from: impl BufRead, target: &Target) -> Result<Imported, AppError> {
    let ring = secrets::find_or_make(config)?;
    Ok(portable::import(
        from,
        target,
        SEGMENT_BYTES,
        &ring,
        now_ms(),
    )?)
}
