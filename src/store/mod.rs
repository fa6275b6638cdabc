//! Floor 1, the disk: a journal that is the truth, and sled that knows where everything stands.
//!
//! This folder alone knows the journal's format and sled. What the floors above need is: append
//! ([`committer`]), read from a position ([`log`]), settle, schedule, look up, expire ([`ledger`]).
//! Metadata and sled's values are bincode; event bodies stay the bytes they were.
//!
//! Nothing that was acknowledged depends on sled: where its state is missing, damaged or another
//! store's, it is removed and rebuilt from the journal.

pub mod attempts;
pub mod carried;
pub mod committer;
pub mod entry;
pub mod error;
#[cfg(test)]
mod fixtures;
pub mod holds;
pub mod journal;
pub mod ledger;
pub mod log;
pub mod reserve;
pub mod retention;
pub mod state;

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};

use self::committer::Committer;
use self::error::StoreError;
use self::journal::record::NO_PREVIOUS;
use self::journal::{Layout, Reader, Tail, Writer, recovery, segment};
use self::ledger::Ledger;
use self::log::Log;
use self::state::State;
use self::state::checkpoint::{self, Checkpointer, MAX_CHECKPOINT_BYTES};
use crate::domain::event::Place;

/// The size of a journal segment. The same for the life of a store.
pub const SEGMENT_BYTES: u64 = 64 << 20;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The data directory.
    pub dir: PathBuf,
    /// Memory that sled may use for what it has read.
    pub cache_bytes: u64,
    /// Free disk space that is never used up.
    pub min_free_bytes: u64,
    /// [`SEGMENT_BYTES`], but for tests.
    pub segment_bytes: u64,
    /// The wait before the first attempt where a subscription has no schedule of its own.
    pub first_wait_ms: u64,
    /// Now, in milliseconds of Unix time.
    pub now_ms: u64,
}

/// An open store, recovered: everything that the journal holds is applied to the ledger.
#[derive(Debug)]
pub struct Store {
    /// Reads the log.
    pub log: Arc<Log>,
    /// Point look-ups in what the last checkpoint says.
    pub state: Arc<State>,
    /// Writes the log.
    pub committer: Committer,
    /// Writes checkpoints.
    pub checkpointer: Checkpointer,
    /// What the log adds up to.
    pub ledger: Ledger,
    /// What was found and done about it.
    pub report: Report,
    /// The lock on the data directory, held for the life of the process.
    pub lock: File,
}

/// What opening a store found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// There was no store; this is a first start.
    pub is_new: bool,
    /// Records applied that the last checkpoint did not hold.
    pub records_replayed: u64,
    /// The state had to be rebuilt from the whole journal.
    pub state_rebuilt: bool,
}

/// Opens a store, or makes one where there is none.
pub fn open(options: &Options) -> Result<Store, StoreError> {
    let journal_dir = options.dir.join("journal");
    let state_dir = options.dir.join("state");
    make_dir(&options.dir)?;
    let lock = lock(&options.dir.join("lock"))?;
    reserve::adjust(&options.dir, options.min_free_bytes)?;
    make_dir(&journal_dir)?;
    let known_id = store_id(&journal_dir)?;
    if known_id.is_none() && state_dir.exists() {
        let what = "its journal is missing; bring the journal folder back, or move both away to start anew";
        return Err(StoreError::Foreign {
            path: state_dir,
            what,
        });
    }
    let layout = Layout {
        dir: journal_dir,
        store_id: known_id.map_or_else(new_id, Ok)?,
        segment_bytes: options.segment_bytes,
        min_free_bytes: options.min_free_bytes,
    };
    if known_id.is_none() {
        Writer::create(&layout, options.now_ms)?;
        segment::sync_dir(&options.dir)?;
    }

    let recovered = recover(&layout, &state_dir, options)?;
    let directory = recovered.ledger.directory().clone();
    let writer = Writer::resume(layout, recovered.tail)?;
    Ok(Store {
        committer: Committer::start(writer, Arc::clone(&recovered.log), directory)?,
        checkpointer: Checkpointer::start(Arc::clone(&recovered.state))?,
        log: recovered.log,
        state: recovered.state,
        ledger: recovered.ledger,
        report: Report {
            is_new: known_id.is_none(),
            state_rebuilt: known_id.is_some() && recovered.rebuilt,
            records_replayed: recovered.records_replayed,
        },
        lock,
    })
}

struct Recovered {
    log: Arc<Log>,
    state: Arc<State>,
    ledger: Ledger,
    tail: Tail,
    records_replayed: u64,
    rebuilt: bool,
}

/// Goes on from the last checkpoint. Where there is none that can be used, whatever the reason,
/// everything is rebuilt from the journal.
fn recover(layout: &Layout, state_dir: &Path, options: &Options) -> Result<Recovered, StoreError> {
    if let Some((state, ledger)) = load_checkpoint(state_dir, layout.store_id, options) {
        let position = ledger.applied().position;
        let tail = find_tail(layout, Some(position))?;
        // A checkpoint that is ahead of the journal's synced end tells of what did not happen.
        let end = Place {
            position: tail.position,
            index: 0,
        };
        if first_position(layout)? <= position && ledger.applied() <= end {
            match replay_all(layout, state, ledger, tail, false) {
                Err(error) if error.is_damaged_state() => unusable(&error),
                replayed => return replayed,
            }
        } else {
            unusable(&"it is ahead of the journal");
        }
    }
    // Everything is to be read again, so everything has to be whole.
    let tail = find_tail(layout, None)?;
    let start = first_position(layout)?;
    let (state, ledger) = blank_state(state_dir, layout.store_id, start, options)?;
    replay_all(layout, state, ledger, tail, true)
}

fn unusable(reason: &dyn std::fmt::Display) {
    ::log::warn!("the state cannot be used and is rebuilt from the journal: {reason}");
}

fn find_tail(layout: &Layout, from: Option<u64>) -> Result<Tail, StoreError> {
    recovery::recover(&Reader::new(layout.clone()), from)?.ok_or_else(|| StoreError::Foreign {
        path: layout.dir.clone(),
        what: "it holds no journal segment",
    })
}

fn first_position(layout: &Layout) -> Result<u64, StoreError> {
    Ok(layout.first_position(layout.list()?.first().copied().unwrap_or(0)))
}

fn replay_all(
    layout: &Layout,
    state: Arc<State>,
    mut ledger: Ledger,
    tail: Tail,
    rebuilt: bool,
) -> Result<Recovered, StoreError> {
    let last = (tail.last_position != NO_PREVIOUS).then_some(tail.last_position);
    // A reader of its own: finding the tail may have removed files that its reader still holds open.
    let start = first_position(layout)?;
    let reader = Reader::new(layout.clone());
    let log = Arc::new(Log::new(reader, start, tail.position, last)?);
    let records_replayed = replay(&log, &mut ledger, &state)?;
    Ok(Recovered {
        log,
        state,
        ledger,
        tail,
        records_replayed,
        rebuilt,
    })
}

/// The state and the ledger of its last checkpoint. Whatever is wrong with them, the journal has it
/// all, so an error here only means that there is no checkpoint.
fn load_checkpoint(
    dir: &Path,
    store_id: [u8; 16],
    options: &Options,
) -> Option<(Arc<State>, Ledger)> {
    if !dir.exists() {
        return None;
    }
    if State::is_condemned(dir) {
        unusable(&"it was found damaged while it was in use");
        return None;
    }
    let load = || {
        let state = Arc::new(State::open(dir, options.cache_bytes)?);
        let ledger = Ledger::load(&state, store_id, options.first_wait_ms)?;
        Ok::<_, StoreError>(ledger.map(|ledger| (state, ledger)))
    };
    load().unwrap_or_else(|error| {
        unusable(&error);
        None
    })
}

fn blank_state(
    dir: &Path,
    store_id: [u8; 16],
    start: u64,
    options: &Options,
) -> Result<(Arc<State>, Ledger), StoreError> {
    if dir.exists() {
        std::fs::remove_dir_all(dir).map_err(StoreError::io("remove", dir))?;
    }
    make_dir(dir)?;
    let state = Arc::new(State::open(dir, options.cache_bytes)?);
    state.pardon()?;
    let ledger = Ledger::blank(Arc::clone(&state), store_id, start, options.first_wait_ms);
    Ok((state, ledger))
}

/// Applies what the checkpoint does not hold, with a checkpoint now and then so that memory stays
/// bounded however much that is.
fn replay(log: &Log, ledger: &mut Ledger, state: &State) -> Result<u64, StoreError> {
    let mut records = 0;
    let mut effects = Vec::new();
    while let Some(record) = log.next(ledger.applied().position)? {
        while !ledger.apply(&record, &mut effects)? {
            effects.clear();
            save_if_large(ledger, state)?;
        }
        effects.clear();
        save_if_large(ledger, state)?;
        records += 1;
    }
    if records > 0 {
        save(ledger, state)?;
    }
    Ok(records)
}

fn save_if_large(ledger: &mut Ledger, state: &State) -> Result<(), StoreError> {
    if ledger.unsaved_bytes() < MAX_CHECKPOINT_BYTES {
        Ok(())
    } else {
        save(ledger, state)
    }
}

fn save(ledger: &mut Ledger, state: &State) -> Result<(), StoreError> {
    let rows = ledger.freeze()?;
    checkpoint::write(state, &rows)?;
    ledger.thaw();
    Ok(())
}

/// The id of the store that these segments belong to.
fn store_id(journal_dir: &Path) -> Result<Option<[u8; 16]>, StoreError> {
    let entries = std::fs::read_dir(journal_dir).map_err(StoreError::io("list", journal_dir))?;
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", journal_dir))?.path();
        if path.extension().is_some_and(|extension| extension == "seg")
            && let Some(id) = segment::store_id_of(&path)?
        {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn new_id() -> Result<[u8; 16], StoreError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    Ok(id)
}

/// Makes a directory that only its owner may look into, and those above it that are missing; each is
/// synced into the one above, or a power cut could take the whole store with its name.
fn make_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_dir(parent)?;
    DirBuilder::new()
        .mode(0o700)
        .create(dir)
        .map_err(StoreError::io("create", dir))?;
    segment::sync_dir(parent)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("open", path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| StoreError::Locked {
        path: path.to_owned(),
    })?;
    Ok(file)
}

#[cfg(test)]
mod tests;
