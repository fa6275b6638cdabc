//! A reading: what is looked up when somebody reads, and the text of everything.

use std::time::Duration;

use prometheus::{Gauge, IntGauge, TextEncoder};

use super::{Maker, Metrics, MetricsError, whole};
use crate::store::{self, log::Log};

/// What others know at the time of a reading.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Events are taken in.
    pub is_ready: bool,
    /// Attempts that are under way, or whose outcome is not journalled.
    pub unjournalled: usize,
    /// Requests that wait for a commit.
    pub queued: usize,
    /// Lanes that only probe their receivers.
    pub probing: usize,
    /// Now, in milliseconds of Unix time.
    pub now_ms: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Readings {
    ready: IntGauge,
    unjournalled: IntGauge,
    queued: IntGauge,
    oldest_due_seconds: Gauge,
    undispatched_bytes: IntGauge,
    journal_bytes: IntGauge,
    journal_segments: IntGauge,
    state_bytes: IntGauge,
    disk_free_bytes: IntGauge,
    disk_min_free_bytes: IntGauge,
    resident_bytes: IntGauge,
}

impl Readings {
    pub fn new(maker: &Maker<'_>) -> Result<Self, MetricsError> {
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        maker
            .labelled_gauge("postrider_build_info", "What runs; always 1.", &version)?
            .set(1);
        Ok(Self {
            ready: maker.gauge("postrider_ready", "1 while events are taken in, else 0.")?,
            unjournalled: maker.gauge(
                "postrider_unjournalled_outcomes",
                "Attempts that are under way, or whose outcome is not journalled yet.",
            )?,
            queued: maker.gauge(
                "postrider_queue_requests",
                "Requests that wait for a commit.",
            )?,
            oldest_due_seconds: maker.seconds(
                "postrider_oldest_due_seconds",
                "How long the longest overdue attempt, above all of a retry, has been due while its lane was free to make it.",
            )?,
            undispatched_bytes: maker.gauge(
                "postrider_undispatched_bytes",
                "The part of the log that is accepted and not matched yet.",
            )?,
            journal_bytes: maker.gauge(
                "postrider_journal_bytes",
                "The journal, by whole segments.",
            )?,
            journal_segments: maker.gauge(
                "postrider_journal_segments",
                "Segments of the journal that hold records.",
            )?,
            state_bytes: maker.gauge(
                "postrider_state_bytes",
                "The files of the state, which can be made anew from the journal.",
            )?,
            disk_free_bytes: maker.gauge(
                "postrider_disk_free_bytes",
                "What may still be used of the disk that the store is on.",
            )?,
            disk_min_free_bytes: maker.gauge(
                "postrider_disk_min_free_bytes",
                "Free space below which events are refused: store.min_free_bytes.",
            )?,
            resident_bytes: maker.gauge(
                "postrider_resident_memory_bytes",
                "Memory of the process that is not swapped out.",
            )?,
        })
    }
}

impl Metrics {
    /// Everything, in Prometheus' text format. May wait for the disk to tell its free space.
    pub fn text(&self, log: &Log, reading: Reading) -> Result<String, MetricsError> {
        let Reading {
            is_ready,
            unjournalled,
            queued,
            probing,
            now_ms,
        } = reading;
        let inner = &*self.0;
        let readings = &inner.readings;
        inner.books.note_probing(probing);
        readings.ready.set(is_ready.into());
        readings.unjournalled.set(whole(unjournalled));
        readings.queued.set(whole(queued));
        let overdue_ms = inner.overdue.longest_ms(now_ms);
        let overdue = Duration::from_millis(overdue_ms.max(inner.books.late_ms(now_ms)));
        readings.oldest_due_seconds.set(overdue.as_secs_f64());
        let undispatched = log.end().saturating_sub(inner.books.applied());
        readings.undispatched_bytes.set(whole(undispatched));
        self.note_store(log);
        if let Some(bytes) = resident_bytes() {
            readings.resident_bytes.set(whole(bytes));
        }
        TextEncoder::new().encode_to_string(&inner.registry.gather())
    }

    fn note_store(&self, log: &Log) {
        let readings = &self.0.readings;
        let layout = log.journal().layout();
        let last = layout.segment_of(log.last().unwrap_or(log.start()));
        let segments = (last + 1).saturating_sub(layout.segment_of(log.start()));
        readings.journal_segments.set(whole(segments));
        let bytes = segments.saturating_mul(layout.segment_bytes);
        readings.journal_bytes.set(whole(bytes));
        if let Ok(bytes) = store::state_bytes(layout) {
            readings.state_bytes.set(whole(bytes));
        }
        let kept_free = whole(layout.min_free_bytes);
        readings.disk_min_free_bytes.set(kept_free);
        if let Ok(free) = layout.disk.free_bytes(&layout.dir) {
            readings.disk_free_bytes.set(whole(free));
        }
    }
}

/// As Linux tells it; elsewhere nobody does.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}
