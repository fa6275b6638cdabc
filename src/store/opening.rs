//! Opening a store: finding out where things stand, and making that safe to act on.
//!
//! Goes on from the last checkpoint with what the journal holds beyond it; where there is no checkpoint
//! that can be used, whatever the reason, the state is rebuilt from the whole journal. Nothing here
//! starts a thread or takes a lock.

use std::sync::Arc;

use super::claim::known_store;
use super::committer::Work;
use super::disk::{make_dirs, sync_name};
use super::error::StoreError;
use super::journal::record::NO_PREVIOUS;
use super::journal::{Layout, Reader, Tail, Writer, recovery};
use super::ledger::Ledger;
use super::log::Log;
use super::state::checkpoint::{self, MAX_CHECKPOINT_BYTES};
use super::state::{Site, State};
use super::{Options, Report, reserve};
use crate::domain::event::Place;

/// What is wrong with a journal that starts later than retention says.
pub const LOST_START: &str = "the segment is missing, and retention did not remove it";

/// A store that is recovered, without its threads.
#[derive(Debug)]
pub struct Opened {
    /// Writes the log.
    pub work: Work,
    /// Reads the log.
    pub log: Arc<Log>,
    /// What the last checkpoint says.
    pub state: Arc<State>,
    /// What the log adds up to.
    pub ledger: Ledger,
    /// What was found and done about it.
    pub report: Report,
}

/// Opens the store in a directory that is there and that nobody else has open, or makes one.
pub fn open(options: &Options) -> Result<Opened, StoreError> {
    let disk = &*options.machine.disk;
    let journal_dir = options.dir.join("journal");
    let site = Site {
        dir: options.dir.join("state"),
        cache_bytes: options.cache_bytes,
        engine: Arc::clone(&options.machine.engine),
        disk: Arc::clone(&options.machine.disk),
    };
    reserve::give_up_if_full(disk, &options.dir, options.min_free_bytes)?;
    let known_id = known_store(disk, &journal_dir)?;
    if known_id.is_none() && site.exists()? {
        return Err(StoreError::NoJournal { path: site.dir });
    }
    make_dirs(disk, &journal_dir)?;
    let layout = Layout {
        dir: journal_dir,
        store_id: known_id.map_or_else(new_id, Ok)?,
        segment_bytes: options.segment_bytes,
        min_free_bytes: options.min_free_bytes,
        disk: Arc::clone(&options.machine.disk),
        background: options.machine.background,
    };
    if known_id.is_none() {
        // Whoever made these directories may have ended before their names were synced; once the journal
        // says whose it is, nobody looks again.
        sync_name(disk, &options.dir)?;
        sync_name(disk, &layout.dir)?;
        Writer::create(&layout, options.now_ms)?;
    }

    let recovered = recover(&layout, &site, options, recovery::recover)?;
    reserve::keep(disk, &options.dir, options.min_free_bytes)?;
    let directory = recovered.ledger.directory().clone();
    let last_event = recovered.ledger.last_event();
    let writer = Writer::resume(layout, recovered.tail)?;
    Ok(Opened {
        work: Work::new(writer, Arc::clone(&recovered.log), directory, last_event),
        log: recovered.log,
        state: recovered.state,
        ledger: recovered.ledger,
        report: Report {
            is_new: known_id.is_none(),
            state_rebuilt: known_id.is_some() && recovered.rebuilt,
            records_replayed: recovered.records_replayed,
        },
    })
}

/// A store whose journal is applied to its state.
pub(super) struct Recovered {
    log: Arc<Log>,
    state: Arc<State>,
    /// What it adds up to.
    pub ledger: Ledger,
    tail: Tail,
    /// Records applied that the last checkpoint did not hold.
    pub records_replayed: u64,
    /// The state was made anew.
    pub rebuilt: bool,
}

/// Finds the end of the journal, from a position on.
type FindEnd = fn(&Reader, Option<u64>) -> Result<Option<Tail>, StoreError>;

/// Goes on from the last checkpoint. Where there is none that can be used, whatever the reason,
/// everything is rebuilt from the journal. Whether anything of the journal is changed is up to
/// `find_end`.
pub(super) fn recover(
    layout: &Layout,
    site: &Site,
    options: &Options,
    find_end: FindEnd,
) -> Result<Recovered, StoreError> {
    if let Some((state, ledger)) = load_checkpoint(site, layout.store_id, options)? {
        // A checkpoint never tells of more than was synced. Where the journal is shorter, it has lost what
        // was accepted, and to rebuild the state from what is left would hide that.
        let Place { position, index } = ledger.applied();
        let synced_to = position + u64::from(index > 0);
        let tail = find_tail(layout, Some(synced_to), find_end)?;
        if first_position(layout)? <= position {
            match replay_all(layout, state, ledger, tail, false) {
                Err(error) if error.is_damaged_state() => unusable(&error),
                replayed => return replayed,
            }
        } else {
            unusable(&"it ends before the journal starts");
        }
    }
    // Everything is to be read again, so everything has to be whole.
    let tail = find_tail(layout, None, find_end)?;
    let start = first_position(layout)?;
    let (state, ledger) = blank_state(site, layout.store_id, start, options)?;
    replay_all(layout, state, ledger, tail, true)
}

/// Retention says in the journal which segments are to go before they do. One that is not there and was
/// never named so was lost.
fn refuse_lost_start(layout: &Layout, ledger: &Ledger) -> Result<(), StoreError> {
    let first = layout.segment_of(first_position(layout)?);
    if layout.position(first, 0) <= ledger.retired() {
        return Ok(());
    }
    Err(StoreError::Damaged {
        path: layout.path(first - 1),
        offset: 0,
        what: LOST_START,
    })
}

fn unusable(reason: &dyn std::fmt::Display) {
    ::log::warn!("the state cannot be used and is rebuilt from the journal: {reason}");
}

fn find_tail(layout: &Layout, from: Option<u64>, find_end: FindEnd) -> Result<Tail, StoreError> {
    find_end(&Reader::new(layout.clone()), from)?.ok_or_else(|| StoreError::Foreign {
        path: layout.dir.clone(),
        what: "it holds no journal segment",
    })
}

/// Where the journal starts.
pub(super) fn first_position(layout: &Layout) -> Result<u64, StoreError> {
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
    refuse_lost_start(layout, &ledger)?;
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
    site: &Site,
    store_id: [u8; 16],
    options: &Options,
) -> Result<Option<(Arc<State>, Ledger)>, StoreError> {
    if !site.exists()? {
        return Ok(None);
    }
    if site.is_condemned()? {
        unusable(&"it was found damaged while it was in use");
        return Ok(None);
    }
    let load = || {
        let state = Arc::new(site.clone().open()?);
        let ledger = Ledger::load(&state, store_id, options.first_wait_ms)?;
        Ok::<_, StoreError>(ledger.map(|ledger| (state, ledger)))
    };
    Ok(load().unwrap_or_else(|error| {
        unusable(&error);
        None
    }))
}

fn blank_state(
    site: &Site,
    store_id: [u8; 16],
    start: u64,
    options: &Options,
) -> Result<(Arc<State>, Ledger), StoreError> {
    let state = Arc::new(site.clone().open_anew()?);
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

/// The id of a new store.
pub(super) fn new_id() -> Result<[u8; 16], StoreError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)?;
    Ok(id)
}
