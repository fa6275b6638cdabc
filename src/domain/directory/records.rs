//! What is kept of accounts, integrations, keys and subscriptions.

use serde::{Deserialize, Serialize};

use crate::domain::api_key::{Environment, KeyHash};
use crate::domain::event::EventMeta;
use crate::domain::event_type::TypePattern;
use crate::domain::filter::{Body, Filter};
use crate::domain::format::Format;
use crate::domain::ids::{AccountId, IntegrationId, KeyId, SubscriptionId};
use crate::domain::ordering::Ordering;
use crate::domain::permission::Permissions;
use crate::domain::rate::Quota;
use crate::domain::retry::Schedule;
use crate::domain::sealed::{Sealed, SealingKeyId, SecretAtRest};

/// A tenant: what it owns is invisible to any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// What people call it.
    pub name: String,
    /// Its keys open nothing, and nothing is sent for it, until it is resumed.
    pub suspended: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
}

/// A door through which events of one account come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// The part of the ingest URL that names it; long and random enough not to be guessed.
    pub ingest_key: String,
    /// Whether events may come in through it.
    pub enabled: bool,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
}

/// The secret that a key had before it was rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// Its SHA-256.
    pub hash: KeyHash,
    /// When it opens nothing any more, in milliseconds of Unix time.
    pub ends_at_ms: u64,
}

/// What is kept of an API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its id, which gives no access.
    pub id: KeyId,
    /// Whose it is.
    pub account: AccountId,
    /// What people call it.
    pub name: String,
    /// The key's SHA-256; the key itself is nowhere.
    pub hash: KeyHash,
    /// What it was before it was rotated, while that still opens.
    pub previous: Option<PreviousSecret>,
    /// What it may do.
    pub permissions: Permissions,
    /// The only integration it reaches, if it is bound to one.
    pub integration: Option<IntegrationId>,
    /// A label.
    pub environment: Environment,
    /// Its own rate limit, in place of the configured ones.
    pub quota: Option<Quota>,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
    /// When it stops working by itself, in milliseconds of Unix time.
    pub expires_at_ms: Option<u64>,
    /// When it was last used, in milliseconds of Unix time.
    pub last_used_at_ms: Option<u64>,
}

impl KeyRecord {
    /// A key with this hash that may do everything in its account, for ever.
    pub fn new(
        id: KeyId,
        account: AccountId,
        name: String,
        hash: KeyHash,
        created_at_ms: u64,
    ) -> Self {
        Self {
            id,
            account,
            name,
            hash,
            previous: None,
            permissions: Permissions::ALL,
            integration: None,
            environment: Environment::Live,
            quota: None,
            created_at_ms,
            expires_at_ms: None,
            last_used_at_ms: None,
        }
    }

    /// Whether the secret with this SHA-256 is this key's at this time.
    pub fn is_opened_by(&self, hash: &KeyHash, now_ms: u64) -> bool {
        let previous = self
            .previous
            .filter(|previous| now_ms < previous.ends_at_ms);
        self.expires_at_ms.is_none_or(|end| now_ms < end)
            && (self.hash.matches(hash) || previous.is_some_and(|it| it.hash.matches(hash)))
    }
}

/// Whether a subscription is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SubscriptionStatus {
    /// It is.
    Active,
    /// It is not, and its events wait.
    Paused {
        /// Why, in a few words.
        reason: String,
    },
}

impl SubscriptionStatus {
    /// Its word for those who look.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused { .. } => "paused",
        }
    }
}

/// A key that signs for a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveKey {
    /// The key, sealed for the subscription's id.
    pub secret: SecretAtRest,
    /// When it stops signing, if another has taken its place; in milliseconds of Unix time.
    pub ends_at_ms: Option<u64>,
}

/// A header that is sent along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomHeader {
    /// Its name, in small letters.
    pub name: String,
    /// Its value, sealed for the subscription's id: it may be what opens the receiver.
    pub value: Sealed,
}

/// Someone who wants events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub account: AccountId,
    /// The only integration whose events it wants; all of the account's when there is none.
    pub integration: Option<IntegrationId>,
    /// Where events are sent.
    pub url: String,
    /// The types it wants.
    pub events: Vec<TypePattern>,
    /// What must be in an event; anything when there is none.
    pub filter: Option<Filter>,
    /// What it wants to be called.
    pub description: Option<String>,
    /// What its deliveries are signed with, the newest first; never none.
    pub keys: Vec<LiveKey>,
    /// How a body is sent.
    pub format: Format,
    /// What else is sent along.
    pub headers: Vec<CustomHeader>,
    /// How many attempts may be under way at once; the configured number when there is none.
    pub max_in_flight: Option<u16>,
    /// How many attempts may begin in a second; as many as there are when there is none.
    pub rate_limit: Option<u32>,
    /// In which order its events go out.
    pub ordering: Ordering,
    /// When failures are tried again; the configured schedule when there is none.
    pub retry_schedule: Option<Schedule>,
    /// Whether it is sent to.
    pub status: SubscriptionStatus,
    /// When it was made, in milliseconds of Unix time.
    pub created_at_ms: u64,
}

/// The name in `listen:NAME`: letters, digits, `-` and `_`.
pub fn listener(url: &str) -> Option<&str> {
    let name = url.strip_prefix(LISTEN)?;
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let fits =
        !name.is_empty() && name.len() <= MAX_LISTENER_NAME_BYTES && name.bytes().all(is_known);
    fits.then_some(name)
}

/// What the URL of a subscription begins with whose receiver holds a connection instead; its name follows.
const LISTEN: &str = "listen:";
/// The longest such name.
const MAX_LISTENER_NAME_BYTES: usize = 63;
/// Why a subscription is paused whose receiver does not hold one.
pub const NOBODY_LISTENS: &str = "nobody listens";

impl Subscription {
    /// The name of the receiver that holds a connection, if that is what it is sent to.
    pub fn listener(&self) -> Option<&str> {
        listener(&self.url)
    }

    /// One that wants these types and nothing special, and is sent to.
    pub fn new(
        id: SubscriptionId,
        account: AccountId,
        url: String,
        events: Vec<TypePattern>,
        secret: SecretAtRest,
        created_at_ms: u64,
    ) -> Self {
        let key = LiveKey {
            secret,
            ends_at_ms: None,
        };
        Self {
            id,
            account,
            integration: None,
            url,
            events,
            filter: None,
            description: None,
            keys: vec![key],
            format: Format::Raw,
            headers: Vec::new(),
            max_in_flight: None,
            rate_limit: None,
            ordering: Ordering::None,
            retry_schedule: None,
            status: SubscriptionStatus::Active,
            created_at_ms,
        }
    }

    /// Whether it wants an event, going by everything but its filter.
    pub fn may_want(&self, event: &EventMeta) -> bool {
        self.account == event.account
            && self
                .integration
                .is_none_or(|only| only == event.integration)
            && self.events.iter().any(|it| it.matches(&event.event_type))
    }

    /// Whether it wants an event, going by its filter.
    pub fn filter_wants(&self, body: &mut Body<'_>) -> bool {
        self.filter
            .as_ref()
            .is_none_or(|filter| filter.wants(body.read()))
    }

    /// Whether it wants to hear of the relay's own events. Of such a subscription nothing is told, to
    /// itself or another: so no telling leads to more of it.
    pub fn is_operational(&self) -> bool {
        self.events.iter().any(TypePattern::is_operational)
    }

    /// The keys that sign at this time, the newest first.
    pub fn live_keys(&self, now_ms: u64) -> impl Iterator<Item = &LiveKey> {
        let live = move |key: &&LiveKey| key.ends_at_ms.is_none_or(|end| now_ms < end);
        self.keys.iter().filter(live)
    }

    /// What everything secret in it is sealed under; `None` for what is not sealed.
    pub fn sealed_under(&self) -> impl Iterator<Item = Option<SealingKeyId>> {
        let keys = self.keys.iter().map(|key| key.secret.key());
        keys.chain(self.headers.iter().map(|it| Some(it.value.key())))
    }
}
