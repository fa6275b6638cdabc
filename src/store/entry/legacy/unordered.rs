//! Format 4: a subscription's events went out in no order, every attempt counted, and nobody asked for
//! tasks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::audit::Deed;
use crate::domain::delivery::{self, OpenState};
use crate::domain::directory::{
    self, Account, CustomHeader, Integration, KeyRecord, LiveKey, SubscriptionStatus,
};
use crate::domain::event_type::TypePattern;
use crate::domain::filter::Filter;
use crate::domain::format::Format;
use crate::domain::ids::{AccountId, EventId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::ordering::Ordering;
use crate::domain::retry::Schedule;

#[derive(Serialize, Deserialize)]
pub struct Subscription {
    id: SubscriptionId,
    account: AccountId,
    integration: Option<IntegrationId>,
    url: String,
    events: Vec<TypePattern>,
    filter: Option<Filter>,
    description: Option<String>,
    keys: Vec<LiveKey>,
    format: Format,
    headers: Vec<CustomHeader>,
    max_in_flight: Option<u16>,
    rate_limit: Option<u32>,
    retry_schedule: Option<Schedule>,
    status: SubscriptionStatus,
    created_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub struct OpenDelivery {
    event: EventId,
    attempts: u16,
    state: OpenState,
}

impl From<OpenDelivery> for delivery::OpenDelivery {
    fn from(it: OpenDelivery) -> Self {
        Self {
            attempts: it.attempts,
            state: it.state,
            ..Self::waiting(it.event)
        }
    }
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
            id: it.id,
            account: it.account,
            integration: it.integration,
            url: it.url,
            events: it.events,
            filter: it.filter,
            description: it.description,
            keys: it.keys,
            format: it.format,
            headers: it.headers,
            max_in_flight: it.max_in_flight,
            rate_limit: it.rate_limit,
            ordering: Ordering::None,
            retry_schedule: it.retry_schedule,
            status: it.status,
            created_at_ms: it.created_at_ms,
        }
    }
}
