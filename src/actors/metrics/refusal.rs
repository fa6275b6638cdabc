//! Requests that were refused, by door and reason.

use prometheus::IntCounter;

use super::{Maker, MetricsError};

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// `/api/webhooks`
    Ingest,
    /// `/v1`
    Manage,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody was recognised.
    Unauthorized,
    /// The key may not do this.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// It is not JSON, too large, of another type, or did not come in time.
    Unreadable,
    /// It is well formed but wrong.
    Invalid,
    /// It contradicts what is there.
    Conflict,
    /// The key's window is used up.
    RateLimited,
    /// As much is waiting as may wait.
    Overloaded,
    /// The disk has no room.
    NoSpace,
    /// The relay failed, or is stopping.
    Failed,
}

const DOORS: [(Door, &str); 2] = [(Door::Ingest, "ingest"), (Door::Manage, "manage")];
const REFUSALS: [(Refusal, &str); 10] = [
    (Refusal::Unauthorized, "unauthorized"),
    (Refusal::Forbidden, "forbidden"),
    (Refusal::NotFound, "not_found"),
    (Refusal::Unreadable, "unreadable"),
    (Refusal::Invalid, "invalid"),
    (Refusal::Conflict, "conflict"),
    (Refusal::RateLimited, "rate_limited"),
    (Refusal::Overloaded, "overloaded"),
    (Refusal::NoSpace, "no_space"),
    (Refusal::Failed, "failed"),
];

/// See the module.
#[derive(Debug)]
pub(super) struct Refusals(Vec<(Door, Refusal, IntCounter)>);

impl Refusals {
    pub fn new(maker: &Maker<'_>) -> Result<Self, MetricsError> {
        let mut counters = Vec::with_capacity(DOORS.len() * REFUSALS.len());
        for (door, door_name) in DOORS {
            for (why, reason) in REFUSALS {
                let counter = maker.labelled(
                    "postrider_requests_refused_total",
                    "Requests that were not carried out.",
                    &[("door", door_name), ("reason", reason)],
                )?;
                counters.push((door, why, counter));
            }
        }
        Ok(Self(counters))
    }

    pub fn count(&self, door: Door, why: Refusal) {
        let mut counters = self.0.iter();
        if let Some((.., counter)) = counters.find(|(at, for_it, _)| (*at, *for_it) == (door, why))
        {
            counter.inc();
        }
    }
}
