//! The journal: the log of everything that happened, and the truth.
//!
//! Append-only segments of a fixed size, allocated and synced ahead of need. A record is a header
//! ([`record`]) and a payload; this folder knows nothing of what payloads mean. A *position* is a
//! byte address over all segments, `segment number × segment size + offset`, so that positions grow
//! in the order of writing and stay valid for good.
//!
//! Invariants:
//! - A record never spans two segments, and what is appended at once lies in one segment.
//! - A record is written only after everything before it was synced; it states how far that was.
//!   A bad record beyond every stated position is a torn tail and is cut off; a bad record before one
//!   is damage, and is named ([`recovery`]).
//! - After a failed write or sync nothing is ever written again by this process.

pub mod reader;
pub mod record;
pub mod recovery;
mod remains;
pub mod segment;
pub mod walk;
pub mod writer;

pub use reader::{Frame, Reader};
pub use recovery::Tail;
pub use remains::Remains;
pub use segment::Layout;
pub use walk::Walk;
pub use writer::{Raw, Writer};

#[cfg(test)]
mod tests;
