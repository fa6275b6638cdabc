//! Which settings exist, what type each has, and between which bounds it lies.
//!
//! Defaults are not here but in `data/postrider.toml`. A setting is added in two
//! places: a field read below, and a commented line there, whose comment is also what
//! the reference says. Only what some part of the relay reads is a setting.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::logging::Log;
use super::reader::{
    Kind, Reader, bytes, duration, flag, list, optional, path, path_or_nothing, text, whole_number,
};
use super::value::{Limit, MAX_LIMIT, MAX_WINDOW, MIN_WINDOW};
use crate::domain::duration::format_duration;
use crate::domain::sealed::Keyring;

const KIB: i64 = 1024;
const MIB: i64 = 1024 * KIB;
const GIB: i64 = 1024 * MIB;

const LEVELS: &str = "error, warn, info, debug, trace or off, and for requests and attempts alone: info,access=debug,attempt=off";
const WORKERS: RangeInclusive<i64> = 0..=256;
const SHUTDOWN_TIMEOUT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(10);
const BODY_BYTES: RangeInclusive<i64> = KIB..=16 * MIB;
const BATCH_BYTES: RangeInclusive<i64> = KIB..=32 * MIB;
const QUEUE_CAPACITY: RangeInclusive<i64> = 1..=1_000_000;
const QUEUE_BYTES: RangeInclusive<i64> = MIB..=4 * GIB;
const CACHE_BYTES: RangeInclusive<i64> = MIB..=16 * GIB;
const MIN_FREE_BYTES: RangeInclusive<i64> = 0..=1024 * GIB;
const RETENTION: RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(3650 * 24);
const JOURNAL_BYTES: RangeInclusive<i64> = 0..=1024 * 1024 * GIB;
const SYNC_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
const ATTEMPTS: RangeInclusive<usize> = 1..=50;
const RETRY_WAIT: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(30 * 24);
const DELIVERY_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_mins(5);
const IN_FLIGHT: RangeInclusive<i64> = 1..=1000;
const FAILURES: RangeInclusive<i64> = 0..=1_000_000;
const PATIENCE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(3650 * 24);
const ALLOWED_NETWORKS: RangeInclusive<usize> = 0..=1000;

/// All settings, checked. Each floor is handed its own section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where journal and state live; relative to the working directory.
    pub data_dir: PathBuf,
    /// How long a stop waits for what is in flight.
    pub shutdown_timeout: Duration,
    /// The listening side.
    pub server: Server,
    /// Limits on what may be sent in.
    pub ingest: Ingest,
    /// Limits on what may wait for the disk.
    pub queue: Queue,
    /// The disk.
    pub store: Store,
    /// How long things are kept.
    pub retention: Retention,
    /// Requests per API key.
    pub rate_limit: RateLimit,
    /// What signing secrets are sealed under.
    pub secrets: Secrets,
    /// Attempts to deliver.
    pub delivery: Delivery,
    /// Where deliveries may go.
    pub outbound: Outbound,
    /// What is logged, and how.
    pub log: Log,
}

/// The listening side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Threads that answer requests; 0 means one per core.
    pub workers: usize,
    /// Networks whose word for a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// Limits on what may be sent in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingest {
    /// Largest body of one event.
    pub max_body_bytes: usize,
    /// Largest body of one batch; never below `max_body_bytes`.
    pub max_batch_bytes: usize,
}

/// Limits on what may wait for a commit; beyond either the answer is 503.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Waiting requests.
    pub capacity: usize,
    /// Their bytes together; never below `ingest.max_batch_bytes`.
    pub max_bytes: usize,
}

/// The disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Memory for the state's cache.
    pub cache_bytes: u64,
    /// Free space below which new events are refused.
    pub min_free_bytes: u64,
    /// How long a sync may take before the disk counts as failed.
    pub sync_timeout: Duration,
}

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Events.
    pub events: Duration,
    /// Dead deliveries.
    pub dead: Duration,
    /// What the journal may take on disk; 0 for four fifths of what the disk has for it.
    pub max_bytes: u64,
}

/// Fixed windows per API key, one for each class of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimit {
    /// Management requests.
    pub manage: Limit,
    /// Ingested events.
    pub ingest: Limit,
    /// Failed authentications, per client address.
    pub auth_failures: Limit,
}

/// What signing secrets are sealed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The file of the keys; empty for one beside the data directory.
    pub key_file: PathBuf,
    /// The keys themselves, in place of the file.
    pub key: Option<Keyring>,
}

/// Attempts to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Wait before each attempt, the first included, before jitter; never empty.
    pub retry_schedule: Vec<Duration>,
    /// Time for one whole attempt.
    pub timeout: Duration,
    /// Attempts under way at once to one subscription.
    pub max_in_flight: usize,
    /// Failures in a row after which a receiver is only probed; 0 for never.
    pub probe_after: u32,
    /// Nothing but failures for so long pauses a subscription.
    pub disable_after: Duration,
    /// What has waited for so long is told of.
    pub old_backlog_after: Duration,
}

/// Where deliveries may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// Networks let through although they are not public.
    pub allow: Vec<IpNet>,
    /// Whether `http` is refused.
    pub https_only: bool,
}

impl Config {
    /// Reads every setting once, in the order in which they are shown.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let config = Self {
            data_dir: from.read("data_dir", &path())?,
            shutdown_timeout: from.read("shutdown_timeout", &duration(SHUTDOWN_TIMEOUT))?,
            server: Server {
                listen: from.read("server.listen", &address())?,
                workers: from.read("server.workers", &whole_number(WORKERS))?,
                trusted_proxies: from
                    .read("server.trusted_proxies", &list(network(), ALLOWED_NETWORKS))?,
            },
            ingest: Ingest {
                max_body_bytes: from.read("ingest.max_body_bytes", &bytes(BODY_BYTES))?,
                max_batch_bytes: from.read("ingest.max_batch_bytes", &bytes(BATCH_BYTES))?,
            },
            queue: Queue {
                capacity: from.read("queue.capacity", &whole_number(QUEUE_CAPACITY))?,
                max_bytes: from.read("queue.max_bytes", &bytes(QUEUE_BYTES))?,
            },
            store: Store {
                cache_bytes: from.read("store.cache_bytes", &bytes(CACHE_BYTES))?,
                min_free_bytes: from.read("store.min_free_bytes", &bytes(MIN_FREE_BYTES))?,
                sync_timeout: from.read("store.sync_timeout", &duration(SYNC_TIMEOUT))?,
            },
            retention: Retention {
                events: from.read("retention.events", &duration(RETENTION))?,
                dead: from.read("retention.dead", &duration(RETENTION))?,
                max_bytes: from.read("retention.max_bytes", &bytes(JOURNAL_BYTES))?,
            },
            rate_limit: RateLimit {
                manage: from.read("rate_limit.manage", &limit())?,
                ingest: from.read("rate_limit.ingest", &limit())?,
                auth_failures: from.read("rate_limit.auth_failures", &limit())?,
            },
            secrets: Secrets {
                key_file: from.read("secrets.key_file", &path_or_nothing())?,
                key: from.read("secrets.key", &keyring())?,
            },
            delivery: Delivery {
                retry_schedule: from.read(
                    "delivery.retry_schedule",
                    &list(duration(RETRY_WAIT), ATTEMPTS),
                )?,
                timeout: from.read("delivery.timeout", &duration(DELIVERY_TIMEOUT))?,
                max_in_flight: from.read("delivery.max_in_flight", &whole_number(IN_FLIGHT))?,
                probe_after: from.read("delivery.probe_after", &whole_number(FAILURES))?,
                disable_after: from.read("delivery.disable_after", &duration(PATIENCE))?,
                old_backlog_after: from.read("delivery.old_backlog_after", &duration(PATIENCE))?,
            },
            outbound: Outbound {
                allow: from.read("outbound.allow", &list(network(), ALLOWED_NETWORKS))?,
                https_only: from.read("outbound.https_only", &flag())?,
            },
            log: Log {
                levels: from.read("log.level", &text(LEVELS))?,
                format: from.read("log.format", &text("auto, text or json"))?,
            },
        };
        config.check_sizes(from);
        Some(config)
    }

    /// What is let in must fit into what holds it.
    fn check_sizes(&self, from: &mut Reader<'_>) {
        let body = ("ingest.max_body_bytes", self.ingest.max_body_bytes);
        let batch = ("ingest.max_batch_bytes", self.ingest.max_batch_bytes);
        let queue = ("queue.max_bytes", self.queue.max_bytes);
        from.at_least(batch, body);
        from.at_least(queue, batch);
    }
}

fn address() -> Kind<SocketAddr> {
    text("an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

fn network() -> Kind<IpNet> {
    text("a CIDR such as 10.0.0.0/8 or fd00::/8")
}

fn keyring() -> Kind<Option<Keyring>> {
    optional("sealing keys, each `seal_` and the base64url of 32 random bytes, separated by commas")
}

fn limit() -> Kind<Limit> {
    let (least, most) = (format_duration(MIN_WINDOW), format_duration(MAX_WINDOW));
    text(format!(
        "\"off\" or requests/window, such as \"100/15m\": \
         1 to {MAX_LIMIT} requests, a window of {least} to {most} in whole seconds"
    ))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::{Config, Sources};

    #[test]
    fn the_shipped_file_explains_every_setting_right_above_it() {
        let text = include_str!("../../data/postrider.toml");
        let mut section = String::new();
        let (mut explained, mut above) = (Vec::new(), "");
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('[') {
                section.clear();
                write!(section, "{}.", name.trim_end_matches(']')).unwrap();
            } else if let Some((name, _)) =
                line.split_once(" = ").filter(|_| !line.starts_with('#'))
            {
                assert!(above.starts_with("# "), "no comment above {name}");
                explained.push(format!("{section}{name}"));
            }
            above = line;
        }
        let settings = Config::load(Sources::default()).unwrap().settings;
        let known: Vec<&str> = settings
            .iter()
            .map(|setting| setting.key.as_str())
            .collect();
        assert_eq!(
            explained, known,
            "the file and the settings list the same, in the same order"
        );
    }
}
