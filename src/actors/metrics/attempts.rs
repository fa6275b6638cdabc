//! Attempts: what comes of them, and how long they and deliveries take.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use super::account::{AccountNumbers, Accounts};
use super::overdue::LaneClock;
use super::{Maker, MetricsError};
use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::ids::AccountId;

const NAME: &str = "postrider_attempts_total";
/// The classes of status codes; those of [`Outcome::Delivered`] have a word of their own.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The fixed words of an attempt without an answer, as its record has them.
const ERRORS: [&str; 9] = [
    "address_not_allowed",
    "resolve",
    "connect",
    "tls",
    "timeout",
    "closed",
    "invalid_response",
    "event_unreadable",
    "internal_error",
];
const DELIVERY_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0,
    43_200.0, 86_400.0, 432_000.0,
];
const ATTEMPT_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0,
];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Attempts(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    delivered: IntCounter,
    statuses: Vec<IntCounter>,
    errors: Vec<(&'static str, IntCounter)>,
    other: IntCounter,
    settled_delivered: IntCounter,
    settled_dead: IntCounter,
    delivery_seconds: Histogram,
    attempt_seconds: Histogram,
}

impl Attempts {
    pub fn new(maker: &Maker<'_>) -> Result<Self, MetricsError> {
        let of = |outcome| {
            let help = "Attempts that were made, by what came of them.";
            maker.labelled(NAME, help, &[("outcome", outcome)])
        };
        let settled = |result| {
            let help = "Deliveries that an attempt settled.";
            maker.labelled("postrider_deliveries_total", help, &[("result", result)])
        };
        let statuses = STATUSES.into_iter().map(of);
        let errors = ERRORS.into_iter().map(|word| Ok((word, of(word)?)));
        Ok(Self(Arc::new(Inner {
            delivered: of("delivered")?,
            statuses: statuses.collect::<Result<_, MetricsError>>()?,
            errors: errors.collect::<Result<_, MetricsError>>()?,
            other: of("other")?,
            settled_delivered: settled("delivered")?,
            settled_dead: settled("dead")?,
            delivery_seconds: maker.histogram(
                "postrider_delivery_seconds",
                "From an event's acceptance to its 2xx, replays aside.",
                DELIVERY_SECONDS,
            )?,
            attempt_seconds: maker.histogram(
                "postrider_attempt_seconds",
                "How long attempts take, whatever comes of them.",
                ATTEMPT_SECONDS,
            )?,
        })))
    }

    fn count(&self, attempt: &Attempt) {
        let seconds = |ms| Duration::from_millis(ms).as_secs_f64();
        self.counter(attempt).inc();
        let duration_ms = u64::from(attempt.duration_ms);
        self.0.attempt_seconds.observe(seconds(duration_ms));
        match attempt.outcome {
            Outcome::Delivered => {
                self.0.settled_delivered.inc();
                if attempt.generation == 0 {
                    let ended_at_ms = attempt.started_at_ms.saturating_add(duration_ms);
                    let took_ms = ended_at_ms.saturating_sub(attempt.event.unix_ms());
                    self.0.delivery_seconds.observe(seconds(took_ms));
                }
            }
            Outcome::Dead => self.0.settled_dead.inc(),
            Outcome::Retry { .. } | Outcome::Cancelled => {}
        }
    }

    fn counter(&self, attempt: &Attempt) -> &IntCounter {
        let inner = &*self.0;
        if attempt.outcome == Outcome::Delivered {
            return &inner.delivered;
        }
        let status = attempt.status.map(|code| usize::from(code / 100));
        let status = status.and_then(|class| inner.statuses.get(class.checked_sub(1)?));
        let error = attempt.error.as_deref();
        let error = error.and_then(|error| inner.errors.iter().find(|(word, _)| *word == error));
        status
            .or(error.map(|(_, counter)| counter))
            .unwrap_or(&inner.other)
    }
}

/// Counts for a lane, which keeps it to itself.
#[derive(Debug)]
pub struct LaneMeter {
    /// Since when something waits that could be sent.
    pub clock: LaneClock,
    attempts: Attempts,
    accounts: Accounts,
    account: OnceCell<Arc<AccountNumbers>>,
}

/// Counts attempts of a lane.
#[derive(Debug, Clone)]
pub struct AttemptMeter {
    attempts: Attempts,
    account: Arc<AccountNumbers>,
}

impl LaneMeter {
    pub(super) fn new(clock: LaneClock, attempts: Attempts, accounts: Accounts) -> Self {
        Self {
            clock,
            attempts,
            accounts,
            account: OnceCell::new(),
        }
    }

    /// For the attempts of this lane, whose subscription is this account's.
    pub fn attempts(&self, account: AccountId) -> AttemptMeter {
        let account = self.account.get_or_init(|| self.accounts.of(account));
        AttemptMeter {
            attempts: self.attempts.clone(),
            account: Arc::clone(account),
        }
    }
}

impl AttemptMeter {
    /// Something was tried, or given up before it was.
    pub fn count(&self, attempt: &Attempt) {
        if attempt.was_made() {
            self.attempts.count(attempt);
            self.account.count(attempt);
        }
    }
}
