//! Other people's servers: the only folder that opens connections to strangers.
//!
//! * [`guard`] decides which addresses, names and ports may be reached.
//! * [`connector`] resolves a name, shows every address to the guard and dials
//!   only what it let through.
//! * [`sockets`] bounds how many connections are open at once.
//! * [`client`] sends one request and reads a bounded reply over pooled connections.
//! * [`progress`] knows how far an exchange has got.
//!
//! This page is what the floors above see of it: what goes out ([`Outgoing`]),
//! what comes of it ([`Sent`]), and the few words for what went wrong
//! ([`SendError`]). The floor never follows a redirect, never asks a proxy,
//! never skips a certificate, and never tells a tenant what answered behind a
//! forbidden address.

pub mod client;
pub mod connector;
#[cfg(test)]
mod forbidden;
pub mod guard;
pub mod progress;
pub mod sockets;

use std::error::Error;
use std::io;
use std::iter::successors;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, Uri};

pub use client::{Client, ClientError, KEPT_RESPONSE_BYTES, MAX_RESPONSE_BYTES};
use connector::ConnectError;
pub use guard::{Guard, MAX_URL_BYTES, UrlRefused};
pub use sockets::Sockets;

type Cause = Box<dyn Error + Send + Sync>;

/// One request to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// What is asked for.
    pub method: Method,
    /// An absolute `http` or `https` URL.
    pub url: Uri,
    /// Sent as they are, but for those that frame the message; `host` is added
    /// if it is missing.
    pub headers: HeaderMap,
    /// Sent as it is.
    pub body: Bytes,
    /// For the whole exchange, from resolving to the reply's last byte.
    pub timeout: Duration,
}

/// What came of a request.
#[derive(Debug)]
pub struct Sent {
    /// What the receiver answered, or why there is no complete reply.
    pub reply: Result<Reply, SendError>,
    /// Where the time went, as far as it got.
    pub timing: Timing,
}

/// What a receiver answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status code, a redirect's included.
    pub status: u16,
    /// Its header fields.
    pub headers: HeaderMap,
    /// How long the receiver asks us to wait, uncapped.
    pub retry_after: Option<Duration>,
    /// The body's first [`KEPT_RESPONSE_BYTES`].
    pub head: Vec<u8>,
}

/// Where the time of an exchange went. What it never came to is `None`; what it was at when it failed counts
/// with the time until then.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing {
    /// To look up the name; `None` on a connection that was open already.
    pub resolve: Option<Duration>,
    /// To have an address accept, without TLS; `None` on a connection that was open already.
    pub connect: Option<Duration>,
    /// From the beginning to the head of the reply, all of the above included.
    pub first_byte: Option<Duration>,
}

/// Why there is no complete reply. The sentence and [`SendError::class`] are for
/// tenants; the source may name addresses and is for the operator's log only.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The guard refused the address, name, port or scheme.
    #[error("address not allowed")]
    AddressNotAllowed,
    /// The name has no address.
    #[error("name not resolved")]
    Resolve(#[source] Cause),
    /// No address accepted the connection.
    #[error("connection failed")]
    Connect(#[source] Cause),
    /// The handshake failed: not TLS, an invalid certificate, a wrong name.
    #[error("TLS handshake failed")]
    Tls(#[source] Cause),
    /// The time was up, wherever the exchange stood.
    #[error("timed out")]
    Timeout,
    /// The connection was reset or ended before the reply did.
    #[error("connection closed early")]
    Closed(#[source] Cause),
    /// What came back is not HTTP/1.1, or its head is too large.
    #[error("invalid response")]
    InvalidResponse(#[source] Cause),
}

impl SendError {
    /// The fixed word for attempt records and metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::AddressNotAllowed => "address_not_allowed",
            Self::Resolve(_) => "resolve",
            Self::Connect(_) => "connect",
            Self::Tls(_) => "tls",
            Self::Timeout => "timeout",
            Self::Closed(_) => "closed",
            Self::InvalidResponse(_) => "invalid_response",
        }
    }
}

/// Wraps `error` in the class of the first of its causes that has one.
fn classify(
    error: impl Error + Send + Sync + 'static,
    otherwise: fn(Cause) -> SendError,
) -> SendError {
    let first: &(dyn Error + 'static) = &error;
    let mut causes = successors(Some(first), |&cause| cause.source());
    let class = causes.find_map(class_of).unwrap_or(otherwise);
    class(Box::new(error))
}

fn class_of(cause: &(dyn Error + 'static)) -> Option<fn(Cause) -> SendError> {
    if let Some(connect) = cause.downcast_ref::<ConnectError>() {
        return Some(match connect {
            ConnectError::Refused => |_| SendError::AddressNotAllowed,
            ConnectError::Resolve(_) => SendError::Resolve,
            ConnectError::Connect(_) => SendError::Connect,
            ConnectError::Timeout => |_| SendError::Timeout,
        });
    }
    if let Some(http) = cause.downcast_ref::<hyper::Error>() {
        return http.is_parse().then_some(SendError::InvalidResponse);
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // TLS 1.3 reports some refusals only after the handshake, from a read.
    let tls = io
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match io.kind() {
        _ if tls.is_some() => Some(SendError::Tls),
        // hyper's chunk decoder speaks in these kinds; sockets never do.
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Some(SendError::InvalidResponse)
        }
        _ => None,
    }
}

/// `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date from `now` on.
/// More seconds than fit are as many as do; anything else is `None`.
fn retry_after(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds: u32 = text.parse().unwrap_or(u32::MAX);
        return Some(Duration::from_secs(seconds.into()));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    date.duration_since(now()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected_s) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999", Some(u64::from(u32::MAX))),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:49:38 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, value.parse().unwrap());
            let expected = expected_s.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, || now), expected, "{value}");
        }
    }
}
