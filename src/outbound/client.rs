//! The client: one POST, one bounded reply, over pooled HTTP/1.1 connections.
//!
//! It never follows a redirect, never decompresses, and never retries a request
//! that may have reached the receiver; that is the schedule's decision.
//!
//! Invariants: one timeout covers resolving, connecting, sending and the whole
//! reply; at most [`MAX_RESPONSE_BYTES`] of a body and [`MAX_HEAD_BYTES`] of a
//! head are taken in; whatever a receiver does ends in one of the few classes
//! of [`SendError`]. A connection that was not read to its end is closed.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use tokio::time::timeout;

use super::connector::{Bounded, Connector, MAX_CONNECT_TIME, Resolve, SystemResolver};
use super::guard::Guard;
use super::progress::Progress;
use super::sockets::Sockets;
use super::{Outgoing, Reply, SendError, Sent, classify, retry_after};

/// How much of a response's body is read, give or take one read.
pub const MAX_RESPONSE_BYTES: usize = 16 * 1024;

/// How much of a response's body is kept.
pub const KEPT_RESPONSE_BYTES: usize = 4 * 1024;

/// How long a response's head may be. hyper takes at most 100 header fields by
/// default; saying so would cost an allocation per response.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Idle connections kept per scheme, host and port.
pub const MAX_IDLE_PER_HOST: usize = 64;

/// How long an idle connection is kept.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// How a message is framed on a connection is the client's to say, whatever
/// headers a caller passes on.
static FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The TLS library refused its own defaults.
    #[error("TLS could not be configured")]
    Tls(#[from] rustls::Error),
}

/// Posts to strangers. Cheap to clone; the clones share one pool. Build one per
/// thread, so that a connection never leaves the thread that opened it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: legacy::Client<Bounded<HttpsConnector<Connector>>, Full<Bytes>>,
}

impl Client {
    /// A client that reaches only what `guard` permits, over as many connections as `sockets` has room for.
    pub fn new(guard: Arc<Guard>, sockets: Sockets) -> Result<Self, ClientError> {
        Self::with_resolver(guard, SystemResolver::default(), sockets)
    }

    fn with_resolver(
        guard: Arc<Guard>,
        resolver: impl Resolve,
        sockets: Sockets,
    ) -> Result<Self, ClientError> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector::new(guard, resolver, sockets));
        // `retry_canceled_requests` stays on: a request is sent again, at once
        // and on another connection, only if an idle connection turned out dead
        // before a byte of the request was written.
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(Bounded::new(connector, MAX_CONNECT_TIME));
        Ok(Self { inner })
    }

    /// Sends `request` as a POST and reads the reply. Any status is a reply.
    ///
    /// Dropping the future closes the connection it was using.
    pub async fn post(&self, outgoing: Outgoing) -> Sent {
        let progress = Progress::begin();
        let limit = outgoing.timeout;
        let mut request = request(outgoing);
        let connection = capture_connection(&mut request);
        let exchange = progress.follow(self.exchange(request, &progress));
        let reply = timeout(limit, exchange).await;
        Sent {
            reply: reply.unwrap_or(Err(SendError::Timeout)),
            timing: progress.timing(&connection),
        }
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        progress: &Progress,
    ) -> Result<Reply, SendError> {
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(SendError::AddressNotAllowed);
        }
        let response = self.inner.request(request).await.map_err(|error| {
            // A connect error that isn't the connector's own is TLS's.
            if error.is_connect() {
                classify(error, SendError::Tls)
            } else {
                classify(error, SendError::Closed)
            }
        })?;
        progress.head_came();
        Ok(Reply {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), SystemTime::now),
            head: read_head(response.into_body()).await?,
        })
    }
}

fn request(outgoing: Outgoing) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(outgoing.body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = outgoing.url;
    *request.headers_mut() = outgoing.headers;
    for name in &FRAMING {
        request.headers_mut().remove(name);
    }
    request
}

/// Reads until the end or the cap. Dropping an unfinished body makes hyper
/// close its connection.
async fn read_head(mut body: Incoming) -> Result<Vec<u8>, SendError> {
    let mut head = Vec::new();
    let mut read_bytes = 0;
    while read_bytes < MAX_RESPONSE_BYTES
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|error| classify(error, SendError::Closed))?;
        if let Ok(data) = frame.into_data() {
            let room = KEPT_RESPONSE_BYTES - head.len();
            head.extend_from_slice(&data[..data.len().min(room)]);
            read_bytes += data.len();
        }
    }
    Ok(head)
}

#[cfg(test)]
mod tests;
