//! The directory's records as lines.

use serde::{Deserialize, Serialize};

use super::text::{Hex, Time};
use crate::domain::api_key::{Environment, KeyHash};
use crate::domain::directory::{
    Account, Change, CustomHeader, Integration, KeyRecord, LiveKey, PreviousSecret, Subscription,
    SubscriptionStatus,
};
use crate::domain::event_type::TypePattern;
use crate::domain::filter::Filter;
use crate::domain::format::Format;
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::ordering::Ordering;
use crate::domain::permission::Permissions;
use crate::domain::rate::Quota;
use crate::domain::retry::Schedule;
use crate::domain::sealed::{Keyring, SealError};
use crate::domain::signature::SigningKey;

fn yes() -> bool {
    true
}

/// An account.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountLine {
    pub id: AccountId,
    name: String,
    #[serde(default)]
    suspended: bool,
    created_at: Time,
}

/// An integration.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntegrationLine {
    pub id: IntegrationId,
    pub account_id: AccountId,
    name: String,
    integration_key: String,
    #[serde(default = "yes")]
    enabled: bool,
    created_at: Time,
}

/// What is kept of an API key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyLine {
    pub id: KeyId,
    pub account_id: AccountId,
    name: String,
    sha256: Hex<32>,
    /// The secret that it had before it was rotated, while that still opens.
    #[serde(default)]
    previous: Option<PreviousLine>,
    permissions: Vec<String>,
    pub integration_id: Option<IntegrationId>,
    environment: Environment,
    rate_limit: Option<Quota>,
    created_at: Time,
    expires_at: Option<Time>,
    last_used_at: Option<Time>,
}

/// A rotated key's old secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviousLine {
    sha256: Hex<32>,
    ends_at: Time,
}

/// A subscription and its secret.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionLine {
    pub id: SubscriptionId,
    pub account_id: AccountId,
    pub integration_id: Option<IntegrationId>,
    url: String,
    events: Vec<TypePattern>,
    description: Option<String>,
    #[serde(default)]
    filter: Option<Filter>,
    #[serde(default)]
    format: Format,
    /// The keys that sign, the newest first. Before version 3 there was one, in a member of its own.
    #[serde(default)]
    keys: Vec<KeyLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(default)]
    headers: Vec<(String, String)>,
    max_in_flight: Option<u16>,
    #[serde(default)]
    rate_limit: Option<u32>,
    #[serde(default)]
    ordering: Ordering,
    retry_schedule_ms: Option<Vec<u64>>,
    /// Why it is paused, if it is.
    paused: Option<String>,
    created_at: Time,
}

/// A signing key, and when it stops signing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    secret: String,
    ends_at: Option<Time>,
}

impl AccountLine {
    /// An account as a line.
    pub fn of(account: &Account) -> Self {
        let Account {
            id,
            name,
            suspended,
            created_at_ms,
        } = account;
        Self {
            id: *id,
            name: name.clone(),
            suspended: *suspended,
            created_at: Time(*created_at_ms),
        }
    }

    /// What makes it.
    pub fn change(self) -> Change {
        let account = Account {
            id: self.id,
            name: self.name,
            suspended: self.suspended,
            created_at_ms: self.created_at.0,
        };
        Change::PutAccount(account.into())
    }
}

impl IntegrationLine {
    /// An integration as a line.
    pub fn of(integration: &Integration) -> Self {
        let Integration {
            id,
            account,
            name,
            ingest_key,
            enabled,
            created_at_ms,
        } = integration;
        Self {
            id: *id,
            account_id: *account,
            name: name.clone(),
            integration_key: ingest_key.clone(),
            enabled: *enabled,
            created_at: Time(*created_at_ms),
        }
    }

    /// What makes it.
    pub fn change(self) -> Change {
        let integration = Integration {
            id: self.id,
            account: self.account_id,
            name: self.name,
            ingest_key: self.integration_key,
            enabled: self.enabled,
            created_at_ms: self.created_at.0,
        };
        Change::PutIntegration(integration.into())
    }
}

impl ApiKeyLine {
    /// A key as a line.
    pub fn of(key: &KeyRecord) -> Self {
        let KeyRecord {
            id,
            account,
            name,
            hash,
            previous,
            permissions,
            integration,
            environment,
            quota,
            created_at_ms,
            expires_at_ms,
            last_used_at_ms,
        } = key;
        let permissions = permissions.names().into_iter().map(str::to_owned);
        Self {
            id: *id,
            account_id: *account,
            name: name.clone(),
            sha256: Hex(*hash.as_bytes()),
            previous: previous.map(|previous| PreviousLine {
                sha256: Hex(*previous.hash.as_bytes()),
                ends_at: Time(previous.ends_at_ms),
            }),
            permissions: permissions.collect(),
            integration_id: *integration,
            environment: *environment,
            rate_limit: *quota,
            created_at: Time(*created_at_ms),
            expires_at: expires_at_ms.map(Time),
            last_used_at: last_used_at_ms.map(Time),
        }
    }

    /// What makes it; an error names the member.
    pub fn change(self) -> Result<Change, String> {
        let permissions = Permissions::parse(&self.permissions)
            .map_err(|error| format!("permissions: {error}"))?;
        let key = KeyRecord {
            id: self.id,
            account: self.account_id,
            name: self.name,
            hash: KeyHash::from_bytes(self.sha256.0),
            previous: self.previous.map(|previous| PreviousSecret {
                hash: KeyHash::from_bytes(previous.sha256.0),
                ends_at_ms: previous.ends_at.0,
            }),
            permissions,
            integration: self.integration_id,
            environment: self.environment,
            quota: self.rate_limit,
            created_at_ms: self.created_at.0,
            expires_at_ms: self.expires_at.map(|time| time.0),
            last_used_at_ms: self.last_used_at.map(|time| time.0),
        };
        Ok(Change::PutKey(key.into()))
    }
}

impl SubscriptionLine {
    /// A subscription as a line, its secrets opened with these keys.
    pub fn of(subscription: &Subscription, ring: &Keyring) -> Result<Self, SealError> {
        let Subscription {
            id,
            account,
            integration,
            url,
            events,
            filter,
            description,
            keys,
            format,
            headers,
            max_in_flight,
            rate_limit,
            ordering,
            retry_schedule,
            status,
            created_at_ms,
        } = subscription;
        let owner = id.to_bits();
        let schedule = retry_schedule.as_ref();
        let key = |key: &LiveKey| {
            Ok(KeyLine {
                secret: ring.open(&key.secret, owner)?.reveal(),
                ends_at: key.ends_at_ms.map(Time),
            })
        };
        let header = |header: &CustomHeader| {
            let value = ring.open_bytes(&header.value, owner)?;
            Ok((
                header.name.clone(),
                String::from_utf8_lossy(&value).into_owned(),
            ))
        };
        Ok(Self {
            id: *id,
            account_id: *account,
            integration_id: *integration,
            url: url.clone(),
            events: events.clone(),
            description: description.clone(),
            filter: filter.clone(),
            format: *format,
            keys: keys.iter().map(key).collect::<Result<_, _>>()?,
            secret: None,
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
            max_in_flight: *max_in_flight,
            rate_limit: *rate_limit,
            ordering: ordering.clone(),
            retry_schedule_ms: schedule.map(|schedule| schedule.waits_ms().to_vec()),
            paused: match status {
                SubscriptionStatus::Active => None,
                SubscriptionStatus::Paused { reason } => Some(reason.clone()),
            },
            created_at: Time(*created_at_ms),
        })
    }

    /// What makes it, its secrets sealed; an error names the member.
    pub fn change(self, ring: &Keyring) -> Result<Change, String> {
        let owner = self.id.to_bits();
        let only = self.secret.map(|secret| KeyLine {
            secret,
            ends_at: None,
        });
        let keys = self.keys.into_iter().chain(only);
        let keys = keys.map(|line| {
            let key = SigningKey::parse(&line.secret).map_err(|error| format!("secret {error}"))?;
            let sealed = ring.seal(&key, owner, nonce()?);
            Ok(LiveKey {
                secret: sealed.map_err(|error| format!("secret: {error}"))?,
                ends_at_ms: line.ends_at.map(|time| time.0),
            })
        });
        let keys: Vec<LiveKey> = keys.collect::<Result<_, String>>()?;
        if keys.is_empty() {
            return Err("keys: there must be one".to_owned());
        }
        let headers = self.headers.into_iter().map(|(name, value)| {
            let sealed = ring.seal_bytes(value.as_bytes(), owner, nonce()?);
            let value = sealed.map_err(|error| format!("headers: {error}"))?;
            Ok(CustomHeader { name, value })
        });
        let schedule = self.retry_schedule_ms.map(Schedule::new).transpose();
        let subscription = Subscription {
            id: self.id,
            account: self.account_id,
            integration: self.integration_id,
            url: self.url,
            events: self.events,
            filter: self.filter,
            description: self.description,
            keys,
            format: self.format,
            headers: headers.collect::<Result<_, String>>()?,
            max_in_flight: self.max_in_flight,
            rate_limit: self.rate_limit,
            ordering: self.ordering,
            retry_schedule: schedule.map_err(|error| format!("retry_schedule_ms {error}"))?,
            status: match self.paused {
                None => SubscriptionStatus::Active,
                Some(reason) => SubscriptionStatus::Paused { reason },
            },
            created_at_ms: self.created_at.0,
        };
        Ok(Change::PutSubscription(subscription.into()))
    }
}

fn nonce() -> Result<[u8; 24], String> {
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(nonce)
}
