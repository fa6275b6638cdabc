//! What a disk can do to those who write to it, beside losing power.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Bytes are written.
    Write,
    /// Space is allocated, or a length changed.
    Allocate,
    /// A file is synced.
    Sync,
    /// A name comes, goes or changes.
    Name,
    /// A directory is synced.
    SyncNames,
}

/// What becomes of an operation that meets a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It fails, and changes nothing.
    Error(Errno),
    /// It never returns, until the disk is healed; then it fails.
    Hang,
}

impl Harm {
    /// What the program hears, where nothing can hang.
    pub fn errno(self) -> Errno {
        match self {
            Self::Error(errno) => errno,
            Self::Hang => Errno::IO,
        }
    }
}

/// Operations that go wrong from now on.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which; all that change anything where there is none.
    pub on: Option<Operation>,
    /// Below which path, from the disk's root.
    pub below: PathBuf,
    /// How.
    pub harm: Harm,
}

impl Fault {
    /// Whether this operation on this path meets it.
    pub fn meets(&self, operation: Operation, path: &Path) -> bool {
        self.on.is_none_or(|on| on == operation) && path.starts_with(&self.below)
    }
}
