//! Why an archive cannot be used.

use std::io;
use std::path::PathBuf;

use crate::domain::sealed::SealingKeyId;
use crate::store::error::StoreError;

/// An error of a backup or a restore.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The archive cannot be read.
    #[error("cannot read the backup: {0}")]
    Read(#[source] io::Error),
    /// The archive cannot be written.
    #[error("cannot write the backup: {0}")]
    Write(#[source] io::Error),
    /// It starts like something else.
    #[error("this is no backup: it does not start like one")]
    Foreign,
    /// A later release wrote it.
    #[error(
        "this backup was made by a newer release (format {found}, this one reads up to {known}); use that release"
    )]
    Newer {
        /// The format found.
        found: u32,
        /// The latest format known here.
        known: u32,
    },
    /// It ends before its trailer.
    #[error("the backup is cut off after {bytes} bytes: it was broken off, or not copied whole")]
    Cut {
        /// How much there is.
        bytes: u64,
    },
    /// It is not what was written.
    #[error("the backup is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The journal in it is not one that can be read to its end.
    #[error("the journal in this backup is damaged at byte {offset} of {file}: {what}")]
    Journal {
        /// The segment.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Whoever made it could not finish, and said why.
    #[error("the backup could not be finished: {0}")]
    Unfinished(String),
    /// Its secrets are sealed under a key that is not at hand.
    #[error(
        "the signing secrets in this backup are sealed under the key {key}, which is not at hand; put the \
         key file of the relay that it was made of beside the new store, with its name and `.key`, or name \
         it in POSTRIDER_SECRETS__KEY_FILE"
    )]
    Sealed {
        /// The key.
        key: SealingKeyId,
    },
    /// There is something where the new store should be.
    #[error("{path} is not empty; a store is restored into a directory that is new or empty")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// There is no store to read.
    #[error("there is no store in {path}")]
    NoStore {
        /// The directory.
        path: PathBuf,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
