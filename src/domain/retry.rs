//! When a failed delivery is tried again.
//!
//! A schedule is a list of waits: the first before attempt 1, the next between attempts 1 and 2, and
//! so on. After the last attempt there is no next one. Each wait is stretched or shortened by up to
//! ±20 %, so that the failures of one moment do not come back in one moment.

use serde::{Deserialize, Serialize};

/// How far jitter moves a wait, as a share of it.
pub const JITTER: f64 = 0.2;
/// The most attempts a schedule may hold.
pub const MAX_ATTEMPTS: usize = 50;
/// The longest single wait: 30 days.
pub const MAX_WAIT_MS: u64 = 30 * 24 * 3600 * 1000;
/// The longest `Retry-After` that is obeyed: one day.
pub const MAX_RETRY_AFTER_MS: u64 = 24 * 3600 * 1000;

/// The schedule is empty, too long, or holds a wait that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must list 1 to {MAX_ATTEMPTS} waits of at most 30d each")]
pub struct ScheduleError;

/// The waits before each attempt, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule(Vec<u64>);

impl Default for Schedule {
    /// One attempt, at once.
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Schedule {
    /// A schedule of these waits.
    pub fn new(waits_ms: Vec<u64>) -> Result<Self, ScheduleError> {
        let fits = (1..=MAX_ATTEMPTS).contains(&waits_ms.len())
            && waits_ms.iter().all(|wait| *wait <= MAX_WAIT_MS);
        if fits {
            Ok(Self(waits_ms))
        } else {
            Err(ScheduleError)
        }
    }

    /// The wait before the first attempt.
    pub fn first_wait_ms(&self) -> u64 {
        self.0.first().copied().unwrap_or(0)
    }

    /// The wait after `attempts` attempts were made, moved by `jitter` (0 to 1, ½ moves nothing).
    /// `None` once all attempts are used up.
    pub fn wait_ms(&self, attempts: u16, jitter: f64) -> Option<u64> {
        let wait = *self.0.get(usize::from(attempts))?;
        let factor = 1.0 + JITTER * (2.0 * jitter.clamp(0.0, 1.0) - 1.0);
        // Waits are at most 30 days, far inside what a double holds exactly.
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        Some((wait as f64 * factor).round() as u64)
    }

    /// The waits in milliseconds.
    pub fn waits_ms(&self) -> &[u64] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule() -> Schedule {
        Schedule::new(vec![0, 5_000, 300_000]).unwrap()
    }

    #[test]
    fn the_waits_come_in_order_and_end() {
        let waits: Vec<_> = (0..4)
            .map(|attempts| schedule().wait_ms(attempts, 0.5))
            .collect();
        assert_eq!(waits, [Some(0), Some(5_000), Some(300_000), None]);
    }

    #[test]
    fn jitter_moves_a_wait_by_a_fifth_at_most() {
        assert_eq!(schedule().wait_ms(1, 0.0), Some(4_000));
        assert_eq!(schedule().wait_ms(1, 1.0), Some(6_000));
        assert_eq!(schedule().wait_ms(1, f64::INFINITY), Some(6_000));
    }

    #[test]
    fn a_schedule_without_or_with_too_many_or_too_long_waits_is_refused() {
        assert!(Schedule::new(vec![]).is_err());
        assert!(Schedule::new(vec![0; MAX_ATTEMPTS + 1]).is_err());
        assert!(Schedule::new(vec![MAX_WAIT_MS + 1]).is_err());
    }
}
