//! What the dispatcher knows: how much is open, how far it has read, and how subscriptions stand.
//!
//! It says so after every turn, and every few seconds what takes it a look at each subscription, so that a
//! reading never has to ask.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus::{Gauge, IntGauge};

use super::{Maker, MetricsError, whole};
use crate::domain::directory::Directory;
use crate::store::ledger::backlog::Counts;

const NEVER: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub struct Books {
    pending: IntGauge,
    retrying: IntGauge,
    dead: IntGauge,
    oldest_pending_seconds: Gauge,
    active: IntGauge,
    paused: IntGauge,
    probing: IntGauge,
    /// Subscriptions that are not paused.
    going: AtomicU64,
    applied: AtomicU64,
    next_due_ms: AtomicU64,
    /// How long something has been due that no lane is about to send.
    forgotten_ms: AtomicU64,
}

impl Books {
    pub(super) fn new(maker: &Maker<'_>) -> Result<Self, MetricsError> {
        let open = |state| {
            let help = "Deliveries that are not settled for good.";
            maker.labelled_gauge("postrider_backlog_deliveries", help, &[("state", state)])
        };
        let lanes = |state| {
            let help = "Subscriptions, by how they are sent to.";
            maker.labelled_gauge("postrider_lanes", help, &[("state", state)])
        };
        Ok(Self {
            pending: open("pending")?,
            retrying: open("retrying")?,
            dead: open("dead")?,
            oldest_pending_seconds: maker.seconds(
                "postrider_oldest_pending_seconds",
                "The age of the oldest event that a subscription which is not paused waits for.",
            )?,
            active: lanes("active")?,
            paused: lanes("paused")?,
            probing: lanes("probing")?,
            going: AtomicU64::new(0),
            applied: AtomicU64::new(0),
            next_due_ms: AtomicU64::new(NEVER),
            forgotten_ms: AtomicU64::new(0),
        })
    }

    /// What is open, how far the log was read, and when the next retry is to be handed to its lane.
    pub fn note(&self, open: Counts, applied: u64, next_due_ms: Option<u64>) {
        self.pending.set(whole(open.waiting));
        self.retrying.set(whole(open.retrying));
        self.dead.set(whole(open.dead));
        if open.waiting + open.retrying == 0 {
            self.oldest_pending_seconds.set(0.0);
        }
        if open.retrying == 0 {
            self.note_forgotten(0);
        }
        self.applied.store(applied, Ordering::Relaxed);
        let next_due_ms = next_due_ms.unwrap_or(NEVER);
        self.next_due_ms.store(next_due_ms, Ordering::Relaxed);
    }

    /// How long the oldest has waited.
    pub fn note_oldest(&self, pending_ms: u64) {
        let pending = std::time::Duration::from_millis(pending_ms);
        self.oldest_pending_seconds.set(pending.as_secs_f64());
    }

    /// How long something has been due that no lane is about to send.
    pub(super) fn note_forgotten(&self, due_ms: u64) {
        self.forgotten_ms.store(due_ms, Ordering::Relaxed);
    }

    /// Which subscriptions there are.
    pub fn note_subscriptions(&self, directory: &Directory) {
        let (mut going, mut paused) = (0, 0);
        for subscription in directory.subscriptions() {
            let is_going = directory.is_going(subscription.id);
            going += u64::from(is_going);
            paused += u64::from(!is_going);
        }
        self.going.store(going, Ordering::Relaxed);
        self.paused.set(whole(paused));
    }

    /// So many lanes only probe their receivers.
    pub(super) fn note_probing(&self, probing: usize) {
        self.probing.set(whole(probing));
        let going = whole(self.going.load(Ordering::Relaxed));
        self.active.set(going.saturating_sub(whole(probing)).max(0));
    }

    /// Everything before this position of the log is read.
    pub(super) fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// How long the dispatcher is late with handing a retry to its lane.
    pub(super) fn late_ms(&self, now_ms: u64) -> u64 {
        let late_ms = now_ms.saturating_sub(self.next_due_ms.load(Ordering::Relaxed));
        late_ms.max(self.forgotten_ms.load(Ordering::Relaxed))
    }
}
