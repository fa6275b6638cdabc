//! `/v1/account/api-keys`: making keys, listing them, deleting them with immediate effect.
//!
//! A key is shown once, in the answer that makes it.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::gate::Caller;
use super::page::PageQuery;
use super::{Answer, Relay, body, owned, time};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::api_key::{self, Environment, KeyHash};
use crate::domain::directory::{Change, KeyRecord, MAX_NAME_BYTES};
use crate::domain::ids::{IntegrationId, KeyId};
use crate::domain::permission::{Permission, Permissions};
use crate::domain::rate::Quota;

/// The longest window that a key's own limit may have: a day.
const MAX_WINDOW_SECONDS: u64 = 24 * 3600;
/// The highest limit that a key may have.
const MAX_LIMIT: u32 = 1_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
    permissions: Option<Vec<String>>,
    integration_id: Option<String>,
    environment: Option<Environment>,
    expires_at: Option<String>,
    rate_limit: Option<QuotaView>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaView {
    limit: u32,
    window_seconds: u64,
}

/// A key as lists show it; never the key itself.
#[derive(Serialize)]
struct KeyView {
    id: KeyId,
    name: String,
    last_used_at: Option<String>,
    created_at: String,
    permissions: Vec<&'static str>,
    integration_id: Option<IntegrationId>,
    environment: Environment,
    expires_at: Option<String>,
    rate_limit: Option<QuotaView>,
}

/// A key that was just made, with the key itself.
#[derive(Serialize)]
pub struct NewKey {
    #[serde(flatten)]
    view: KeyView,
    key: String,
}

#[derive(Serialize)]
struct Keys {
    keys: Vec<KeyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl KeyView {
    fn of(key: &KeyRecord) -> Self {
        Self {
            id: key.id,
            name: key.name.clone(),
            last_used_at: key.last_used_at_ms.map(time::rfc3339_seconds),
            created_at: time::rfc3339_seconds(key.created_at_ms),
            permissions: key.permissions.names(),
            integration_id: key.integration,
            environment: key.environment,
            expires_at: key.expires_at_ms.map(time::rfc3339_seconds),
            rate_limit: key.quota.map(|quota| QuotaView {
                limit: quota.limit,
                window_seconds: quota.window_ms / 1000,
            }),
        }
    }
}

impl NewKey {
    /// A record and the key it was made for.
    pub fn of(record: &KeyRecord, key: &SecretString) -> Self {
        Self {
            view: KeyView::of(record),
            key: key.expose_secret().to_owned(),
        }
    }
}

/// Makes a key. It can never be granted what its maker does not have.
pub async fn create(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::KeysWrite)?;
    let create: Create = body::json(&request, payload, &relay.arriving).await?;
    let (record, key) = plan(&who, create)?;
    let record = Arc::new(record);
    let new = Arc::clone(&record);
    relay
        .change(who, move |directory, _| {
            owned::admit(directory, new.as_ref(), new.integration)?;
            Ok((vec![Change::PutKey(new)], ()))
        })
        .await?;
    Ok(HttpResponse::Created().json(NewKey::of(&record, &key)))
}

fn plan(who: &Principal, create: Create) -> Result<(KeyRecord, SecretString), ApiError> {
    let permissions = match &create.permissions {
        None => who.permissions(),
        Some(names) if names.is_empty() => {
            return Err(ApiError::Invalid(
                "permissions must name at least one".to_owned(),
            ));
        }
        Some(names) => Permissions::parse(names)
            .map_err(|error| ApiError::Invalid(format!("permissions: {error}")))?,
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
    // What bounds the maker bounds what he makes: it ends no later, and keeps his limit unless another
    // is asked for.
    let inherited = match who {
        Principal::Key(maker) => (maker.expires_at_ms, maker.quota),
        Principal::LocalOperator(_) => (None, None),
    };
    let expires_at_ms = create.expires_at.as_deref().map(expiry).transpose()?;
    let environment = create.environment.unwrap_or(Environment::Live);
    let key = api_key::generate(environment, getrandom::fill)?;
    let record = KeyRecord {
        id: KeyId::from_random(getrandom::u64()?),
        account: who.account(),
        name: name(create.name)?,
        hash: KeyHash::of(key.expose_secret()),
        permissions,
        integration: wanted,
        environment,
        quota: create.rate_limit.map(quota).transpose()?.or(inherited.1),
        created_at_ms: now_ms(),
        expires_at_ms: earlier(expires_at_ms, inherited.0),
        last_used_at_ms: None,
    };
    Ok((record, key))
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// A name that people can read.
pub fn name(name: String) -> Result<String, ApiError> {
    let fits = (1..=MAX_NAME_BYTES).contains(&name.trim().len());
    if fits && !name.chars().any(char::is_control) {
        Ok(name)
    } else {
        Err(ApiError::Invalid(format!(
            "name must be 1 to {MAX_NAME_BYTES} bytes without control characters"
        )))
    }
}

fn quota(view: QuotaView) -> Result<Quota, ApiError> {
    let fits = (1..=MAX_LIMIT).contains(&view.limit)
        && (1..=MAX_WINDOW_SECONDS).contains(&view.window_seconds);
    if !fits {
        return Err(ApiError::Invalid(format!(
            "rate_limit: limit must be from 1 to {MAX_LIMIT} and window_seconds from 1 to {MAX_WINDOW_SECONDS}"
        )));
    }
    Ok(Quota {
        limit: view.limit,
        window_ms: view.window_seconds * 1000,
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

/// Lists the keys that the caller may see.
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::KeysRead)?;
    let query: PageQuery = body::query(&request)?;
    let (keys, next_cursor) = owned::list::<KeyRecord>(&relay, &who, &query)?;
    let keys = keys.iter().map(|key| KeyView::of(key)).collect();
    Ok(HttpResponse::Ok().json(Keys { keys, next_cursor }))
}

/// Shows a key's metadata.
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::KeysRead)?;
    let key: Arc<KeyRecord> = owned::find(&relay.directory.view().read(), &who, &id)?;
    Ok(HttpResponse::Ok().json(KeyView::of(&key)))
}

/// Deletes a key. A request that begins after the answer is refused.
pub async fn delete(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::KeysWrite)?;
    let deleted = relay.change(who, move |directory, who| {
        let key: Arc<KeyRecord> = owned::find(directory, who, &id)?;
        Ok((vec![Change::DeleteKey(key.id)], ()))
    });
    deleted.await?;
    Ok(HttpResponse::NoContent().finish())
}
