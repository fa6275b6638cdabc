//! What the relay tells operators of itself, as events like any other.
//!
//! Their types begin with `postrider.`, which nobody else may send, and only those get them who ask for
//! them by name. Of a subscription that does, nothing is told, so that no telling leads to more of it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::ids::{EventId, SubscriptionId};
use super::time;

/// Something that operators want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A subscription is not sent to any more.
    Paused {
        /// Why, in a few words.
        reason: String,
    },
    /// The first delivery is dead since the subscription was last well.
    DeadLetters {
        /// Of which event.
        event: EventId,
        /// Attempts that were made.
        attempts: u16,
    },
    /// What waits has waited for long.
    OldBacklog {
        /// The oldest event.
        event: EventId,
    },
    /// What had waited for long does not wait any more.
    CaughtUp,
    /// Something was delivered again, after deliveries had died.
    Recovered {
        /// The first failure, in milliseconds of Unix time.
        failing_since_ms: u64,
        /// Failures in a row.
        failures: u32,
    },
}

impl News {
    /// The type of the event that tells it.
    pub fn event_type(&self) -> &'static str {
        match self {
            Self::Paused { .. } => "postrider.subscription.paused",
            Self::DeadLetters { .. } => "postrider.subscription.dead_letters",
            Self::OldBacklog { .. } => "postrider.subscription.old_backlog",
            Self::CaughtUp | Self::Recovered { .. } => "postrider.subscription.recovered",
        }
    }

    /// The body of the event that tells it of a subscription.
    pub fn body(&self, subscription: SubscriptionId) -> Bytes {
        let mut data = match self {
            Self::Paused { reason } => json!({"reason": reason}),
            Self::DeadLetters { event, attempts } => {
                json!({"first_event_uuid": event, "attempts": attempts})
            }
            Self::OldBacklog { event } => json!({"oldest_event_uuid": event}),
            Self::CaughtUp => json!({}),
            Self::Recovered {
                failing_since_ms,
                failures,
            } => json!({
                "failing_since": time::rfc3339(*failing_since_ms),
                "failures": failures,
            }),
        };
        data["subscription_id"] = Value::String(subscription.to_string());
        Bytes::from(json!({"event": self.event_type(), "data": data}).to_string())
    }
}
