//! The relay as its users meet it: the real program, real HTTP, a real disk, and receivers that
//! misbehave on demand. One binary, so that it is linked once.
//!
//! Nothing here waits for time to pass: a test waits for what it expects, with a deadline that only a
//! failure reaches. That something does *not* happen is shown by waiting for a later thing that does.

// What a test's helpers cannot do is a failure of the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod access;
mod backup;
mod bad_clients;
mod bad_input;
mod batch;
mod changes;
mod clients;
mod cloudevents;
mod command_line;
mod contract;
mod crash;
mod dialects;
mod doctor;
mod documents;
mod explain;
mod full_disk;
mod guard;
mod guides;
mod hostile;
mod idempotency;
mod journey;
mod listen;
mod lists;
mod logs;
mod matrix;
mod metrics;
mod moving;
mod openapi;
mod ordering;
mod overload;
mod recovery;
mod refusals;
mod repeated;
mod retention;
mod retries;
mod signatures;
mod stop;
mod tail;
mod tidy;
mod trouble;
mod versions;
mod wants;
