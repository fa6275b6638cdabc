//! What bounds deliveries: the relay's own client with nothing before it, and the receiver with nothing
//! but the generator before it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use postrider::outbound::{Client, Guard, Outgoing, Sockets};

use super::load::{self, Load, runtime};
use super::receiver::Sink;
use super::{CONNECTIONS, cores, median};

const ROUND: Duration = Duration::from_secs(1);
/// As many threads as the relay has for deliveries.
fn threads() -> usize {
    cores().div_ceil(2)
}

/// Deliveries a second without a relay, measured before every round with one.
#[derive(Default)]
pub struct Bounds {
    client: Vec<f64>,
    receiver: Vec<f64>,
}

impl Bounds {
    /// Measures both once more.
    pub fn measure(&mut self, to: &Sink, body: &str) {
        self.receiver.push(receiver(to, body));
        self.client.push(client(to, body));
    }

    /// The medians, and what part of them this rate is.
    pub fn shown(mut self, rate: f64) -> String {
        let (client, receiver) = (median(&mut self.client), median(&mut self.receiver));
        format!(
            "{:.2} of what the bare client posts ({client:.0}/s), {:.2} of what the receiver takes \
             ({receiver:.0}/s)",
            rate / client,
            rate / receiver
        )
    }
}

/// What the receiver takes from the generator.
fn receiver(to: &Sink, body: &str) -> f64 {
    let load = Load::new(to.address(), "/", "none", body);
    load::run(&load, CONNECTIONS, ROUND).rate()
}

/// What the client posts.
fn client(to: &Sink, body: &str) -> f64 {
    let began = Instant::now();
    let until = began + ROUND;
    let (address, body) = (to.address(), Bytes::copy_from_slice(body.as_bytes()));
    let posting = (0..threads()).map(|_| {
        let body = body.clone();
        std::thread::spawn(move || post_until(address, &body, until))
    });
    let posting: Vec<_> = posting.collect();
    let counts = posting.into_iter().map(|it| it.join().expect("it posts"));
    counts.sum::<usize>() as f64 / began.elapsed().as_secs_f64()
}

/// Posts over as many connections as a subscription has attempts in flight.
fn post_until(to: SocketAddr, body: &Bytes, until: Instant) -> usize {
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime(), async {
        let poster = Rc::new(Poster::to(to));
        let posting: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                let (poster, body) = (Rc::clone(&poster), body.clone());
                tokio::task::spawn_local(async move {
                    let mut count = 0;
                    while Instant::now() < until {
                        poster.post(body.clone()).await;
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let mut count = 0;
        for posting in posting {
            count += posting.await.expect("it posts");
        }
        count
    })
}

/// The client, and what the relay would send with it.
pub struct Poster {
    client: Client,
    url: http::Uri,
    headers: HeaderMap,
}

impl Poster {
    /// Posts to this address.
    pub fn to(address: SocketAddr) -> Self {
        let guard = Guard::new(vec!["127.0.0.0/8".parse().expect("a network")]);
        let client = Client::new(Arc::new(guard), Sockets::new(1024)).expect("a client");
        Self {
            client,
            url: format!("http://{address}/0").parse().expect("a URL"),
            headers: headers(address),
        }
    }

    /// Posts once.
    pub async fn post(&self, body: Bytes) {
        let outgoing = Outgoing {
            method: Method::POST,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body,
            timeout: Duration::from_secs(15),
        };
        let reply = self.client.send(outgoing).await.reply.expect("a reply");
        assert_eq!(reply.status, 200);
    }
}

/// As many bytes as a delivery's.
fn headers(address: SocketAddr) -> HeaderMap {
    let host = address.to_string();
    let signature = format!("v1,{}=", "x".repeat(43));
    let headers = [
        ("host", host.as_str()),
        ("user-agent", "Postrider/0.1.0"),
        ("webhook-id", "01a1ff79-3ae3-7000-9f23-e12f1c0d9d8c"),
        ("webhook-timestamp", "1764110000"),
        ("webhook-signature", &signature),
        ("x-postrider-event", "order.completed"),
        ("x-postrider-attempt", "1"),
        ("content-type", "application/json"),
    ];
    let headers = headers.map(|(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_str(value).expect("a value"))
    });
    headers.into_iter().collect()
}
