//! What the relay counts of itself, and how Prometheus reads it.
//!
//! Everything is counted where it happens, with atomics: who counts takes no lock and asks nobody, and a
//! reading costs the same however much waits. Names and labels are fixed here; no label holds a word from
//! outside, or an id. What each one means stands in `docs/metrics.md`; a test compares.
//!
//! Lost in a crash, and in a restart: all counts, as Prometheus expects.

pub mod account;
mod attempts;
mod books;
mod commits;
mod mailboxes;
mod overdue;
mod reading;
mod refusal;

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

use self::account::Accounts;
use self::attempts::Attempts;
pub use self::attempts::{AttemptMeter, LaneMeter};
use self::books::Books;
pub use self::commits::CommitMeter;
use self::commits::Commits;
use self::mailboxes::Mailboxes;
pub use self::mailboxes::{MailboxMeter, Mailed, Waits};
use self::overdue::Overdue;
pub use self::reading::Reading;
use self::reading::Readings;
use self::refusal::Refusals;
pub use self::refusal::{Door, Refusal};
use super::now_ms;
use crate::domain::ids::SubscriptionId;
use crate::store::ledger::Ledger;

/// What a reading's text is.
pub const MEDIA_TYPE: &str = prometheus::TEXT_FORMAT;

/// Why something cannot be counted or read. Names are fixed, so none is expected.
pub type MetricsError = prometheus::Error;

/// All that is counted. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    refusals: Refusals,
    commits: Commits,
    attempts: Attempts,
    books: Books,
    mailboxes: Mailboxes,
    overdue: Overdue,
    readings: Readings,
    accounts: Accounts,
    since_ms: u64,
}

impl Metrics {
    /// Nothing is counted yet.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let maker = Maker(&registry);
        let inner = Inner {
            refusals: Refusals::new(&maker)?,
            commits: Commits::new(&maker)?,
            attempts: Attempts::new(&maker)?,
            books: Books::new(&maker)?,
            mailboxes: Mailboxes::new(&maker)?,
            overdue: Overdue::default(),
            readings: Readings::new(&maker)?,
            accounts: Accounts::default(),
            since_ms: now_ms(),
            registry,
        };
        Ok(Self(Arc::new(inner)))
    }

    /// A request was refused.
    pub fn refused(&self, door: Door, why: Refusal) {
        self.0.refusals.count(door, why);
    }

    /// For whoever commits.
    pub fn commit_meter(&self) -> CommitMeter {
        CommitMeter::new(self.0.commits.clone(), self.0.accounts.clone())
    }

    /// For who sends messages to an actor.
    pub fn mailbox(&self, actor: Mailed) -> MailboxMeter {
        self.0.mailboxes.of(actor)
    }

    /// For a lane.
    pub fn lane_meter(&self, id: SubscriptionId) -> LaneMeter {
        let clock = self.0.overdue.clock(id);
        LaneMeter::new(clock, self.0.attempts.clone(), self.0.accounts.clone())
    }

    /// Takes note of how long the ledger has held something due that no lane is about to send.
    pub fn look_for_forgotten(&self, ledger: &Ledger, now_ms: u64) {
        let going = ledger
            .backlogged()
            .filter(|id| ledger.directory().is_going(*id));
        let forgotten = going.filter(|id| self.0.overdue.is_idle(*id));
        let due_ms = forgotten.filter_map(|id| ledger.earliest_due_ms(id)).min();
        self.0
            .books
            .note_forgotten(due_ms.map_or(0, |due_ms| now_ms.saturating_sub(due_ms)));
    }

    /// What the dispatcher knows.
    pub fn books(&self) -> &Books {
        &self.0.books
    }

    /// When counting began, in milliseconds of Unix time.
    pub fn since_ms(&self) -> u64 {
        self.0.since_ms
    }

    /// The counts of accounts.
    pub fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }
}

/// Makes what is counted with, and enters it in the registry.
struct Maker<'a>(&'a Registry);

impl Maker<'_> {
    fn enter<C: Collector + Clone + 'static>(&self, made: C) -> Result<C, MetricsError> {
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, MetricsError> {
        self.enter(IntCounter::new(name, help)?)
    }

    /// One of a family.
    fn labelled(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<IntCounter, MetricsError> {
        self.enter(IntCounter::with_opts(options(name, help, labels))?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, MetricsError> {
        self.enter(IntGauge::new(name, help)?)
    }

    fn labelled_gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
    ) -> Result<IntGauge, MetricsError> {
        self.enter(IntGauge::with_opts(options(name, help, labels))?)
    }

    fn seconds(&self, name: &str, help: &str) -> Result<Gauge, MetricsError> {
        self.enter(Gauge::new(name, help)?)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, MetricsError> {
        self.enter(histogram(name, help, buckets)?)
    }
}

fn options(name: &str, help: &str, labels: &[(&str, &str)]) -> Opts {
    let options = Opts::new(name, help);
    labels.iter().fold(options, |options, (label, value)| {
        options.const_label(*label, *value)
    })
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, MetricsError> {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
}

/// So many, as far as a gauge can count.
fn whole(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
