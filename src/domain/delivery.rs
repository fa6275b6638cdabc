//! The life of a delivery: attempts, their outcomes, and what comes next.
//!
//! ```text
//!                 2xx                     ┌───────────┐
//!  waiting ─────────────────────────────▶ │ delivered │
//!     │  anything else   ┌──────────┐ 2xx └───────────┘
//!     └────────────────▶ │ retrying │ ───────▲
//!                        └──────────┘
//!                          │      │ no attempt left ┌──────┐
//!                          └──────┴───────────────▶ │ dead │
//!                                                   └──────┘
//! ```
//! `cancelled` is reached from every open state when the subscription goes or somebody asks for it. From
//! `dead` a retry by hand leads back to `retrying`, on the schedule from its beginning. The rules are
//! pure: the time and the jitter are arguments.

use serde::{Deserialize, Serialize};

use super::event::Place;
use super::ids::{DeliveryId, EventId, SubscriptionId};
use super::ordering::Group;
use super::retry::{MAX_RETRY_AFTER_MS, Schedule};

/// How much of a failed response is kept with the attempt.
pub const KEPT_RESPONSE_BYTES: usize = 4096;
/// How long a lane holds back after a response that asks for patience without saying how much.
pub const THROTTLE_MS: u64 = 1_000;
/// The longest that a lane holds back for a `Retry-After`.
pub const MAX_THROTTLE_MS: u64 = 5 * 60 * 1_000;

/// The error of a delivery that was not delivered in time.
pub const TOO_OLD: &str = "too_old";

/// What an attempt met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An HTTP response.
    Status {
        /// Its status code.
        code: u16,
        /// What its `Retry-After` asks for.
        retry_after_ms: Option<u64>,
    },
    /// No response; the class of the failure in a few fixed words.
    Error(&'static str),
}

/// What became of a delivery with an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// A 2xx came back.
    Delivered,
    /// It failed and will be tried again at this time (milliseconds of Unix time, jitter included).
    Retry {
        /// When.
        due_ms: u64,
    },
    /// It failed and no attempt is left.
    Dead,
    /// The subscription went before it could be sent, or somebody gave it up.
    Cancelled,
}

/// The consequences of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the delivery.
    pub outcome: Outcome,
    /// How long the lane should hold back.
    pub hold_ms: Option<u64>,
    /// The receiver says that it is gone: pause the subscription.
    pub gone: bool,
}

/// Judges the reply to an attempt, which is the `number`th (from 1) of its schedule.
pub fn judge(number: u16, reply: &Reply, schedule: &Schedule, now_ms: u64, jitter: f64) -> Verdict {
    let (code, retry_after_ms) = match *reply {
        Reply::Status {
            code,
            retry_after_ms,
        } => (code, retry_after_ms),
        Reply::Error(_) => (0, None),
    };
    if (200..300).contains(&code) {
        return Verdict {
            outcome: Outcome::Delivered,
            hold_ms: None,
            gone: false,
        };
    }
    let asked_ms = retry_after_ms.unwrap_or(0).min(MAX_RETRY_AFTER_MS);
    let outcome = schedule
        .wait_ms(number, jitter)
        .map_or(Outcome::Dead, |wait_ms| Outcome::Retry {
            due_ms: now_ms.saturating_add(wait_ms.max(asked_ms)),
        });
    let hold_ms = matches!(code, 429 | 502 | 503 | 504).then(|| {
        retry_after_ms
            .unwrap_or(THROTTLE_MS)
            .clamp(THROTTLE_MS, MAX_THROTTLE_MS)
    });
    Verdict {
        outcome,
        hold_ms,
        gone: code == 410,
    }
}

/// Where an attempt's time went, in milliseconds. What it never came to is `None`; what it was at when it
/// failed counts with the time until then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// To look up the receiver's name; `None` on a connection that was open already.
    pub resolve_ms: Option<u32>,
    /// To have an address accept; `None` on a connection that was open already.
    pub connect_ms: Option<u32>,
    /// From the beginning to the head of the response; `None` where there was none.
    pub first_byte_ms: Option<u32>,
}

/// One attempt, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The event.
    pub event: EventId,
    /// Where the event stands.
    pub place: Place,
    /// To whom it was sent.
    pub subscription: SubscriptionId,
    /// Which replay this belongs to; 0 for the first delivery.
    pub generation: u16,
    /// Which attempt of the delivery this is, from 1. For a cancellation: how many were made.
    pub number: u16,
    /// When it began, in milliseconds of Unix time.
    pub started_at_ms: u64,
    /// How long it took.
    pub duration_ms: u32,
    /// Where that time went.
    pub timing: Timing,
    /// What came of it.
    pub outcome: Outcome,
    /// The response's status code, if there was a response.
    pub status: Option<u16>,
    /// The class of the failure, if there was none.
    pub error: Option<String>,
    /// The head of a failed response's body, at most [`KEPT_RESPONSE_BYTES`], without secrets.
    pub response_head: Vec<u8>,
}

impl Attempt {
    /// The record of a delivery that ends without an attempt. `number` is how many were made.
    pub fn unmade(
        id: DeliveryId,
        place: Place,
        number: u16,
        outcome: Outcome,
        now_ms: u64,
        error: Option<&str>,
    ) -> Self {
        Self {
            event: id.event,
            place,
            subscription: id.subscription,
            generation: id.generation,
            number,
            started_at_ms: now_ms,
            duration_ms: 0,
            timing: Timing::default(),
            outcome,
            status: None,
            error: error.map(str::to_owned),
            response_head: Vec::new(),
        }
    }

    /// Whether something was sent, or was to be: any other record tells of an end without an attempt.
    pub fn was_made(&self) -> bool {
        self.outcome != Outcome::Cancelled && self.error.as_deref() != Some(TOO_OLD)
    }

    /// The delivery that this is an attempt of.
    pub fn delivery(&self) -> DeliveryId {
        DeliveryId {
            event: self.event,
            subscription: self.subscription,
            generation: self.generation,
        }
    }
}

/// Where a delivery stands while it is not settled for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenState {
    /// No attempt was made yet.
    Waiting,
    /// It failed and is due again at this time.
    Retrying {
        /// Milliseconds of Unix time.
        due_ms: u64,
    },
    /// No attempt is left. It is kept, and can be retried.
    Dead,
}

/// A delivery that is not settled for good, as the store's state keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenDelivery {
    /// The event.
    pub event: EventId,
    /// Attempts made so far.
    pub attempts: u16,
    /// Those of them that its schedule does not count: they were made before a retry by hand.
    pub forgiven: u16,
    /// The deliveries that it must keep its order with.
    pub group: Option<Group>,
    /// Where it stands.
    pub state: OpenState,
}

impl OpenDelivery {
    /// One that came to be and waits.
    pub fn waiting(event: EventId) -> Self {
        Self {
            event,
            attempts: 0,
            forgiven: 0,
            group: None,
            state: OpenState::Waiting,
        }
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        match self.state {
            OpenState::Dead => Status::Dead,
            OpenState::Retrying { .. } if self.attempts > 0 => Status::Retrying,
            OpenState::Waiting | OpenState::Retrying { .. } => Status::Pending,
        }
    }

    /// Whether it stands in line: it is to be attempted, and not before those of its group that are before
    /// it. What was to be tried again outside of any group comes when it is due.
    pub fn is_in_line(&self) -> bool {
        match self.state {
            OpenState::Waiting => true,
            OpenState::Retrying { .. } => self.group.is_some(),
            OpenState::Dead => false,
        }
    }

    /// When it is due, in milliseconds of Unix time; 0 is at once.
    pub fn due_ms(&self) -> u64 {
        match self.state {
            OpenState::Retrying { due_ms } => due_ms,
            OpenState::Waiting | OpenState::Dead => 0,
        }
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No attempt was made.
    Pending,
    /// It failed, and is due again at some time.
    Retrying,
    /// A 2xx came back.
    Delivered,
    /// No attempt is left.
    Dead,
    /// It was given up.
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn judged(number: u16, reply: &Reply) -> Verdict {
        let schedule = Schedule::new(vec![0, 5_000, 60_000]).unwrap();
        judge(number, reply, &schedule, NOW, 0.5)
    }

    fn status(code: u16) -> Reply {
        Reply::Status {
            code,
            retry_after_ms: None,
        }
    }

    #[test]
    fn only_a_2xx_delivers() {
        for code in [200, 201, 204, 299] {
            assert_eq!(judged(1, &status(code)).outcome, Outcome::Delivered);
        }
        for code in [100, 199, 300, 301, 308, 400, 404, 410, 500, 503] {
            assert_eq!(
                judged(1, &status(code)).outcome,
                Outcome::Retry {
                    due_ms: NOW + 5_000
                }
            );
        }
        assert!(matches!(
            judged(1, &Reply::Error("timeout")).outcome,
            Outcome::Retry { .. }
        ));
    }

    #[test]
    fn after_the_last_attempt_a_delivery_is_dead() {
        assert_eq!(
            judged(2, &status(500)).outcome,
            Outcome::Retry {
                due_ms: NOW + 60_000
            }
        );
        assert_eq!(judged(3, &status(500)).outcome, Outcome::Dead);
        assert_eq!(judged(3, &status(200)).outcome, Outcome::Delivered);
    }

    #[test]
    fn retry_after_lengthens_the_wait_within_bounds_and_never_shortens_it() {
        let after = |retry_after_ms| Reply::Status {
            code: 503,
            retry_after_ms: Some(retry_after_ms),
        };
        assert_eq!(
            judged(1, &after(1_000)).outcome,
            Outcome::Retry {
                due_ms: NOW + 5_000
            }
        );
        assert_eq!(
            judged(1, &after(9_000)).outcome,
            Outcome::Retry {
                due_ms: NOW + 9_000
            }
        );
        let bounded = Outcome::Retry {
            due_ms: NOW + MAX_RETRY_AFTER_MS,
        };
        assert_eq!(judged(1, &after(u64::MAX)).outcome, bounded);
    }

    #[test]
    fn only_replies_that_ask_for_patience_hold_the_lane() {
        for code in [429, 502, 503, 504] {
            assert_eq!(judged(1, &status(code)).hold_ms, Some(THROTTLE_MS));
        }
        for code in [200, 301, 400, 410, 500] {
            assert_eq!(judged(1, &status(code)).hold_ms, None);
        }
        let long = Reply::Status {
            code: 429,
            retry_after_ms: Some(u64::MAX),
        };
        assert_eq!(judged(1, &long).hold_ms, Some(MAX_THROTTLE_MS));
    }

    #[test]
    fn only_410_means_gone() {
        assert!(judged(1, &status(410)).gone);
        assert!(!judged(1, &status(404)).gone);
    }
}
