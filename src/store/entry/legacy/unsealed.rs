//! Formats 1 and 2: no account was suspended, every integration was open, no key had been rotated, and
//! secrets were in clear.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::api_key::{Environment, KeyHash};
use crate::domain::directory::{self, SubscriptionStatus};
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::permission::Permissions;
use crate::domain::rate::Quota;
use crate::domain::retry::Schedule;
use crate::domain::sealed::SecretAtRest;
use crate::domain::signature::SigningSecret;

#[derive(Serialize, Deserialize)]
pub struct Account {
    id: AccountId,
    name: String,
    created_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub struct Integration {
    id: IntegrationId,
    account: AccountId,
    name: String,
    ingest_key: String,
    created_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub struct KeyRecord {
    id: KeyId,
    account: AccountId,
    name: String,
    hash: KeyHash,
    permissions: Permissions,
    integration: Option<IntegrationId>,
    environment: Environment,
    quota: Option<Quota>,
    created_at_ms: u64,
    expires_at_ms: Option<u64>,
    last_used_at_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub struct Subscription {
    id: SubscriptionId,
    account: AccountId,
    integration: Option<IntegrationId>,
    url: String,
    events: Vec<TypePattern>,
    description: Option<String>,
    secret: SigningSecret,
    max_in_flight: Option<u16>,
    retry_schedule: Option<Schedule>,
    status: SubscriptionStatus,
    created_at_ms: u64,
}

/// One step, in the order of the variants that those formats had.
#[derive(Serialize, Deserialize)]
pub enum Change {
    PutAccount(Account),
    PutIntegration(Integration),
    DeleteIntegration(IntegrationId),
    PutKey(KeyRecord),
    DeleteKey(KeyId),
    KeysUsed(Vec<(KeyId, u64)>),
    PutSubscription(Box<Subscription>),
    DeleteSubscription(SubscriptionId),
}

impl From<Change> for directory::Change {
    fn from(change: Change) -> Self {
        match change {
            Change::PutAccount(it) => Self::PutAccount(Arc::new(it.into())),
            Change::PutIntegration(it) => Self::PutIntegration(Arc::new(it.into())),
            Change::DeleteIntegration(id) => Self::DeleteIntegration(id),
            Change::PutKey(it) => Self::PutKey(Arc::new(it.into())),
            Change::DeleteKey(id) => Self::DeleteKey(id),
            Change::KeysUsed(uses) => Self::KeysUsed(uses),
            Change::PutSubscription(it) => Self::PutSubscription(Arc::new((*it).into())),
            Change::DeleteSubscription(id) => Self::DeleteSubscription(id),
        }
    }
}

impl From<Account> for directory::Account {
    fn from(it: Account) -> Self {
        Self {
            id: it.id,
            name: it.name,
            suspended: false,
            created_at_ms: it.created_at_ms,
        }
    }
}

impl From<Integration> for directory::Integration {
    fn from(it: Integration) -> Self {
        Self {
            id: it.id,
            account: it.account,
            name: it.name,
            ingest_key: it.ingest_key,
            enabled: true,
            created_at_ms: it.created_at_ms,
        }
    }
}

impl From<KeyRecord> for directory::KeyRecord {
    fn from(it: KeyRecord) -> Self {
        Self {
            id: it.id,
            account: it.account,
            name: it.name,
            hash: it.hash,
            previous: None,
            permissions: it.permissions,
            integration: it.integration,
            environment: it.environment,
            quota: it.quota,
            created_at_ms: it.created_at_ms,
            expires_at_ms: it.expires_at_ms,
            last_used_at_ms: it.last_used_at_ms,
        }
    }
}

impl From<Subscription> for directory::Subscription {
    fn from(it: Subscription) -> Self {
        let secret = SecretAtRest::Clear(it.secret);
        Self {
            integration: it.integration,
            description: it.description,
            max_in_flight: it.max_in_flight,
            retry_schedule: it.retry_schedule,
            status: it.status,
            ..Self::new(
                it.id,
                it.account,
                it.url,
                it.events,
                secret,
                it.created_at_ms,
            )
        }
    }
}
