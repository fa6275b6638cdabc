//! The rate-limit actor: fixed windows, per key and class, and for failed authentications per address.
//!
//! Mailbox: the default; only its own timer fills it. Asking for a permit is a look-up in a shared
//! map, exact under concurrency because a window is changed under its shard's lock and nothing else
//! happens there. The actor's work is to forget windows that are over, so that memory is bounded by
//! the keys that were used lately.
//!
//! Lost in a crash, and in a restart: all windows, by design. A limit protects against load, and
//! after a restart there is none yet.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ArbiterHandle, AsyncContext, Context};
use dashmap::DashMap;

use super::now_ms;
use crate::domain::ids::KeyId;
use crate::domain::rate::{Decision, Quota, Window};

const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// Addresses whose failures are counted at a time: some 10 MB. Beyond it new ones are not, until windows
/// are over; a key cannot be guessed anyway.
const MAX_ADDRESSES: usize = 100_000;

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
    /// For failed authentications of one address.
    pub auth_failures: Option<Quota>,
}

type Windows = Arc<DashMap<(KeyId, Class), Window>>;
type Failures = Arc<DashMap<IpAddr, Window>>;

/// Asks for permits.
#[derive(Debug, Clone)]
pub struct RateLimitHandle {
    windows: Windows,
    failures: Failures,
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

    /// Notes that somebody at this address had no valid key. If that was once too often, returns until
    /// when, in milliseconds of Unix time.
    pub fn note_failure(&self, address: IpAddr) -> Option<u64> {
        let quota = self.quotas.auth_failures?;
        let network = network(address);
        if self.failures.len() >= MAX_ADDRESSES && !self.failures.contains_key(&network) {
            return None;
        }
        let mut window = self.failures.entry(network).or_insert_with(Window::unused);
        let decision = window.take(quota, 1, now_ms());
        (!decision.allowed).then_some(decision.reset_at_ms)
    }
}

/// What one client has: an IPv4 address, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}

struct RateLimit {
    windows: Windows,
    failures: Failures,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, quotas: Quotas) -> RateLimitHandle {
    let windows = Windows::default();
    let failures = Failures::default();
    let actor = RateLimit {
        windows: Arc::clone(&windows),
        failures: Arc::clone(&failures),
    };
    RateLimit::start_in_arbiter(arbiter, move |_| actor);
    RateLimitHandle {
        windows,
        failures,
        quotas,
    }
}

impl Actor for RateLimit {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SWEEP_EVERY, |limit, _| {
            let now_ms = now_ms();
            limit.windows.retain(|_, window| !window.is_over(now_ms));
            limit.failures.retain(|_, window| !window.is_over(now_ms));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(quota: Option<Quota>) -> RateLimitHandle {
        RateLimitHandle {
            windows: Windows::default(),
            failures: Failures::default(),
            quotas: Quotas {
                manage: quota,
                ingest: None,
                auth_failures: quota,
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
    fn failures_are_counted_for_each_client_and_a_client_has_a_whole_v6_network() {
        let limit = handle(Some(Quota {
            limit: 2,
            window_ms: 3_600_000,
        }));
        let refused = |address: &str| limit.note_failure(address.parse().unwrap()).is_some();
        assert!(!refused("192.0.2.1") && !refused("192.0.2.1") && refused("192.0.2.1"));
        assert!(!refused("192.0.2.2"));
        assert!(!refused("2001:db8::1") && !refused("2001:db8::2") && refused("2001:db8::3"));
        assert!(!refused("2001:db8:0:1::1"));
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
