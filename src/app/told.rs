//! What each part is told of the settings, in the types of its own floor.

use std::time::Duration;

use crate::actors::delivery::Defaults;
use crate::actors::dispatch::watch::Patience;
use crate::actors::now_ms;
use crate::actors::queue;
use crate::actors::rate_limit::Quotas;
use crate::config::{Config, Limit};
use crate::domain::rate::Quota;
use crate::domain::retention::Retention;
use crate::domain::retry::{Schedule, ScheduleError};
use crate::http::Limits;
use crate::store::{self, Machine};

/// For the store.
pub fn store_options(config: &Config) -> store::Options {
    let first_wait = config
        .delivery
        .retry_schedule
        .first()
        .copied()
        .unwrap_or_default();
    store::Options {
        dir: config.data_dir.clone(),
        cache_bytes: config.store.cache_bytes,
        min_free_bytes: config.store.min_free_bytes,
        segment_bytes: store::SEGMENT_BYTES,
        first_wait_ms: millis(first_wait),
        now_ms: now_ms(),
        machine: Machine::real(),
    }
}

/// In milliseconds; more than fit are as many as do.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For the doors.
pub fn request_limits(config: &Config) -> Limits {
    Limits {
        max_body_bytes: config.ingest.max_body_bytes,
        max_batch_bytes: config.ingest.max_batch_bytes,
    }
}

/// For the queue.
pub fn queue_limits(config: &Config) -> queue::Limits {
    queue::Limits {
        requests: config.queue.capacity,
        bytes: config.queue.max_bytes,
    }
}

/// For retention.
pub fn kept(config: &Config) -> Retention {
    let kept = &config.retention;
    Retention {
        events_ms: millis(kept.events),
        dead_ms: millis(kept.dead),
        max_bytes: Some(kept.max_bytes).filter(|bytes| *bytes > 0),
    }
}

/// For the dispatcher.
pub fn patience(config: &Config) -> Patience {
    Patience {
        disable_after_ms: millis(config.delivery.disable_after),
        old_backlog_ms: millis(config.delivery.old_backlog_after),
    }
}

/// For the rate limiter.
pub fn quotas(config: &Config) -> Quotas {
    let quota = |limit| match limit {
        Limit::Off => None,
        Limit::Window { limit, window } => Some(Quota {
            limit,
            window_ms: millis(window),
        }),
    };
    Quotas {
        manage: quota(config.rate_limit.manage),
        ingest: quota(config.rate_limit.ingest),
        auth_failures: quota(config.rate_limit.auth_failures),
    }
}

/// For the lanes.
pub fn defaults(config: &Config) -> Result<Defaults, ScheduleError> {
    let waits = config
        .delivery
        .retry_schedule
        .iter()
        .copied()
        .map(millis)
        .collect();
    Ok(Defaults {
        schedule: Schedule::new(waits)?,
        timeout: config.delivery.timeout,
        max_in_flight: u16::try_from(config.delivery.max_in_flight).unwrap_or(u16::MAX),
        probe_after: config.delivery.probe_after,
    })
}
