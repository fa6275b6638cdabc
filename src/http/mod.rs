//! Floor 3: the doors. HTTP in, HTTP out; the only place where errors become status codes.
//!
//! [`routes`] has every route on one page. A handler reads a request into parsed types, asks an actor,
//! and renders the answer; it holds no state of its own and takes no lock across an await.

pub mod account;
pub mod backup;
pub mod body;
pub mod content;
pub mod cursor;
pub mod deliveries;
pub mod error;
pub mod events;
pub mod gate;
pub mod health;
pub mod ingest;
pub mod integrations;
pub mod keys;
pub mod owned;
pub mod page;
pub mod routes;
pub mod search;
pub mod subscriptions;
pub mod time;

use std::sync::Arc;

use actix_web::{HttpResponse, ResponseError};

use self::cursor::Cursors;
use self::error::{ApiError, Dialect};
use crate::actors::auth::{AuthError, AuthHandle, Principal};
use crate::actors::directory::DirectoryHandle;
use crate::actors::dispatch::DispatchHandle;
use crate::actors::health::Health;
use crate::actors::now_ms;
use crate::actors::queue::QueueHandle;
use crate::actors::rate_limit::RateLimitHandle;
use crate::domain::directory::{Change, Directory};
use crate::outbound::Guard;
use crate::store::error::StoreError;
use crate::store::log::Log;

/// Everything that handlers ask.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Who is asking.
    pub auth: AuthHandle,
    /// How much they may ask.
    pub rate_limit: RateLimitHandle,
    /// Who there is.
    pub directory: DirectoryHandle,
    /// Takes events in.
    pub queue: QueueHandle,
    /// Knows what is open.
    pub dispatch: DispatchHandle,
    /// Knows what happened.
    pub log: Arc<Log>,
    /// Says which URLs may be subscribed.
    pub guard: Arc<Guard>,
    /// Says whether the relay can work.
    pub health: Health,
    /// Counts what bodies hold while they arrive.
    pub arriving: body::Arriving,
    /// Seals where pages end.
    pub cursors: Cursors,
    /// How large a request may be.
    pub limits: Limits,
    /// One backup at a time.
    pub backup: backup::Turn,
}

impl Relay {
    /// Has the directory changed for a caller, who must still be who he was when he was recognised: a
    /// key that was deleted while its request was on the way changes nothing.
    pub async fn change<T: Send + 'static>(
        &self,
        who: Principal,
        decide: impl FnOnce(&Directory, &Principal) -> Result<(Vec<Change>, T), ApiError>
        + Send
        + 'static,
    ) -> Result<T, ApiError> {
        let decided = self.directory.change(move |directory| {
            if let Principal::Key(key) = &who {
                let known = directory
                    .key(key.id)
                    .is_some_and(|known| known.hash == key.hash);
                if !known || key.expires_at_ms.is_some_and(|end| end <= now_ms()) {
                    return Err(ApiError::Auth(AuthError::Invalid));
                }
            }
            decide(directory, &who)
        });
        Ok(decided.await?)
    }
}

/// How large a request may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// One event.
    pub max_body_bytes: usize,
    /// A batch.
    pub max_batch_bytes: usize,
}

/// An error of a management request.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ManageError(ApiError);

impl<E: Into<ApiError>> From<E> for ManageError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl ResponseError for ManageError {
    fn status_code(&self) -> actix_web::http::StatusCode {
        self.0.response(Dialect::Manage).status()
    }

    fn error_response(&self) -> HttpResponse {
        self.0.response(Dialect::Manage)
    }
}

/// What a management handler returns.
pub type Answer = Result<HttpResponse, ManageError>;

/// Runs what may wait for the disk where nobody else waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = actix_web::web::block(work).await;
    Ok(done.map_err(|_| ApiError::internal(&"the pool of blocking threads is gone"))??)
}
