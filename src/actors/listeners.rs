//! Those who listen: receivers without an address, which hold a connection to the relay instead.
//!
//! Shared, not an actor. A subscription whose URL is `listen:NAME` is sent to whoever holds its connection:
//! a request goes down it, and the answer comes back as a request of its own. To everything else it is a
//! receiver like any other, with signatures, retries and timeouts. One listens at a time; who comes later
//! takes the place of who was there. Nobody is sent to who does not listen, so that nothing is used up.
//!
//! Lost in a crash: nothing; what was under way is attempted again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dashmap::DashMap;
use http::{HeaderMap, Method};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::attempt::Target;
use crate::domain::directory::Subscription;
use crate::domain::ids::SubscriptionId;
use crate::outbound::{Client, Outgoing, Reply, SendError, Sent, Timing};

/// Requests that one who listens may not have taken yet: as many as a lane has under way by default.
const MAX_WAITING: usize = 64;

/// What came of a request.
pub type Said = Result<Reply, SendError>;

/// Brings requests to receivers: over the network, or to those who listen.
#[derive(Debug, Clone)]
pub struct Carrier {
    client: Client,
    listeners: Listeners,
}

impl Carrier {
    /// Sends with this client, or to one of these.
    pub fn new(client: Client, listeners: Listeners) -> Self {
        Self { client, listeners }
    }

    /// Sends to a target.
    pub async fn send(&self, target: &Target, outgoing: Outgoing) -> Sent {
        if target.subscription.listener().is_none() {
            return self.client.send(outgoing).await;
        }
        let began = Instant::now();
        let reply = self.listeners.send(target.subscription.id, outgoing).await;
        let timing = Timing {
            first_byte: reply.is_ok().then(|| began.elapsed()),
            ..Timing::default()
        };
        Sent { reply, timing }
    }

    /// Whether there is somebody to send to.
    pub fn reaches(&self, subscription: &Subscription) -> bool {
        subscription.listener().is_none() || self.listeners.has(subscription.id)
    }
}

/// Who listens. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Listeners(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    connected: DashMap<SubscriptionId, Connected>,
    waiting: DashMap<(SubscriptionId, u64), oneshot::Sender<Said>>,
    last_number: AtomicU64,
}

#[derive(Debug)]
struct Connected {
    number: u64,
    out: mpsc::Sender<Exchange>,
    heard_at: Instant,
}

/// A request on its way to who listens.
#[derive(Debug)]
pub struct Exchange {
    /// What its answer comes back with.
    pub number: u64,
    /// What is asked for.
    pub method: Method,
    /// As they would be sent.
    pub headers: HeaderMap,
    /// As it would be sent.
    pub body: Bytes,
    /// How long there is for an answer.
    pub timeout: Duration,
}

/// One who listens, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    subscription: SubscriptionId,
    number: u64,
    exchanges: mpsc::Receiver<Exchange>,
    all: Listeners,
}

/// An answer that is waited for, until it is dropped.
struct Waiting<'a> {
    key: (SubscriptionId, u64),
    all: &'a Inner,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.all.waiting.remove(&self.key);
    }
}

impl Listeners {
    /// Listens from now on. Whoever did is told to go.
    pub fn listen(&self, subscription: SubscriptionId) -> Listener {
        let (out, exchanges) = mpsc::channel(MAX_WAITING);
        let number = self.number();
        let connected = Connected {
            number,
            out,
            heard_at: Instant::now(),
        };
        self.0.connected.insert(subscription, connected);
        Listener {
            subscription,
            number,
            exchanges,
            all: self.clone(),
        }
    }

    /// Whether somebody listens.
    pub fn has(&self, subscription: SubscriptionId) -> bool {
        self.0.connected.contains_key(&subscription)
    }

    /// Takes an answer in. Says whether somebody waited for it.
    pub fn answer(&self, subscription: SubscriptionId, number: u64, said: Said) -> bool {
        if let Some(mut connected) = self.0.connected.get_mut(&subscription) {
            connected.heard_at = Instant::now();
        }
        let waiting = self.0.waiting.remove(&(subscription, number));
        waiting.is_some_and(|(_, waiting)| waiting.send(said).is_ok())
    }

    async fn send(&self, subscription: SubscriptionId, outgoing: Outgoing) -> Said {
        let (began, number) = (Instant::now(), self.number());
        let (tell, told) = oneshot::channel();
        let waiting = Waiting {
            key: (subscription, number),
            all: &self.0,
        };
        self.0.waiting.insert(waiting.key, tell);
        let exchange = Exchange {
            number,
            method: outgoing.method,
            headers: outgoing.headers,
            body: outgoing.body,
            timeout: outgoing.timeout,
        };
        let connected = self.0.connected.get(&subscription);
        let taken = connected.is_some_and(|it| it.out.try_send(exchange).is_ok());
        if !taken {
            return Err(SendError::Connect(
                "nobody listens, or takes too little".into(),
            ));
        }
        match timeout(outgoing.timeout, told).await {
            Ok(Ok(said)) => said,
            Ok(Err(_)) => Err(SendError::Closed("whoever listened is gone".into())),
            Err(_) => {
                self.doubt(subscription, began);
                Err(SendError::Timeout)
            }
        }
    }

    /// Whoever has answered nothing at all for as long as an attempt may take is taken for gone, however
    /// long the connection may seem to be there.
    fn doubt(&self, subscription: SubscriptionId, since: Instant) {
        self.0
            .connected
            .remove_if(&subscription, |_, it| it.heard_at < since);
    }

    fn number(&self) -> u64 {
        self.0.last_number.fetch_add(1, Ordering::Relaxed)
    }
}

impl Listener {
    /// The next request; `None` once somebody else listens, or this one was taken for gone.
    pub async fn next(&mut self) -> Option<Exchange> {
        self.exchanges.recv().await
    }

    /// Stops. Says whether nobody listens now.
    pub fn stop(self) -> bool {
        let (all, subscription) = (self.all.clone(), self.subscription);
        drop(self);
        !all.has(subscription)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let all = &self.all.0;
        all.connected
            .remove_if(&self.subscription, |_, it| it.number == self.number);
        if !all.connected.contains_key(&self.subscription) {
            // Nobody will answer these.
            all.waiting
                .retain(|(subscription, _), _| *subscription != self.subscription);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> Outgoing {
        Outgoing {
            method: Method::POST,
            url: http::Uri::from_static("http://listener/"),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"{}"),
            timeout: Duration::from_millis(50),
        }
    }

    fn fine() -> Reply {
        Reply {
            status: 204,
            headers: HeaderMap::new(),
            retry_after: None,
            head: Vec::new(),
        }
    }

    #[tokio::test]
    async fn an_answer_comes_back_to_who_asked_and_is_taken_once() {
        let (listeners, id) = (Listeners::default(), SubscriptionId::from_bits(1));
        let mut listener = listeners.listen(id);
        let answering = async {
            let exchange = listener.next().await.unwrap();
            assert!(!listeners.answer(SubscriptionId::from_bits(2), exchange.number, Ok(fine())));
            assert!(listeners.answer(id, exchange.number, Ok(fine())));
            assert!(!listeners.answer(id, exchange.number, Ok(fine())));
        };
        let (said, ()) =
            futures_util::future::join(listeners.send(id, outgoing()), answering).await;
        assert_eq!(said.unwrap().status, 204);
    }

    #[tokio::test]
    async fn who_says_nothing_is_gone_and_who_comes_later_takes_the_place() {
        let (listeners, id) = (Listeners::default(), SubscriptionId::from_bits(1));
        let refused = listeners.send(id, outgoing()).await;
        assert!(matches!(refused, Err(SendError::Connect(_))));
        let mut first = listeners.listen(id);
        let mut second = listeners.listen(id);
        assert!(first.next().await.is_none());
        assert!(!first.stop(), "the second listens");
        let silent = listeners.send(id, outgoing()).await;
        assert!(matches!(silent, Err(SendError::Timeout)));
        assert!(second.next().await.is_some(), "it was sent");
        assert!(second.next().await.is_none());
        assert!(!listeners.has(id));
    }

    #[tokio::test]
    async fn what_is_under_way_ends_with_who_listened() {
        let (listeners, id) = (Listeners::default(), SubscriptionId::from_bits(1));
        let listener = listeners.listen(id);
        let leaving = async { assert!(listener.stop()) };
        let (said, ()) = futures_util::future::join(listeners.send(id, outgoing()), leaving).await;
        assert!(matches!(said, Err(SendError::Closed(_))));
    }
}
