//! What is kept of accounts, integrations, keys and subscriptions.

use serde::{Deserialize, Serialize};

use crate::domain::api_key::{Environment, KeyHash};
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::permission::Permissions;
use crate::domain::rate::Quota;
use crate::domain::retry::Schedule;
use crate::domain::sealed::SecretAtRest;

/// A tenant: what it owns is invisible to any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// Its keys open nothing, and nothing is sent for it, until it is resumed.
    pub suspended: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
}

/// A door through which events of one account come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// The part of the ingest URL that names it; long and random enough not to be guessed.
    pub ingest_key: String,
    /// Whether events may come in through it.
    pub enabled: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
}

/// The secret that a key had before it was rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Its SHA-256.
    pub hash: KeyHash,
    /// When it opens nothing any more, in milliseconds of Unix time.
    pub ends_at_ms: u64,
}

/// What is kept of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its id, which gives no access.
    pub id: KeyId,
    /// Whose it is.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// The key's SHA-256; the key itself is nowhere.
    pub hash: KeyHash,
    /// What it was before it was rotated, while that still opens.
    pub previous: Option<PreviousSecret>,
    /// What it may do.
    pub permissions: Permissions,
    /// The only integration it reaches, if it is bound to one.
    pub integration: Option<IntegrationId>,
    /// A label.
    pub environment: Environment,
    /// Its own rate limit, in place of the configured ones.
    pub quota: Option<Quota>,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
    /// When it stops working by itself, in milliseconds of Unix time.
    pub expires_at_ms: Option<u64>,
    /// When it was last used, in milliseconds of Unix time.
    pub last_used_at_ms: Option<u64>,
}

impl KeyRecord {
    /// A key with this hash that may do everything in its account, for ever.
    pub fn new(
        id: KeyId,
        account: AccountId,
        name: String,
        hash: KeyHash,
        created_at_ms: u64,
    ) -> Self {
        Self {
            id,
            account,
            name,
            hash,
            previous: None,
            permissions: Permissions::ALL,
            integration: None,
            environment: Environment::Live,
            quota: None,
            created_at_ms,
            expires_at_ms: None,
            last_used_at_ms: None,
        }
    }

    /// Whether the secret with this SHA-256 is this key's at this time.
    pub fn is_opened_by(&self, hash: &KeyHash, now_ms: u64) -> bool {
        let previous = self
            .previous
            .filter(|previous| now_ms < previous.ends_at_ms);
        self.expires_at_ms.is_none_or(|end| now_ms < end)
            && (self.hash.matches(hash) || previous.is_some_and(|it| it.hash.matches(hash)))
    }
}

/// Whether a subscription is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionStatus {
    /// It is.
    Active,
    /// It is not, and its events wait.
    Paused {
        /// Why, in a few words.
        reason: String,
    },
}

/// Someone who wants events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// The only integration whose events it wants; all of the account's when there is none.
    pub integration: Option<IntegrationId>,
    /// Where events are sent.
    pub url: String,
    /// The types it wants.
    pub events: Vec<TypePattern>,
    /// What it wants to be called.
    pub description: Option<String>,
    /// What its deliveries are signed with, sealed for its id.
    pub secret: SecretAtRest,
    /// How many attempts may be under way at once; the configured number when there is none.
    pub max_in_flight: Option<u16>,
    /// When failures are tried again; the configured schedule when there is none.
    pub retry_schedule: Option<Schedule>,
    /// Whether it is sent to.
    pub status: SubscriptionStatus,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
}
