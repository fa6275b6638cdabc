//! The auth actor: who is asking.
//!
//! Mailbox: the default; only its own timer fills it. Checking a key is a look-up by hash in the
//! shared view and a comparison in constant time. The actor's work is to note, every two seconds and
//! in one change, which keys were used.
//!
//! Lost in a crash: up to two seconds of *last used*.

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
/// Keys noted at a time, so that a change stays small however many keys are in use.
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
    /// The holder of a key.
    Key(Arc<KeyRecord>),
    /// Whoever may open the local socket, acting for an account.
    LocalOperator(AccountId),
}

impl Principal {
    /// Who that is, for the audit.
    pub fn doer(&self) -> Doer {
        match self {
            Self::Key(key) => Doer::Key(key.id),
            Self::LocalOperator(_) => Doer::Operator,
        }
    }

    /// The account that is acted for.
    pub fn account(&self) -> AccountId {
        match self {
            Self::Key(key) => key.account,
            Self::LocalOperator(account) => *account,
        }
    }

    /// What may be done.
    pub fn permissions(&self) -> Permissions {
        match self {
            Self::Key(key) => key.permissions,
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
            Self::Key(key) => key.integration,
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
}

impl AuthHandle {
    /// Who holds this key.
    pub fn authenticate(&self, key: &str) -> Result<Principal, AuthError> {
        if key.is_empty() {
            return Err(AuthError::Missing);
        }
        if key.len() > api_key::MAX_BYTES {
            return Err(AuthError::Invalid);
        }
        api_key::check_form(key).map_err(|error| match error {
            KeyFormError::Prefix => AuthError::Format,
            KeyFormError::Mistyped => AuthError::Invalid,
        })?;
        let hash = KeyHash::of(key);
        let now_ms = now_ms();
        let record = self
            .view
            .key(&hash)
            .filter(|record| record.is_opened_by(&hash, now_ms))
            .filter(|record| !self.view.is_suspended(record.account))
            .ok_or(AuthError::Invalid)?;
        self.uses.insert(record.id, now_ms);
        Ok(Principal::Key(record))
    }
}

struct Auth {
    uses: Uses,
    directory: DirectoryHandle,
}

/// Starts the actor.
pub fn start(arbiter: &ArbiterHandle, directory: DirectoryHandle) -> AuthHandle {
    let uses = Uses::default();
    let handle = AuthHandle {
        view: Arc::clone(directory.view()),
        uses: Arc::clone(&uses),
    };
    Auth::start_in_arbiter(arbiter, move |_| Auth { uses, directory });
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
        let uses: Vec<(KeyId, u64)> = self
            .uses
            .iter()
            .take(MAX_NOTED)
            .map(|used| (*used.key(), *used.value()))
            .collect();
        if uses.is_empty() {
            return;
        }
        for (key, at_ms) in &uses {
            self.uses.remove_if(key, |_, used| used == at_ms);
        }
        let directory = self.directory.clone();
        let noted = async move {
            directory
                .change(move |_| Ok::<_, ()>((vec![Change::KeysUsed(uses)], ())))
                .await
        };
        ctx.spawn(wrap_future::<_, Self>(noted).map(|noted, _, _| {
            if let Err(error) = noted {
                log::debug!("when keys were last used could not be noted: {error:?}");
            }
        }));
    }
}
