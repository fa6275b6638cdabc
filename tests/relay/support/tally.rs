//! Receivers that count what comes.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::chance::Chance;
use super::load::{Promise, Promises, mark};
use super::receiver::{Delivery, Receiver, Reply};

/// How long nothing more may arrive before the rest counts as missing. Only a failing test gets there.
pub const STANDSTILL: Duration = Duration::from_secs(30);

/// How many events are looked for at once.
const LOOK_AT_ONCE: usize = 1000;

/// How a receiver behaves.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Takes everything.
    Steady,
    /// Answers one in eight with 500; by this seed.
    FailingNowAndThen(u64),
    /// Hangs up for as long as it is told to be down.
    DownAtTimes,
    /// Answers 500 to everything.
    Failing,
}

/// A receiver that counts.
pub struct Tally {
    receiver: Receiver,
    counts: Arc<Counts>,
}

/// What came of one event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Came {
    /// The mark of its body.
    mark: u64,
    /// Requests.
    pub tried: usize,
    /// Those answered with 200.
    pub taken: usize,
    /// The highest number of an attempt.
    pub highest: u32,
}

/// What came.
#[derive(Default)]
pub struct Counts {
    came: Mutex<HashMap<String, Came>>,
    /// For each life of the relay: deliveries that were answered with 200 and had been before.
    duplicates: Mutex<Vec<usize>>,
    /// Events that were taken at least once.
    delivered: AtomicUsize,
    is_down: AtomicBool,
}

impl Counts {
    /// Events that were taken at least once.
    pub fn delivered(&self) -> usize {
        self.delivered.load(Ordering::Relaxed)
    }

    fn count(&self, delivery: &Delivery, take: bool) {
        let body = mark(&delivery.body);
        let mut came = self.came.lock().unwrap();
        let came = came.entry(delivery.id().to_owned()).or_insert(Came {
            mark: body,
            ..Came::default()
        });
        assert_eq!(came.mark, body, "a uuid came with two bodies");
        came.tried += 1;
        came.highest = came.highest.max(delivery.attempt());
        if !take {
            return;
        }
        came.taken += 1;
        if came.taken == 1 {
            self.delivered.fetch_add(1, Ordering::Relaxed);
        } else if let Some(life) = self.duplicates.lock().unwrap().last_mut() {
            *life += 1;
        }
    }
}

impl Tally {
    /// Starts one.
    pub fn start(manner: Manner) -> Self {
        let counts = Arc::new(Counts {
            duplicates: Mutex::new(vec![0]),
            ..Counts::default()
        });
        let own = Arc::clone(&counts);
        let takes: Box<dyn Fn() -> bool + Send + Sync> = match manner {
            Manner::Steady | Manner::DownAtTimes => Box::new(|| true),
            Manner::Failing => Box::new(|| false),
            Manner::FailingNowAndThen(seed) => {
                let chance = Mutex::new(Chance::seeded(seed));
                Box::new(move || !chance.lock().unwrap().once_in(8))
            }
        };
        let receiver = Receiver::forgetful(move |delivery| {
            if own.is_down.load(Ordering::Relaxed) {
                return Reply::HangUp;
            }
            let take = takes();
            own.count(delivery, take);
            Reply::status(if take { 200 } else { 500 })
        });
        Self { receiver, counts }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.receiver.url()
    }

    /// What it counts.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// From now on it hangs up, or no longer does.
    pub fn set_down(&self, down: bool) {
        self.counts.is_down.store(down, Ordering::Relaxed);
    }

    /// The relay begins another life.
    pub fn next_life(&self) {
        self.counts.duplicates.lock().unwrap().push(0);
    }

    /// Deliveries that were answered with 200 again, by the life of the relay in which they came.
    pub fn duplicates(&self) -> Vec<usize> {
        self.counts.duplicates.lock().unwrap().clone()
    }

    /// Waits for everything that was promised; returns what did not come, or came changed.
    pub fn wait_for_all(&self, promises: &Promises) -> Vec<String> {
        self.wait_until_each(promises, |came| came.taken > 0)
    }

    /// Waits until this holds for each of them; returns those for which it does not.
    pub fn wait_until_each(
        &self,
        promises: &Promises,
        holds: impl Fn(&Came) -> bool,
    ) -> Vec<String> {
        let mut missing: Vec<_> = promises.iter().collect();
        let mut deadline = Instant::now() + STANDSTILL;
        loop {
            let before = missing.len();
            missing = self.still_missing(&missing, &holds);
            if missing.len() < before {
                deadline = Instant::now() + STANDSTILL;
            }
            if missing.is_empty() || Instant::now() > deadline {
                return missing.iter().map(|(uuid, _)| (*uuid).clone()).collect();
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Looks at a few at a time: whoever counts what comes must not wait for that.
    fn still_missing<'a>(
        &self,
        missing: &[(&'a String, &'a Promise)],
        holds: impl Fn(&Came) -> bool,
    ) -> Vec<(&'a String, &'a Promise)> {
        let mut still = Vec::new();
        for few in missing.chunks(LOOK_AT_ONCE) {
            let came = self.counts.came.lock().unwrap();
            still.extend(few.iter().filter(|(uuid, promise)| {
                let came = came.get(*uuid);
                !came.is_some_and(|came| came.mark == promise.mark && holds(came))
            }));
        }
        still
    }

    /// Everything that came.
    pub fn came(&self) -> Vec<Came> {
        self.counts.came.lock().unwrap().values().copied().collect()
    }

    /// Uuids that came with the same body: what was repeated was accepted more than once.
    pub fn doubly_accepted(&self) -> usize {
        let came = self.came();
        let bodies: HashSet<_> = came.iter().map(|came| came.mark).collect();
        came.len() - bodies.len()
    }
}
