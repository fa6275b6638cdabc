//! What the tests are told with: a relay, a client, a receiver, and chance.

pub mod chance;
pub mod files;
pub mod flood;
pub mod http;
pub mod load;
pub mod receiver;
pub mod relay;
pub mod samples;
pub mod tail;
pub mod tally;
pub mod tls;
pub mod tracer;

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before it counts as missing. Only a failing test gets there.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether there is time for the long runs.
pub fn is_full() -> bool {
    std::env::var("POSTRIDER_TEST_FULL").is_ok_and(|value| value == "1")
}
