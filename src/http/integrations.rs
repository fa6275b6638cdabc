//! `/v1/integrations`: the doors through which events come in.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::ApiError;
use super::gate::Caller;
use super::keys::{self, NewKey};
use super::openapi::shapes;
use super::page::PageQuery;
use super::{Answer, Relay, body, owned};
use crate::actors::auth::Principal;
use crate::actors::now_ms;
use crate::domain::api_key::{self, Environment, KeyHash};
use crate::domain::audit::Action;
use crate::domain::directory::{Change, Integration, KeyRecord};
use crate::domain::ids::{IntegrationId, KeyId};
use crate::domain::permission::{Permission, Permissions};
use crate::domain::time;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateIntegration)]
struct Create {
    #[schema(value_type = shapes::Name)]
    name: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateIntegration)]
struct Update {
    #[schema(value_type = Option<shapes::Name>)]
    name: Option<String>,
}

/// A door through which events come in.
#[derive(Serialize, ToSchema)]
#[schema(as = Integration)]
struct IntegrationView {
    #[schema(value_type = shapes::IntegrationId)]
    id: IntegrationId,
    #[schema(example = "shop")]
    name: String,
    #[schema(value_type = shapes::IntegrationKey)]
    integration_key: String,
    /// Whether it takes events.
    #[schema(example = true)]
    enabled: bool,
    #[schema(value_type = shapes::Time)]
    created_at: String,
}

/// An integration that was just made, and a key that may send to it and do nothing else.
#[derive(Serialize, ToSchema)]
struct NewIntegration {
    #[serde(flatten)]
    view: IntegrationView,
    api_key: NewKey,
}

#[derive(Serialize, ToSchema)]
struct Integrations {
    integrations: Vec<IntegrationView>,
    #[schema(value_type = Option<shapes::Cursor>, required)]
    next_cursor: Option<String>,
}

impl IntegrationView {
    fn of(integration: &Integration) -> Self {
        Self {
            id: integration.id,
            name: integration.name.clone(),
            integration_key: integration.ingest_key.clone(),
            enabled: integration.enabled,
            created_at: time::rfc3339(integration.created_at_ms),
        }
    }
}

/// Makes an integration, and a key that may send to it and do nothing else
///
/// `integration_key` is the part of the ingest URL that names the integration, `api_key.key` the key, shown once.
#[utoipa::path(
    post, path = "/v1/integrations", operation_id = "createIntegration", request_body = Create,
    responses(
        (status = 201, description = "The integration and its key.", body = NewIntegration),
        (status = 409, description = "The account has as many integrations or keys as it may."),
    ),
)]
pub async fn create(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::IntegrationsWrite)?;
    let create: Create = body::json(&request, payload, &relay.arriving).await?;
    let sender = Permissions::of(&[Permission::EventsWrite]);
    if who.bound_to().is_some() || !who.permissions().include(sender) {
        return Err(ApiError::Forbidden.into());
    }
    // What bounds the maker bounds the key that he is given.
    let (ends, limit) = keys::bounds(&who);
    let created_at_ms = now_ms();
    let integration = Arc::new(Integration {
        id: IntegrationId::from_random(getrandom::u64()?),
        account: who.account(),
        name: keys::name(&create.name)?,
        ingest_key: new_ingest_key()?,
        enabled: true,
        created_at_ms,
    });
    let key = api_key::generate(Environment::Live, getrandom::fill)?;
    let hash = KeyHash::of(key.expose_secret());
    let id = KeyId::from_random(getrandom::u64()?);
    let name = integration.name.clone();
    let record = Arc::new(KeyRecord {
        permissions: sender,
        integration: Some(integration.id),
        quota: limit,
        expires_at_ms: ends,
        ..KeyRecord::new(id, who.account(), name, hash, created_at_ms)
    });
    let (new, new_key) = (Arc::clone(&integration), Arc::clone(&record));
    let made = relay.change(who, Action::IntegrationCreated, move |directory, _| {
        owned::admit(directory, new.as_ref(), None)?;
        owned::admit(directory, new_key.as_ref(), None)?;
        Ok((
            vec![Change::PutIntegration(new), Change::PutKey(new_key)],
            (),
        ))
    });
    made.await?;
    Ok(HttpResponse::Created().json(NewIntegration {
        view: IntegrationView::of(&integration),
        api_key: NewKey::of(&record, &key),
    }))
}

/// The part of an ingest URL that names its integration: as hard to guess as a key.
fn new_ingest_key() -> Result<String, ApiError> {
    let key = api_key::generate(Environment::Live, getrandom::fill)?;
    let digits = key.expose_secret().rsplit('_').next().unwrap_or_default();
    Ok(digits.chars().take(26).collect())
}

/// Lists integrations
///
/// Those that the caller may see, in the order in which they were made.
#[utoipa::path(
    get, path = "/v1/integrations", operation_id = "listIntegrations", params(PageQuery),
    responses((status = 200, description = "A page of integrations.", body = Integrations)),
)]
pub async fn list(caller: Caller, request: HttpRequest, relay: Data<Relay>) -> Answer {
    let who = caller.with(Permission::IntegrationsRead)?;
    let query: PageQuery = body::query(&request)?;
    let (page, next_cursor) = owned::list::<Integration>(&relay, &who, &query)?;
    let integrations = page
        .iter()
        .map(|integration| IntegrationView::of(integration))
        .collect();
    Ok(HttpResponse::Ok().json(Integrations {
        integrations,
        next_cursor,
    }))
}

/// Shows an integration
///
/// With its `integration_key`, and never with a key that may send to it.
#[utoipa::path(
    get, path = "/v1/integrations/{id}", operation_id = "showIntegration",
    responses((status = 200, description = "The integration.", body = IntegrationView)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::IntegrationsRead)?;
    let integration: Arc<Integration> = owned::find(&relay.directory.view().read(), &who, &id)?;
    Ok(HttpResponse::Ok().json(IntegrationView::of(&integration)))
}

/// Renames an integration
///
/// What is not named stays as it is.
#[utoipa::path(
    patch, path = "/v1/integrations/{id}", operation_id = "updateIntegration", request_body = Update,
    responses((status = 200, description = "The integration.", body = IntegrationView)),
)]
pub async fn update(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::IntegrationsWrite)?;
    let update: Update = body::json(&request, payload, &relay.arriving).await?;
    let name = update.name.as_deref().map(keys::name).transpose()?;
    change(who, &relay, id, Action::IntegrationUpdated, |it| {
        let name = name.unwrap_or_else(|| it.name.clone());
        Integration { name, ..it }
    })
    .await
}

/// Closes an integration
///
/// Events are refused with 403 until it is enabled again.
#[utoipa::path(
    post, path = "/v1/integrations/{id}/disable", operation_id = "disableIntegration",
    responses((status = 200, description = "The integration.", body = IntegrationView)),
)]
pub async fn disable(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::IntegrationsWrite)?;
    change(who, &relay, id, Action::IntegrationDisabled, |it| {
        let enabled = false;
        Integration { enabled, ..it }
    })
    .await
}

/// Opens an integration again
///
/// Events are taken in from the answer on.
#[utoipa::path(
    post, path = "/v1/integrations/{id}/enable", operation_id = "enableIntegration",
    responses((status = 200, description = "The integration.", body = IntegrationView)),
)]
pub async fn enable(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::IntegrationsWrite)?;
    change(who, &relay, id, Action::IntegrationEnabled, |it| {
        let enabled = true;
        Integration { enabled, ..it }
    })
    .await
}

/// Gives an integration a new ingest URL
///
/// The old one is gone with the answer.
#[utoipa::path(
    post, path = "/v1/integrations/{id}/rotate-key", operation_id = "rotateIntegrationKey",
    responses((status = 200, description = "The integration.", body = IntegrationView)),
)]
pub async fn rotate_key(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::IntegrationsWrite)?;
    let ingest_key = new_ingest_key()?;
    change(who, &relay, id, Action::IntegrationKeyRotated, |it| {
        Integration { ingest_key, ..it }
    })
    .await
}

async fn change(
    who: Principal,
    relay: &Relay,
    id: Path<String>,
    action: Action,
    change: impl FnOnce(Integration) -> Integration + Send + 'static,
) -> Answer {
    let changed = relay.change(who, action, move |directory, who| {
        let integration: Arc<Integration> = owned::find(directory, who, &id)?;
        let changed = Arc::new(change(Integration::clone(&integration)));
        Ok((vec![Change::PutIntegration(Arc::clone(&changed))], changed))
    });
    Ok(HttpResponse::Ok().json(IntegrationView::of(&*changed.await?)))
}

/// Deletes an integration and the keys bound to it
///
/// Not while it still has subscriptions. Its events stay as long as events are kept.
#[utoipa::path(
    delete, path = "/v1/integrations/{id}", operation_id = "deleteIntegration",
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "The integration still has subscriptions."),
    ),
)]
pub async fn delete(caller: Caller, relay: Data<Relay>, id: Path<String>) -> Answer {
    let who = caller.with(Permission::IntegrationsWrite)?;
    let deleted = relay.change(who, Action::IntegrationDeleted, move |directory, who| {
        let integration: Arc<Integration> = owned::find(directory, who, &id)?;
        if directory
            .subscriptions()
            .any(|it| it.integration == Some(integration.id))
        {
            let message = "The integration still has subscriptions; delete them first";
            return Err(ApiError::Conflict(message.to_owned()));
        }
        Ok((vec![Change::DeleteIntegration(integration.id)], ()))
    });
    deleted.await?;
    Ok(HttpResponse::NoContent().finish())
}
