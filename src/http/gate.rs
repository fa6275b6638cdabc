//! Who may pass: recognising the caller and counting the request.
//!
//! The same few steps for both prefixes. Every answer to a recognised caller carries the window's
//! headers, errors included.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};

use super::error::{ApiError, Dialect};
use super::{ManageError, Relay, access, accounts, client_address, routes};
use crate::actors::auth::{AuthError, Principal};
use crate::actors::metrics::Door;
use crate::actors::now_ms;
use crate::actors::rate_limit::Class;
use crate::domain::api_key;
use crate::domain::permission::Permission;
use crate::domain::rate::Decision;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Names the account that the local operator acts for.
const ACCOUNT: HeaderName = HeaderName::from_static("x-postrider-account");

/// Marks connections that came through the local socket.
#[derive(Debug, Clone, Copy)]
pub struct LocalSocket;

/// Recognises the caller. Whoever tries too many keys that are none is told to stop; a key that is one
/// is never refused for that.
pub fn recognise(request: &HttpRequest, relay: &Relay) -> Result<Principal, ApiError> {
    let mut values = request.headers().get_all(API_KEY);
    let Some(value) = values.next() else {
        return without_key(request, relay);
    };
    let otherwise = if value.as_bytes().starts_with(api_key::PREFIX.as_bytes()) {
        AuthError::Invalid
    } else {
        AuthError::Format
    };
    let key = value.to_str().map_err(|_| otherwise);
    let recognised = match values.next() {
        Some(_) => Err(AuthError::Invalid),
        None => key.and_then(|key| relay.auth.authenticate(key)),
    };
    recognised.map_err(|error| match error {
        AuthError::Missing | AuthError::InUrl => error.into(),
        AuthError::Format | AuthError::Invalid => {
            let address = client_address::of(request, &relay.trusted_proxies);
            let over = address.and_then(|address| relay.rate_limit.note_failure(address));
            over.map_or(error.into(), |until_ms| ApiError::RateLimited {
                retry_after_seconds: seconds_until(until_ms).max(1),
            })
        }
    })
}

/// Whether a request shows a key, be it one or not.
pub fn shows_a_key(request: &HttpRequest) -> bool {
    request.headers().contains_key(API_KEY)
}

/// Whoever may open the local socket needs no key: the file's mode lets in only who runs the relay. He
/// acts for the account that he names, or for the oldest.
fn without_key(request: &HttpRequest, relay: &Relay) -> Result<Principal, ApiError> {
    if request.conn_data::<LocalSocket>().is_none() {
        let error = if names_a_key(request.query_string()) {
            AuthError::InUrl
        } else {
            AuthError::Missing
        };
        return Err(error.into());
    }
    let directory = relay.directory.view().read();
    let account = if let Some(id) = request.headers().get(ACCOUNT) {
        accounts::known(&directory, id.to_str().unwrap_or_default())?
    } else {
        let oldest = directory.accounts().min_by_key(|it| it.created_at_ms);
        Arc::clone(oldest.ok_or(ApiError::NotFound("Account"))?)
    };
    Ok(Principal::LocalOperator(account.id))
}

/// Whether somebody put a key where it does not belong.
fn names_a_key(query: &str) -> bool {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.any(|(name, value)| {
        let name = name.to_ascii_lowercase().replace(['-', '_'], "");
        value.starts_with(api_key::PREFIX) || ["apikey", "xapikey", "accesstoken"].contains(&&*name)
    })
}

/// Counts a request of this many permits; with none, it only asks whether there are any left. The local
/// operator is outside the windows.
pub fn count(
    relay: &Relay,
    who: &Principal,
    class: Class,
    permits: u32,
) -> (Option<Decision>, Result<(), ApiError>) {
    let Principal::Key(key, _) = who else {
        return (None, Ok(()));
    };
    let decision = relay.rate_limit.take(key.id, key.quota, class, permits);
    let refused = decision
        .filter(|decision| !decision.allowed || (permits == 0 && decision.remaining == 0))
        .map(|decision| ApiError::RateLimited {
            retry_after_seconds: seconds_until(decision.reset_at_ms).max(1),
        });
    (decision, refused.map_or(Ok(()), Err))
}

/// Tells of the window: the documented headers, and the IETF's (draft `ratelimit-headers`).
pub fn tell(headers: &mut HeaderMap, class: Class, decision: Option<Decision>) {
    let Some(decision) = decision else { return };
    let Decision {
        limit,
        remaining,
        reset_at_ms,
        window_ms,
        ..
    } = decision;
    let name = class.name();
    let reset_at = reset_at_ms.div_ceil(1000);
    let left = seconds_until(reset_at_ms);
    let window = window_ms / 1000;
    for (header, value) in [
        ("x-ratelimit-limit", limit.to_string()),
        ("x-ratelimit-remaining", remaining.to_string()),
        ("x-ratelimit-reset", reset_at.to_string()),
        (
            "ratelimit-policy",
            format!("\"{name}\";q={limit};w={window}"),
        ),
        ("ratelimit", format!("\"{name}\";r={remaining};t={left}")),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(header), value);
        }
    }
}

fn seconds_until(at_ms: u64) -> u64 {
    at_ms.saturating_sub(now_ms()).div_ceil(1000)
}

/// The gate before `/v1`: recognises, counts, lets pass, and tells.
pub async fn manage(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let relay = request.app_data::<web::Data<Relay>>().cloned();
    let class = routes::class_of(request.match_pattern().as_deref());
    let count_refusal = |why| {
        if let Some(relay) = &relay {
            relay.metrics.refused(Door::Manage, why);
        }
    };
    let refuse = |request: ServiceRequest, error: &ApiError, decision| {
        count_refusal(error.counted_as());
        let mut response = error.response(Dialect::Manage);
        tell(response.headers_mut(), class, decision);
        Ok(request.into_response(response).map_into_right_body())
    };
    let Some(relay) = &relay else {
        return refuse(request, &ApiError::Internal, None);
    };
    let who = match recognise(request.request(), relay) {
        Ok(who) => who,
        Err(error) => return refuse(request, &error, None),
    };
    let (decision, counted) = count(relay, &who, class, 1);
    if let Err(error) = counted {
        return refuse(request, &error, decision);
    }
    access::note(request.request(), &who);
    request.extensions_mut().insert(who);
    let mut response = next.call(request).await?;
    let error = response.response().error();
    if let Some(error) = error.and_then(|error| error.as_error::<ManageError>()) {
        count_refusal(error.counted_as());
    }
    tell(response.headers_mut(), class, decision);
    Ok(response.map_into_left_body())
}

/// The gate before `/local`: only the local socket passes. To all others, whatever their key, there is
/// nothing here.
pub async fn local(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.request().conn_data::<LocalSocket>().is_none() {
        let response = ApiError::NotFound("Route").response(Dialect::Manage);
        return Ok(request.into_response(response).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

/// The caller of a request that has passed the gate.
#[derive(Debug, Clone)]
pub struct Caller(pub Principal);

impl Caller {
    /// The caller, who must hold this right.
    pub fn with(self, right: Permission) -> Result<Principal, ApiError> {
        if self.0.may(right) {
            Ok(self.0)
        } else {
            Err(ApiError::Forbidden)
        }
    }
}

impl FromRequest for Caller {
    type Error = ManageError;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let who = request.extensions().get::<Principal>().cloned();
        std::future::ready(
            who.map(Self)
                .ok_or_else(|| ApiError::Auth(AuthError::Missing).into()),
        )
    }
}
