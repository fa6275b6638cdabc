//! Keys as they are asked for and shown.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::api_key::Environment;
use crate::domain::directory::KeyRecord;
use crate::domain::ids::{IntegrationId, KeyId};
use crate::domain::time;
use crate::http::body::{Patch, Whole};
use crate::http::openapi::shapes;

/// What a key is made of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateApiKey)]
pub struct Create {
    /// What it is for.
    #[schema(value_type = shapes::Name)]
    pub name: String,
    /// What it may do: without them what its maker may, and never more.
    #[schema(value_type = Option<shapes::Permissions>)]
    pub permissions: Option<Vec<String>>,
    /// Binds it to an integration, beyond which it reaches nothing.
    #[schema(value_type = Option<shapes::IntegrationId>)]
    pub integration_id: Option<String>,
    /// `live` where nothing is said.
    #[schema(value_type = Option<shapes::Environment>)]
    pub environment: Option<Environment>,
    /// When it ends: a time to come.
    #[schema(value_type = Option<shapes::KeyTime>)]
    pub expires_at: Option<String>,
    /// Its own limit.
    #[schema(value_type = Option<shapes::KeyRateLimit>)]
    pub rate_limit: Option<AskedQuota>,
}

/// What becomes of a key. What is not named stays as it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateApiKey)]
pub struct Update {
    /// What it is for.
    #[schema(value_type = Option<shapes::Name>)]
    pub name: Option<String>,
    /// What it may do: never more than whoever changes it.
    #[schema(value_type = Option<shapes::Permissions>)]
    pub permissions: Option<Vec<String>>,
    /// When it ends: a time to come, or `null` for never.
    #[serde(default)]
    #[schema(value_type = Option<shapes::KeyTime>)]
    pub expires_at: Patch<String>,
    /// Its own limit, or `null` for the relay's.
    #[serde(default)]
    #[schema(value_type = Option<shapes::KeyRateLimit>)]
    pub rate_limit: Patch<AskedQuota>,
}

/// How a key is rotated.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RotateApiKey)]
pub struct Rotate {
    /// How long the old secret still opens.
    #[serde(default)]
    #[schema(value_type = shapes::KeyOverlap)]
    pub overlap_seconds: Whole<u64>,
}

/// A key with its new secret.
#[derive(Serialize, ToSchema)]
#[schema(as = RotatedApiKey)]
pub struct RotatedKey {
    /// The key.
    #[serde(flatten)]
    pub new: NewKey,
    /// Until when the old secret opens; `null` where it does not any more.
    #[schema(value_type = Option<shapes::KeyTime>, required)]
    pub previous_expires_at: Option<String>,
}

/// A limit of a key, as it is asked for.
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedQuota {
    /// Requests in a window.
    pub limit: Whole<u32>,
    /// How long a window is.
    pub window_seconds: Whole<u64>,
}

/// A limit of a key, as it is shown.
#[derive(Clone, Copy, Serialize)]
struct QuotaView {
    limit: u32,
    window_seconds: u64,
}

/// A key as lists show it; never the key itself.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeyMetadata)]
pub struct KeyView {
    #[schema(value_type = shapes::KeyId)]
    id: KeyId,
    #[schema(example = "Production Server")]
    name: String,
    #[schema(value_type = Option<shapes::KeyTime>, required)]
    last_used_at: Option<String>,
    #[schema(value_type = shapes::KeyTime)]
    created_at: String,
    #[schema(value_type = shapes::Permissions)]
    permissions: Vec<&'static str>,
    /// The integration that it is bound to, if it is to one.
    #[schema(value_type = Option<shapes::IntegrationId>, required)]
    integration_id: Option<IntegrationId>,
    #[schema(value_type = shapes::Environment)]
    environment: Environment,
    #[schema(value_type = Option<shapes::KeyTime>, required)]
    expires_at: Option<String>,
    #[schema(value_type = Option<shapes::KeyRateLimit>, required)]
    rate_limit: Option<QuotaView>,
}

/// A key that was just made, with the key itself.
#[derive(Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub struct NewKey {
    #[serde(flatten)]
    view: KeyView,
    #[schema(value_type = shapes::ApiKey)]
    key: String,
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKeys)]
pub struct Keys {
    /// In the order in which they were made.
    pub keys: Vec<KeyView>,
    /// Where to go on; absent where there is no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = shapes::Cursor, required = false)]
    pub next_cursor: Option<String>,
}

impl KeyView {
    /// What may be shown of a key.
    pub fn of(key: &KeyRecord) -> Self {
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
