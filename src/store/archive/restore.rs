//! Making a store of a backup.
//!
//! Every byte is checked on the way, and then, record by record, the journal that they make. The new
//! store keeps the old one's id and has no state: its first start builds it. What was delivered after
//! the backup was made is delivered again, for the backup does not know of it; what was settled by
//! then is not. A store and its backup must not both go on as the same store.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::ArchiveError;
use super::format::Header;
use super::read::ArchiveReader;
use super::target::Target;
use crate::domain::directory::Directory;
use crate::domain::event::Event;
use crate::domain::sealed::{Keyring, SealingKeyId};
use crate::store::carried::CarriedEvent;
use crate::store::disk::DiskFile;
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::journal::{Layout, Reader, Walk};

/// What was restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// When the backup was made, in milliseconds of Unix time.
    pub made_at_ms: u64,
    /// Records of the journal.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// When the last of them was accepted, in milliseconds of Unix time.
    pub last_event_at_ms: Option<u64>,
}

/// Reads a backup to its end and makes a store of it. The key that its secrets are sealed under must be at
/// hand: without it nothing could ever be delivered again.
pub fn restore(from: impl Read, target: &Target, ring: &Keyring) -> Result<Restored, ArchiveError> {
    let mut archive = ArchiveReader::open(from)?;
    let header = *archive.header();
    let key = header.secrets_key.map(SealingKeyId);
    if let Some(key) = key.filter(|key| !ring.knows(*key)) {
        return Err(ArchiveError::Sealed { key });
    }
    let layout = target.layout(header.store_id, header.segment_bytes);
    write_segments(&mut archive, &layout)?;
    let (restored, directory) = read_through(layout, &header).map_err(inside)?;
    // The header names the key of the time of the backup; before a rotation is through there are others.
    let mut keys = directory
        .subscriptions()
        .flat_map(|it| it.sealed_under().flatten());
    if let Some(key) = keys.find(|key| !ring.knows(*key)) {
        return Err(ArchiveError::Sealed { key });
    }
    if restored.records != archive.totals().records {
        return Err(ArchiveError::Damaged {
            offset: archive.offset(),
            what: "it does not hold as many records as its trailer says",
        });
    }
    target.commit()?;
    Ok(restored)
}

fn write_segments(
    archive: &mut ArchiveReader<impl Read>,
    layout: &Layout,
) -> Result<(), ArchiveError> {
    let mut open: Option<(u64, Arc<dyn DiskFile>)> = None;
    while let Some(chunk) = archive.next_chunk()? {
        let number = layout.segment_of(chunk.position);
        let file = match open.take() {
            Some((open, file)) if open == number => file,
            full => {
                sync(layout, full)?;
                layout.prepare(number)?
            }
        };
        file.write_all_at(&chunk.data, layout.offset_of(chunk.position))
            .map_err(StoreError::io("write to", &layout.path(number)))?;
        open = Some((number, file));
    }
    Ok(sync(layout, open)?)
}

fn sync(layout: &Layout, full: Option<(u64, Arc<dyn DiskFile>)>) -> Result<(), StoreError> {
    full.map_or(Ok(()), |(number, file)| {
        file.sync_all()
            .map_err(StoreError::io("sync", &layout.path(number)))
    })
}

/// Reads all records as a start would; returns what they are, and who is there.
fn read_through(layout: Layout, header: &Header) -> Result<(Restored, Directory), StoreError> {
    let mut directory = Directory::default();
    let mut restored = Restored {
        made_at_ms: header.made_at_ms,
        ..Restored::default()
    };
    let mut walk = Walk::new(Reader::new(layout), header.start, header.end)?;
    while let Some(frame) = walk.next_record()? {
        restored.records += 1;
        let entry = Entry::decode(frame.header.kind, &frame.payload)?;
        let events: Vec<&Event> = match &entry {
            Some(Entry::Accepted(events)) => events.iter().collect(),
            Some(Entry::Carried(events)) => {
                // Those whose own record is in the journal too are not counted twice.
                let elsewhere = |it: &&CarriedEvent| it.place.position < header.start;
                let carried = events.iter().filter(elsewhere);
                carried.map(|it| &it.event).collect()
            }
            Some(Entry::Directory(changes) | Entry::Snapshot(changes)) => {
                for change in changes {
                    directory.apply(change);
                }
                Vec::new()
            }
            _ => Vec::new(),
        };
        restored.events += events.len() as u64;
        let last = events.iter().map(|event| event.meta.accepted_at_ms).max();
        restored.last_event_at_ms = restored.last_event_at_ms.max(last);
    }
    Ok((restored, directory))
}

/// What is wrong is wrong with the backup, not with the files that were just made of it.
fn inside(error: StoreError) -> ArchiveError {
    match error {
        StoreError::Damaged { path, offset, what } => ArchiveError::Journal {
            file: path.file_name().map(PathBuf::from).unwrap_or_default(),
            offset,
            what,
        },
        StoreError::Newer { found, known, .. } => ArchiveError::Newer { found, known },
        other => other.into(),
    }
}
