//! A store that is looked at: its journal in place, its state as a copy.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::copy::{Scratch, copy_dir, copy_file};
use super::report::{OpenCounts, Start, StateFound};
use super::segments::read_header;
use crate::domain::directory::Directory;
use crate::domain::event::Place;
use crate::store::Options;
use crate::store::claim::known_store;
use crate::store::error::StoreError;
use crate::store::journal::reader::Found;
use crate::store::journal::{Layout, Reader, recovery};
use crate::store::ledger::Ledger;
use crate::store::ledger::backlog::Status;
use crate::store::opening::{new_id, recover};
use crate::store::state::Site;
use crate::store::state::rows::{self, Meta};

/// See the module.
pub struct Patient<'a> {
    options: &'a Options,
    /// Where its journal is.
    pub layout: Layout,
    /// Whether a relay has it open.
    pub is_running: bool,
    scratch: Scratch,
    state: Copied,
}

/// What is known of the state.
enum Copied {
    Not(StateFound),
    Checkpoint(Checkpoint),
}

struct Checkpoint {
    meta: Meta,
    directory: Directory,
    open: OpenCounts,
}

impl<'a> Patient<'a> {
    /// Finds the store in a data directory; `None` where there is none.
    pub fn find(options: &'a Options) -> Result<Option<Self>, StoreError> {
        let journal = options.dir.join("journal");
        let state = options.dir.join("state");
        if !journal.is_dir() {
            return if state.is_dir() {
                Err(StoreError::NoJournal { path: state })
            } else {
                Ok(None)
            };
        }
        let is_running = is_locked(&options.dir.join("lock"))?;
        let scratch = Scratch::create()?;
        let mut state = copy_state(&state, &scratch, is_running, options)?;
        // Where no header is left to tell, the state knows whose journal this is.
        let store_id = match (known_store(&*options.machine.disk, &journal), &state) {
            (Ok(Some(store_id)), _) => store_id,
            (_, Copied::Checkpoint(checkpoint)) => checkpoint.meta.store_id,
            (Ok(None), _) => return Ok(None),
            (Err(StoreError::Damaged { .. }), _) => new_id()?,
            (Err(error), _) => return Err(error),
        };
        if matches!(&state, Copied::Checkpoint(it) if it.meta.store_id != store_id) {
            state = Copied::Not(StateFound::Other);
        }
        let layout = Layout {
            dir: journal,
            store_id,
            segment_bytes: options.segment_bytes,
            min_free_bytes: 0,
            disk: Arc::clone(&options.machine.disk),
            background: options.machine.background,
        };
        Ok(Some(Self {
            options,
            layout,
            is_running,
            scratch,
            state,
        }))
    }

    /// What is to be said of the state of a journal that ends here.
    pub fn state_found(&self, end: u64) -> StateFound {
        match &self.state {
            Copied::Not(found) => found.clone(),
            Copied::Checkpoint(checkpoint) => StateFound::Checkpoint {
                place: checkpoint.meta.applied,
                is_ahead: checkpoint.meta.applied.position > end,
            },
        }
    }

    /// What was open when the last checkpoint was made.
    pub fn open_at_checkpoint(&self) -> Option<OpenCounts> {
        match &self.state {
            Copied::Checkpoint(checkpoint) => Some(checkpoint.open),
            Copied::Not(_) => None,
        }
    }

    /// The directory as of the last checkpoint.
    pub fn directory_at_checkpoint(&self) -> Option<(Place, &Directory)> {
        match &self.state {
            Copied::Checkpoint(it) => Some((it.meta.applied, &it.directory)),
            Copied::Not(_) => None,
        }
    }

    /// Up to where a journal that is being written was synced. `None` for one that is not.
    pub fn synced_end(&self, reader: &Reader) -> Result<Option<u64>, StoreError> {
        if !self.is_running {
            return Ok(None);
        }
        let mut synced_to = match &self.state {
            Copied::Checkpoint(checkpoint) => checkpoint.meta.applied.position,
            Copied::Not(_) => 0,
        };
        for number in self.layout.list()?.into_iter().rev() {
            if read_header(&self.layout, number)?.is_none() {
                continue;
            }
            let mut here = self.layout.first_position(number);
            while let Found::Record(frame) = reader.find(here)? {
                synced_to = synced_to.max(frame.header.synced_to);
                here = frame.next;
            }
            break;
        }
        Ok(Some(synced_to))
    }

    /// Does what a start would do, but for making the journal's end safe, and to the copy of the state.
    /// Says what would come of it, and what would be open then.
    pub fn try_start(&self) -> Result<(Start, Option<OpenCounts>), StoreError> {
        if self.is_running {
            return Ok((Start::Running, None));
        }
        let site = site(&self.scratch, self.options);
        match recover(&self.layout, &site, self.options, recovery::find_end) {
            Ok(recovered) => {
                let start = Start::Succeeds {
                    replays_records: recovered.records_replayed,
                    rebuilds_state: recovered.rebuilt,
                };
                Ok((start, Some(count_open(&recovered.ledger))))
            }
            Err(error) if is_about(&error, self.scratch.path()) => Err(error),
            Err(error) => Ok((
                Start::Refuses {
                    why: error.to_string(),
                },
                None,
            )),
        }
    }

    /// The size of all segments.
    pub fn journal_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for number in self.layout.list()? {
            let path = self.layout.path(number);
            match path.metadata() {
                Ok(meta) => bytes += meta.len(),
                // Retention goes on beside us.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(StoreError::io("look at", &path)(error)),
            }
        }
        Ok(bytes)
    }
}

/// Whether an error is about a file of ours and not of the store.
fn is_about(error: &StoreError, dir: &Path) -> bool {
    match error {
        StoreError::Io { path, .. } => path.starts_with(dir),
        StoreError::State { is_damaged, .. } => !is_damaged,
        _ => false,
    }
}

/// Whether a process holds the lock of a data directory. It is taken for a moment where nobody does;
/// a start waits longer than that.
fn is_locked(path: &Path) -> Result<bool, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(StoreError::io("open", path)(error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(Errno::WOULDBLOCK) => Ok(true),
        Err(errno) => Err(StoreError::io("look at the lock of", path)(errno.into())),
    }
}

fn copy_state(
    from: &Path,
    scratch: &Scratch,
    is_running: bool,
    options: &Options,
) -> Result<Copied, StoreError> {
    if !from.is_dir() {
        return Ok(Copied::Not(StateFound::Missing));
    }
    let to = site(scratch, options);
    let note = Site {
        dir: from.to_owned(),
        ..to.clone()
    };
    let note = note.note();
    if note.exists() {
        copy_file(&note, &to.note())?;
        return Ok(Copied::Not(StateFound::Condemned));
    }
    let copied = copy_dir(from, &to.dir).and_then(|()| load(to, options));
    Ok(match copied {
        Ok(state) => state,
        Err(error) if is_about(&error, scratch.path()) => return Err(error),
        Err(error) => {
            let why = error.to_string();
            Copied::Not(if is_running {
                StateFound::Changing { why }
            } else {
                StateFound::Unreadable { why }
            })
        }
    })
}

/// Where the copy of the state is.
fn site(scratch: &Scratch, options: &Options) -> Site {
    Site {
        dir: scratch.path().join("state"),
        cache_bytes: options.cache_bytes,
        engine: Arc::clone(&options.machine.engine),
        disk: Arc::clone(&options.machine.disk),
    }
}

fn load(site: Site, options: &Options) -> Result<Copied, StoreError> {
    let state = Arc::new(site.open()?);
    let Some(meta) = state.get(rows::META)? else {
        return Ok(Copied::Not(StateFound::Empty));
    };
    if let Some(&found) = meta.first().filter(|found| **found != rows::VERSION) {
        let known = rows::VERSION;
        return Ok(Copied::Not(StateFound::OtherFormat { found, known }));
    }
    let meta: Meta = rows::decode("the checkpoint", &meta)?;
    let ledger = Ledger::load(&state, meta.store_id, options.first_wait_ms)?;
    Ok(match ledger {
        Some(ledger) => Copied::Checkpoint(Checkpoint {
            meta,
            directory: ledger.directory().clone(),
            open: count_open(&ledger),
        }),
        None => Copied::Not(StateFound::Other),
    })
}

/// Counts what is open. What is still to be cleared away for deleted subscriptions is left out.
pub fn count_open(ledger: &Ledger) -> OpenCounts {
    let mut counts = OpenCounts::default();
    for subscription in ledger.directory().subscriptions() {
        let count = |status| ledger.count(subscription.id, status) as u64;
        counts.waiting += count(Status::Waiting);
        counts.retrying += count(Status::Retrying);
        counts.dead += count(Status::Dead);
    }
    counts
}
