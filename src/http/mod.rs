//! Floor 3: the doors. HTTP in, HTTP out; the only place where errors become status codes.
//!
//! [`routes`] has every route on one page. A handler reads a request into parsed types, asks an actor,
//! and renders the answer; it holds no state of its own and takes no lock across an await.

pub mod access;
pub mod account;
pub mod accounts;
pub mod audit;
pub mod backup;
pub mod body;
pub mod client_address;
pub mod content;
pub mod cursor;
pub mod deliveries;
pub mod error;
pub mod events;
pub mod explain;
pub mod gate;
pub mod health;
pub mod ingest;
pub mod integrations;
pub mod keys;
pub mod listen;
pub mod metrics;
pub mod openapi;
pub mod owned;
pub mod page;
pub mod routes;
pub mod search;
pub mod secrets;
pub mod stats;
pub mod steering;
pub mod subscriptions;
pub mod tail;
pub mod tarpit;
pub mod tasks;

use std::sync::Arc;

use actix_web::{HttpResponse, ResponseError};
use dashmap::DashSet;
use ipnet::IpNet;

use self::cursor::Cursors;
use self::error::{ApiError, Dialect};
use crate::actors::auth::{AuthError, AuthHandle, Principal};
use crate::actors::directory::DirectoryHandle;
use crate::actors::dispatch::DispatchHandle;
use crate::actors::health::Health;
use crate::actors::listeners::Listeners;
use crate::actors::metrics::{Metrics, Refusal};
use crate::actors::now_ms;
use crate::actors::outcomes::Outcomes;
use crate::actors::queue::QueueHandle;
use crate::actors::rate_limit::RateLimitHandle;
use crate::actors::samples::Samples;
use crate::actors::tail::Tails;
use crate::actors::tasks::TasksHandle;
use crate::actors::vault::Vault;
use crate::domain::audit::{Action, Deed};
use crate::domain::directory::{Change, Directory};
use crate::domain::ids::SubscriptionId;
use crate::domain::permission::Permission;
use crate::outbound::Guard;
use crate::store::error::StoreError;
use crate::store::log::Log;

/// Everything that handlers ask.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Who is asking.
    pub auth: AuthHandle,
    /// How much they may ask.
    pub rate_limit: RateLimitHandle,
    /// Who there is.
    pub directory: DirectoryHandle,
    /// Takes events in.
    pub queue: QueueHandle,
    /// Knows what is open.
    pub dispatch: DispatchHandle,
    /// Knows what happened.
    pub log: Arc<Log>,
    /// Subscriptions whose receivers fail and are only probed.
    pub probed: Arc<DashSet<SubscriptionId>>,
    /// Seals and opens signing secrets.
    pub vault: Vault,
    /// Tries endpoints.
    pub samples: Samples,
    /// Does things with many deliveries.
    pub tasks: TasksHandle,
    /// Where those run who read along.
    pub tails: Tails,
    /// What they are told.
    pub told: tail::Told,
    /// Receivers that hold a connection.
    pub listeners: Listeners,
    /// What is counted.
    pub metrics: Metrics,
    /// Counts attempts that are not journalled.
    pub outcomes: Outcomes,
    /// Says which URLs may be subscribed.
    pub guard: Arc<Guard>,
    /// Says whether the relay can work.
    pub health: Health,
    /// Counts what bodies hold while they arrive.
    pub arriving: body::Arriving,
    /// Seals where pages end.
    pub cursors: Cursors,
    /// How large a request may be.
    pub limits: Limits,
    /// Whose word for a client's address is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// One backup at a time.
    pub backup: backup::Turn,
}

impl Relay {
    /// Has the directory changed for a caller, who must still be who he was when he was recognised and
    /// still have the right: a key that was deleted or narrowed while its request was on the way changes
    /// nothing beyond what it may now. What was done is noted in the account's audit; `action` says what,
    /// and the first change to what. What would leave everything as it is was not done.
    pub async fn change<T: Send + 'static>(
        &self,
        who: Principal,
        action: Action,
        decide: impl FnOnce(&Directory, &Principal) -> Result<(Vec<Change>, T), ApiError>
        + Send
        + 'static,
    ) -> Result<T, ApiError> {
        let decided = self.directory.change(move |directory| {
            let who = as_of(directory, who, action)?;
            if right_of(action).is_some_and(|right| !who.may(right)) {
                return Err(ApiError::Forbidden);
            }
            let (mut changes, value) = decide(directory, &who)?;
            changes.retain(|change| !directory.has(change));
            let deeds = deeds(directory, &changes, action, &who);
            changes.extend(deeds.into_iter().map(|deed| Change::Audited(deed.into())));
            Ok((changes, value))
        });
        Ok(decided.await?)
    }
}

/// The caller as the directory knows him now.
fn as_of(directory: &Directory, who: Principal, action: Action) -> Result<Principal, ApiError> {
    let account = directory.account(who.account());
    let Principal::Key(key, hash) = who else {
        let is_there = account.is_some() || action == Action::AccountCreated;
        return is_there.then_some(who).ok_or(ApiError::NotFound("Account"));
    };
    let known = directory.key(key.id);
    let known = known.filter(|known| {
        known.is_opened_by(&hash, now_ms()) && account.is_some_and(|account| !account.suspended)
    });
    let known = known.ok_or(ApiError::Auth(AuthError::Invalid))?;
    Ok(Principal::Key(Arc::clone(known), hash))
}

/// The same for whoever stays: `None` once the key is not good any more, or lacks this right.
fn as_of_now(relay: &Relay, who: &Principal, right: Permission) -> Option<Principal> {
    let directory = relay.directory.view().read();
    let who = as_of(&directory, who.clone(), Action::EventReplayed).ok()?;
    who.may(right).then_some(who)
}

/// The right that a deed needs. Those to accounts are done by the local operator alone.
fn right_of(action: Action) -> Option<Permission> {
    match action.name().split_once('.')?.0 {
        "api_key" => Some(Permission::KeysWrite),
        "integration" => Some(Permission::IntegrationsWrite),
        "subscription" => Some(Permission::SubscriptionsWrite),
        "delivery" | "event" | "task" => Some(Permission::DeliveriesWrite),
        _ => None,
    }
}

/// What is to be told of these changes: the deed itself, and keys that came or went with it.
fn deeds(directory: &Directory, changes: &[Change], action: Action, who: &Principal) -> Vec<Deed> {
    let deed = |action, target| Deed {
        at_ms: now_ms(),
        account: who.account(),
        by: who.doer(),
        action,
        target,
    };
    let Some((first, others)) = changes.split_first() else {
        return Vec::new();
    };
    let mut deeds = vec![deed(action, first.target())];
    for other in others {
        if matches!(other, Change::PutKey(_)) {
            deeds.push(deed(Action::KeyCreated, other.target()));
        }
    }
    if let Change::DeleteIntegration(id) = first {
        let bound = directory.keys().filter(|key| key.integration == Some(*id));
        deeds.extend(bound.map(|key| deed(Action::KeyDeleted, key.id.to_string())));
    }
    deeds
}

/// How large a request may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One event.
    pub max_body_bytes: usize,
    /// A batch.
    pub max_batch_bytes: usize,
}

/// An error of a management request.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ManageError(ApiError);

impl ManageError {
    /// What it is counted as.
    pub fn counted_as(&self) -> Refusal {
        self.0.counted_as()
    }
}

impl<E: Into<ApiError>> From<E> for ManageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl ResponseError for ManageError {
    fn status_code(&self) -> actix_web::http::StatusCode {
        self.0.response(Dialect::Manage).status()
    }

    fn error_response(&self) -> HttpResponse {
        self.0.response(Dialect::Manage)
    }
}

/// What a management handler returns.
pub type Answer = Result<HttpResponse, ManageError>;

/// Runs what may wait for the disk where nobody else waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = actix_web::web::block(work).await;
    Ok(done.map_err(|_| ApiError::internal(&"the pool of blocking threads is gone"))??)
}
