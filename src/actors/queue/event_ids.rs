//! Event ids: version 7 uuids (RFC 9562) that only ever grow.
//!
//! The order of ids is the order of the log, also when the clock goes back and after a restart: within
//! a millisecond a counter grows, and when it is used up, or the clock is behind, the last millisecond
//! is stretched. The remaining 62 bits are from the operating system, so an id cannot be guessed.

use uuid::Builder;

use crate::domain::ids::EventId;

const COUNTER_BITS: u64 = 12;
const POOL_BYTES: usize = 1024;

/// Gives ids.
pub struct EventIds {
    /// Milliseconds and counter of the last id, as one number.
    last: u64,
    pool: [u8; POOL_BYTES],
    used: usize,
}

impl EventIds {
    /// Ids that exceed this one.
    pub fn after(last: Option<EventId>) -> Self {
        let last = last.map_or(0, |id| {
            let (high, _) = id.0.as_u64_pair();
            (high >> 16) << COUNTER_BITS | high & 0xfff
        });
        Self {
            last,
            pool: [0; POOL_BYTES],
            used: POOL_BYTES,
        }
    }

    /// The next id.
    pub fn next(&mut self, now_ms: u64) -> EventId {
        self.last = (now_ms << COUNTER_BITS).max(self.last + 1);
        let (milliseconds, counter) = (self.last >> COUNTER_BITS, self.last & 0xfff);
        let mut rest = [0; 10];
        rest[..2].copy_from_slice(&u16::try_from(counter).unwrap_or(0).to_be_bytes());
        rest[2..].copy_from_slice(&self.random());
        EventId(Builder::from_unix_timestamp_millis(milliseconds, &rest).into_uuid())
    }

    fn random(&mut self) -> [u8; 8] {
        if self.used == POOL_BYTES {
            if getrandom::fill(&mut self.pool).is_err() {
                // The kernel has its randomness from boot on; should it ever refuse, ids stay unique
                // by their counter.
                self.pool.fill(u8::MAX);
            }
            self.used = 0;
        }
        let taken = std::array::from_fn(|at| self.pool[self.used + at]);
        self.used += 8;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_within_a_millisecond_past_its_counter_and_against_the_clock() {
        let mut ids = EventIds::after(None);
        let mut last = ids.next(1_000);
        for now_ms in std::iter::repeat_n(1_000, 10_000).chain([999, 0, 1_001, 5_000, 4_999]) {
            let next = ids.next(now_ms);
            assert!(next > last, "{next} does not exceed {last} at {now_ms}");
            assert_eq!(next.0.get_version_num(), 7);
            last = next;
        }
    }

    #[test]
    fn ids_grow_across_a_restart_with_a_clock_that_went_back() {
        let last = EventIds::after(None).next(9_000_000);
        assert!(EventIds::after(Some(last)).next(5) > last);
    }

    #[test]
    fn an_id_says_when_it_was_given() {
        let id = EventIds::after(None).next(1_700_000_000_123);
        let (seconds, nanos) = id.0.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos), (1_700_000_000, 123_000_000));
    }
}
