//! Floor 0: what is hard to get right and easy to test.
//!
//! Pure values and rules. Nothing here knows actix, sled, a socket or a file, and nothing reads a
//! clock or draws a random number: time and randomness are arguments.

pub mod api_key;
pub mod audit;
pub mod batch;
pub mod breaker;
pub mod cloudevents;
pub mod delivery;
pub mod directory;
pub mod duration;
pub mod envelope;
pub mod event;
pub mod event_type;
pub mod filter;
pub mod format;
pub mod handshake;
pub mod idempotency;
pub mod ids;
pub mod json;
pub mod matching;
pub mod news;
pub mod ordering;
pub mod permission;
pub mod rate;
pub mod retention;
pub mod retry;
pub mod scrub;
pub mod sealed;
pub mod signature;
pub mod task;
pub mod time;
