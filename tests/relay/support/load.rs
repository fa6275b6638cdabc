//! Senders that never rest and count what they were promised, and receivers that count what came.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::http::{Answer, Connection};
use super::receiver::{Receiver, Reply};
use super::relay::{Integration, text};

/// How far senders may be ahead of the slowest receiver.
const MAX_AHEAD: usize = 3000;
const BATCH: u64 = 20;
/// Most events are small; some are large, so that the journal goes on to its next segment.
const SMALL_BYTES: u64 = 600;
const LARGE_BYTES: u64 = 250_000;
const LARGE_ONE_IN: u64 = 30;
/// How long the rest may take to arrive after the last restart.
const DRAIN: Duration = Duration::from_mins(1);

/// Every accepted uuid, and the mark of the body it was given for.
type Accepted = BTreeMap<String, u64>;

/// Stands for a body: all of them together would not fit into memory.
fn mark(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    integration: Integration,
    slowest: Arc<Counts>,
}

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    accepted: Accepted,
    finishing: bool,
}

/// Senders at work.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts senders that wait for a target.
    pub fn start(to: &Integration, senders: u64, chance: &mut Chance, slowest: &Tally) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            integration: to.clone(),
            slowest: Arc::clone(&slowest.counts),
        });
        let senders = (0..senders).map(|number| {
            let (shared, chance) = (Arc::clone(&shared), chance.fork());
            std::thread::spawn(move || Sender::new(number, shared, chance).run())
        });
        Self {
            senders: senders.collect(),
            shared,
        }
    }

    /// Where to send to from now on.
    pub fn aim_at(&self, target: Option<SocketAddr>) {
        self.shared.state().target = target;
        self.shared.changed.notify_all();
    }

    /// Waits until so many more are accepted; at most a second, as senders may be held back.
    pub fn wait_for_more(&self, events: u64) {
        let state = self.shared.state();
        let enough = state.accepted.len() + usize::try_from(events).unwrap();
        let waited =
            self.shared
                .changed
                .wait_timeout_while(state, Duration::from_secs(1), |state| {
                    state.accepted.len() < enough
                });
        drop(waited.unwrap());
    }

    /// Ends, once every sender has its last answer, and returns all that was accepted.
    pub fn finish(self) -> Accepted {
        self.shared.state().finishing = true;
        self.shared.changed.notify_all();
        for sender in self.senders {
            sender.join().expect("a sender found something wrong");
        }
        std::mem::take(&mut self.shared.state().accepted)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The relay, once there is one; `None` when it is time to end.
    fn target(&self) -> Option<SocketAddr> {
        let state = self.state();
        let waiting = |state: &mut State| state.target.is_none() && !state.finishing;
        let state = self.changed.wait_while(state, waiting).unwrap();
        state.target.filter(|_| !state.finishing)
    }

    fn is_far_ahead(&self) -> bool {
        self.state().accepted.len() > self.slowest.delivered() + MAX_AHEAD
    }

    fn accept(&self, uuids: impl Iterator<Item = String>, bodies: &[Vec<u8>]) {
        let mut state = self.state();
        for (uuid, body) in uuids.zip(bodies) {
            let before = state.accepted.insert(uuid, mark(body));
            assert_eq!(before, None, "a uuid was given twice");
        }
        self.changed.notify_all();
    }
}

struct Sender {
    number: u64,
    shared: Arc<Shared>,
    chance: Chance,
    connection: Option<(SocketAddr, Connection)>,
    sent: u64,
}

impl Sender {
    fn new(number: u64, shared: Arc<Shared>, chance: Chance) -> Self {
        Self {
            number,
            shared,
            chance,
            connection: None,
            sent: 0,
        }
    }

    fn run(mut self) {
        while let Some(target) = self.shared.target() {
            if self.shared.is_far_ahead() {
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            match self.chance.below(4) {
                0 => self.send_batch(target),
                1 => self.send_until_answered(),
                _ => self.send_one(target),
            }
        }
    }

    fn body(&mut self) -> Vec<u8> {
        self.sent += 1;
        let most = if self.chance.once_in(LARGE_ONE_IN) {
            LARGE_BYTES
        } else {
            SMALL_BYTES
        };
        let filling = "x".repeat(usize::try_from(self.chance.below(most)).unwrap());
        let (sender, n) = (self.number, self.sent);
        format!(r#"{{"event":"load.test","data":{{"sender":{sender},"n":{n},"x":"{filling}"}}}}"#)
            .into_bytes()
    }

    /// Sends an event; without an answer nobody knows, and nothing is promised.
    fn send_one(&mut self, target: SocketAddr) {
        let body = self.body();
        let path = self.shared.integration.path();
        if let Some(answer) = self.post(target, &path, None, &body) {
            self.take_one(&answer, body);
        }
    }

    fn take_one(&self, answer: &Answer, body: Vec<u8>) {
        let uuid = text(&answer.json()["uuid"]);
        self.shared.accept(std::iter::once(uuid), &[body]);
    }

    fn send_batch(&mut self, target: SocketAddr) {
        let bodies: Vec<_> = (0..=self.chance.below(BATCH))
            .map(|_| self.body())
            .collect();
        let whole = [b"{\"events\":[", &bodies.join(&b","[..])[..], b"]}"].concat();
        let path = format!("{}/batch", self.shared.integration.path());
        if let Some(answer) = self.post(target, &path, None, &whole) {
            let answer = answer.json();
            let uuids = answer["uuids"].as_array().unwrap();
            assert_eq!(uuids.len(), bodies.len());
            self.shared.accept(uuids.iter().map(text), &bodies);
        }
    }

    /// Repeats a request with an idempotency key, over as many restarts as it takes.
    fn send_until_answered(&mut self) {
        let body = self.body();
        let path = self.shared.integration.path();
        let key = format!("sender-{}-{}", self.number, self.sent);
        while let Some(target) = self.shared.target() {
            if let Some(answer) = self.post(target, &path, Some(&key), &body) {
                return self.take_one(&answer, body);
            }
        }
    }

    /// The answer, if there is one and it is a 202.
    fn post(
        &mut self,
        target: SocketAddr,
        path: &str,
        idempotency_key: Option<&str>,
        body: &[u8],
    ) -> Option<Answer> {
        let api_key = self.shared.integration.api_key.clone();
        let mut headers = vec![("X-API-Key", api_key.as_str())];
        headers.extend(idempotency_key.map(|key| ("Idempotency-Key", key)));
        let kept = self
            .connection
            .take()
            .filter(|(address, _)| *address == target);
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => Connection::open(target).ok()?,
        };
        let answer = connection.request("POST", path, &headers, body).ok()?;
        self.connection = Some((target, connection));
        // A repeat can meet its own first try.
        assert!(
            matches!(answer.status, 202 | 409 | 503),
            "{}",
            answer.text()
        );
        (answer.status == 202).then_some(answer)
    }
}

/// A receiver that counts.
pub struct Tally {
    receiver: Receiver,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// For each uuid how often it was answered with 200, and the mark of its body.
    delivered: Mutex<HashMap<String, (usize, u64)>>,
}

impl Counts {
    fn delivered(&self) -> usize {
        self.delivered.lock().unwrap().len()
    }
}

impl Tally {
    /// One that takes everything.
    pub fn steady() -> Self {
        Self::failing(|| false)
    }

    /// One that answers one in eight with 500.
    pub fn failing_now_and_then(seed: u64) -> Self {
        let chance = Mutex::new(Chance::seeded(seed));
        Self::failing(move || chance.lock().unwrap().once_in(8))
    }

    fn failing(fails: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let counts = Arc::new(Counts::default());
        let own = Arc::clone(&counts);
        let receiver = Receiver::forgetful(move |delivery| {
            if fails() {
                return Reply::status(500);
            }
            let mut delivered = own.delivered.lock().unwrap();
            let id = delivery.id().to_owned();
            let body = mark(&delivery.body);
            let seen = delivered.entry(id).or_insert((0, body));
            assert_eq!(seen.1, body, "a uuid came with two bodies");
            seen.0 += 1;
            Reply::status(200)
        });
        Self { receiver, counts }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.receiver.url()
    }

    /// Waits for everything that was accepted; returns what did not come, or came changed.
    pub fn wait_for_all(&self, accepted: &Accepted) -> Vec<String> {
        let deadline = Instant::now() + DRAIN;
        loop {
            let lost = self.missing(accepted);
            if lost.is_empty() || Instant::now() > deadline {
                return lost;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn missing(&self, accepted: &Accepted) -> Vec<String> {
        let delivered = self.counts.delivered.lock().unwrap();
        let came = |(uuid, body): &(&String, &u64)| {
            delivered
                .get(*uuid)
                .is_some_and(|(_, arrived)| arrived == *body)
        };
        let missing = accepted.iter().filter(|entry| !came(entry));
        missing.map(|(uuid, _)| uuid.clone()).collect()
    }

    /// Deliveries that came again although they had been answered with 200.
    pub fn duplicates(&self) -> usize {
        let delivered = self.counts.delivered.lock().unwrap();
        delivered.values().map(|(times, _)| times - 1).sum()
    }

    /// Uuids that came with the same body: what was repeated was accepted more than once.
    pub fn doubly_accepted(&self) -> usize {
        let delivered = self.counts.delivered.lock().unwrap();
        let bodies: HashSet<_> = delivered.values().map(|(_, body)| body).collect();
        delivered.len() - bodies.len()
    }
}
