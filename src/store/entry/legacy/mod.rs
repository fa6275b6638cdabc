//! The directory's records as older formats have them, read into today's. Never written.
//!
//! What a format did not know of was as it is by default.

pub mod plain;
pub mod unordered;
pub mod unsealed;
