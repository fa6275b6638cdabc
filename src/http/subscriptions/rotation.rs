//! `POST /v1/subscriptions/{id}/rotate-secret`: another secret, and for a while both.

use std::sync::Arc;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::reading;
use super::view::NewSecret;
use crate::actors::now_ms;
use crate::domain::audit::Action;
use crate::domain::directory::{Change, LiveKey, Subscription};
use crate::domain::permission::Permission;
use crate::domain::signature::MAX_LIVE_KEYS;
use crate::domain::time;
use crate::http::body::{self, Whole};
use crate::http::error::ApiError;
use crate::http::gate::Caller;
use crate::http::openapi::shapes;
use crate::http::{Answer, Relay, owned};

/// How long a replaced secret signs beside the new one where nothing else is said: a day.
pub const OVERLAP_SECONDS: u64 = 24 * 3600;
/// The longest that it may.
pub const MAX_OVERLAP_SECONDS: u64 = 30 * 24 * 3600;

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct RotateSecret {
    /// Without one the relay makes one.
    #[schema(value_type = Option<shapes::Secret>)]
    secret: Option<String>,
    #[schema(value_type = shapes::SecretOverlap)]
    overlap_seconds: Whole<u64>,
}

impl Default for RotateSecret {
    fn default() -> Self {
        Self {
            secret: None,
            overlap_seconds: Whole(OVERLAP_SECONDS),
        }
    }
}

/// Gives a subscription a new secret
///
/// The answer shows it, once. For `overlap_seconds` the old one signs, too, in the same header.
#[utoipa::path(
    post, path = "/v1/subscriptions/{id}/rotate-secret", operation_id = "rotateSecret",
    request_body = Option<RotateSecret>,
    responses(
        (status = 200, description = "The new secret.", body = NewSecret),
        (status = 409, description = "As many secrets sign already as may."),
    ),
)]
pub async fn rotate_secret(
    caller: Caller,
    request: HttpRequest,
    relay: Data<Relay>,
    id: Path<String>,
    payload: Payload,
) -> Answer {
    let who = caller.with(Permission::SubscriptionsWrite)?;
    let rotate: RotateSecret = body::json_or_nothing(&request, payload, &relay.arriving).await?;
    let Whole(overlap_seconds) = rotate.overlap_seconds;
    if overlap_seconds > MAX_OVERLAP_SECONDS {
        let message = format!("overlap_seconds must be from 0 to {MAX_OVERLAP_SECONDS}");
        return Err(ApiError::Invalid(message).into());
    }
    let key = reading::key(rotate.secret.as_deref())?;
    let (vault, new) = (relay.vault.clone(), key.clone());
    let rotated = relay.change(who, Action::SecretRotated, move |directory, who| {
        let subscription: Arc<Subscription> = owned::find(directory, who, &id)?;
        let (now_ms, id) = (now_ms(), subscription.id);
        let ends_at_ms = now_ms + overlap_seconds * 1000;
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
