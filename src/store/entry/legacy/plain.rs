//! Format 3: a subscription had one secret, and neither filter nor format, headers nor a rate. Attempts, as
//! in all formats before it, did not say where their time went.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::audit::Deed;
use crate::domain::delivery::{self, Outcome, Timing};
use crate::domain::directory::{self, Account, Integration, KeyRecord, SubscriptionStatus};
use crate::domain::event::Place;
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{AccountId, EventId, IntegrationId, KeyId, SubscriptionId};
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

#[derive(Serialize, Deserialize)]
pub struct Attempt {
    event: EventId,
    place: Place,
    subscription: SubscriptionId,
    generation: u16,
    number: u16,
    started_at_ms: u64,
    duration_ms: u32,
    outcome: Outcome,
    status: Option<u16>,
    error: Option<String>,
    response_head: Vec<u8>,
}

impl From<Attempt> for delivery::Attempt {
    fn from(it: Attempt) -> Self {
        Self {
            event: it.event,
            place: it.place,
            subscription: it.subscription,
            generation: it.generation,
            number: it.number,
            started_at_ms: it.started_at_ms,
            duration_ms: it.duration_ms,
            timing: Timing::default(),
            outcome: it.outcome,
            status: it.status,
            error: it.error,
            response_head: it.response_head,
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
