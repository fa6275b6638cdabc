//! The client: one request, one bounded reply, over pooled HTTP/1.1 connections.
//!
//! It never follows a redirect, never decompresses, and never retries a request
//! that may have reached the receiver; that is the schedule's decision.
//!
//! Invariants: one timeout covers resolving, connecting, sending and the whole
//! reply; at most [`MAX_RESPONSE_BYTES`] of a body, [`MAX_HEAD_BYTES`] of a head
//! and [`MAX_INTERIM_RESPONSES`] before it are taken in; whatever a receiver does ends in one of the few classes
//! of [`SendError`]. A connection that was not read to its end is closed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::Request;
use http::header::{self, HeaderName};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::ext::on_informational;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::connector::{Bounded, Connector, MAX_CONNECT_TIME, SystemResolver};
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

/// How many interim responses (1xx) may come before the one that counts.
pub const MAX_INTERIM_RESPONSES: usize = 16;

/// Idle connections kept per scheme, host and port.
pub const MAX_IDLE_PER_HOST: usize = 128;

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

/// Sends to strangers. Cheap to clone; the clones share one pool. Build one per
/// thread, so that a connection never leaves the thread that opened it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: legacy::Client<Bounded<HttpsConnector<Connector>>, Full<Bytes>>,
}

impl Client {
    /// A client that reaches only what `guard` permits, over as many connections as `sockets` has room for.
    pub fn new(guard: Arc<Guard>, sockets: Sockets) -> Result<Self, ClientError> {
        let connector = Connector::new(guard, SystemResolver::default(), sockets);
        Ok(Self::over(connector, trust_in_public_authorities()?))
    }

    fn over(connector: Connector, trust: ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // `retry_canceled_requests` stays on: a request is sent again, at once
        // and on another connection, only if an idle connection turned out dead
        // before a byte of the request was written.
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(Bounded::new(connector, MAX_CONNECT_TIME));
        Self { inner }
    }

    /// Sends a request and reads the reply. Any status is a reply.
    ///
    /// Dropping the future closes the connection it was using.
    pub async fn send(&self, outgoing: Outgoing) -> Sent {
        let progress = Progress::begin();
        let limit = outgoing.timeout;
        let mut request = request(outgoing);
        let connection = capture_connection(&mut request);
        // Boxed, for each future around it would move its kilobytes.
        let exchange = Box::pin(progress.follow(self.exchange(request, &progress)));
        let reply = timeout(limit, exchange).await;
        Sent {
            reply: reply.unwrap_or(Err(SendError::Timeout)),
            timing: progress.timing(&connection),
        }
    }

    async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
        progress: &Progress,
    ) -> Result<Reply, SendError> {
        if !matches!(request.uri().scheme_str(), Some("http" | "https")) {
            return Err(SendError::AddressNotAllowed);
        }
        let too_many = pin!(too_many_interim_responses(&mut request));
        let response = match select(self.inner.request(request), too_many).await {
            Either::Left((response, _)) => response.map_err(classified)?,
            Either::Right((cause, _)) => return Err(SendError::InvalidResponse(cause.into())),
        };
        progress.head_came();
        let (parts, body) = response.into_parts();
        Ok(Reply {
            status: parts.status.as_u16(),
            retry_after: retry_after(&parts.headers, SystemTime::now),
            headers: parts.headers,
            head: read_head(body).await?,
        })
    }
}

fn trust_in_public_authorities() -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?;
    Ok(config.with_webpki_roots().with_no_client_auth())
}

fn classified(error: legacy::Error) -> SendError {
    // A connect error that isn't the connector's own is TLS's.
    if error.is_connect() {
        classify(error, SendError::Tls)
    } else {
        classify(error, SendError::Closed)
    }
}

/// Ends once more interim responses have come than may; each of them would be skipped without a word.
fn too_many_interim_responses<B>(
    request: &mut Request<B>,
) -> impl Future<Output = &'static str> + use<B> {
    let (seen, too_many) = (AtomicUsize::new(0), Arc::new(Notify::new()));
    let tell = Arc::clone(&too_many);
    on_informational(request, move |_| {
        if seen.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM_RESPONSES {
            tell.notify_one();
        }
    });
    async move {
        too_many.notified().await;
        "too many interim responses"
    }
}

fn request(outgoing: Outgoing) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(outgoing.body));
    *request.method_mut() = outgoing.method;
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
