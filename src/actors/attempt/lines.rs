//! What the log says of attempts, for operators. It never says what was sent or answered.

use log::{Level, log_enabled};

use super::Target;
use crate::domain::delivery::{Attempt, Outcome};
use crate::outbound::SendError;

/// The target of a line for each attempt.
const TARGET: &str = "attempt";

/// The class goes into the attempt's record, for the tenant; the cause may name addresses, and goes
/// into the operator's log only.
pub(super) fn log_failure(target: &Target, error: &SendError) {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    log::debug!(
        target: TARGET,
        subscription:% = target.subscription.id, error = error.class(); "an attempt fails: {cause}"
    );
}

/// A line for an attempt. What the receiver answered is in the record alone.
pub fn log_attempt(record: &Attempt) {
    // Whoever asks for more gets all of them; at `info` there are only so many a second.
    let level = if log_enabled!(target: TARGET, Level::Debug) {
        Level::Debug
    } else {
        Level::Info
    };
    let outcome = match record.outcome {
        Outcome::Delivered => "delivered",
        Outcome::Retry { .. } => "retrying",
        Outcome::Dead => "dead",
        Outcome::Cancelled => "cancelled",
    };
    log::log!(
        target: TARGET, level,
        event:% = record.event,
        subscription:% = record.subscription,
        delivery:% = record.delivery(),
        attempt = record.number,
        outcome = outcome,
        status = record.status,
        error = record.error.as_deref(),
        duration_ms = record.duration_ms;
        "attempt"
    );
}
