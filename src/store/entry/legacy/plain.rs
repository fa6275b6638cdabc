//! Format 3: a subscription had one secret, and neither filter nor format, headers nor a rate.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::audit::Deed;
use crate::domain::directory::{self, Account, Integration, KeyRecord, SubscriptionStatus};
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::retry::Schedule;
use crate::domain::sealed::SecretAtRest;

#[derive(Serialize, Deserialize)]
pub struct Subscription {
    id: SubscriptionId,
    account: AccountId,
    integration: Option<IntegrationId>,
    url: String,
    events: Vec<TypePattern>,
    description: Option<String>,
    secret: SecretAtRest,
    max_in_flight: Option<u16>,
    retry_schedule: Option<Schedule>,
    status: SubscriptionStatus,
    created_at_ms: u64,
}

/// One step, in the order of the variants that the format had.
#[derive(Serialize, Deserialize)]
pub enum Change {
    PutAccount(Arc<Account>),
    PutIntegration(Arc<Integration>),
    DeleteIntegration(IntegrationId),
    PutKey(Arc<KeyRecord>),
    DeleteKey(KeyId),
    KeysUsed(Vec<(KeyId, u64)>),
    PutSubscription(Box<Subscription>),
    DeleteSubscription(SubscriptionId),
    DeleteAccount(AccountId),
    Audited(Arc<Deed>),
}

impl From<Change> for directory::Change {
    fn from(change: Change) -> Self {
        match change {
            Change::PutAccount(it) => Self::PutAccount(it),
            Change::PutIntegration(it) => Self::PutIntegration(it),
            Change::DeleteIntegration(id) => Self::DeleteIntegration(id),
            Change::PutKey(it) => Self::PutKey(it),
            Change::DeleteKey(id) => Self::DeleteKey(id),
            Change::KeysUsed(uses) => Self::KeysUsed(uses),
            Change::PutSubscription(it) => Self::PutSubscription(Arc::new((*it).into())),
            Change::DeleteSubscription(id) => Self::DeleteSubscription(id),
            Change::DeleteAccount(id) => Self::DeleteAccount(id),
            Change::Audited(deed) => Self::Audited(deed),
        }
    }
}

impl From<Subscription> for directory::Subscription {
    fn from(it: Subscription) -> Self {
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
                it.secret,
                it.created_at_ms,
            )
        }
    }
}
