//! `/v1/subscriptions`: who wants which events, and where they are sent.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};

use super::body::Patch;
use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::{Answer, Relay, body, owned, time};
use crate::actors::auth::Principal;
use crate::actors::delivery::MAX_IN_FLIGHT;
use crate::actors::now_ms;
use crate::config::{format_duration, parse_duration};
use crate::domain::audit::Action;
use crate::domain::directory::{
    Change, MAX_NAME_BYTES, MAX_PATTERNS, Subscription, SubscriptionStatus,
};
use crate::domain::event_type::TypePattern;
use crate::domain::ids::{IntegrationId, SubscriptionId};
use crate::domain::permission::Permission;
use crate::domain::retry::Schedule;
use crate::domain::signature::SigningSecret;
use crate::outbound::{Guard, UrlRefused};

/// Random bytes in a secret that is made here.
const SECRET_BYTES: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    url: String,
    events: Vec<String>,
    integration_id: Option<String>,
    description: Option<String>,
    secret: Option<String>,
    max_in_flight: Option<u16>,
    retry_schedule: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    url: Option<String>,
    events: Option<Vec<String>>,
    #[serde(default)]
    description: Patch<String>,
    #[serde(default)]
    max_in_flight: Patch<u16>,
    #[serde(default)]
    retry_schedule: Patch<Vec<String>>,
}

#[derive(Serialize)]
struct SubscriptionView {
    id: SubscriptionId,
    url: String,
    events: Vec<TypePattern>,
    integration_id: Option<IntegrationId>,
    description: Option<String>,
    max_in_flight: Option<u16>,
    retry_schedule: Option<Vec<String>>,
    status: &'static str,
    paused_reason: Option<String>,
    created_at: String,
}

#[derive(Serialize)]
struct NewSubscription {
    #[serde(flatten)]
    view: SubscriptionView,
    secret: String,
}

#[derive(Serialize)]
struct Subscriptions {
    subscriptions: Vec<SubscriptionView>,
    next_cursor: Option<String>,
}

impl SubscriptionView {
    fn of(subscription: &Subscription) -> Self {
        let (status, paused_reason) = match &subscription.status {
            SubscriptionStatus::Active => ("active", None),
            SubscriptionStatus::Paused { reason } => ("paused", Some(reason.clone())),
        };
        let wait = |ms: &u64| format_duration(std::time::Duration::from_millis(*ms));
        let schedule = subscription.retry_schedule.as_ref();
        Self {
            id: subscription.id,
            url: subscription.url.clone(),
            events: subscription.events.clone(),
            integration_id: subscription.integration,
            description: subscription.description.clone(),
            max_in_flight: subscription.max_in_flight,
            retry_schedule: schedule.map(|it| it.waits_ms().iter().map(wait).collect()),
            status,
            paused_reason,
            created_at: time::rfc3339(subscription.created_at_ms),
        }
    }
}

/// Makes a subscription. Its secret is shown here and nowhere else.
pub async fn create(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let create: Create = body::json(&request, payload, &relay.arriving).await?;
    let (subscription, secret) = plan(&who, &relay, create)?;
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
        secret: secret.reveal(),
    }))
}

fn plan(
    who: &Principal,
    relay: &Relay,
    create: Create,
) -> Result<(Subscription, SigningSecret), ApiError> {
    let url = vetted(&relay.guard, &create.url)?;
    let integration = match &create.integration_id {
        Some(id) => Some(
            id.parse()
                .map_err(|error| invalid("integration_id", &error))?,
        ),
        None => who.bound_to(),
    };
    if !who.reaches(integration) {
        return Err(ApiError::Forbidden);
    }
    let secret = if let Some(text) = &create.secret {
        SigningSecret::parse(text).map_err(|error| invalid("secret", &error))?
    } else {
        let mut bytes = [0; SECRET_BYTES];
        getrandom::fill(&mut bytes)?;
        SigningSecret::from_bytes(&bytes).map_err(|error| invalid("secret", &error))?
    };
    let id = SubscriptionId::from_random(getrandom::u64()?);
    let subscription = Subscription {
        id,
        account: who.account(),
        integration,
        url,
        events: patterns(&create.events)?,
        description: create.description.map(description).transpose()?,
        secret: relay.vault.seal(&secret, id.to_bits())?,
        max_in_flight: create.max_in_flight.map(in_flight).transpose()?,
        retry_schedule: create.retry_schedule.as_deref().map(schedule).transpose()?,
        status: SubscriptionStatus::Active,
        created_at_ms: now_ms(),
    };
    Ok((subscription, secret))
}

fn invalid(field: &str, error: &dyn std::fmt::Display) -> ApiError {
    ApiError::Invalid(format!("{field}: {error}"))
}

/// A URL that may be sent to.
fn vetted(guard: &Guard, text: &str) -> Result<String, ApiError> {
    let url = url::Url::parse(text).map_err(|error| invalid("url", &error))?;
    guard.check_url(&url).map_err(|error| match error {
        UrlRefused::Address => ApiError::Invalid(
            "url: address not allowed (the operator may allow it with outbound.allow)".to_owned(),
        ),
        other => invalid("url", &other),
    })?;
    Ok(url.into())
}

fn description(text: String) -> Result<String, ApiError> {
    if text.len() <= MAX_NAME_BYTES {
        Ok(text)
    } else {
        let message = format!("description must be at most {MAX_NAME_BYTES} bytes");
        Err(ApiError::Invalid(message))
    }
}

fn in_flight(limit: u16) -> Result<u16, ApiError> {
    if (1..=MAX_IN_FLIGHT).contains(&limit) {
        Ok(limit)
    } else {
        let message = format!("max_in_flight must be from 1 to {MAX_IN_FLIGHT}");
        Err(ApiError::Invalid(message))
    }
}

fn patterns(texts: &[String]) -> Result<Vec<TypePattern>, ApiError> {
    if !(1..=MAX_PATTERNS).contains(&texts.len()) {
        return Err(ApiError::Invalid(format!(
            "events must list 1 to {MAX_PATTERNS} type patterns"
        )));
    }
    let parse = |(index, text): (usize, &String)| {
        text.parse()
            .map_err(|error| ApiError::Invalid(format!("events[{index}]: {error}")))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn schedule(texts: &[String]) -> Result<Schedule, ApiError> {
    let parse = |(index, text): (usize, &String)| {
        let wait = parse_duration(text)
            .map_err(|error| ApiError::Invalid(format!("retry_schedule[{index}]: {error}")))?;
        Ok(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    };
    let waits_ms = texts
        .iter()
        .enumerate()
        .map(parse)
        .collect::<Result<_, ApiError>>()?;
    Schedule::new(waits_ms).map_err(|error| ApiError::Invalid(format!("retry_schedule {error}")))
}

/// Lists the subscriptions that the caller may see.
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

/// Shows a subscription.
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::SubscriptionsRead)?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    Ok(HttpResponse::Ok().json(SubscriptionView::of(&subscription)))
}

/// Changes a subscription. What it wants counts for events that are accepted afterwards, everything else
/// from the next attempt on.
pub async fn update(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let update: Update = body::json(&request, payload, &relay.arriving).await?;
    let guard = Arc::clone(&relay.guard);
    let changed = relay.change(who, Action::SubscriptionUpdated, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        let changed = Arc::new(updated(&guard, &subscription, update)?);
        Ok((vec![Change::PutSubscription(Arc::clone(&changed))], changed))
    });
    Ok(HttpResponse::Ok().json(SubscriptionView::of(&*changed.await?)))
}

fn updated(guard: &Guard, old: &Subscription, update: Update) -> Result<Subscription, ApiError> {
    let mut new = old.clone();
    if let Some(url) = &update.url {
        new.url = vetted(guard, url)?;
    }
    if let Some(events) = &update.events {
        new.events = patterns(events)?;
    }
    new.description = update.description.apply(new.description, description)?;
    new.max_in_flight = update.max_in_flight.apply(new.max_in_flight, in_flight)?;
    let waits = update.retry_schedule;
    new.retry_schedule = waits.apply(new.retry_schedule, |waits| schedule(&waits))?;
    Ok(new)
}

/// Deletes a subscription and cancels what is open for it. No attempt starts after the answer.
pub async fn delete(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let deleted = relay.change(who, Action::SubscriptionDeleted, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        Ok((vec![Change::DeleteSubscription(subscription.id)], ()))
    });
    deleted.await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lets events wait instead of sending them.
pub async fn pause(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let status = SubscriptionStatus::Paused {
        reason: "paused by request".to_owned(),
    };
    set_status(caller, &relay, id.into_inner(), status).await
}

/// Sends again, what has waited first.
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
