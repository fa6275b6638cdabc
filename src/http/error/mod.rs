//! Errors as callers see them: the one place where they become status codes and words.
//!
//! Two dialects, one for each prefix: under `/api/webhooks` exactly `error` and `message`, under `/v1`
//! exactly `error`, `message` and `timestamp`. Where the two documents of the project's origin give a
//! text, it is that text to the letter. Nothing here ever holds a key, a secret or a payload.

mod from;
mod said;

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::Value;

pub use self::said::{IngestBody, ManageBody};
use crate::actors::auth::AuthError;
use crate::actors::metrics::Refusal;
use crate::actors::now_ms;
use crate::actors::queue::QueueError;
use crate::domain::time;

/// How long a caller is asked to wait when the relay is overloaded.
const OVERLOAD_RETRY_SECONDS: u64 = 1;

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nobody was recognised.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The key may not do this.
    #[error("Your API key does not have permission to access this resource")]
    Forbidden,
    /// The integration takes no events for now.
    #[error("This integration is disabled; enable it to send events to it")]
    Disabled,
    /// There is no such thing, or it is another account's.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// The path exists, but not with this method.
    #[error("This method is not allowed here")]
    MethodNotAllowed,
    /// It is not JSON.
    #[error("{0}")]
    Malformed(String),
    /// It is well formed but wrong; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The body is larger than allowed.
    #[error("{what} must be at most {limit_bytes} bytes")]
    TooLarge {
        /// What is too large.
        what: String,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The body's type or encoding is not one that is read here.
    #[error("{0}")]
    MediaType(String),
    /// The body did not come in time.
    #[error("The body did not arrive in time")]
    BodyTimeout,
    /// The key's window is used up.
    #[error("Rate limit exceeded. Try again in {retry_after_seconds} seconds.")]
    RateLimited {
        /// When the window ends.
        retry_after_seconds: u64,
    },
    /// As much is waiting as may wait.
    #[error("{}", QueueError::Overloaded)]
    Overloaded,
    /// The relay cannot take it now.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When to try again.
        retry_after_seconds: u64,
        /// What that is counted as.
        counted_as: Refusal,
    },
    /// The relay failed; the cause is in its log.
    #[error("The relay failed to answer; the operator's log says why")]
    Internal,
}

/// Which words a prefix speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/api/webhooks`
    Ingest,
    /// `/v1`, and everything else.
    Manage,
}

impl ApiError {
    /// An error of the relay itself: logged here, once, and not shown.
    pub fn internal(error: &dyn std::fmt::Display) -> Self {
        log::error!("a request failed: {error}");
        Self::Internal
    }

    /// Something is larger than so many bytes.
    pub fn too_large(what: &str, limit_bytes: usize) -> Self {
        Self::TooLarge {
            what: what.to_owned(),
            limit_bytes,
        }
    }

    fn unavailable(
        error: &dyn std::error::Error,
        retry_after_seconds: u64,
        counted_as: Refusal,
    ) -> Self {
        Self::Unavailable {
            reason: error.to_string(),
            retry_after_seconds,
            counted_as,
        }
    }

    /// The answer.
    pub fn response(&self, dialect: Dialect) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.kind().0);
        if let Some(seconds) = self.retry_after_seconds() {
            response.insert_header((RETRY_AFTER, seconds));
        }
        match dialect {
            Dialect::Ingest => response.json(self.ingest_body()),
            Dialect::Manage => response.json(self.manage_body(now_ms())),
        }
    }

    /// Status and body as they would be at this time, for the description of the interface.
    pub fn example(&self, dialect: Dialect, at_ms: u64) -> serde_json::Result<(u16, Value)> {
        let body = match dialect {
            Dialect::Ingest => serde_json::to_value(self.ingest_body()),
            Dialect::Manage => serde_json::to_value(self.manage_body(at_ms)),
        };
        Ok((self.kind().0.as_u16(), body?))
    }

    fn ingest_body(&self) -> IngestBody {
        let (_, _, title) = self.kind();
        let (error, message) = self.ingest_words(title);
        IngestBody { error, message }
    }

    fn manage_body(&self, at_ms: u64) -> ManageBody {
        let (_, error, _) = self.kind();
        ManageBody {
            error,
            message: self.manage_message(),
            timestamp: time::rfc3339_seconds(at_ms),
        }
    }

    /// Status, the word of the management dialect, the title of the ingest dialect.
    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Auth(_) => (StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "Invalid API key"),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "FORBIDDEN",
                "Insufficient permissions",
            ),
            Self::Disabled => (StatusCode::FORBIDDEN, "FORBIDDEN", "Integration disabled"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "NOT_FOUND", "Not found"),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "METHOD_NOT_ALLOWED",
                "Method not allowed",
            ),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "MALFORMED_JSON", "Malformed JSON"),
            Self::Invalid(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "VALIDATION_FAILED",
                "Validation failed",
            ),
            Self::Conflict(_) => (StatusCode::CONFLICT, "CONFLICT", "Conflict"),
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "PAYLOAD_TOO_LARGE",
                "Payload too large",
            ),
            Self::MediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "UNSUPPORTED_MEDIA_TYPE",
                "Unsupported media type",
            ),
            Self::BodyTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "REQUEST_TIMEOUT",
                "Request timeout",
            ),
            Self::RateLimited { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "RATE_LIMITED",
                "Rate limit exceeded",
            ),
            Self::Overloaded | Self::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "UNAVAILABLE",
                "Service unavailable",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "INTERNAL",
                "Internal error",
            ),
        }
    }

    /// What it is counted as.
    pub fn counted_as(&self) -> Refusal {
        match self {
            Self::Auth(_) => Refusal::Unauthorized,
            Self::Forbidden | Self::Disabled => Refusal::Forbidden,
            Self::NotFound(_) | Self::MethodNotAllowed => Refusal::NotFound,
            Self::Malformed(_) | Self::TooLarge { .. } | Self::MediaType(_) | Self::BodyTimeout => {
                Refusal::Unreadable
            }
            Self::Invalid(_) => Refusal::Invalid,
            Self::Conflict(_) => Refusal::Conflict,
            Self::RateLimited { .. } => Refusal::RateLimited,
            Self::Overloaded => Refusal::Overloaded,
            Self::Unavailable { counted_as, .. } => *counted_as,
            Self::Internal => Refusal::Failed,
        }
    }

    fn ingest_words(&self, title: &'static str) -> (&'static str, String) {
        match self {
            Self::Auth(AuthError::Missing) => (
                "Missing API key",
                "API key is required in X-API-Key header".to_owned(),
            ),
            Self::Auth(error @ AuthError::InUrl) => (
                "Missing API key",
                format!("{error}. Include yours in the X-API-Key header."),
            ),
            Self::Auth(_) => (
                title,
                "The provided API key is not valid or has been revoked".to_owned(),
            ),
            other => (title, other.to_string()),
        }
    }

    fn manage_message(&self) -> String {
        match self {
            Self::Auth(AuthError::Missing) => {
                "Missing API key. Include your API key in the X-API-Key header.".to_owned()
            }
            Self::Auth(AuthError::Format) => {
                "Invalid API key format. Keys must start with 'lwa.' prefix.".to_owned()
            }
            Self::Auth(error @ AuthError::InUrl) => {
                format!("{error}. Include yours in the X-API-Key header.")
            }
            Self::Auth(AuthError::Invalid) => {
                "Invalid API key. Check that your key is correct and active.".to_owned()
            }
            other => other.to_string(),
        }
    }

    fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::RateLimited {
                retry_after_seconds,
            }
            | Self::Unavailable {
                retry_after_seconds,
                ..
            } => Some(*retry_after_seconds),
            Self::Overloaded => Some(OVERLOAD_RETRY_SECONDS),
            _ => None,
        }
    }
}
