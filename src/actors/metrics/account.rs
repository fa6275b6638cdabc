//! What is counted for each account, for its own eyes: nobody learns how busy his neighbours are.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dashmap::DashMap;

use crate::domain::delivery::{Attempt, Outcome};
use crate::domain::directory::Directory;
use crate::domain::ids::AccountId;

/// Slots of a second each; more than a minute has, so that none is used anew while it counts.
const SLOTS: usize = 64;
const MINUTE_SECONDS: u64 = 60;
/// Where the slots of a [`Spread`] end, in milliseconds: a third to a half of a power of ten apart, up to
/// five days.
const ENDS_MS: [u64; 22] = [
    1,
    2,
    5,
    10,
    20,
    50,
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    15_000,
    60_000,
    300_000,
    1_800_000,
    7_200_000,
    21_600_000,
    43_200_000,
    86_400_000,
    172_800_000,
    432_000_000,
];

/// The numbers of all accounts that have any.
#[derive(Debug, Clone, Default)]
pub struct Accounts(Arc<DashMap<AccountId, Arc<AccountNumbers>>>);

impl Accounts {
    /// Those of an account. Whoever counts keeps them.
    pub fn of(&self, account: AccountId) -> Arc<AccountNumbers> {
        Arc::clone(&self.0.entry(account).or_default())
    }

    /// Forgets accounts that are gone.
    pub fn keep_those_of(&self, directory: &Directory) {
        self.0.retain(|id, _| directory.account(*id).is_some());
    }
}

/// One account's numbers since the relay started.
#[derive(Debug, Default)]
pub struct AccountNumbers {
    /// Events that were accepted.
    pub accepted: Paced,
    /// Attempts that were made.
    pub attempts: Paced,
    /// Those of them that delivered.
    pub delivered: Paced,
    /// Deliveries whose last attempt failed.
    pub dead: Paced,
    /// From an event's acceptance to its 2xx, replays aside.
    pub delivery: Spread,
    /// How long an attempt takes.
    pub attempt: Spread,
}

impl AccountNumbers {
    /// An attempt was made.
    pub fn count(&self, attempt: &Attempt) {
        let duration_ms = u64::from(attempt.duration_ms);
        let ended_at_ms = attempt.started_at_ms.saturating_add(duration_ms);
        self.attempts.add(1, ended_at_ms);
        self.attempt.add(duration_ms);
        match attempt.outcome {
            Outcome::Delivered => {
                self.delivered.add(1, ended_at_ms);
                if attempt.generation == 0 {
                    let accepted_at_ms = attempt.event.unix_ms();
                    self.delivery
                        .add(ended_at_ms.saturating_sub(accepted_at_ms));
                }
            }
            Outcome::Dead => self.dead.add(1, ended_at_ms),
            Outcome::Retry { .. } | Outcome::Cancelled => {}
        }
    }
}

/// A count, and how much of it fell into the last minute.
#[derive(Debug)]
pub struct Paced {
    total: AtomicU64,
    /// Each a second of Unix time, in the upper half, and what was counted in it.
    seconds: [AtomicU64; SLOTS],
}

impl Default for Paced {
    fn default() -> Self {
        Self {
            total: AtomicU64::new(0),
            seconds: [const { AtomicU64::new(0) }; SLOTS],
        }
    }
}

impl Paced {
    /// So many more at this time.
    pub fn add(&self, count: u64, now_ms: u64) {
        self.total.fetch_add(count, Ordering::Relaxed);
        let second = now_ms / 1000;
        let slot = &self.seconds[usize::try_from(second).unwrap_or(0) % SLOTS];
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |packed| {
            let before = if packed >> 32 == second {
                packed & u64::from(u32::MAX)
            } else {
                0
            };
            Some(second << 32 | before.saturating_add(count).min(u32::MAX.into()))
        });
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Those of the last minute.
    pub fn last_minute(&self, now_ms: u64) -> u64 {
        let now = now_ms / 1000;
        let slots = self.seconds.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = slots.filter(|packed| {
            let second = packed >> 32;
            second <= now && second + MINUTE_SECONDS > now
        });
        recent.map(|packed| packed & u64::from(u32::MAX)).sum()
    }
}

/// How durations are spread.
#[derive(Debug, Default)]
pub struct Spread {
    /// Those up to each of [`ENDS_MS`], and the longer ones.
    slots: [AtomicU64; ENDS_MS.len() + 1],
}

impl Spread {
    /// One more.
    pub fn add(&self, ms: u64) {
        let slot = ENDS_MS.partition_point(|end_ms| *end_ms < ms);
        self.slots[slot].fetch_add(1, Ordering::Relaxed);
    }

    /// What so many hundredths of them did not exceed, as near as the slots tell. `None` of none.
    pub fn percentile_ms(&self, hundredths: u64) -> Option<u64> {
        let counts = self.slots.each_ref();
        let counts = counts.map(|slot| slot.load(Ordering::Relaxed));
        let rank = (counts.iter().sum::<u64>() * hundredths).div_ceil(100);
        let mut before = 0;
        let mut start_ms = 0;
        for (count, end_ms) in counts.into_iter().zip(ENDS_MS) {
            if count > 0 && before + count >= rank {
                return Some(start_ms + (end_ms - start_ms) * (rank - before) / count);
            }
            before += count;
            start_ms = end_ms;
        }
        (rank > before).then_some(start_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_a_minute_and_the_total_is_for_ever() {
        let paced = Paced::default();
        let start_ms = 1_900_000_000_000;
        for second in 0..200 {
            paced.add(2, start_ms + second * 1_000);
        }
        let last_ms = start_ms + 199_999;
        assert_eq!((paced.total(), paced.last_minute(last_ms)), (400, 120));
        assert_eq!(paced.last_minute(last_ms + 30_000), 60);
        assert_eq!(paced.last_minute(last_ms + 600_000), 0);
    }

    #[test]
    fn what_many_threads_count_is_all_there() {
        let paced = Paced::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| paced.add(1, 5_000)));
            }
        });
        assert_eq!((paced.total(), paced.last_minute(5_000)), (8_000, 8_000));
    }

    #[test]
    fn a_percentile_lies_in_the_slot_of_what_it_stands_for() {
        let spread = Spread::default();
        assert_eq!(spread.percentile_ms(50), None);
        (0..98).for_each(|_| spread.add(7));
        (0..2).for_each(|_| spread.add(40_000));
        let half = spread.percentile_ms(50).unwrap();
        assert!((5..=10).contains(&half), "{half}");
        let most = spread.percentile_ms(99).unwrap();
        assert!((15_000..=60_000).contains(&most), "{most}");
        let endless = Spread::default();
        endless.add(u64::MAX);
        assert_eq!(endless.percentile_ms(50), ENDS_MS.last().copied());
    }
}
