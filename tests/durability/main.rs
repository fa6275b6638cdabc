//! Nothing accepted is ever lost, proven on a disk of our own that forgets what was not synced.

// What a test's helpers cannot do is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod disk;
mod faults;
mod fuse;
mod smoke;
#[path = "../relay/support/mod.rs"]
#[allow(dead_code)] // It is made for another suite, and this one needs a part of it.
mod support;
