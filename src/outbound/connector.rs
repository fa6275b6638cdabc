//! The connector: from a URL to a connection that the guard has let through.
//!
//! A name is resolved anew for every connection, all its addresses are shown
//! to the guard, and only those very addresses are dialled, so a name that
//! resolves differently the second time gains nothing. It never asks a proxy
//! and never looks at the environment.
//!
//! Invariants: one forbidden address among several refuses the name; look-ups,
//! dialled addresses and the time per address are bounded.

use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_service::Service;

use super::guard::{Guard, is_localhost, permits_port};
use super::progress::Progress;
use super::sockets::{Socket, Sockets};

/// How long one address may take to accept: a lost first SYN is repeated after
/// one second, a second one after three.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// How long resolving, dialling and the TLS handshake may take together, for a
/// connection that nobody waits for any more.
pub const MAX_CONNECT_TIME: Duration = Duration::from_secs(30);

/// How many of a name's addresses are tried before giving up.
pub const MAX_DIALS: usize = 4;

/// Look-ups under way per client. Each holds a thread of the runtime's blocking
/// pool until the system's resolver gives up, even if nobody waits any more.
pub const MAX_LOOKUPS: usize = 128;

type BoxError = Box<dyn Error + Send + Sync>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The guard said no.
    #[error("address not allowed")]
    Refused,
    /// The name has no address.
    #[error("name not resolved")]
    Resolve(#[source] io::Error),
    /// No address accepted; the last one's reason.
    #[error("connection failed")]
    Connect(#[source] io::Error),
    /// The last address tried did not answer within [`CONNECT_TIMEOUT`], or the
    /// whole took longer than [`MAX_CONNECT_TIME`].
    #[error("connection timed out")]
    Timeout,
}

/// A look-up under way.
pub type Lookup = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Turns a name into addresses; tests bring their own that lies.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `name`.
    fn resolve(&self, name: String) -> Lookup;
}

/// The operating system's resolver.
#[derive(Debug)]
pub struct SystemResolver {
    slots: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: String) -> Lookup {
        let slots = Arc::clone(&self.slots);
        Box::pin(async move {
            let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            // A task of its own, so that the slot stays taken for as long as
            // the thread is busy, also when the caller has timed out.
            let lookup = tokio::spawn(async move {
                let found = lookup_host((name, 0)).await;
                drop(slot);
                Ok(found?.map(|address| address.ip()).collect())
            });
            lookup.await.map_err(io::Error::other)?
        })
    }
}

/// Opens vetted connections; cheap to clone.
#[derive(Clone)]
pub struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    guard: Arc<Guard>,
    resolver: Box<dyn Resolve>,
    sockets: Sockets,
}

impl Connector {
    /// A connector that asks `resolver` for addresses and `guard` about each, and opens no more
    /// connections than there is room for.
    pub fn new(guard: Arc<Guard>, resolver: impl Resolve, sockets: Sockets) -> Self {
        Self {
            shared: Arc::new(Shared {
                guard,
                resolver: Box::new(resolver),
                sockets,
            }),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Socket;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Socket, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let progress = Progress::of_this_task();
        Box::pin(async move {
            let vetted = progress.resolve(shared.vetted_addresses(&uri)).await?;
            let room = shared.sockets.room().await;
            let stream = progress.connect(dial(&vetted)).await?;
            Ok(Socket::new(stream, progress, room))
        })
    }
}

/// Bounds the time `inner` may take for a connection.
///
/// The pool finishes a connection in the background if another one came free
/// first, outside every request's timeout: a receiver that lets handshakes hang
/// would collect our sockets.
#[derive(Debug, Clone)]
pub struct Bounded<S> {
    inner: S,
    limit: Duration,
}

impl<S> Bounded<S> {
    /// `inner`, given up after `limit`.
    pub const fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<S> Service<Uri> for Bounded<S>
where
    S: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.inner.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(ConnectError::Timeout.into()),
            }
        })
    }
}

impl Shared {
    async fn vetted_addresses(&self, uri: &Uri) -> Result<Vec<SocketAddr>, ConnectError> {
        let scheme = uri.scheme_str().unwrap_or_default();
        let default_port = if scheme == "https" { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);
        if !self.guard.permits_scheme(scheme) || !permits_port(port) {
            return Err(ConnectError::Refused);
        }
        let host = uri.host().ok_or(ConnectError::Refused)?;
        let addresses = self.addresses(host).await?;
        if !addresses.iter().all(|&address| self.guard.permits(address)) {
            return Err(ConnectError::Refused);
        }
        let vetted = addresses.into_iter().take(MAX_DIALS);
        Ok(vetted.map(|ip| SocketAddr::new(ip, port)).collect())
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ConnectError> {
        if let Some(literal) = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
            // What doesn't parse carries a zone id, and no public address has one.
            let address: Ipv6Addr = literal.parse().map_err(|_| ConnectError::Refused)?;
            return Ok(vec![address.into()]);
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Ok(vec![address.into()]);
        }
        if !self.guard.permits_name(host) {
            return Err(ConnectError::Refused);
        }
        if is_localhost(host) {
            return Ok(self.loopback());
        }
        let lookup = self.resolver.resolve(host.to_owned());
        match lookup.await.map_err(ConnectError::Resolve)? {
            found if found.is_empty() => Err(ConnectError::Resolve(io::ErrorKind::NotFound.into())),
            found => Ok(found),
        }
    }

    /// `localhost` is loopback without asking anybody (RFC 6761). Systems list
    /// both families under it, and allowing one of them must be enough.
    fn loopback(&self) -> Vec<IpAddr> {
        [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
            .into_iter()
            .filter(|&address| self.guard.permits(address))
            .collect()
    }
}

async fn dial(addresses: &[SocketAddr]) -> Result<TcpStream, ConnectError> {
    let mut failure = ConnectError::Refused;
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(ConnectError::Connect)?;
                return Ok(stream);
            }
            Ok(Err(error)) => failure = ConnectError::Connect(error),
            Err(_) => failure = ConnectError::Timeout,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every name with the same addresses.
    struct Fixed(Vec<IpAddr>);

    impl Resolve for Fixed {
        fn resolve(&self, _: String) -> Lookup {
            let addresses = self.0.clone();
            Box::pin(async move { Ok(addresses) })
        }
    }

    fn guard(allow: &[&str]) -> Arc<Guard> {
        Arc::new(Guard::new(
            allow.iter().map(|net| net.parse().unwrap()).collect(),
        ))
    }

    fn fixed(addresses: &[&str]) -> Fixed {
        Fixed(addresses.iter().map(|ip| ip.parse().unwrap()).collect())
    }

    async fn connect(
        guard: &Arc<Guard>,
        resolver: impl Resolve,
        uri: &str,
    ) -> Result<TcpStream, ConnectError> {
        let mut connector = Connector::new(Arc::clone(guard), resolver, Sockets::new(1));
        Ok(connector.call(uri.parse().unwrap()).await?.into_inner())
    }

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn one_forbidden_address_among_allowed_ones_refuses_the_name() {
        let (_listener, port) = listen().await;
        let uri = format!("http://mixed.example:{port}/");
        for addresses in [["127.0.0.1", "10.0.0.1"], ["fe80::1", "127.0.0.1"]] {
            let refused = connect(&guard(&["127.0.0.0/8"]), fixed(&addresses), &uri).await;
            assert!(matches!(refused, Err(ConnectError::Refused)), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_accept() {
        let (_listener, port) = listen().await;
        let uri = format!("http://two.example:{port}/");
        let addresses = fixed(&["127.0.0.9", "127.0.0.1"]);
        let stream = connect(&guard(&["127.0.0.0/8"]), addresses, &uri)
            .await
            .unwrap();
        assert_eq!(
            stream.peer_addr().unwrap().to_string(),
            format!("127.0.0.1:{port}")
        );
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn localhost_needs_only_one_family_allowed_and_no_resolver() {
        let (_listener, port) = listen().await;
        let uri = format!("http://LocalHost.:{port}/");
        let lying = fixed(&["10.0.0.1"]);
        let stream = connect(&guard(&["127.0.0.0/8"]), lying, &uri)
            .await
            .unwrap();
        assert!(stream.peer_addr().unwrap().ip().is_loopback());
    }

    #[tokio::test]
    async fn a_connection_waits_for_room_until_another_is_closed() {
        let (_listener, port) = listen().await;
        let uri: Uri = format!("http://127.0.0.1:{port}/").parse().unwrap();
        let guard = guard(&["127.0.0.0/8"]);
        let mut connector = Connector::new(guard, fixed(&[]), Sockets::new(2));
        let open: [_; 2] = [
            connector.call(uri.clone()).await.unwrap(),
            connector.call(uri.clone()).await.unwrap(),
        ];
        let mut third = connector.call(uri);
        let early = timeout(Duration::from_millis(200), &mut third).await;
        assert!(early.is_err(), "there was no room");
        drop(open);
        third.await.unwrap();
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_not_resolved() {
        let missing = connect(&guard(&[]), fixed(&[]), "http://none.example/").await;
        assert!(
            matches!(missing, Err(ConnectError::Resolve(_))),
            "{missing:?}"
        );
    }

    #[tokio::test]
    async fn ports_and_schemes_are_limited_at_the_connection_too() {
        let loopback = guard(&["127.0.0.0/8"]);
        let https_only = Arc::new(Guard::clone(&loopback).https_only(true));
        for (guard, uri) in [
            (&loopback, "http://127.0.0.1:25/"),
            (&loopback, "ftp://127.0.0.1:2121/"),
            (&https_only, "http://127.0.0.1:8080/"),
        ] {
            let refused = connect(guard, fixed(&[]), uri).await;
            assert!(
                matches!(refused, Err(ConnectError::Refused)),
                "{uri}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_connection_that_hangs_is_given_up_even_if_nobody_waits() {
        struct Silent;
        impl Resolve for Silent {
            fn resolve(&self, _: String) -> Lookup {
                Box::pin(std::future::pending())
            }
        }
        let connector = Connector::new(guard(&[]), Silent, Sockets::new(1));
        let mut bounded = Bounded::new(connector, Duration::from_millis(200));
        let uri = Uri::from_static("http://silent.example/");
        let error = bounded.call(uri).await.unwrap_err();
        let error = error.downcast::<ConnectError>().unwrap();
        assert!(matches!(*error, ConnectError::Timeout), "{error:?}");
    }
}
