//! Someone who makes subscriptions and keys and takes them back while events flow, and who writes down
//! what was answered, because only that is promised.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::http::{Answer, Connection};
use crate::support::load::{Promises, Shared};
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::text;
use crate::support::tally::STANDSTILL;

/// What the subscriptions that come and go are for.
const EVENT_TYPE: &str = "load.churn";
/// As many are there at a time; each of the events goes to all of them.
const MAX_LIVE: usize = 6;
/// As many that take everything are left there for good.
const MAX_KEPT: usize = 4;
/// Keys that were taken back and are tried again, beside the latest.
const TRIED_AGAIN: u64 = 4;

/// A subscription, as far as answers tell. It is named by its number, which is in its URL.
#[derive(Debug)]
struct Plant {
    number: usize,
    id: String,
    made_at: Instant,
    /// When its DELETE was answered, in milliseconds of Unix time.
    gone_at: Option<(Instant, u64)>,
}

impl Plant {
    /// The odd ones answer 500 to everything, so that they always have retries due.
    fn takes(number: usize) -> bool {
        number.is_multiple_of(2)
    }
}

#[derive(Debug, Default)]
struct Arrived {
    taken: HashSet<String>,
    tried: HashSet<String>,
    /// When the latest attempt began, in seconds of Unix time.
    latest_s: u64,
}

type Arrivals = Arc<Mutex<BTreeMap<usize, Arrived>>>;

/// The thread at work.
pub struct Gardener {
    thread: JoinHandle<Garden>,
}

/// What was made and taken back.
pub struct Garden {
    shared: Arc<Shared>,
    chance: Chance,
    owner: String,
    receiver: Receiver,
    arrivals: Arrivals,
    connection: Option<(SocketAddr, Connection)>,
    made: usize,
    live: Vec<Plant>,
    kept: Vec<Plant>,
    gone: Vec<Plant>,
    live_keys: Vec<(String, String)>,
    revoked: Vec<String>,
}

impl Gardener {
    /// Starts to work wherever the load goes.
    pub fn start(shared: &Arc<Shared>, owner: &str, chance: &mut Chance) -> Self {
        let arrivals = Arrivals::default();
        let mut garden = Garden {
            shared: Arc::clone(shared),
            chance: chance.fork(),
            owner: owner.to_owned(),
            receiver: receiver(Arc::clone(&arrivals)),
            arrivals,
            connection: None,
            made: 0,
            live: Vec::new(),
            kept: Vec::new(),
            gone: Vec::new(),
            live_keys: Vec::new(),
            revoked: Vec::new(),
        };
        let thread = std::thread::spawn(move || {
            while let Some(target) = garden.shared.target() {
                garden.work(target);
                // Changes are many and small beside the events, not all there is.
                std::thread::park_timeout(Duration::from_millis(10));
            }
            garden
        });
        Self { thread }
    }

    /// Waits for the end of the load.
    pub fn finish(self) -> Garden {
        self.thread
            .join()
            .expect("the gardener found something wrong")
    }
}

fn receiver(arrivals: Arrivals) -> Receiver {
    Receiver::forgetful(move |delivery| {
        let number = delivery.path.rsplit('/').next().unwrap().parse().unwrap();
        let mut arrivals = arrivals.lock().unwrap();
        let arrived: &mut Arrived = arrivals.entry(number).or_default();
        let begun_s = delivery.header("webhook-timestamp").parse().unwrap();
        arrived.latest_s = arrived.latest_s.max(begun_s);
        arrived.tried.insert(delivery.id().to_owned());
        if Plant::takes(number) {
            arrived.taken.insert(delivery.id().to_owned());
            Reply::status(200)
        } else {
            Reply::status(500)
        }
    })
}

impl Garden {
    fn work(&mut self, target: SocketAddr) {
        match self.chance.below(6) {
            0 | 1 if self.live.len() < MAX_LIVE => self.plant(target),
            0..=2 => self.uproot(target),
            3 => self.make_key(target),
            4 => self.revoke_key(target),
            _ => self.try_keys(target),
        }
    }

    fn plant(&mut self, target: SocketAddr) {
        let number = self.made;
        self.made += 1;
        let mut schedule = vec!["0s"];
        schedule.resize(40, "250ms");
        let body = json!({
            "url": format!("{}/{number}", self.receiver.url()), "events": [EVENT_TYPE],
            "retry_schedule": schedule, "max_in_flight": 8,
        });
        if let Some(made) = self.create(target, "/v1/subscriptions", &body) {
            let plant = Plant {
                number,
                id: text(&made["id"]),
                made_at: Instant::now(),
                gone_at: None,
            };
            if Plant::takes(number) && self.kept.len() < MAX_KEPT && self.chance.once_in(2) {
                self.kept.push(plant);
            } else {
                self.live.push(plant);
            }
        }
    }

    /// Deletes one. Without an answer it stays on the list and is deleted again, until there is one.
    fn uproot(&mut self, target: SocketAddr) {
        if self.live.is_empty() {
            return;
        }
        let at = self.one_of(self.live.len());
        let path = format!("/v1/subscriptions/{}", self.live[at].id);
        if self.delete(target, &path) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            let now_ms = u64::try_from(now.as_millis()).unwrap();
            let mut plant = self.live.swap_remove(at);
            plant.gone_at = Some((Instant::now(), now_ms));
            self.gone.push(plant);
        }
    }

    fn make_key(&mut self, target: SocketAddr) {
        if let Some(made) = self.create(target, "/v1/account/api-keys", &json!({ "name": "churn" }))
        {
            self.live_keys.push((text(&made["id"]), text(&made["key"])));
        }
    }

    fn revoke_key(&mut self, target: SocketAddr) {
        if self.live_keys.is_empty() {
            return;
        }
        let at = self.one_of(self.live_keys.len());
        // Whether it works is not known until the DELETE is answered.
        let (id, key) = self.live_keys.swap_remove(at);
        let path = format!("/v1/account/api-keys/{id}");
        while let Some(target) = self.shared.target() {
            if self.delete(target, &path) {
                self.revoked.push(key);
                return;
            }
        }
        let _ = target;
    }

    fn try_keys(&mut self, target: SocketAddr) {
        if !self.live_keys.is_empty() {
            let at = self.one_of(self.live_keys.len());
            self.try_key(target, &self.live_keys[at].1.clone(), 200);
        }
        if let Some(latest) = self.revoked.last().cloned() {
            self.try_key(target, &latest, 401);
            for _ in 0..self.chance.below(TRIED_AGAIN) {
                let at = self.one_of(self.revoked.len());
                self.try_key(target, &self.revoked[at].clone(), 401);
            }
        }
    }

    #[track_caller]
    fn try_key(&mut self, target: SocketAddr, key: &str, status: u16) {
        if let Some(answer) = self.ask(target, key, "GET", "/v1/account", b"") {
            assert_eq!(answer.status, status, "{key}: {}", answer.text());
        }
    }

    fn one_of(&mut self, count: usize) -> usize {
        usize::try_from(self.chance.below(count as u64)).unwrap()
    }

    fn create(&mut self, target: SocketAddr, path: &str, body: &Value) -> Option<Value> {
        let owner = self.owner.clone();
        let answer = self.ask(target, &owner, "POST", path, body.to_string().as_bytes())?;
        (answer.status != 503).then(|| answer.expect(201))
    }

    /// Whether it is gone, now or because an earlier try without an answer had succeeded.
    fn delete(&mut self, target: SocketAddr, path: &str) -> bool {
        let owner = self.owner.clone();
        let answer = self.ask(target, &owner, "DELETE", path, b"");
        answer.is_some_and(|answer| {
            assert!(matches!(answer.status, 204 | 404 | 503), "{answer:?}");
            answer.status != 503
        })
    }

    fn ask(
        &mut self,
        target: SocketAddr,
        key: &str,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Option<Answer> {
        let kept = self.connection.take();
        let kept = kept.filter(|(address, _)| *address == target);
        let mut connection = match kept {
            Some((_, connection)) => connection,
            None => Connection::open(target).ok()?,
        };
        let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
        let answer = connection.request(method, path, &headers, body).ok()?;
        self.connection = Some((target, connection));
        Some(answer)
    }

    /// No key that was taken back opens anything; those that were not do.
    pub fn check_keys(&mut self, target: SocketAddr) {
        for key in self.revoked.clone() {
            self.try_key(target, &key, 401);
        }
        for (_, key) in self.live_keys.clone() {
            self.try_key(target, &key, 200);
        }
    }

    /// Waits for what the subscriptions that are still there were promised: what was accepted after they
    /// were made. Returns what does not come.
    pub fn wait_for_all(&self, promises: &Promises) -> Vec<String> {
        let (mut deadline, mut before) = (Instant::now() + STANDSTILL, usize::MAX);
        loop {
            let missing = self.missing(promises);
            if missing.len() < before {
                (deadline, before) = (Instant::now() + STANDSTILL, missing.len());
            }
            if missing.is_empty() || Instant::now() > deadline {
                return missing;
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }

    fn missing(&self, promises: &Promises) -> Vec<String> {
        // Whoever counts what comes must not wait for who looks for it.
        let taken = |plant: &Plant| {
            let arrivals = self.arrivals.lock().unwrap();
            let arrived = arrivals.get(&plant.number);
            arrived
                .map(|arrived| arrived.taken.clone())
                .unwrap_or_default()
        };
        let mut missing = Vec::new();
        for plant in &self.kept {
            let taken = taken(plant);
            let due = promises.iter().filter(|(_, promise)| {
                promise.event_type == EVENT_TYPE && promise.sent_at > plant.made_at
            });
            let missed = due.filter(|(uuid, _)| !taken.contains(*uuid));
            missing.extend(missed.map(|(uuid, _)| format!("{uuid} to {}", plant.id)));
        }
        missing
    }

    /// Nothing was begun for a subscription after its DELETE was answered.
    pub fn check_what_is_gone(&self, promises: &Promises) {
        let arrivals = self.arrivals.lock().unwrap();
        for plant in &self.gone {
            let (Some((gone_at, gone_at_ms)), Some(arrived)) =
                (plant.gone_at, arrivals.get(&plant.number))
            else {
                continue;
            };
            let began_ms = arrived.latest_s * 1000;
            assert!(
                began_ms <= gone_at_ms,
                "an attempt began at {began_ms}, after {plant:?} was gone"
            );
            let too_late = |uuid: &&String| {
                promises
                    .get(*uuid)
                    .is_some_and(|promise| promise.sent_at > gone_at)
            };
            assert_eq!(arrived.tried.iter().find(too_late), None, "{plant:?}");
        }
    }

    /// What there was to see.
    pub fn summary(&self) -> String {
        format!(
            "{} subscriptions made, {} deleted; {} keys revoked",
            self.made,
            self.gone.len(),
            self.revoked.len()
        )
    }
}
