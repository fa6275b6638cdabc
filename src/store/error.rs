//! What can go wrong with the disk.
//!
//! Two kinds matter to callers: a refusal ([`StoreError::NoSpace`], nothing was written, try later),
//! and everything else, which is final: the store is poisoned, the process ends and restarts clean.

use std::io;
use std::path::{Path, PathBuf};

/// A disk has no room for the next segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the disk is full: {free_bytes} bytes are free for {dir}, {needed_bytes} are needed")]
pub struct NoSpace {
    /// What was to grow.
    pub dir: PathBuf,
    /// What there is.
    pub free_bytes: u64,
    /// What is needed, the reserve of `store.min_free_bytes` included.
    pub needed_bytes: u64,
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("{path} is in use by another process; only one relay may run on a data directory")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Bytes that were known to be safely on disk are not what was written.
    #[error(
        "{path} is damaged at byte {offset}: {what}; the relay will not start on it, because events \
         would be lost in silence; restore a backup, or see with `postrider doctor` what is wrong and \
         save what is whole with `postrider doctor --salvage`"
    )]
    Damaged {
        /// The journal segment.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The files are not ours, or not of this store.
    #[error(
        "{path} does not belong to this store: {what}; put the right file there, or see with \
         `postrider doctor` what is left without it"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that shows.
        what: &'static str,
    },
    /// The state of a store whose journal is gone.
    #[error(
        "{path} is the state of a store whose journal is missing; bring the folder `journal` beside it \
         back, or restore a backup; to start anew, move it away"
    )]
    NoJournal {
        /// The state's folder.
        path: PathBuf,
    },
    /// The data directory is none.
    #[error("{path} is not a directory; `data_dir` must name one, or a place for one")]
    NotADirectory {
        /// What it is set to.
        path: PathBuf,
    },
    /// The data directory holds other things.
    #[error(
        "{dir} holds no store, but {name:?}, which is not ours; set `data_dir` to a directory that is \
         empty or missing, or to the store you mean"
    )]
    Occupied {
        /// The data directory.
        dir: PathBuf,
        /// Something in it.
        name: String,
    },
    /// The files were written by a later release.
    #[error(
        "{path} was written by a newer release (format {found} at byte {offset}, this one reads up to \
         {known}); start that release, or a later one"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The format found.
        found: u32,
        /// The latest format known here.
        known: u32,
    },
    /// There is no room for the next segment. Nothing was written.
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// More than fits into one journal segment was to be written at once.
    #[error("{bytes} bytes do not fit into one journal segment")]
    TooLarge {
        /// How much it was.
        bytes: usize,
    },
    /// What stood there was removed, once nothing needed it any more.
    #[error("the journal starts after {position}")]
    Gone {
        /// The position that was asked for.
        position: u64,
    },
    /// An earlier error was final.
    #[error("the store takes no more writes after an earlier error")]
    Poisoned,
    /// The engine of the state failed.
    #[error("the state store failed: {source}")]
    State {
        /// Whether what it holds is something else than was written to it.
        is_damaged: bool,
        /// Its own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A value could not be written in the form the disk has it.
    #[error("cannot encode a record: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// A value is not what its checksum or its place promises.
    #[error("cannot decode {what}: {source}")]
    Decode {
        /// What was read.
        what: &'static str,
        /// Why it is not that.
        source: bincode::error::DecodeError,
    },
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

impl StoreError {
    /// For `map_err` on an operation on a file.
    pub(crate) fn io<'a>(
        what: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io {
            what,
            path: path.to_owned(),
            source,
        }
    }

    /// Whether the state store holds something else than was written to it. The journal can rebuild it.
    pub fn is_damaged_state(&self) -> bool {
        match self {
            Self::State { is_damaged, .. } => *is_damaged,
            Self::Decode { .. } => true,
            _ => false,
        }
    }

    /// Whether nothing was written and the store goes on: the only error that is not final.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::NoSpace(_))
    }
}
