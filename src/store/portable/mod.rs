//! Exports and imports: a store as lines that any engine, any later release and any person can read.
//!
//! NDJSON, one object a line, version 1. The first line names the format; every other line is an
//! object with one member, which says what the line is:
//!
//! ```text
//! {"format": "postrider-export", "version": 1, "made_at": "…", "events": "open"}
//! {"account": {…}}  {"integration": {…}}  {"api_key": {…}}  {"subscription": {…}}
//! {"idempotency_key": {…}}      those whose answer is still kept
//! {"event": {…}}                by uuid, with the deliveries that are not settled
//! {"end": {"lines": …, "events": …}}      an export without this line was cut off
//! ```
//! They come in this order, and what a line refers to comes before it. Uuids are version 7 and grow.
//! Ids, uuids, secrets and the hashes of keys are the store's own, so that an import is the same to
//! everyone outside: the same keys open it, the same signatures come from it. An API key itself is in no
//! store and in no export; the secrets of subscriptions are in both.
//!
//! `events` is `open` or `all`. An import takes events with open deliveries over, as the state of each
//! delivery and never to be matched again; what is settled stays history.

mod directory;
mod event;
mod export;
mod import;
mod text;

pub use export::{Exported, export};
pub use import::{Imported, import};

use std::io;

use serde::{Deserialize, Serialize};

use self::directory::{AccountLine, ApiKeyLine, IntegrationLine, SubscriptionLine};
use self::event::{EventLine, IdempotencyLine};
use self::text::Time;
use super::archive::ArchiveError;
use super::error::StoreError;
use crate::domain::sealed::SealError;

/// What the first line calls the format.
const FORMAT: &str = "postrider-export";
/// The version that this release writes.
const VERSION: u32 = 4;
/// The longest line that is read: more than the largest event takes, however it is written.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// Which events are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Which {
    /// Those with deliveries that are not settled.
    Open,
    /// All that are kept.
    All,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    version: u32,
    made_at: Time,
    events: Which,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Account(AccountLine),
    Integration(IntegrationLine),
    ApiKey(ApiKeyLine),
    Subscription(SubscriptionLine),
    IdempotencyKey(IdempotencyLine),
    Event(EventLine),
    End(End),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// Lines before this one, the first included.
    lines: u64,
    events: u64,
}

/// Why nothing was exported or imported.
#[derive(Debug, thiserror::Error)]
pub enum PortableError {
    /// The export cannot be read.
    #[error("cannot read the export: {0}")]
    Read(#[source] io::Error),
    /// The export cannot be written.
    #[error("cannot write the export: {0}")]
    Write(#[source] io::Error),
    /// The first line is another's.
    #[error("this is no export: its first line does not say so")]
    Foreign,
    /// A later release wrote it.
    #[error(
        "this export was made by a newer release (version {found}, this one reads up to {VERSION}); use that release"
    )]
    Newer {
        /// The version found.
        found: u32,
    },
    /// The last line is missing.
    #[error("the export is cut off after line {line}: its last line is missing")]
    Cut {
        /// The last line there is.
        line: u64,
    },
    /// A line cannot be used.
    #[error("line {line}: {what}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// Why not.
        what: String,
    },
    /// A secret cannot be opened.
    #[error("a signing secret cannot be opened: {0}")]
    Secret(#[from] SealError),
    /// The directory is not one that can be used.
    #[error(transparent)]
    Place(#[from] ArchiveError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
