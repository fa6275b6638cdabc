//! Floor 1, the disk: a journal that is the truth, and sled that knows where everything stands.
//!
//! This folder alone knows the journal's format and sled. What the floors above need is: append
//! ([`committer`]), read from a position ([`log`]), settle, schedule, look up, expire ([`ledger`]),
//! back up and restore ([`archive`]), export and import ([`portable`]).
//! Metadata and sled's values are bincode; event bodies stay the bytes they were.
//!
//! Nothing that was acknowledged depends on sled: where its state is missing, damaged or another
//! store's, it is removed and rebuilt from the journal.

pub mod archive;
pub mod attempts;
pub mod background;
pub mod carried;
mod census;
mod claim;
pub mod committer;
pub mod disk;
pub mod entry;
pub mod error;
pub mod examine;
#[cfg(test)]
pub(crate) mod fixtures;
pub mod holds;
pub mod journal;
pub mod key_file;
pub mod ledger;
pub mod log;
pub mod opening;
pub mod portable;
pub mod reserve;
pub mod retention;
pub mod state;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::background::Background;
use self::committer::Committer;
use self::disk::Disk;
use self::disk::real::RealDisk;
use self::error::StoreError;
use self::journal::Layout;
use self::ledger::Ledger;
use self::log::Log;
use self::opening::Opened;
use self::state::State;
use self::state::checkpoint::Checkpointer;
use self::state::engine::Engine;
use self::state::sled::Sled;

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
    /// [`Machine::real`], but for tests.
    pub machine: Machine,
}

/// What a store runs on.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What holds all but the state.
    pub disk: Arc<dyn Disk>,
    /// What keeps the state.
    pub engine: Arc<dyn Engine>,
    /// Where work is done that nobody waits for.
    pub background: Background,
}

impl Machine {
    /// The operating system's files, sled, and threads.
    pub fn real() -> Self {
        Self {
            disk: Arc::new(RealDisk),
            engine: Arc::new(Sled),
            background: Background::Threads,
        }
    }
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
    claim::refuse_occupied(&options.dir)?;
    disk::make_dirs(&*options.machine.disk, &options.dir)?;
    let lock = claim::lock(&options.dir.join("lock"))?;
    let Opened {
        work,
        log,
        state,
        ledger,
        report,
    } = opening::open(options)?;
    Ok(Store {
        committer: Committer::start(work)?,
        checkpointer: Checkpointer::start(Arc::clone(&state))?,
        log,
        state,
        ledger,
        report,
        lock,
    })
}

#[cfg(test)]
mod tests;

/// What the files of the state take that stands beside a journal. Looks at a handful of files.
pub fn state_bytes(layout: &Layout) -> io::Result<u64> {
    bytes_in(&layout.dir.with_file_name("state"))
}

fn bytes_in(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in dir.read_dir()? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            bytes_in(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}
