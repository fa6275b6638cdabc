//! A store under load: events, attempts and changes of the directory, while checkpoints are written.
//!
//! What is acknowledged is counted when the store has answered and not before, so whoever looks at the
//! disk at a later moment must find it there.

use std::path::{Path, PathBuf};
use std::thread;

use bytes::Bytes;
use postrider::domain::api_key::{Environment, KeyHash};
use postrider::domain::delivery::{Attempt, Outcome, Timing};
use postrider::domain::directory::{Change, KeyRecord, Subscription};
use postrider::domain::event::{Content, Event, EventMeta, IdempotencyMark};
use postrider::domain::ids::{AccountId, EventId, IntegrationId, KeyId, SubscriptionId};
use postrider::domain::permission::Permissions;
use postrider::domain::sealed::SecretAtRest;
use postrider::domain::signature::SigningSecret;
use postrider::store::committer::{Commit, Committed};
use postrider::store::error::StoreError;
use postrider::store::ledger::Ledger;
use postrider::store::log::Log;
use postrider::store::state::checkpoint::Checkpointer;
use postrider::store::{Machine, Options, Store};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::support::chance::Chance;
use crate::world::{Said, World};

/// The most subscriptions and keys at a time: a snapshot of them fits into a small segment.
const MAX_RECORDS: usize = 8;
/// The most that the body of a commit's first event may take, now and then, and that of the others: a
/// commit fits into a segment, and a few fill it.
const MAX_LARGE_BYTES: u64 = 6_000;
const MAX_SMALL_BYTES: u64 = 600;

/// How the stores here are opened: with small segments.
pub fn options(dir: &Path) -> Options {
    Options {
        dir: dir.join("store"),
        cache_bytes: 1 << 20,
        min_free_bytes: 0,
        segment_bytes: 16 << 10,
        first_wait_ms: 0,
        now_ms: 1,
        machine: Machine::real(),
    }
}

/// What comes of a commit.
pub type Answer = oneshot::Receiver<Result<Committed, StoreError>>;

/// See the module.
pub struct Workload {
    pub store: Store,
    world: World,
    /// Every record that was ever handed to the store, in order.
    pub said: Vec<Said>,
    /// Is told how many of them are acknowledged, before anything else is handed in.
    pub on_acknowledged: Box<dyn FnMut(usize) + Send>,
    next: u64,
}

impl Workload {
    /// Goes on with a store that holds what was said so far, and `world` is what that adds up to.
    pub fn on(store: Store, world: World, said: Vec<Said>) -> Self {
        let next = said.iter().map(Said::events).sum::<usize>() as u64 + 1;
        Self {
            store,
            world,
            on_acknowledged: Box::new(|_| ()),
            said,
            // Far from all that was used before.
            next: next * 1_000,
        }
    }

    /// So many commits. Beside them the ledger follows the log and saves checkpoints, as the
    /// dispatcher does.
    pub fn run(&mut self, commits: usize, chance: &mut Chance) {
        let mut coin = chance.fork();
        let Self {
            store,
            world,
            said,
            on_acknowledged,
            next,
        } = self;
        let (log, ledger) = (&store.log, &mut store.ledger);
        let (checkpointer, committer) = (&store.checkpointer, &store.committer);
        let (stop, stopped) = oneshot::channel();
        thread::scope(|scope| {
            scope.spawn(move || follow(log, ledger, checkpointer, &mut coin, stopped));
            for _ in 0..commits {
                let commit = Inventor { world, next }.invent(chance);
                let now = Said::by(&commit);
                said.extend(now.iter().cloned());
                let answer = committer.submit(commit).blocking_recv();
                let answer = answer.unwrap().unwrap();
                on_acknowledged(said.len());
                for said in &now {
                    // Only events have a place that anybody asks for.
                    world.hear(said, answer.events_at.unwrap_or(0));
                }
            }
            drop(stop);
        });
    }
}

impl Workload {
    /// Goes on until a small event fits into the current segment, and returns that.
    pub fn make_room(&mut self, chance: &mut Chance) -> PathBuf {
        while self.room_bytes() < 4 * MAX_SMALL_BYTES {
            self.run(1, chance);
        }
        let layout = self.store.log.journal().layout();
        layout.path(layout.segment_of(self.store.log.end()))
    }

    /// Hands in one small event, and does not wait for it.
    pub fn begin(&mut self, chance: &mut Chance) -> Answer {
        let mut inventor = Inventor {
            world: &self.world,
            next: &mut self.next,
        };
        let commit = Commit {
            events: vec![inventor.event(false, chance)],
            ..Commit::default()
        };
        self.said.extend(Said::by(&commit));
        self.store.committer.submit(commit)
    }

    /// What the current segment has room for.
    fn room_bytes(&self) -> u64 {
        let layout = self.store.log.journal().layout();
        layout.segment_bytes - layout.offset_of(self.store.log.end())
    }
}

/// Applies what the log says as soon as it says it, with checkpoints now and then, until told to stop.
fn follow(
    log: &Log,
    ledger: &mut Ledger,
    checkpointer: &Checkpointer,
    chance: &mut Chance,
    mut stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async {
        let mut ends = log.watch();
        let mut effects = Vec::new();
        loop {
            tokio::select! {
                _ = ends.changed() => {}
                _ = &mut stopped => return,
            }
            while let Some(record) = log.next(ledger.applied().position).unwrap() {
                while !ledger.apply(&record, &mut effects).unwrap() {}
                effects.clear();
            }
            if chance.once_in(4) {
                let rows = ledger.freeze().unwrap();
                checkpointer.submit(rows).await.unwrap().unwrap();
                ledger.thaw();
            }
        }
    });
}

/// Makes up what is committed next.
struct Inventor<'a> {
    world: &'a World,
    next: &'a mut u64,
}

impl Inventor<'_> {
    fn invent(&mut self, chance: &mut Chance) -> Commit {
        let changes = if chance.once_in(3) {
            self.change(chance).into_iter().collect()
        } else {
            Vec::new()
        };
        let events = match chance.below(6) {
            0 => 0,
            many => many + 1,
        };
        let mut commit = Commit {
            at_ms: 1,
            changes,
            attempts: self.attempts(chance),
            events: (0..events).map(|n| self.event(n == 0, chance)).collect(),
            ..Commit::default()
        };
        if let Some(first) = commit.events.first_mut().filter(|_| chance.once_in(2)) {
            let mut mark = |_| chance.next().to_le_bytes()[0];
            first.meta.idempotency = Some(IdempotencyMark {
                scope: std::array::from_fn(&mut mark),
                body: std::array::from_fn(&mut mark),
                events: u32::try_from(events).unwrap(),
            });
        }
        commit
    }

    fn event(&mut self, is_first: bool, chance: &mut Chance) -> Event {
        *self.next += 1;
        let most = if is_first && chance.once_in(3) {
            MAX_LARGE_BYTES
        } else {
            MAX_SMALL_BYTES
        };
        let body: Vec<u8> = (0..chance.below(most))
            .map(|n| n.to_le_bytes()[0])
            .collect();
        let event_type = if chance.once_in(3) { "b.c" } else { "a" };
        let meta = EventMeta {
            id: EventId(Uuid::from_u64_pair(*self.next, chance.next())),
            account: AccountId::from_bits(1),
            integration: IntegrationId::from_bits(1),
            event_type: event_type.parse().unwrap(),
            content: Content::Json,
            accepted_at_ms: 1_000 + *self.next,
            idempotency: None,
            body_bytes: u32::try_from(body.len()).unwrap(),
        };
        Event {
            meta,
            body: Bytes::from(body),
        }
    }

    fn attempts(&self, chance: &mut Chance) -> Vec<Attempt> {
        let open = self.world.open.iter();
        let mut picked: Vec<_> = open.filter(|_| chance.once_in(3)).collect();
        picked.truncate(12);
        let attempts = picked.into_iter().map(|((place, of), open)| Attempt {
            event: open.event,
            place: *place,
            subscription: *of,
            generation: 0,
            number: open.attempts + 1,
            started_at_ms: 2_000,
            duration_ms: 3,
            timing: Timing::default(),
            outcome: match chance.below(5) {
                0 => Outcome::Retry {
                    due_ms: chance.below(100_000),
                },
                1 => Outcome::Dead,
                _ => Outcome::Delivered,
            },
            status: Some(500),
            error: None,
            response_head: b"no".to_vec(),
        });
        attempts.collect()
    }

    fn change(&mut self, chance: &mut Chance) -> Option<Change> {
        *self.next += 1;
        let directory = &self.world.directory;
        let subscriptions: Vec<_> = directory.subscriptions().map(|it| it.id).collect();
        let keys: Vec<_> = directory.keys().map(|it| it.id).collect();
        let which = usize::try_from(chance.below(64)).unwrap();
        Some(match chance.below(4) {
            0 if subscriptions.len() < MAX_RECORDS => {
                Change::PutSubscription(subscription(*self.next, chance).into())
            }
            1 => Change::DeleteSubscription(*subscriptions.get(which % MAX_RECORDS)?),
            2 if keys.len() < MAX_RECORDS => Change::PutKey(key(*self.next).into()),
            3 => Change::DeleteKey(*keys.get(which % MAX_RECORDS)?),
            _ => return None,
        })
    }
}

fn subscription(id: u64, chance: &mut Chance) -> Subscription {
    let pattern = if chance.once_in(3) { "b.*" } else { "**" };
    let secret = SecretAtRest::Clear(SigningSecret::from_bytes(&[7; 32]).unwrap());
    let url = "http://receiver.example".to_owned();
    let events = vec![pattern.parse().unwrap()];
    let own = SubscriptionId::from_bits(id);
    Subscription::new(own, AccountId::from_bits(1), url, events, secret, id)
}

fn key(id: u64) -> KeyRecord {
    KeyRecord {
        id: KeyId::from_bits(id),
        account: AccountId::from_bits(1),
        name: format!("key {id}"),
        hash: KeyHash::of(&id.to_string()),
        previous: None,
        permissions: Permissions::of(&[]),
        integration: None,
        environment: Environment::Live,
        quota: None,
        created_at_ms: id,
        expires_at_ms: None,
        last_used_at_ms: None,
    }
}
