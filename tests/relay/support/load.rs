//! Senders that never rest and keep what they were promised.

mod promises;
mod sender;

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::promises::Outgoing;
pub use self::promises::{Promise, Promises, mark};
use self::sender::Sender;
use super::chance::Chance;
use super::relay::Integration;
use super::tally::{Counts, Tally};

/// How far senders may be ahead of the receiver that they wait for.
const MAX_AHEAD: usize = 3000;

/// What all who make load share: where to send to, and what was promised.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub integration: Integration,
    pace: Arc<Counts>,
}

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    promises: Promises,
    finishing: bool,
}

/// Senders at work.
pub struct Load {
    pub shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts senders that wait for a target, and then for this receiver whenever they are far ahead of
    /// it.
    pub fn start(to: &Integration, senders: u64, chance: &mut Chance, pace: &Tally) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            integration: to.clone(),
            pace: pace.counts(),
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
        let enough = state.promises.len() + usize::try_from(events).unwrap();
        let waited =
            self.shared
                .changed
                .wait_timeout_while(state, Duration::from_secs(1), |state| {
                    state.promises.len() < enough
                });
        drop(waited.unwrap());
    }

    /// All that was promised so far.
    pub fn promised(&self) -> Promises {
        self.shared.state().promises.clone()
    }

    /// Ends, once every sender has its last answer, and returns all that was promised.
    pub fn finish(self) -> Promises {
        self.shared.state().finishing = true;
        self.shared.changed.notify_all();
        for sender in self.senders {
            sender.join().expect("a sender found something wrong");
        }
        std::mem::take(&mut self.shared.state().promises)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The relay, once there is one; `None` when it is time to end.
    pub fn target(&self) -> Option<SocketAddr> {
        let state = self.state();
        let waiting = |state: &mut State| state.target.is_none() && !state.finishing;
        let state = self.changed.wait_while(state, waiting).unwrap();
        state.target.filter(|_| !state.finishing)
    }

    fn is_far_ahead(&self) -> bool {
        self.state().promises.len() > self.pace.delivered() + MAX_AHEAD
    }

    fn promise(
        &self,
        uuids: impl IntoIterator<Item = String>,
        events: &[Outgoing],
        sent_at: Instant,
    ) {
        let mut state = self.state();
        for (uuid, event) in uuids.into_iter().zip(events) {
            let promise = Promise {
                mark: mark(&event.body),
                event_type: event.event_type,
                sent_at,
            };
            let before = state.promises.insert(uuid, promise);
            assert_eq!(before, None, "a uuid was given twice");
        }
        self.changed.notify_all();
    }
}
