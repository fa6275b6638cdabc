//! `/v1/account`: who am I, and what may I do?

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::gate::Caller;
use super::openapi::shapes;
use super::{Answer, Relay};
use crate::actors::auth::Principal;
use crate::domain::ids::{AccountId, IntegrationId, KeyId};
use crate::domain::time;

#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountView {
    #[schema(value_type = shapes::AccountId)]
    id: AccountId,
    #[schema(example = "default")]
    name: String,
    #[schema(value_type = shapes::Time)]
    created_at: String,
    #[schema(value_type = shapes::Permissions)]
    permissions: Vec<&'static str>,
    /// The key that asks; `null` for the local operator.
    #[schema(value_type = Option<shapes::KeyId>, required)]
    key_id: Option<KeyId>,
    /// The integration that the key is bound to, if it is to one.
    #[schema(value_type = Option<shapes::IntegrationId>, required)]
    integration_id: Option<IntegrationId>,
}

/// Who am I, and what may I do?
///
/// The caller's account, what its key may do, and the integration that the key is bound to, if any.
#[utoipa::path(
    get, path = "/v1/account", operation_id = "showAccount",
    responses((status = 200, description = "The caller's account and rights.", body = AccountView)),
)]
pub async fn show(caller: Caller, relay: Data<Relay>) -> Answer {
    let who = caller.0;
    let account = relay
        .directory
        .view()
        .read()
        .account(who.account())
        .cloned();
    let account = account.ok_or(ApiError::NotFound("Account"))?;
    let key_id = match &who {
        Principal::Key(key, _) => Some(key.id),
        Principal::LocalOperator(_) => None,
    };
    Ok(HttpResponse::Ok().json(AccountView {
        id: account.id,
        name: account.name.clone(),
        created_at: time::rfc3339(account.created_at_ms),
        permissions: who.permissions().names(),
        key_id,
        integration_id: who.bound_to(),
    }))
}
