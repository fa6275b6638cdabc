//! `/v1/account/api-keys`: making keys, listing, changing and rotating them, deleting them with immediate
//! effect.
//!
//! A key is shown once, in the answer that makes it. Nobody can give a key more than he holds himself, nor
//! learn the secret of a key that may do more than his own.

mod view;

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};

pub use self::view::NewKey;
use self::view::{AskedQuota, Create, KeyView, Keys, Rotate, RotatedKey, Update};
use super::body::{Patch, Whole};
use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::{Answer, Relay, body, owned};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::api_key::{self, Environment, KeyHash};
use crate::domain::audit::Action;
use crate::domain::directory::{Change, KeyRecord, MAX_NAME_BYTES, PreviousSecret};
use crate::domain::ids::KeyId;
use crate::domain::permission::{Permission, Permissions};
use crate::domain::rate::Quota;
use crate::domain::time;

/// The longest window that a key's own limit may have: a day.
pub const MAX_WINDOW_SECONDS: u64 = 24 * 3600;
/// The longest time for which a rotated key's old secret may still open: a week.
pub const MAX_OVERLAP_SECONDS: u64 = 7 * 24 * 3600;
/// The highest limit that a key may have.
pub const MAX_LIMIT: u32 = 1_000_000;

/// Makes an API key
///
/// The answer shows the key, once. Without `permissions` it may do what its maker may; it can never be granted what
/// its maker does not have, ends no later, and has no higher limit.
#[utoipa::path(
    post, path = "/v1/account/api-keys", operation_id = "createApiKey", request_body = Create,
    responses(
        (status = 201, description = "The key.", body = NewKey),
        (status = 404, description = "There is no such integration."),
        (status = 409, description = "The account has as many keys as it may."),
    ),
)]
pub async fn create(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::KeysWrite)?;
    let create: Create = body::json(&request, payload, &relay.arriving).await?;
    let made = relay.change(who, Action::KeyCreated, move |directory, who| {
        let (record, key) = plan(who, &create)?;
        let record = Arc::new(record);
        owned::admit(directory, record.as_ref(), record.integration)?;
        let changes = vec![Change::PutKey(Arc::clone(&record))];
        Ok((changes, (record, key)))
    });
    let (record, key) = made.await?;
    Ok(HttpResponse::Created().json(NewKey::of(&record, &key)))
}

fn plan(who: &Principal, create: &Create) -> Result<(KeyRecord, SecretString), ApiError> {
    let permissions = match &create.permissions {
        None => who.permissions(),
        Some(names) => permissions(names)?,
    };
    let wanted = match &create.integration_id {
        Some(id) => Some(
            id.parse()
                .map_err(|error| ApiError::Invalid(format!("integration_id: {error}")))?,
        ),
        None => who.bound_to(),
    };
    if !who.permissions().include(permissions) || !who.reaches(wanted) {
        return Err(ApiError::Forbidden);
    }
    // What bounds the maker bounds what he makes: it ends no later, and its limit is his or a lower one.
    let inherited = bounds(who);
    let expires_at_ms = create.expires_at.as_deref().map(expiry).transpose()?;
    let environment = create.environment.unwrap_or(Environment::Live);
    let key = api_key::generate(environment, getrandom::fill)?;
    let hash = KeyHash::of(key.expose_secret());
    let id = KeyId::from_random(getrandom::u64()?);
    let record = KeyRecord {
        permissions,
        integration: wanted,
        environment,
        quota: limited(create.rate_limit.map(quota).transpose()?, inherited.1)?,
        expires_at_ms: earlier(expires_at_ms, inherited.0),
        ..KeyRecord::new(id, who.account(), name(&create.name)?, hash, now_ms())
    };
    Ok((record, key))
}

/// When a caller's key ends, and its own limit.
pub fn bounds(who: &Principal) -> (Option<u64>, Option<Quota>) {
    match who {
        Principal::Key(key, _) => (key.expires_at_ms, key.quota),
        Principal::LocalOperator(_) => (None, None),
    }
}

/// The limit of a key that is made or changed by somebody with this one.
fn limited(asked: Option<Quota>, own: Option<Quota>) -> Result<Option<Quota>, ApiError> {
    match (asked, own) {
        (Some(asked), Some(own)) if !asked.is_within(&own) => Err(ApiError::Forbidden),
        _ => Ok(asked.or(own)),
    }
}

/// Whether a caller may hold what this key is: its rights, its end and its limit are within his own.
fn holds(who: &Principal, key: &KeyRecord) -> bool {
    let (ends, limit) = bounds(who);
    let ends_in_time = ends.is_none_or(|end| key.expires_at_ms.is_some_and(|its| its <= end));
    let is_slower = limit.is_none_or(|own| key.quota.is_some_and(|its| its.is_within(&own)));
    who.permissions().include(key.permissions) && ends_in_time && is_slower
}

fn permissions(names: &[String]) -> Result<Permissions, ApiError> {
    if names.is_empty() {
        let message = "permissions must name at least one";
        return Err(ApiError::Invalid(message.to_owned()));
    }
    Permissions::parse(names).map_err(|error| ApiError::Invalid(format!("permissions: {error}")))
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// A name that people can read.
pub fn name(name: &str) -> Result<String, ApiError> {
    let name = name.trim();
    let fits = (1..=MAX_NAME_BYTES).contains(&name.len());
    if fits && !name.chars().any(char::is_control) {
        Ok(name.to_owned())
    } else {
        Err(ApiError::Invalid(format!(
            "name must be 1 to {MAX_NAME_BYTES} bytes without control characters"
        )))
    }
}

fn quota(asked: AskedQuota) -> Result<Quota, ApiError> {
    let (Whole(limit), Whole(window_seconds)) = (asked.limit, asked.window_seconds);
    let fits =
        (1..=MAX_LIMIT).contains(&limit) && (1..=MAX_WINDOW_SECONDS).contains(&window_seconds);
    if !fits {
        return Err(ApiError::Invalid(format!(
            "rate_limit: limit must be from 1 to {MAX_LIMIT} and window_seconds from 1 to {MAX_WINDOW_SECONDS}"
        )));
    }
    Ok(Quota {
        limit,
        window_ms: window_seconds * 1000,
    })
}

fn expiry(text: &str) -> Result<u64, ApiError> {
    time::parse(text)
        .filter(|at_ms| *at_ms > now_ms())
        .ok_or_else(|| {
            ApiError::Invalid(
                "expires_at must be a time to come, in the form 2030-01-31T12:00:00Z".to_owned(),
            )
        })
}

/// Lists API keys
///
/// Those that the caller may see, in the order in which they were made; never the keys themselves.
#[utoipa::path(
    get, path = "/v1/account/api-keys", operation_id = "listApiKeys", params(PageQuery),
    responses((status = 200, description = "A page of keys.", body = Keys)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::KeysRead)?;
    let query: PageQuery = body::query(&request)?;
    let (keys, next_cursor) = owned::list::<KeyRecord>(&relay, &who, &query)?;
    let keys = keys.iter().map(|key| KeyView::of(key)).collect();
    Ok(HttpResponse::Ok().json(Keys { keys, next_cursor }))
}

/// Shows an API key's metadata
///
/// Never the key itself. `last_used_at` may be some seconds old.
#[utoipa::path(
    get, path = "/v1/account/api-keys/{id}", operation_id = "showApiKey",
    responses((status = 200, description = "The key's metadata.", body = KeyView)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::KeysRead)?;
    let key: Arc<KeyRecord> = owned::find(&relay.directory.view().read(), &who, &id)?;
    Ok(HttpResponse::Ok().json(KeyView::of(&key)))
}

/// Changes an API key
///
/// Its name, what it may do, when it ends, its limit. What is not named stays as it is. Nobody changes a key that may
/// do more than his own.
#[utoipa::path(
    patch, path = "/v1/account/api-keys/{id}", operation_id = "updateApiKey", request_body = Update,
    responses((status = 200, description = "The key's metadata.", body = KeyView)),
)]
pub async fn update(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::KeysWrite)?;
    let update: Update = body::json(&request, payload, &relay.arriving).await?;
    let changed = relay.change(who, Action::KeyUpdated, move |directory, who| {
        let key: Arc<KeyRecord> = owned::find(directory, who, &id)?;
        let changed = Arc::new(updated(who, &key, update)?);
        Ok((vec![Change::PutKey(Arc::clone(&changed))], changed))
    });
    Ok(HttpResponse::Ok().json(KeyView::of(&*changed.await?)))
}

fn updated(who: &Principal, key: &KeyRecord, update: Update) -> Result<KeyRecord, ApiError> {
    let permissions = match &update.permissions {
        None => key.permissions,
        Some(names) => permissions(names)?,
    };
    if !holds(who, key) || !who.permissions().include(permissions) {
        return Err(ApiError::Forbidden);
    }
    // Whoever changes a key cannot lift it above what bounds his own.
    let (ends, limit) = bounds(who);
    let expires_at_ms = match update.expires_at {
        Patch::Keep => key.expires_at_ms,
        changed => earlier(changed.apply(None, |text| expiry(&text))?, ends),
    };
    let own = match update.rate_limit {
        Patch::Keep => key.quota,
        changed => limited(changed.apply(None, quota)?, limit)?,
    };
    Ok(KeyRecord {
        name: name(update.name.as_ref().unwrap_or(&key.name))?,
        permissions,
        expires_at_ms,
        quota: own,
        ..key.clone()
    })
}

/// Gives an API key a new secret
///
/// The answer shows it, once. The old one opens for `overlap_seconds` more; without, it does not any more.
#[utoipa::path(
    post, path = "/v1/account/api-keys/{id}/rotate", operation_id = "rotateApiKey",
    request_body = Option<Rotate>,
    responses((status = 200, description = "The key with its new secret.", body = RotatedKey)),
)]
pub async fn rotate(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::KeysWrite)?;
    let rotate: Rotate = body::json_or_nothing(&request, payload, &relay.arriving).await?;
    let Whole(overlap_seconds) = rotate.overlap_seconds;
    if overlap_seconds > MAX_OVERLAP_SECONDS {
        let message = format!("overlap_seconds must be from 0 to {MAX_OVERLAP_SECONDS}");
        return Err(ApiError::Invalid(message).into());
    }
    let rotated = relay.change(who, Action::KeyRotated, move |directory, who| {
        let key: Arc<KeyRecord> = owned::find(directory, who, &id)?;
        if !holds(who, &key) {
            return Err(ApiError::Forbidden);
        }
        let secret = api_key::generate(key.environment, getrandom::fill)?;
        let overlap_ms = overlap_seconds * 1000;
        let previous = (overlap_ms > 0).then(|| PreviousSecret {
            hash: key.hash,
            ends_at_ms: now_ms() + overlap_ms,
        });
        let rotated = Arc::new(KeyRecord {
            hash: KeyHash::of(secret.expose_secret()),
            previous,
            ..KeyRecord::clone(&key)
        });
        let changes = vec![Change::PutKey(Arc::clone(&rotated))];
        Ok((changes, (rotated, secret)))
    });
    let (key, secret) = rotated.await?;
    let ends = key.previous.map(|previous| previous.ends_at_ms);
    Ok(HttpResponse::Ok().json(RotatedKey {
        new: NewKey::of(&key, &secret),
        previous_expires_at: ends.map(time::rfc3339_seconds),
    }))
}

/// Deletes an API key
///
/// A request with it that begins after the answer is refused.
#[utoipa::path(
    delete, path = "/v1/account/api-keys/{id}", operation_id = "deleteApiKey",
    responses((status = 204, description = "It is gone.")),
)]
pub async fn delete(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::KeysWrite)?;
    let deleted = relay.change(who, Action::KeyDeleted, move |directory, who| {
        let key: Arc<KeyRecord> = owned::find(directory, who, &id)?;
        if !who.permissions().include(key.permissions) {
            return Err(ApiError::Forbidden);
        }
        Ok((vec![Change::DeleteKey(key.id)], ()))
    });
    deleted.await?;
    Ok(HttpResponse::NoContent().finish())
}
