//! Who may have how many of the files that the process may have open.
//!
//! Clients' and receivers' connections have a share each, and what is left is the store's: a journal that
//! cannot open its next segment ends the process.

use rustix::process::{Resource, getrlimit};

/// The share of clients' connections: one in so many files. Beyond it, they wait to be accepted.
const CLIENTS_SHARE: u64 = 2;
/// The share of connections to receivers, idle ones included. Beyond it, attempts wait for room.
const RECEIVERS_SHARE: u64 = 4;

/// Connections of clients.
pub fn for_clients() -> u64 {
    limit() / CLIENTS_SHARE
}

/// Connections to receivers.
pub fn for_receivers() -> u64 {
    limit() / RECEIVERS_SHARE
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
