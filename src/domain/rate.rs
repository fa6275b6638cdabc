//! Fixed-window rate limiting, for one key in one class of requests.
//!
//! A window starts with its first request and ends `window_ms` later, whatever happens in between.
//! A request that would go past the limit takes nothing from the window.

use serde::{Deserialize, Serialize};

/// At most `limit` permits in any one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Permits in a window.
    pub limit: u32,
    /// How long a window lasts.
    pub window_ms: u64,
}

impl Quota {
    /// Whether whoever has this one never gets more than whoever has the other.
    pub fn is_within(&self, other: &Self) -> bool {
        self.limit <= other.limit && self.window_ms >= other.window_ms
    }
}

/// The answer to one request for permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Whether the permits were given.
    pub allowed: bool,
    /// Permits in a window.
    pub limit: u32,
    /// Permits left in this one.
    pub remaining: u32,
    /// When the window ends and all permits are back, in milliseconds of Unix time.
    pub reset_at_ms: u64,
    /// How long a window lasts.
    pub window_ms: u64,
}

/// The state of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    ends_at_ms: u64,
    used: u32,
}

impl Window {
    /// A window that has not been used yet.
    pub const fn unused() -> Self {
        Self {
            ends_at_ms: 0,
            used: 0,
        }
    }

    /// Asks for `permits` (a batch asks for one per event).
    pub fn take(&mut self, quota: Quota, permits: u32, now_ms: u64) -> Decision {
        // A clock that was set back must not make a window longer than it is.
        if self.is_over(now_ms) || self.ends_at_ms > now_ms.saturating_add(quota.window_ms) {
            *self = Self {
                ends_at_ms: now_ms.saturating_add(quota.window_ms),
                used: 0,
            };
        }
        let wanted = self.used.saturating_add(permits);
        let allowed = wanted <= quota.limit;
        if allowed {
            self.used = wanted;
        }
        Decision {
            allowed,
            limit: quota.limit,
            remaining: quota.limit.saturating_sub(self.used),
            reset_at_ms: self.ends_at_ms,
            window_ms: quota.window_ms,
        }
    }

    /// Whether the window has ended and holds nothing worth keeping.
    pub fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.ends_at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        limit: 3,
        window_ms: 1000,
    };

    #[test]
    fn a_window_gives_its_permits_and_no_more() {
        let mut window = Window::unused();
        let remaining: Vec<_> = (0..5).map(|n| window.take(QUOTA, 1, 10 + n)).collect();
        assert_eq!(
            remaining.iter().map(|d| d.remaining).collect::<Vec<_>>(),
            [2, 1, 0, 0, 0]
        );
        assert_eq!(remaining.iter().filter(|d| d.allowed).count(), 3);
        assert!(
            remaining.iter().all(|d| d.reset_at_ms == 1010),
            "the window does not slide"
        );
    }

    #[test]
    fn the_next_window_starts_when_the_last_has_ended() {
        let mut window = Window::unused();
        assert!(window.take(QUOTA, 3, 0).allowed);
        assert!(!window.take(QUOTA, 1, 999).allowed);
        assert!(window.take(QUOTA, 1, 1000).allowed);
    }

    #[test]
    fn a_refused_batch_takes_nothing() {
        let mut window = Window::unused();
        assert!(!window.take(QUOTA, 4, 0).allowed);
        assert_eq!(window.take(QUOTA, 3, 1).remaining, 0);
    }
}
