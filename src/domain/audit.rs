//! What was done to an account, by whom, and when.
//!
//! Only deeds that were carried out are told. Nothing here holds a key, a secret or a payload.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{AccountId, KeyId};

/// The most deeds of an account that are kept; the oldest goes first.
pub const MAX_DEEDS: u64 = 10_000;

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Doer {
    /// The holder of a key.
    Key(KeyId),
    /// Whoever may open the local socket.
    Operator,
    /// The relay itself.
    Relay,
}

impl fmt::Display for Doer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => id.fmt(f),
            Self::Operator => f.write_str("operator"),
            Self::Relay => f.write_str("relay"),
        }
    }
}

macro_rules! actions {
    ($($(#[doc = $doc:literal])+ $action:ident = $name:literal,)*) => {
        /// What was done. New ones are added at the end: their numbers are on disk.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Action {
            $($(#[doc = $doc])+ $action,)*
        }

        impl Action {
            /// As it is shown: what it was done to, a dot, and what was done.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$action => $name,)*
                }
            }
        }
    };
}

actions! {
    /// An account was made.
    AccountCreated = "account.created",
    /// An account was suspended.
    AccountSuspended = "account.suspended",
    /// A suspended account was resumed.
    AccountResumed = "account.resumed",
    /// An account and all that it owned was deleted.
    AccountDeleted = "account.deleted",
    /// A key was made.
    KeyCreated = "api_key.created",
    /// A key was changed.
    KeyUpdated = "api_key.updated",
    /// A key got a new secret.
    KeyRotated = "api_key.rotated",
    /// A key was deleted.
    KeyDeleted = "api_key.deleted",
    /// An integration was made.
    IntegrationCreated = "integration.created",
    /// An integration was changed.
    IntegrationUpdated = "integration.updated",
    /// An integration was closed to events.
    IntegrationDisabled = "integration.disabled",
    /// An integration was opened again.
    IntegrationEnabled = "integration.enabled",
    /// An integration got a new ingest URL.
    IntegrationKeyRotated = "integration.key_rotated",
    /// An integration was deleted.
    IntegrationDeleted = "integration.deleted",
    /// A subscription was made.
    SubscriptionCreated = "subscription.created",
    /// A subscription was changed.
    SubscriptionUpdated = "subscription.updated",
    /// A subscription was paused.
    SubscriptionPaused = "subscription.paused",
    /// A subscription was resumed.
    SubscriptionResumed = "subscription.resumed",
    /// A subscription was deleted.
    SubscriptionDeleted = "subscription.deleted",
    /// A subscription got a new signing key.
    SecretRotated = "subscription.secret_rotated",
    /// A delivery was to be attempted again.
    DeliveryRetried = "delivery.retried",
    /// A delivery was given up.
    DeliveryCancelled = "delivery.cancelled",
    /// An event was to be delivered once more.
    EventReplayed = "event.replayed",
    /// A task was asked for.
    TaskCreated = "task.created",
    /// A task was stopped.
    TaskCancelled = "task.cancelled",
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// To whose.
    pub account: AccountId,
    /// By whom.
    pub by: Doer,
    /// What.
    pub action: Action,
    /// The id of what it was done to.
    pub target: String,
}
