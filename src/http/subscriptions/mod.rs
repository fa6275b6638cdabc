//! `/v1/subscriptions`: who wants which events, and where they are sent.

pub(super) mod reading;
pub mod trial;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::Value;

use self::view::{NewSecret, NewSubscription, SubscriptionView, Subscriptions, WholeSubscription};
use super::body::{self, Patch};
use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::{Answer, Relay, owned};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::audit::Action;
use crate::domain::directory::{Change, LiveKey, Subscription, SubscriptionStatus};
use crate::domain::ids::SubscriptionId;
use crate::domain::permission::Permission;
use crate::domain::signature::{MAX_LIVE_KEYS, SigningKey};
use crate::domain::time;

/// How long a replaced secret signs beside the new one where nothing else is said: a day.
const OVERLAP_SECONDS: u64 = 24 * 3600;
/// The longest that it may.
const MAX_OVERLAP_SECONDS: u64 = 30 * 24 * 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    url: String,
    events: Vec<String>,
    integration_id: Option<String>,
    filter: Option<Value>,
    description: Option<String>,
    secret: Option<String>,
    format: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    max_in_flight: Option<u16>,
    rate_limit: Option<u32>,
    ordering: Option<Value>,
    retry_schedule: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    url: Option<String>,
    events: Option<Vec<String>>,
    #[serde(default)]
    filter: Patch<Value>,
    #[serde(default)]
    description: Patch<String>,
    format: Option<String>,
    #[serde(default)]
    headers: Patch<BTreeMap<String, String>>,
    #[serde(default)]
    max_in_flight: Patch<u16>,
    #[serde(default)]
    rate_limit: Patch<u32>,
    ordering: Option<Value>,
    #[serde(default)]
    retry_schedule: Patch<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RotateSecret {
    secret: Option<String>,
    overlap_seconds: u64,
}

impl Default for RotateSecret {
    fn default() -> Self {
        Self {
            secret: None,
            overlap_seconds: OVERLAP_SECONDS,
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

/// Shows a subscription, and how its deliveries stand.
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::SubscriptionsRead)?;
    let subscription: Arc<Subscription> = owned::find(&relay.directory.view().read(), &who, &id)?;
    let standing = relay.dispatch.standing(subscription.id).await?;
    let probing = relay.probed.contains(&subscription.id);
    let whole = WholeSubscription::of(&subscription, &standing, probing);
    Ok(HttpResponse::Ok().json(whole))
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

/// Gives a subscription a new signing key. For a while the old one signs, too, in the same header.
pub async fn rotate_secret(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let rotate: RotateSecret = body::json_or_nothing(&request, payload, &relay.arriving).await?;
    if rotate.overlap_seconds > MAX_OVERLAP_SECONDS {
        let message = format!("overlap_seconds must be from 0 to {MAX_OVERLAP_SECONDS}");
        return Err(ApiError::Invalid(message).into());
    }
    let key = reading::key(rotate.secret.as_deref())?;
    let (vault, new) = (relay.vault.clone(), key.clone());
    let rotated = relay.change(who, Action::SecretRotated, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        let (now_ms, id) = (now_ms(), subscription.id);
        let ends_at_ms = now_ms + rotate.overlap_seconds * 1000;
        let mut keys = vec![LiveKey {
            secret: vault.seal(&new, id)?,
            ends_at_ms: None,
        }];
        keys.extend(subscription.live_keys(now_ms).cloned().map(|key| LiveKey {
            ends_at_ms: Some(key.ends_at_ms.map_or(ends_at_ms, |end| end.min(ends_at_ms))),
            ..key
        }));
        keys.retain(|key| key.ends_at_ms.is_none_or(|end| now_ms < end));
        if keys.len() > MAX_LIVE_KEYS {
            let message = format!("{MAX_LIVE_KEYS} secrets sign already; wait until one has ended");
            return Err(ApiError::Conflict(message));
        }
        let ends = keys.get(1).and_then(|key| key.ends_at_ms);
        let changed = Subscription {
            keys,
            ..Subscription::clone(&subscription)
        };
        Ok((vec![Change::PutSubscription(changed.into())], ends))
    });
    let ends = rotated.await?;
    Ok(HttpResponse::Ok().json(NewSecret {
        secret: key.reveal(),
        public_key: key.public(),
        previous_expires_at: ends.map(time::rfc3339),
    }))
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
