//! `/v1/subscriptions`: who wants which events, and where they are sent.

pub(super) mod reading;
pub mod rotation;
pub mod trial;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use self::view::{NewSubscription, SubscriptionView, Subscriptions, WholeSubscription};
use super::body::{self, Patch, Whole};
use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::page::PageQuery;
use super::{Answer, Relay, owned};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::audit::Action;
use crate::domain::directory::{Change, Subscription, SubscriptionStatus};
use crate::domain::ids::SubscriptionId;
use crate::domain::permission::Permission;
use crate::domain::signature::SigningKey;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateSubscription)]
struct Create {
    #[schema(value_type = shapes::Url)]
    url: String,
    #[schema(value_type = shapes::TypePatterns)]
    events: Vec<String>,
    /// Only events that come in by this integration.
    #[schema(value_type = Option<shapes::IntegrationId>)]
    integration_id: Option<String>,
    #[schema(value_type = Option<shapes::Filter>)]
    filter: Option<Value>,
    #[schema(value_type = Option<shapes::Description>)]
    description: Option<String>,
    /// Without one the relay makes one.
    #[schema(value_type = Option<shapes::Secret>)]
    secret: Option<String>,
    #[schema(value_type = Option<shapes::Format>)]
    format: Option<String>,
    #[serde(default)]
    #[schema(value_type = shapes::Headers)]
    headers: BTreeMap<String, String>,
    #[schema(value_type = Option<shapes::MaxInFlight>)]
    max_in_flight: Option<Whole<u16>>,
    #[schema(value_type = Option<shapes::AttemptRate>)]
    rate_limit: Option<Whole<u32>>,
    #[schema(value_type = Option<shapes::Ordering>)]
    ordering: Option<Value>,
    #[schema(value_type = Option<shapes::RetrySchedule>)]
    retry_schedule: Option<Vec<String>>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateSubscription)]
struct Update {
    #[schema(value_type = Option<shapes::Url>)]
    url: Option<String>,
    #[schema(value_type = Option<shapes::TypePatterns>)]
    events: Option<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = Option<shapes::Filter>)]
    filter: Patch<Value>,
    #[serde(default)]
    #[schema(value_type = Option<shapes::Description>)]
    description: Patch<String>,
    #[schema(value_type = Option<shapes::Format>)]
    format: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<shapes::Headers>)]
    headers: Patch<BTreeMap<String, String>>,
    #[serde(default)]
    #[schema(value_type = Option<shapes::MaxInFlight>)]
    max_in_flight: Patch<Whole<u16>>,
    #[serde(default)]
    #[schema(value_type = Option<shapes::AttemptRate>)]
    rate_limit: Patch<Whole<u32>>,
    #[schema(value_type = Option<shapes::Ordering>)]
    ordering: Option<Value>,
    #[serde(default)]
    #[schema(value_type = Option<shapes::RetrySchedule>)]
    retry_schedule: Patch<Vec<String>>,
}

/// Makes a subscription
///
/// It gets the events that are accepted from now on. The answer shows the secret that its deliveries are signed with,
/// once.
#[utoipa::path(
    post, path = "/v1/subscriptions", operation_id = "createSubscription", request_body = Create,
    responses(
        (status = 201, description = "The subscription and its secret.", body = NewSubscription),
        (status = 404, description = "There is no such integration."),
        (status = 409, description = "The account has as many subscriptions as it may."),
    ),
)]
pub async fn create(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let create: Create = body::json(&request, payload, &relay.arriving).await?;
    let (subscription, key) = plan(&who, &relay, create)?;
    let subscription = Arc::new(subscription);
    let new = Arc::clone(&subscription);
    relay
        .change(who, Action::SubscriptionCreated, move |directory, _| {
            owned::admit(directory, new.as_ref(), new.integration)?;
            Ok((vec![Change::PutSubscription(new)], ()))
        })
        .await?;
    Ok(HttpResponse::Created().json(NewSubscription {
        view: SubscriptionView::of(&subscription),
        secret: key.reveal(),
        public_key: key.public(),
    }))
}

fn plan(
    who: &Principal,
    relay: &Relay,
    create: Create,
) -> Result<(Subscription, SigningKey), ApiError> {
    let url = reading::url(&relay.guard, &create.url)?;
    let integration = match &create.integration_id {
        Some(id) => {
            let id = id.parse();
            Some(id.map_err(|error| reading::invalid("integration_id", &error))?)
        }
        None => who.bound_to(),
    };
    if !who.reaches(integration) {
        return Err(ApiError::Forbidden);
    }
    let key = reading::key(create.secret.as_deref())?;
    let id = SubscriptionId::from_random(getrandom::u64()?);
    let format = create.format.as_deref().map(reading::format).transpose()?;
    let ordering = create
        .ordering
        .as_ref()
        .map(reading::ordering)
        .transpose()?;
    let waits = create.retry_schedule.as_deref();
    let events = reading::patterns(&create.events)?;
    let secret = relay.vault.seal(&key, id)?;
    let subscription = Subscription {
        integration,
        filter: create.filter.map(reading::filter).transpose()?,
        description: create.description.map(reading::description).transpose()?,
        format: format.unwrap_or_default(),
        headers: reading::headers(&create.headers, &relay.vault, id)?,
        max_in_flight: create.max_in_flight.map(reading::in_flight).transpose()?,
        rate_limit: create.rate_limit.map(reading::rate).transpose()?,
        ordering: ordering.unwrap_or_default(),
        retry_schedule: waits.map(reading::schedule).transpose()?,
        ..Subscription::new(id, who.account(), url, events, secret, now_ms())
    };
    Ok((subscription, key))
}

/// Lists subscriptions
///
/// Those that the caller may see, in the order in which they were made.
#[utoipa::path(
    get, path = "/v1/subscriptions", operation_id = "listSubscriptions", params(PageQuery),
    responses((status = 200, description = "A page of subscriptions.", body = Subscriptions)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::SubscriptionsRead)?;
    let query: PageQuery = body::query(&request)?;
    let (page, next_cursor) = owned::list::<Subscription>(&relay, &who, &query)?;
    let subscriptions = page.iter().map(|it| SubscriptionView::of(it)).collect();
    Ok(HttpResponse::Ok().json(Subscriptions {
        subscriptions,
        next_cursor,
    }))
}

/// Shows a subscription, and how its deliveries stand
///
/// Of its headers the names, of its secret nothing but the public half of a private key.
#[utoipa::path(
    get, path = "/v1/subscriptions/{id}", operation_id = "showSubscription",
    responses((status = 200, description = "The subscription.", body = WholeSubscription)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::SubscriptionsRead)?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    let standing = relay.dispatch.standing(subscription.id).await?;
    let probing = relay.probed.contains(&subscription.id);
    // Of a key that cannot be opened there is nothing to show; deliveries say what is wrong with it.
    let key = subscription.live_keys(now_ms()).next();
    let key = key.and_then(|key| relay.vault.open(&key.secret, subscription.id).ok());
    let public_key = key.and_then(|key| key.public());
    let whole = WholeSubscription::of(&subscription, public_key, &standing, probing);
    Ok(HttpResponse::Ok().json(whole))
}

/// Changes a subscription
///
/// What is not named stays as it is; `null` clears what may be without a value. `events`, `filter` and `ordering` count
/// for events that are accepted afterwards, everything else from the next attempt on.
#[utoipa::path(
    patch, path = "/v1/subscriptions/{id}", operation_id = "updateSubscription", request_body = Update,
    responses((status = 200, description = "The subscription.", body = SubscriptionView)),
)]
pub async fn update(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let update: Update = body::json(&request, payload, &relay.arriving).await?;
    let own = Data::clone(&relay);
    let changed = relay.change(who, Action::SubscriptionUpdated, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        let changed = Arc::new(updated(&own, &subscription, update)?);
        Ok((vec![Change::PutSubscription(Arc::clone(&changed))], changed))
    });
    Ok(HttpResponse::Ok().json(SubscriptionView::of(&*changed.await?)))
}

fn updated(relay: &Relay, old: &Subscription, update: Update) -> Result<Subscription, ApiError> {
    let mut new = old.clone();
    if let Some(url) = &update.url {
        new.url = reading::url(&relay.guard, url)?;
    }
    if let Some(events) = &update.events {
        new.events = reading::patterns(events)?;
    }
    if let Some(format) = &update.format {
        new.format = reading::format(format)?;
    }
    new.filter = update.filter.apply(new.filter, reading::filter)?;
    new.description = (update.description).apply(new.description, reading::description)?;
    let headers = |wanted| reading::headers(&wanted, &relay.vault, old.id);
    new.headers = (update.headers.apply(Some(new.headers), headers)?).unwrap_or_default();
    new.max_in_flight = (update.max_in_flight).apply(new.max_in_flight, reading::in_flight)?;
    new.rate_limit = update.rate_limit.apply(new.rate_limit, reading::rate)?;
    if let Some(ordering) = &update.ordering {
        new.ordering = reading::ordering(ordering)?;
    }
    let waits = update.retry_schedule;
    new.retry_schedule = waits.apply(new.retry_schedule, |waits| reading::schedule(&waits))?;
    Ok(new)
}

/// Deletes a subscription
///
/// What is open for it is cancelled. No attempt starts after the answer.
#[utoipa::path(
    delete, path = "/v1/subscriptions/{id}", operation_id = "deleteSubscription",
    responses((status = 204, description = "It is gone.")),
)]
pub async fn delete(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let deleted = relay.change(who, Action::SubscriptionDeleted, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        Ok((vec![Change::DeleteSubscription(subscription.id)], ()))
    });
    deleted.await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pauses a subscription
///
/// Its events wait instead of being sent.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/pause", operation_id = "pauseSubscription",
    responses((status = 200, description = "The subscription.", body = SubscriptionView)),
)]
pub async fn pause(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let status = SubscriptionStatus::Paused {
        reason: "paused by request".to_owned(),
    };
    set_status(caller, &relay, id.into_inner(), status).await
}

/// Resumes a subscription
///
/// Its events are sent again, in order: what has waited first.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/resume", operation_id = "resumeSubscription",
    responses((status = 200, description = "The subscription.", body = SubscriptionView)),
)]
pub async fn resume(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    set_status(caller, &relay, id.into_inner(), SubscriptionStatus::Active).await
}

async fn set_status(
    caller: Caller,
    relay: &Relay,
    id: String,
    status: SubscriptionStatus,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let action = match status {
        SubscriptionStatus::Active => Action::SubscriptionResumed,
        SubscriptionStatus::Paused { .. } => Action::SubscriptionPaused,
    };
    let changed = relay.change(who, action, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        let changed = Arc::new(Subscription {
            status,
            ..Subscription::clone(&subscription)
        });
        Ok((vec![Change::PutSubscription(Arc::clone(&changed))], changed))
    });
    let subscription = changed.await?;
    Ok(HttpResponse::Ok().json(SubscriptionView::of(&subscription)))
}
