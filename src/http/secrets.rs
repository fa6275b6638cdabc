//! `/local/secrets`: the key that seals signing secrets. The local operator's alone.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde::Serialize;

use super::error::ApiError;
use super::{Answer, Relay};
use crate::actors::vault::RotateError;

#[derive(Serialize)]
struct Rotated {
    key_id: String,
    resealed: usize,
}

/// Makes a new key and seals all secrets under it. The old keys stay in their file, for older backups.
pub async fn rotate(relay: Data<Relay>) -> Answer {
    let vault = relay.vault.clone();
    let made = actix_web::web::block(move || vault.rotate()).await;
    let made = made.map_err(|_| ApiError::internal(&"the pool of blocking threads is gone"))?;
    let key = made.map_err(|error| match error {
        RotateError::Given | RotateError::Full { .. } => ApiError::Conflict(error.to_string()),
        other => ApiError::internal(&other),
    })?;
    let resealed = relay.vault.reseal(&relay.directory).await;
    let resealed = resealed.map_err(|error| ApiError::internal(&error))?;
    log::info!(key:%, resealed; "signing secrets are sealed under a new key");
    Ok(HttpResponse::Ok().json(Rotated {
        key_id: key.to_string(),
        resealed,
    }))
}
