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
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;

use super::connector::{Bounded, Connector, MAX_CONNECT_TIME, Resolve, SystemResolver};
use super::guard::Guard;
use super::sockets::{Opening, Sockets};
use super::{Outgoing, Reply, SendError, Timing, classify, retry_after};

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
    pub async fn post(&self, request: Outgoing) -> Result<Reply, SendError> {
        let exchange = tokio::time::timeout(request.timeout, self.exchange(request));
        exchange.await.unwrap_or(Err(SendError::Timeout))
    }

    async fn exchange(&self, outgoing: Outgoing) -> Result<Reply, SendError> {
        if !matches!(outgoing.url.scheme_str(), Some("http" | "https")) {
            return Err(SendError::AddressNotAllowed);
        }
        let mut request = Request::new(Full::new(outgoing.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = outgoing.url;
        *request.headers_mut() = outgoing.headers;
        for name in &FRAMING {
            request.headers_mut().remove(name);
        }
        let begun = Instant::now();
        let response = self.inner.request(request).await.map_err(|error| {
            // A connect error that isn't the connector's own is TLS's.
            if error.is_connect() {
                classify(error, SendError::Tls)
            } else {
                classify(error, SendError::Closed)
            }
        })?;
        let opened = response.extensions().get::<Opening>();
        let opened = opened.and_then(Opening::take);
        let timing = Timing {
            resolve: opened.map(|opened| opened.resolve),
            connect: opened.map(|opened| opened.connect),
            first_byte: begun.elapsed(),
        };
        Ok(Reply {
            timing,
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers(), SystemTime::now),
            head: read_head(response.into_body()).await?,
        })
    }
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
mod tests {
    use std::io;
    use std::sync::Mutex;

    use http::HeaderMap;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    use super::super::connector::Lookup;
    use super::*;

    const LOOPBACK: &str = "127.0.0.0/8";

    /// Answers each look-up with the last address left, then with an error.
    struct Scripted(Mutex<Vec<&'static str>>);

    impl Resolve for Scripted {
        fn resolve(&self, _: String) -> Lookup {
            let next = self.0.lock().unwrap().pop();
            let address = next.ok_or_else(|| io::ErrorKind::NotFound.into());
            Box::pin(async move { address.map(|ip| vec![ip.parse().unwrap()]) })
        }
    }

    fn guard(allow: &str) -> Arc<Guard> {
        Arc::new(Guard::new(vec![allow.parse().unwrap()]))
    }

    fn sockets() -> Sockets {
        Sockets::new(64)
    }

    fn scripted(allow: &str, addresses: &[&'static str]) -> Client {
        let resolver = Scripted(Mutex::new(addresses.to_vec()));
        Client::with_resolver(guard(allow), resolver, sockets()).unwrap()
    }

    fn outgoing(url: &str) -> Outgoing {
        Outgoing {
            url: url.parse().unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{}"),
            timeout: Duration::from_secs(10),
        }
    }

    async fn post(url: &str) -> Result<Reply, SendError> {
        let client = Client::new(guard(LOOPBACK), sockets()).unwrap();
        client.post(outgoing(url)).await
    }

    /// Runs `behave` for every connection; the channel gets what it returns.
    async fn receiver<F, T>(
        behave: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> (String, UnboundedReceiver<T>)
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, results) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, work) = (sender.clone(), behave(stream));
                tokio::spawn(async move { sender.send(work.await) });
            }
        });
        (url, results)
    }

    /// Reads one request, which ends with the body `{}`; empty if there is none.
    async fn read_request(stream: &mut TcpStream) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"{}") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
        String::from_utf8(request).unwrap()
    }

    /// A receiver that answers one request with `answer` and closes.
    async fn answering(answer: &str) -> String {
        let answer = answer.to_owned();
        let answer_once = move |mut stream| {
            let answer = answer.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(answer.as_bytes()).await
            }
        };
        receiver(answer_once).await.0
    }

    /// A receiver that says `start` and then `piece` at every `pace`, until it is
    /// hung up on or a gigabyte is out; tells how many bytes it got rid of.
    async fn endless(
        start: &'static str,
        piece: &str,
        pace: Duration,
    ) -> (String, UnboundedReceiver<usize>) {
        let piece = piece.to_owned();
        receiver(move |mut stream| {
            let piece = piece.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(start.as_bytes()).await.unwrap();
                let mut sent_bytes = 0;
                while sent_bytes < 1 << 30 && stream.write_all(piece.as_bytes()).await.is_ok() {
                    sent_bytes += piece.len();
                    tokio::time::sleep(pace).await;
                }
                sent_bytes
            }
        })
        .await
    }

    #[tokio::test]
    async fn a_reply_carries_status_and_body_and_the_connection_is_used_again() {
        let (url, mut requests) = receiver(async |mut stream: TcpStream| {
            let mut seen = Vec::new();
            for _ in 0..2 {
                seen.push(read_request(&mut stream).await);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
                let _ = stream.write_all(answer).await;
            }
            seen
        })
        .await;
        let mut request = outgoing(&url);
        for (name, value) in [("webhook-id", "1"), ("content-length", "7")] {
            request.headers.insert(name, value.parse().unwrap());
        }
        let client = Client::new(guard(LOOPBACK), sockets()).unwrap();
        for is_first in [true, false] {
            let reply = client.clone().post(request.clone()).await.unwrap();
            assert_eq!(reply.status, 200);
            assert_eq!(reply.head, b"fine");
            let timing = reply.timing;
            let opened = timing.resolve.zip(timing.connect);
            assert_eq!(opened.is_some(), is_first, "{timing:?}");
            let before = opened.map_or(Duration::ZERO, |(resolve, connect)| resolve + connect);
            assert!(timing.first_byte >= before, "{timing:?}");
        }
        for seen in requests.recv().await.unwrap() {
            assert!(seen.starts_with("POST /hook HTTP/1.1\r\n"), "{seen}");
            assert!(seen.contains("webhook-id: 1\r\n"), "{seen}");
            assert!(seen.contains("content-length: 2\r\n"), "{seen}");
        }
    }

    #[tokio::test]
    async fn an_endless_body_is_cut_off_and_its_connection_closed() {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
        let (url, mut sent_bytes) = endless(head, &"x".repeat(1 << 16), Duration::ZERO).await;
        let reply = post(&url).await.unwrap();
        assert_eq!(reply.head.len(), KEPT_RESPONSE_BYTES);
        // What the kernel's socket buffers swallow, and no more.
        assert!(sent_bytes.recv().await.unwrap() < 64 << 20);
    }

    #[tokio::test]
    async fn a_redirect_is_a_reply_and_not_followed() {
        let answer =
            "HTTP/1.1 307 Elsewhere\r\nlocation: /other\r\nretry-after: 7\r\n\r\nnever mind";
        let reply = post(&answering(answer).await).await.unwrap();
        assert_eq!(reply.status, 307);
        assert_eq!(reply.head, b"never mind");
        assert_eq!(reply.retry_after, Some(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn drips_and_an_endless_continue_end_with_the_timeout() {
        let (drip, flood) = (Duration::from_millis(20), Duration::ZERO);
        let hundreds = "HTTP/1.1 100 Continue\r\n\r\n".repeat(9999);
        for (start, piece, pace) in [
            ("HTTP/1.1 200 OK\r\nx: ", "y", drip),
            ("HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n", "y", drip),
            ("", &hundreds, flood),
        ] {
            let (url, mut sent_bytes) = endless(start, piece, pace).await;
            let mut request = outgoing(&url);
            request.timeout = Duration::from_millis(300);
            let client = Client::new(guard(LOOPBACK), sockets()).unwrap();
            let error = client.post(request).await.unwrap_err();
            assert_eq!(error.class(), "timeout", "{start:?} {piece:.26}");
            // The receiver noticed that it was hung up on.
            assert!(sent_bytes.recv().await.is_some());
        }
    }

    #[tokio::test]
    async fn broken_answers_have_their_class() {
        let long_head = format!(
            "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
            "y".repeat(MAX_HEAD_BYTES)
        );
        let many_headers = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for (answer, class) in [
            ("", "closed"),
            ("HTTP/1.1 200", "closed"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123", "closed"),
            (&format!("{chunked}5\r\n12"), "closed"),
            (&format!("{chunked}nonsense\r\n"), "invalid_response"),
            ("SSH-2.0-OpenSSH\r\n\r\n", "invalid_response"),
            ("HTTP/1.1 200 OK\r\nb\0d: x\r\n\r\n", "invalid_response"),
            (&long_head, "invalid_response"),
            (&many_headers, "invalid_response"),
        ] {
            let error = post(&answering(answer).await).await.unwrap_err();
            assert_eq!(error.class(), class, "{answer:.60}");
        }
    }

    #[tokio::test]
    async fn each_way_of_not_connecting_has_its_class() {
        let (plain, _) = receiver(async |mut stream: TcpStream| {
            stream.write_all(b"HTTP/1.1 400 Bad\r\n\r\n").await
        })
        .await;
        let client = scripted(LOOPBACK, &[]);
        for (url, class) in [
            (plain.replace("http:", "https:").as_str(), "tls"),
            (&plain.replace("127.0.0.1", "127.0.0.9"), "connect"),
            ("http://nowhere.example/", "resolve"),
            ("http://[::1]:8080/", "address_not_allowed"),
            ("ftp://127.0.0.1:8080/", "address_not_allowed"),
            ("/relative", "address_not_allowed"),
        ] {
            let error = client.post(outgoing(url)).await.unwrap_err();
            assert_eq!(error.class(), class, "{url}");
        }
    }

    #[tokio::test]
    async fn a_private_receiver_that_is_not_allowed_sees_no_connection() {
        let (url, mut connections) = receiver(async |_| ()).await;
        let client = Client::new(Arc::default(), sockets()).unwrap();
        let error = client.post(outgoing(&url)).await.unwrap_err();
        assert_eq!(error.to_string(), "address not allowed");
        assert!(connections.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_name_that_rebinds_between_two_look_ups_is_refused() {
        let url = answering("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
        let url = url.replace("127.0.0.1", "rebinds.example");
        // 127.0.0.1 stands in for a public address, 127.0.0.2 for a private one.
        let client = scripted("127.0.0.1/32", &["127.0.0.2", "127.0.0.1"]);
        assert_eq!(client.post(outgoing(&url)).await.unwrap().status, 200);
        let error = client.post(outgoing(&url)).await.unwrap_err();
        assert_eq!(error.class(), "address_not_allowed");
    }
}
