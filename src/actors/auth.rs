//! The auth actor: who is asking.
//!
//! Mailbox: the default; only its own timer fills it. Checking a key is a look-up by hash in the
//! shared view and a comparison in constant time. The actor's work is to note, every two seconds and
//! in one change, which keys were used.
//!
//! Lost in a crash: up to two seconds of *last used*; in a clean stop, nothing.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, ActorFutureExt, ArbiterHandle, AsyncContext, Context};
use dashmap::DashMap;

use super::directory::{DirectoryHandle, View};
use super::now_ms;
use crate::domain::api_key::{self, KeyFormError, KeyHash};
use crate::domain::audit::Doer;
use crate::domain::directory::{Change, KeyRecord};
use crate::domain::ids::{AccountId, IntegrationId, KeyId};
use crate::domain::permission::{Permission, Permissions};

const NOTE_USE_EVERY: Duration = Duration::from_secs(2);
/// Keys noted by one change, so that it stays small however many keys are in use.
const MAX_NOTED: usize = 1000;

/// Why nobody was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There is no key.
    #[error("no API key was given")]
    Missing,
    /// There is one in the URL, where logs and histories keep it.
    #[error("API keys are not accepted in the URL, where logs keep them")]
    InUrl,
    /// It does not start with `lwa.`.
    #[error("the key has not the form of a key")]
    Format,
    /// It is not known, no longer known, or expired.
    #[error("the key is not valid")]
    Invalid,
}

/// Who is asking.
#[derive(Debug, Clone)]
pub enum Principal {
    /// The holder of a key, and the SHA-256 of the secret that he showed.
    Key(Arc<KeyRecord>, KeyHash),
    /// Whoever may open the local socket, acting for an account.
    LocalOperator(AccountId),
}

impl Principal {
    /// Who that is, for the audit.
    pub fn doer(&self) -> Doer {
        match self {
            Self::Key(key, _) => Doer::Key(key.id),
            Self::LocalOperator(_) => Doer::Operator,
        }
    }

    /// The account that is acted for.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Key(key, _) => key.account,
            Self::LocalOperator(account) => *account,
        }
    }

    /// What may be done.
    pub fn permissions(&self) -> Permissions {
        match self {
            Self::Key(key, _) => key.permissions,
            Self::LocalOperator(_) => Permissions::ALL,
        }
    }

    /// Whether this may be done.
    pub fn may(&self, right: Permission) -> bool {
        self.permissions().allow(right)
    }

    /// The only integration that is reached, if there is only one.
    pub fn bound_to(&self) -> Option<IntegrationId> {
        match self {
            Self::Key(key, _) => key.integration,
            Self::LocalOperator(_) => None,
        }
    }

    /// Whether what belongs to this integration (or to none in particular) is reached.
    pub fn reaches(&self, integration: Option<IntegrationId>) -> bool {
        self.bound_to().is_none_or(|only| integration == Some(only))
    }
}

type Uses = Arc<DashMap<KeyId, u64>>;

/// Checks keys.
#[derive(Debug, Clone)]
pub struct AuthHandle {
    view: Arc<View>,
    uses: Uses,
    directory: DirectoryHandle,
}

impl AuthHandle {
    /// Who holds this key.
    pub fn authenticate(&self, key: &str) -> Result<Principal, AuthError> {
        let now_ms = now_ms();
        let (record, hash) = recognise(&self.view, key, now_ms)?;
        self.uses.insert(record.id, now_ms);
        Ok(Principal::Key(record, hash))
    }

    /// Notes durably which keys were used since this was done last. What cannot be noted now is noted the
    /// next time.
    pub async fn note_uses(&self) {
        let used: Vec<(KeyId, u64)> = self
            .uses
            .iter()
            .map(|used| (*used.key(), *used.value()))
            .collect();
        for uses in used.chunks(MAX_NOTED) {
            for (key, at_ms) in uses {
                self.uses.remove_if(key, |_, used| used == at_ms);
            }
            let change = Change::KeysUsed(uses.to_vec());
            let noted = self
                .directory
                .change(|_| Ok::<_, ()>((vec![change], ())))
                .await;
            if let Err(error) = noted {
                for (key, at_ms) in uses {
                    self.uses.entry(*key).or_insert(*at_ms);
                }
                return log::debug!("when keys were last used could not be noted: {error:?}");
            }
        }
    }
}

/// The key that this text opens at this time, and its SHA-256.
pub fn recognise(
    view: &View,
    key: &str,
    now_ms: u64,
) -> Result<(Arc<KeyRecord>, KeyHash), AuthError> {
    if key.is_empty() {
        return Err(AuthError::Missing);
    }
    if !key.starts_with(api_key::PREFIX) {
        return Err(AuthError::Format);
    }
    if key.len() > api_key::MAX_BYTES {
        return Err(AuthError::Invalid);
    }
    api_key::check_form(key).map_err(|error| match error {
        KeyFormError::Prefix => AuthError::Format,
        KeyFormError::Mistyped => AuthError::Invalid,
    })?;
    let hash = KeyHash::of(key);
    let found = view.key(&hash);
    found
        .filter(|record| record.is_opened_by(&hash, now_ms))
        .filter(|record| !view.is_suspended(record.account))
        .map(|record| (record, hash))
        .ok_or(AuthError::Invalid)
}

struct Auth {
    handle: AuthHandle,
    busy: bool,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, directory: DirectoryHandle) -> AuthHandle {
    let handle = AuthHandle {
        view: Arc::clone(directory.view()),
        uses: Uses::default(),
        directory,
    };
    let own = handle.clone();
    Auth::start_in_arbiter(arbiter, move |_| Auth {
        handle: own,
        busy: false,
    });
    handle
}

impl Actor for Auth {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(NOTE_USE_EVERY, Self::note_uses);
    }
}

impl Auth {
    fn note_uses(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.busy, true) {
            return;
        }
        let handle = self.handle.clone();
        let noted = async move { handle.note_uses().await };
        ctx.spawn(wrap_future::<_, Self>(noted).map(|(), auth, _| auth.busy = false));
    }
}
