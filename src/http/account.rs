//! `/v1/account`: who am I, and what may I do?

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;

use super::error::ApiError;
use super::gate::Caller;
use super::{Answer, Relay};
use crate::actors::auth::Principal;
use crate::domain::ids::{AccountId, IntegrationId, KeyId};
use crate::domain::time;

#[derive(Serialize)]
struct AccountView {
    id: AccountId,
    name: String,
    created_at: String,
    permissions: Vec<&'static str>,
    key_id: Option<KeyId>,
    integration_id: Option<IntegrationId>,
}

/// The caller's account and rights.
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
