//! Backups: a journal as one stream of bytes, and a new store made of one.
//!
//! The journal is the truth, so a backup is the journal: every record from its start to an end that
//! was synced when the backup began. The state is not in it; the first start on a restored store
//! rebuilds it. Records are checked as they are read, so a backup never carries damage along.
//!
//! # The format, version 1
//!
//! A header, chunks, a trailer, and nothing after it. Little endian.
//!
//! ```text
//! header   0  "PSTRBKUP"                       40  u64  where the journal starts (position)
//!          8  u32  format                      48  u64  where it ends (position)
//!         12  u32  CRC32C of the header        56  u64  its segments' size
//!         16  [16] the store's id              64  [32] the id of the secrets key; zeros: none
//!         32  u64  made at (Unix ms)           96  [32] zeros
//! chunk    0  u32  length of the bytes          8  u64  their position in the journal
//!          4  u32  CRC32C of the rest          16       the bytes
//! trailer     a chunk at position 2⁶⁴-1:
//!          0  u64  chunks before it            16  u64  records in them
//!          8  u64  bytes in them               24  [32] SHA-256 of everything before the trailer
//! ```
//! Every later format keeps these 128 bytes of header in their places. A backup that could not be
//! finished ends, in the trailer's place, with a chunk at position 2⁶⁴-2 that says why.
//!
//! What of the journal is not in any chunk is zeros. A backup names the secrets key and never holds
//! it. What it does hold is as secret as the store: hashes of keys, secrets of subscriptions, bodies.

pub mod error;
mod format;
pub mod read;
pub mod restore;
pub mod target;
pub mod write;

pub use error::ArchiveError;
pub use format::Header;
pub use read::{ArchiveReader, Totals};
pub use restore::{Restored, restore};
pub use target::Target;
pub use write::Backup;

#[cfg(test)]
mod tests;
