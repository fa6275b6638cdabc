//! Nothing accepted is ever lost, proven on a disk of our own that forgets what was not synced.

// What a test's helpers cannot do is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod account;
mod disk;
mod failing_disk;
mod faults;
mod flush_alone;
mod fuse;
mod mount;
mod power_cuts;
mod recorded_cuts;
mod recording;
mod state_harms;
#[path = "../relay/support/mod.rs"]
#[allow(dead_code)] // It is made for another suite, and this one needs a part of it.
mod support;
mod system_calls;
mod trace;
mod workload;
mod world;

use self::disk::Disk;
use self::mount::Mount;

/// Whether the long tests run.
fn is_full() -> bool {
    std::env::var("POSTRIDER_TEST_FULL").is_ok_and(|value| value == "1")
}

/// A disk with room for everything.
fn empty_disk() -> Disk {
    Disk::new(8 << 30)
}

/// Whether a file system can be mounted here; if not, says so.
fn can_mount() -> bool {
    match Mount::new(empty_disk()) {
        Ok(_) => true,
        Err(error) => {
            println!("!!! NOT RUN: no file system can be mounted here ({error}).");
            println!(
                "!!! Power cuts are tried on recordings, and on the simulated disk of the store's own tests."
            );
            false
        }
    }
}
