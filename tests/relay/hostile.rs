//! Receivers that mean harm: whatever they do, the attempt's record says it in the same few words each
//! time, and costs a bounded time, a bounded number of bytes and no memory.

mod doings;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::date_time_ymd;
use serde_json::{Value, json};

use self::doings::Says::{self, NoEnd, NoHead, Whole};
use self::doings::{DOINGS, listen};
use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;
use crate::support::tls::{TlsProxy, certificate};

/// How often everything is done: each time with the same result.
const ROUNDS: u64 = 3;
/// What the relay reads of a response, and what the buffers between may swallow.
const MAX_TAKEN_BYTES: u64 = 64 << 20;
/// How much the relay may grow over all of it: what was sent is more than that many times over.
const MAX_GROWTH_MIB: u64 = 32;
/// How much of a response is kept.
const KEPT_BYTES: usize = 4096;

/// Everybody that is tried, for as long as this is kept.
struct Street {
    /// What each does, what is said of it, and where it is.
    all: Vec<(String, Says, String)>,
    proxies: Vec<TlsProxy>,
    redirecting: Vec<Receiver>,
}

impl Street {
    fn open(taken: &Arc<AtomicU64>) -> Self {
        let doings = DOINGS.iter();
        let all =
            doings.map(|(name, says, doing)| ((*name).to_owned(), *says, listen(*doing, taken)));
        let (proxies, redirecting) = (Vec::new(), Vec::new());
        Self {
            all: all.collect(),
            proxies,
            redirecting,
        }
    }

    fn add(&mut self, name: &str, says: Says, url: String) {
        self.all.push((name.to_owned(), says, url));
    }

    fn at(&self, name: &str) -> String {
        let found = self.all.iter().find(|known| known.0 == name);
        found.unwrap().2.clone()
    }

    fn add_absent(&mut self) {
        let elsewhere = self.at("hangs up").replace("127.0.0.1", "127.0.0.9");
        self.add("is not there", NoHead("connect"), elsewhere);
        let nowhere = format!("http://{}.example/", "x".repeat(64));
        self.add("has a name without an address", NoHead("resolve"), nowhere);
    }

    /// With certificates in front of whoever listens there.
    fn add_tls(&mut self, server: SocketAddr) {
        let secure = |url: String| url.replace("http:", "https:");
        let plain = secure(self.at("speaks something else"));
        self.add("does not speak TLS", NoHead("tls"), plain);
        let mute = secure(self.at("never answers"));
        self.add("does not answer in TLS", NoHead("timeout"), mute);
        let mut expired = certificate("127.0.0.1");
        expired.not_after = date_time_ymd(2020, 1, 1);
        for (name, about) in [
            ("is vouched for by a stranger", certificate("127.0.0.1")),
            ("is somebody else", certificate("elsewhere.example")),
            ("shows an expired certificate", expired),
        ] {
            let proxy = TlsProxy::showing(&about, server);
            self.add(name, NoHead("tls"), proxy.url());
            self.proxies.push(proxy);
        }
    }

    fn add_redirects(&mut self, to: &str) {
        for status in [301, 302, 303, 307, 308] {
            let to = to.to_owned();
            let receiver =
                Receiver::answering(move |_| Reply::Answer(status, vec![("location", to.clone())]));
            let name = format!("redirects with {status}");
            self.add(&name, Whole(status.into()), receiver.url());
            self.redirecting.push(receiver);
        }
    }
}

/// The only attempt of each delivery of an event, by its subscription.
fn attempts(relay: &Relay, uuid: &str, count: usize) -> BTreeMap<String, Value> {
    eventually("an attempt of each delivery", || {
        let event = relay.event(uuid)?;
        let deliveries = event["deliveries"].as_array()?;
        let made = deliveries.iter().filter_map(|delivery| {
            let attempt = delivery["attempts"].get(0)?;
            Some((text(&delivery["subscription_id"]), attempt.clone()))
        });
        let made: BTreeMap<_, _> = made.collect();
        (made.len() == count).then_some(made)
    })
}

#[test]
fn whatever_a_receiver_does_is_told_in_the_same_words_and_costs_little() {
    let relay = Relay::with(&[("DELIVERY__TIMEOUT", "2s")]);
    let shop = relay.integration("shop");
    let elsewhere = Receiver::start();
    let taken = Arc::new(AtomicU64::new(0));
    let mut street = Street::open(&taken);
    street.add_absent();
    street.add_tls(elsewhere.address());
    street.add_redirects(&elsewhere.url());
    let subscribed = street.all.iter().map(|(name, says, url)| {
        let wish = json!({ "url": url, "events": ["**"], "retry_schedule": ["0s"] });
        (relay.subscribe_as(&wish).id, (name.as_str(), *says))
    });
    let subscribed: BTreeMap<_, _> = subscribed.collect();
    let before_mib = relay.resident_mib();

    let mut wrong = String::new();
    for round in 0..ROUNDS {
        let uuid = relay.send(&shop, &samples::event("order.paid", round));
        for (subscription, attempt) in attempts(&relay, &uuid, street.all.len()) {
            let (name, expected) = subscribed[&subscription];
            if !expected.is_said_by(&attempt) {
                writeln!(wrong, "{round}: {name}: {attempt} in place of {expected:?}").unwrap();
            }
            let kept = attempt["response"]
                .as_str()
                .map_or(0, |it| it.chars().count());
            assert!(kept <= KEPT_BYTES, "{name}: {kept} bytes are kept");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    println!("{} receivers, each tried {ROUNDS} times", street.all.len());
    assert_eq!(
        elsewhere.count(),
        0,
        "a redirect was followed, or a certificate believed"
    );
    let taken = taken.load(Ordering::Relaxed);
    assert!(
        taken < MAX_TAKEN_BYTES,
        "{taken} bytes of one response were taken"
    );
    let after_mib = relay.resident_mib();
    println!(
        "{before_mib} MiB before, {after_mib} MiB after; at most {taken} bytes taken of a response"
    );
    assert!(
        after_mib < before_mib + MAX_GROWTH_MIB,
        "it grew from {before_mib} to {after_mib} MiB"
    );
}

#[test]
fn every_word_for_a_failure_is_explained() {
    let readme = include_str!("../../README.md");
    for (name, says, _) in DOINGS {
        if let NoHead(word) | NoEnd(word) = says {
            assert!(
                readme.contains(&format!("\n| `{word}` | ")),
                "{name}: {word}"
            );
        }
    }
}
