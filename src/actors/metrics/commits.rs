//! Commits: how many events each takes, how long they wait for the disk, whose the events are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntCounter};

use super::account::{AccountNumbers, Accounts};
use super::{Maker, MetricsError};
use crate::actors::now_ms;
use crate::domain::directory::MAX_ACCOUNTS;
use crate::domain::event::Event;
use crate::domain::ids::AccountId;
use crate::store::committer::Committed;

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const EVENTS: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0,
];

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Commits {
    accepted: IntCounter,
    events: Histogram,
    commit_seconds: Histogram,
    sync_seconds: Histogram,
}

impl Commits {
    pub fn new(maker: &Maker<'_>) -> Result<Self, MetricsError> {
        Ok(Self {
            accepted: maker.counter(
                "postrider_events_accepted_total",
                "Events that are on disk and were accepted.",
            )?,
            events: maker.histogram(
                "postrider_commit_events",
                "Events of a commit, of those that hold any.",
                EVENTS,
            )?,
            commit_seconds: maker.histogram(
                "postrider_commit_seconds",
                "From a commit's beginning until the queue hears that it is on disk.",
                SECONDS,
            )?,
            sync_seconds: maker.histogram(
                "postrider_sync_seconds",
                "The part of a commit that is encoding, writing and syncing.",
                SECONDS,
            )?,
        })
    }
}

/// Counts commits for the queue actor, which keeps it to itself.
#[derive(Debug)]
pub struct CommitMeter {
    commits: Commits,
    accounts: Accounts,
    /// The accounts that sent events, so that nobody else is asked for them.
    known: HashMap<AccountId, Arc<AccountNumbers>>,
}

/// A commit that is under way.
#[derive(Debug)]
pub struct Measured {
    began: Instant,
    events: usize,
    by_account: HashMap<AccountId, u64>,
}

impl CommitMeter {
    pub(super) fn new(commits: Commits, accounts: Accounts) -> Self {
        Self {
            commits,
            accounts,
            known: HashMap::new(),
        }
    }

    /// A commit of these events begins.
    pub fn begin(&self, events: &[Event]) -> Measured {
        let mut by_account = HashMap::new();
        for event in events {
            *by_account.entry(event.meta.account).or_default() += 1;
        }
        Measured {
            began: Instant::now(),
            events: events.len(),
            by_account,
        }
    }

    /// It is on disk.
    pub fn committed(&mut self, measured: Measured, committed: &Committed) {
        let Some(written_in) = committed.written_in else {
            return;
        };
        let seconds = |duration: Duration| duration.as_secs_f64();
        let commits = &self.commits;
        commits.sync_seconds.observe(seconds(written_in));
        commits
            .commit_seconds
            .observe(seconds(measured.began.elapsed()));
        if measured.events == 0 {
            return;
        }
        commits.accepted.inc_by(measured.events as u64);
        #[allow(clippy::cast_precision_loss)] // A commit holds some thousands.
        commits.events.observe(measured.events as f64);
        let now_ms = now_ms();
        for (account, count) in measured.by_account {
            self.numbers_of(account).accepted.add(count, now_ms);
        }
    }

    fn numbers_of(&mut self, account: AccountId) -> &AccountNumbers {
        if self.known.len() > MAX_ACCOUNTS {
            self.known.clear();
        }
        let accounts = &self.accounts;
        self.known
            .entry(account)
            .or_insert_with(|| accounts.of(account))
    }
}
