//! The rate-limit actor: fixed windows, per key and class.
//!
//! Mailbox: the default; only its own timer fills it. Asking for a permit is a look-up in a shared
//! map, exact under concurrency because a window is changed under its shard's lock and nothing else
//! happens there. The actor's work is to forget windows that are over, so that memory is bounded by
//! the keys that were used lately.
//!
//! Lost in a crash, and in a restart: all windows, by design. A limit protects against load, and
//! after a restart there is none yet.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ArbiterHandle, AsyncContext, Context};
use dashmap::DashMap;

use super::now_ms;
use crate::domain::ids::KeyId;
use crate::domain::rate::{Decision, Quota, Window};

const SWEEP_EVERY: Duration = Duration::from_mins(1);

/// The two classes of requests, each with windows of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Everything under `/v1`.
    Manage,
    /// Sending events in.
    Ingest,
}

impl Class {
    /// The name of its policy in the `RateLimit` header fields.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manage => "manage",
            Self::Ingest => "ingest",
        }
    }
}

/// The configured quotas; `None` is no limit.
#[derive(Debug, Clone, Copy)]
pub struct Quotas {
    /// For [`Class::Manage`].
    pub manage: Option<Quota>,
    /// For [`Class::Ingest`].
    pub ingest: Option<Quota>,
}

type Windows = Arc<DashMap<(KeyId, Class), Window>>;

/// Asks for permits.
#[derive(Debug, Clone)]
pub struct RateLimitHandle {
    windows: Windows,
    quotas: Quotas,
}

impl RateLimitHandle {
    /// Asks for permits for a key. `None` when the class has no limit.
    pub fn take(
        &self,
        key: KeyId,
        own: Option<Quota>,
        class: Class,
        permits: u32,
    ) -> Option<Decision> {
        let configured = match class {
            Class::Manage => self.quotas.manage,
            Class::Ingest => self.quotas.ingest,
        };
        let quota = own.or(configured)?;
        let mut window = self
            .windows
            .entry((key, class))
            .or_insert_with(Window::unused);
        Some(window.take(quota, permits, now_ms()))
    }
}

struct RateLimit {
    windows: Windows,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, quotas: Quotas) -> RateLimitHandle {
    let windows = Windows::default();
    let shared = Arc::clone(&windows);
    RateLimit::start_in_arbiter(arbiter, move |_| RateLimit { windows: shared });
    RateLimitHandle { windows, quotas }
}

impl Actor for RateLimit {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP_EVERY, |limit, _| {
            let now_ms = now_ms();
            limit.windows.retain(|_, window| !window.is_over(now_ms));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(quota: Option<Quota>) -> RateLimitHandle {
        RateLimitHandle {
            windows: Windows::default(),
            quotas: Quotas {
                manage: quota,
                ingest: None,
            },
        }
    }

    #[test]
    fn of_64_threads_racing_for_100_permits_exactly_100_get_one() {
        let limit = handle(Some(Quota {
            limit: 100,
            window_ms: 3_600_000,
        }));
        let racers: Vec<_> = (0..64)
            .map(|_| {
                let limit = limit.clone();
                std::thread::spawn(move || {
                    let ask = |_| limit.take(KeyId::from_bits(1), None, Class::Manage, 1);
                    (0..10)
                        .filter_map(ask)
                        .filter(|decision| decision.allowed)
                        .count()
                })
            })
            .collect();
        let given: usize = racers.into_iter().map(|racer| racer.join().unwrap()).sum();
        assert_eq!(given, 100);
    }

    #[test]
    fn keys_and_classes_do_not_share_windows_and_a_keys_own_quota_counts() {
        let limit = handle(Some(Quota {
            limit: 1,
            window_ms: 3_600_000,
        }));
        let allowed = |key, own, class| {
            limit
                .take(KeyId::from_bits(key), own, class, 1)
                .map(|decision| decision.allowed)
        };
        assert_eq!(allowed(1, None, Class::Manage), Some(true));
        assert_eq!(allowed(1, None, Class::Manage), Some(false));
        assert_eq!(allowed(2, None, Class::Manage), Some(true));
        assert_eq!(
            allowed(1, None, Class::Ingest),
            None,
            "a class that is off has no window"
        );
        let own = Some(Quota {
            limit: 5,
            window_ms: 1000,
        });
        assert_eq!(allowed(1, own, Class::Ingest), Some(true));
    }
}
