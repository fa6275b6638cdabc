//! Postrider takes events in over HTTP, has them safely on disk before it answers, and delivers each
//! one, signed and retried, to every subscription that wants it. One process, no other server.
//!
//! An event is accepted once, written once, matched once, and then delivered as often as there are
//! subscriptions; each step hands the next one a message, and a slow step never slows the one before.
//!
//! # The life of an event
//!
//! 1. **It comes in** ([`http::ingest`]). The caller's key goes to [`actors::auth`] and then to
//!    [`actors::rate_limit`]; the body goes through one validating pass that builds no tree
//!    ([`domain::envelope`]). From here on there are only parsed types, and the bytes as they came.
//! 2. **It joins a batch** ([`actors::queue`]). While one batch is being synced the next one fills:
//!    group commit without a timer. Its id is a version 7 uuid, in the order of the log.
//! 3. **It is written** ([`store::committer`], [`store::journal`]): one checksummed record for the
//!    batch, one write, one `fdatasync`. Only now do its callers get their uuids.
//! 4. **It is matched** ([`actors::dispatch`], [`store::ledger`]), once, against the subscriptions as
//!    of its own place in the log ([`domain::matching`]). Each match is an open delivery, and what it
//!    must keep its order with is found with it ([`domain::ordering`]).
//! 5. **It is sent** ([`actors::delivery`], a lane for each subscription; [`actors::attempt`]): signed
//!    ([`domain::signature`]), to an address that was vetted as it was dialled ([`outbound`]). What a
//!    lane has no room for waits in the backlog, on disk ([`store::ledger::backlog`]). A receiver that
//!    only fails is probed ([`domain::breaker`]).
//! 6. **The outcome is judged** ([`domain::delivery`]) and goes back to the queue actor, which
//!    journals it in batches; nobody waits for that. A failure stays in the backlog until it is due.
//! 7. **After a crash** ([`store::open`]) the log is read on from the last checkpoint, by the same
//!    ledger in the same way. If the state is missing or damaged, from the log's beginning.
//! 8. **Somebody steps in** ([`http::steering`], [`actors::tasks`]): a delivery is retried or given up, an
//!    event delivered once more. What is asked for is journalled like everything else.
//! 9. **Somebody watches** ([`http::tail`]): each reader follows the log by itself, on a thread of a low
//!    priority ([`actors::tail`]), and sees nothing before it is synced.
//! 10. **It goes** ([`actors::retention`], [`store::retention`]) with its whole segment, once that is old
//!     enough; whatever in it is still open is appended again first.
//!
//! # The floors
//!
//! Imports point down only.
//!
//! ```text
//! 4  main.rs  cli/  app.rs     what can be typed; what wires everything; nobody imports them
//! 3  http/                     the doors: the only place where errors become status codes
//! 2  actors/                   thin shells: a mailbox around a core from below
//! 1  store/  outbound/         the outside world: the disk; other people's servers
//! 0  domain/                   pure: no actix, no sled, no clock, no randomness
//!    config/  telemetry/       read by app.rs, which passes each floor its own section
//! ```
//!
//! # What must hold
//!
//! - Nothing is acknowledged before it is synced, and nothing acknowledged is ever lost: it is
//!   delivered, dead, or waiting.
//! - The journal is the truth. Nothing that was acknowledged depends on sled.
//! - Every queue, body, retry, window and fan-out has a named bound; beyond it there is an answer, never
//!   a silent drop.
//! - The first failed write or sync is the last: the process ends, and the store makes the restart
//!   boring.

pub mod actors;
pub mod app;
pub mod cli;
pub mod config;
pub mod domain;
pub mod http;
pub mod outbound;
#[cfg(test)]
mod simulation;
pub mod store;
pub mod telemetry;
