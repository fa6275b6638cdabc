//! The loop: the seed decides what happens next, to the relay, to its disk, to its clock and outside.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::process::{Process, Stage, UNJOURNALLED, Written};
use super::witness::{UNSURE_MS, Witness};
use crate::actors::queue::{Accepted, Incoming, QueueError};
use crate::domain::delivery::{OpenState, Reply};
use crate::domain::directory::fixtures::subscription;
use crate::domain::directory::{Change, Subscription};
use crate::domain::event::{Content, NewEvent};
use crate::domain::event_type::EventType;
use crate::domain::idempotency;
use crate::domain::ids::{AccountId, EventId, IntegrationId, SubscriptionId};
use crate::domain::retention::Retention;
use crate::domain::retry::Schedule;
use crate::store::background::Background;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::entry::Entry;
use crate::store::error::StoreError;
use crate::store::fixtures::{Random, options};
use crate::store::ledger::Open;
use crate::store::opening;
use crate::store::state::engine::simulated::SimulatedEngine;
use crate::store::{Machine, Options};

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const SEGMENT_BYTES: u64 = 16 << 10;
const TYPES: [&str; 3] = ["a", "a.b", "c"];
const PATTERNS: [&str; 4] = ["**", "a", "a.*", "c"];
const KEYS: u64 = 4;
const MAX_SUBSCRIPTIONS: usize = 5;
/// Rounds in which everything has to come to rest once nothing is in the way any more.
const MAX_ROUNDS: usize = 20_000;

/// A request that is not answered yet.
struct Request {
    answer: oneshot::Receiver<Result<Accepted, QueueError>>,
    bodies: Vec<Bytes>,
    scope: Option<[u8; 16]>,
}

/// See the module.
pub struct World {
    pub random: Random,
    pub witness: Witness,
    trace: bool,
    now_ms: u64,
    /// The other clock, which never goes back.
    now: Instant,
    disk: SimulatedDisk,
    engine: SimulatedEngine,
    options: Options,
    schedule: Schedule,
    kept: Retention,
    process: Option<Process>,
    requests: Vec<Request>,
    /// What was sent with a key, to be sent again.
    keyed: Vec<(u64, Vec<NewEvent>)>,
    next_body: u64,
    next_subscription: u64,
    /// A fault that ends the process was asked for.
    is_failing: bool,
    was_full: bool,
    /// Receivers that do not answer with a 2xx, in a hundred.
    failing_percent: u64,
    pub ends: u64,
}

impl World {
    pub fn new(seed: u64, trace: bool) -> Self {
        let mut random = Random(seed);
        let root = Path::new("/data");
        let disk = SimulatedDisk::new(root);
        let engine = SimulatedEngine::new(disk.clone());
        let machine = Machine {
            disk: Arc::new(disk.clone()),
            engine: Arc::new(engine.clone()),
            background: Background::Inline,
        };
        let waits = [vec![0, 1_000, 30_000], vec![0], vec![500, 1_000]];
        let schedule = Schedule::new(random.pick(&waits).unwrap().clone()).unwrap();
        let options = Options {
            machine,
            segment_bytes: SEGMENT_BYTES,
            first_wait_ms: schedule.first_wait_ms(),
            now_ms: START_MS,
            ..options(root)
        };
        let kept = Retention {
            events_ms: if random.chance(20) {
                12 * HOUR_MS
            } else {
                u64::MAX
            },
            dead_ms: u64::MAX,
            max_bytes: Some(if random.chance(50) {
                3 * SEGMENT_BYTES
            } else {
                u64::MAX
            }),
        };
        let failing_percent = random.below(70);
        let mut world = Self {
            random,
            witness: Witness::default(),
            trace,
            now_ms: START_MS,
            now: Instant::now(),
            disk,
            engine,
            options,
            schedule,
            kept,
            process: None,
            requests: Vec::new(),
            keyed: Vec::new(),
            next_body: 0,
            next_subscription: 0,
            is_failing: false,
            was_full: false,
            failing_percent,
            ends: 0,
        };
        world.witness.latest_ms = START_MS;
        world.start();
        world
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} ms  {}", self.now_ms, what());
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        let now_ms = self.now_ms;
        let done = match self.random.below(200) {
            0..=24 => self.send(),
            25..=31 => self.change(),
            32..=46 => {
                let soon = self.random.chance(30);
                self.process().commit(soon, now_ms);
                Ok(())
            }
            47..=66 => self.write(),
            67..=84 => {
                self.process().end_commit(now_ms);
                Ok(())
            }
            85..=106 => self.process().turn(now_ms).map(drop),
            107..=110 => self.process().save(),
            111..=118 => self.process().go_on_saving().map(drop),
            119..=133 => {
                self.pump();
                Ok(())
            }
            134..=163 => self.attempt(),
            164..=173 => self.advance(),
            174..=179 => self.process().dispatch.ring(now_ms),
            180..=181 => self.process().dispatch.sweep(now_ms).map(drop),
            182..=189 => {
                let kept = self.kept;
                self.process().retire(&kept, now_ms)
            }
            190..=192 => {
                self.process().look_for_space(now_ms);
                Ok(())
            }
            193..=194 => {
                let lanes = self.process().dispatch.outlet();
                lanes.are_busy = !lanes.are_busy;
                Ok(())
            }
            _ => self.fault(),
        };
        self.look_after(done);
    }

    /// Answers are heard, unless this was the end of the process.
    fn look_after(&mut self, done: Result<(), StoreError>) {
        if !self.disk.is_off() {
            self.hear();
        }
        let failure = self.process().failure();
        let failure = failure.or_else(|| done.err().map(|error| error.to_string()));
        if failure.is_none() && !self.disk.is_off() {
            return;
        }
        assert!(
            self.disk.is_off() || self.is_failing,
            "the relay ends without a cause: {failure:?}"
        );
        self.end();
    }

    fn fault(&mut self) -> Result<(), StoreError> {
        match self.random.below(100) {
            0..=14 => {
                let bytes = self.random.below(20_000);
                self.disk.set_free_bytes(bytes);
                self.was_full = true;
                self.note(|| format!("{bytes} bytes are free"));
            }
            15..=39 => {
                self.disk.set_free_bytes(u64::MAX);
                self.note(|| "the disk has room".to_owned());
            }
            40..=44 => {
                self.disk.fail_syncs(1);
                self.is_failing = true;
                self.note(|| "the next sync fails".to_owned());
            }
            45..=54 => {
                self.note(|| "killed".to_owned());
                self.end();
            }
            55..=64 => {
                let operations = self.random.below(60);
                self.disk.cut_power_after(operations);
                self.note(|| format!("the power goes after {operations} operations"));
            }
            _ => {}
        }
        Ok(())
    }

    // The machine.

    /// The process ends, with or without the machine, and the next one starts.
    fn end(&mut self) {
        self.ends += 1;
        self.process = None;
        self.requests.clear();
        if self.disk.is_off() || self.random.chance(40) {
            self.cut();
        } else {
            self.disk.kill();
        }
        self.disk.fail_syncs(0);
        self.is_failing = false;
        match self.random.below(20) {
            0 => self.engine.lose(),
            1 => self.engine.go_back(),
            _ => {}
        }
        self.start();
    }

    fn cut(&mut self) {
        self.note(|| "power cut".to_owned());
        self.disk.power_cut(&mut self.random);
        self.engine.power_cut(&mut self.random);
    }

    /// Starts a process, through as many power cuts as may come.
    fn start(&mut self) {
        let mut cuts = self.random.below(4).saturating_sub(1);
        let opened = loop {
            if cuts > 0 {
                self.disk.cut_power_after(self.random.below(40));
            }
            let opened = opening::open(&self.options);
            if !self.disk.is_off() {
                self.disk.keep_power();
                break opened.expect("the store does not open");
            }
            drop(opened);
            cuts -= 1;
            self.cut();
        };
        self.note(|| format!("{:?}", opened.report));
        let process = Process::start(opened, self.schedule.clone());
        let seen: BTreeSet<_> = process
            .view
            .read()
            .subscriptions()
            .map(|it| it.id)
            .collect();
        let (sure, maybe) = self.witness.subscriptions();
        assert!(
            sure.is_subset(&seen),
            "a subscription is lost: {seen:?}, {sure:?}"
        );
        assert!(
            seen.is_subset(&maybe),
            "a deletion is lost: {seen:?}, {maybe:?}"
        );
        self.process = Some(process);
        self.witness.process += 1;
    }

    fn advance(&mut self) -> Result<(), StoreError> {
        let alarm_ms = self.process().dispatch.next_alarm_ms();
        let forward_ms = match self.random.below(1000) {
            0..=599 => self.random.below(30),
            600..=899 => alarm_ms.map_or(0, |due_ms| due_ms.saturating_sub(self.now_ms)),
            900..=989 => self.random.below(60_000),
            990..=994 => HOUR_MS,
            _ => 25 * HOUR_MS,
        };
        self.pass(forward_ms);
        let back_ms = self.random.below(30_000);
        let behind_ms = self.witness.latest_ms - self.now_ms;
        if self.random.chance(3) && behind_ms + back_ms < UNSURE_MS / 2 {
            self.now_ms -= back_ms;
            self.note(|| format!("the clock went back by {back_ms} ms"));
        }
        Ok(())
    }

    fn pass(&mut self, forward_ms: u64) {
        self.now_ms += forward_ms;
        self.now += Duration::from_millis(forward_ms);
        self.witness.latest_ms = self.witness.latest_ms.max(self.now_ms);
    }

    // Those who send.

    fn send(&mut self) -> Result<(), StoreError> {
        let key = self.random.chance(40).then(|| self.random.below(KEYS));
        let repeated = key.and_then(|key| self.repeat(key));
        let (key, events) = match repeated {
            Some(events) => (key, events),
            None => (key.filter(|key| self.is_free(*key)), self.some_events()),
        };
        let account = AccountId::from_bits(1);
        let bodies: Vec<Bytes> = events.iter().map(|event| event.body.clone()).collect();
        for event in &events {
            self.witness.sends(account, &event.event_type, &event.body);
        }
        let door = IntegrationId::from_bits(1);
        let marks = key.map(|key| {
            let scope = idempotency::scope(account, door, &key.to_string());
            (scope, idempotency::body(&bodies.concat()))
        });
        if let Some((scope, body)) = marks {
            self.witness.uses_key(scope, body, self.now_ms);
            self.keyed.retain(|(other, _)| Some(*other) != key);
            self.keyed.extend(key.map(|key| (key, events.clone())));
        }
        let scope = marks.map(|(scope, _)| scope);
        self.note(|| format!("send {bodies:?}, key {key:?}"));
        let incoming = Incoming {
            account,
            integration: door,
            events,
            idempotency: marks,
        };
        let now_ms = self.now_ms;
        let answer = self.process().request(incoming, now_ms);
        self.requests.push(Request {
            answer,
            bodies,
            scope,
        });
        Ok(())
    }

    fn scope(key: u64) -> [u8; 16] {
        let (account, door) = (AccountId::from_bits(1), IntegrationId::from_bits(1));
        idempotency::scope(account, door, &key.to_string())
    }

    fn is_free(&self, key: u64) -> bool {
        let scope = Self::scope(key);
        let waits = self.requests.iter().any(|it| it.scope == Some(scope));
        !waits && self.witness.key_is_over(&scope, self.now_ms)
    }

    /// What was sent with this key before, while it is sure to be known by it.
    fn repeat(&self, key: u64) -> Option<Vec<NewEvent>> {
        let events = self.keyed.iter().find(|(of, _)| *of == key);
        let known = self.witness.key_holds(&Self::scope(key));
        events.filter(|_| known).map(|(_, events)| events.clone())
    }

    fn some_events(&mut self) -> Vec<NewEvent> {
        let count = if self.random.chance(80) {
            1
        } else {
            1 + self.random.below(4)
        };
        let one = |_| {
            self.next_body += 1;
            let padding = usize::try_from(self.random.below(150)).unwrap();
            let body = format!("\"{}{}\"", self.next_body, " ".repeat(padding));
            NewEvent {
                event_type: self
                    .random
                    .pick(&TYPES)
                    .unwrap()
                    .parse::<EventType>()
                    .unwrap(),
                content: Content::Json,
                body: body.into(),
            }
        };
        (0..count).map(one).collect()
    }

    /// Answers arrive.
    fn hear(&mut self) {
        for mut request in std::mem::take(&mut self.requests) {
            match request.answer.try_recv() {
                Ok(answer) => self.answered(&request, answer),
                Err(TryRecvError::Empty) => self.requests.push(request),
                Err(TryRecvError::Closed) => {}
            }
        }
        let Some((changes, result)) = self.process().changed() else {
            return;
        };
        self.note(|| format!("changed: {result:?}"));
        for change in changes.iter().filter(|_| result.is_ok()) {
            match change {
                Change::PutSubscription(it) => self.witness.subscribed(it.id),
                Change::DeleteSubscription(id) => self.witness.deleted(*id),
                _ => {}
            }
        }
    }

    fn answered(&mut self, request: &Request, answer: Result<Accepted, QueueError>) {
        self.note(|| format!("{:?}: {answer:?}", request.bodies));
        match answer {
            Ok(Accepted::Now(ids)) => {
                assert_eq!(ids.len(), request.bodies.len());
                for (body, id) in request.bodies.iter().zip(&ids) {
                    self.witness.accepted(body, *id);
                }
                if let Some(scope) = request.scope {
                    self.witness.key_answered(&scope, ids[0]);
                }
            }
            Ok(Accepted::Before(known)) => {
                let scope = request.scope.expect("it had no key");
                assert_eq!(known.events as usize, request.bodies.len());
                self.witness.accepted(&request.bodies[0], known.first);
                self.witness.key_answered(&scope, known.first);
            }
            Err(QueueError::NoSpace) => assert!(self.was_full, "there was room"),
            Err(QueueError::KeyInFlight) => {
                // Whoever came first may have been answered in the same moment.
                assert!(request.scope.is_some(), "it had no key");
            }
            Err(QueueError::Unavailable) => assert!(self.is_failing, "it is not failing"),
            Err(QueueError::Overloaded) => {}
            Err(QueueError::KeyReused) => panic!("its key came with the same body"),
        }
    }

    // Those who manage.

    fn change(&mut self) -> Result<(), StoreError> {
        if self.process().changing.is_some() {
            return Ok(());
        }
        let ids: Vec<SubscriptionId> = {
            let view = self.process().view.read();
            view.subscriptions().map(|it| it.id).collect()
        };
        let picked = self.random.pick(&ids).copied();
        let change = match (self.random.below(10), picked) {
            (0..=3, _) if ids.len() < MAX_SUBSCRIPTIONS => Some(self.a_subscription()),
            (4, Some(id)) => {
                self.witness.deletes(id);
                Some(Change::DeleteSubscription(id))
            }
            (5..=6, Some(id)) => self.process().with_status(id, false),
            (7..=9, Some(id)) => self.process().with_status(id, true),
            _ => None,
        };
        if let Some(change) = change {
            self.note(|| format!("{change:?}"));
            self.process().change(vec![change]);
        }
        Ok(())
    }

    fn a_subscription(&mut self) -> Change {
        self.next_subscription += 1;
        let pattern = *self.random.pick(&PATTERNS).unwrap();
        let own = self.random.chance(40).then(|| {
            let first_ms = self.random.below(2) * 300;
            let waits = vec![first_ms, 2_000, 2_000];
            let count = 1 + usize::try_from(self.random.below(3)).unwrap();
            Schedule::new(waits[..count].to_vec()).unwrap()
        });
        let attempts = own.as_ref().unwrap_or(&self.schedule).waits_ms().len();
        let record = Subscription {
            retry_schedule: own,
            max_in_flight: self.random.chance(30).then_some(1),
            ..subscription(self.next_subscription, 1, &[pattern])
        };
        self.witness.subscribes(record.clone(), attempts);
        Change::PutSubscription(record.into())
    }

    // Inside.

    fn write(&mut self) -> Result<(), StoreError> {
        if let Some(written) = self.process().write_commit() {
            self.witness.committed(&written);
            self.note(|| {
                let Written {
                    ids,
                    on_disk,
                    attempts,
                } = &written;
                format!("commit {on_disk:?}: {ids:?}, {} attempts", attempts.len())
            });
        }
        Ok(())
    }

    fn pump(&mut self) -> Option<Duration> {
        let now = self.now;
        self.process().pump(now)
    }

    /// One of the attempts goes on, in whatever order.
    fn attempt(&mut self) -> Result<(), StoreError> {
        let count = self.process().running.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let at = usize::try_from(self.random.below(count)).unwrap();
        self.go_on(at)
    }

    fn go_on(&mut self, at: usize) -> Result<(), StoreError> {
        let (now, now_ms) = (self.now, self.now_ms);
        let process = self.process.as_mut().unwrap();
        let running = &process.running[at];
        let (id, todo) = (running.target.subscription.id, running.todo);
        match running.stage {
            Stage::Begun => {
                if let Some(event) = process.read(at, now)? {
                    let number = todo.attempts + 1;
                    self.witness.receives(&event, id, number);
                    process.running[at].stage = Stage::Sent {
                        started_at_ms: now_ms,
                    };
                    self.note(|| format!("{} for {id}: attempt {number}", todo.event));
                }
            }
            Stage::Sent { started_at_ms } => {
                let reply = self.reply();
                if matches!(reply, Reply::Status { code: 200, .. }) {
                    self.witness.takes(todo.event, id);
                }
                self.note(|| format!("{} for {id}: {reply:?}", todo.event));
                let jitter = f64::from(u32::try_from(self.random.below(1001)).unwrap()) / 1000.0;
                let times = (started_at_ms, now_ms);
                self.process().end(at, reply, times, jitter, now);
            }
            Stage::Pausing { hold_ms } if process.changing.is_none() => {
                if let Some(pause) = process.with_status(id, false) {
                    process.change(vec![pause]);
                }
                process.leave(at, hold_ms, now);
            }
            Stage::Pausing { .. } => {}
        }
        Ok(())
    }

    fn reply(&mut self) -> Reply {
        let status = |code, retry_after_ms| Reply::Status {
            code,
            retry_after_ms,
        };
        if !self.random.chance(self.failing_percent) {
            return status(200, None);
        }
        match self.random.below(20) {
            0..=8 => status(500, None),
            9..=10 => status(503, Some(self.random.below(3_000))),
            11 => status(429, None),
            12 => status(302, None),
            13 => status(410, None),
            _ => Reply::Error("timeout"),
        }
    }

    // The end.

    /// Takes away everything that is in the way, waits until all is at rest, and looks at what is left.
    pub fn finish(mut self) -> Self {
        self.disk.keep_power();
        if self.is_failing {
            self.end();
        }
        self.disk.set_free_bytes(u64::MAX);
        self.failing_percent = self.random.below(2) * 30;
        self.come_to_rest();
        let open = self.open();
        let waiting = open
            .iter()
            .filter(|(_, it)| it.delivery.state != OpenState::Dead);
        assert_eq!(waiting.count(), 0, "forgotten: {open:?}");
        let dead: BTreeSet<(EventId, SubscriptionId)> = open
            .iter()
            .map(|(of, it)| (it.delivery.event, *of))
            .collect();
        self.witness.check(|event, of| dead.contains(&(event, of)));
        self.read_log();
        self.rebuild(&open);
        let most = self.ends * UNJOURNALLED as u64;
        assert!(
            self.witness.repeats <= most,
            "{} repeats",
            self.witness.repeats
        );
        self
    }

    fn come_to_rest(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let busy = self.round().expect("nothing is in the way");
            if busy {
                continue;
            }
            let held = self.pump();
            let held_ms = held.map(|held| u64::try_from(held.as_millis()).unwrap() + 1);
            let alarm_ms = self.process().dispatch.next_alarm_ms();
            let alarm_ms = alarm_ms.map(|due_ms| due_ms.saturating_sub(self.now_ms));
            let Some(wait_ms) = [held_ms, alarm_ms].into_iter().flatten().min() else {
                return;
            };
            self.pass(wait_ms);
            let now_ms = self.now_ms;
            self.process().dispatch.ring(now_ms).unwrap();
        }
        panic!("it does not come to rest");
    }

    /// Everything that can happen without time passing. Says whether anything did.
    fn round(&mut self) -> Result<bool, StoreError> {
        let now_ms = self.now_ms;
        let process = self.process();
        process.dispatch.outlet().are_busy = false;
        process.look_for_space(now_ms);
        let mut busy = process.commit(true, now_ms);
        let written = process.write_commit();
        if let Some(written) = written {
            self.witness.committed(&written);
            busy = true;
        }
        let process = self.process();
        busy |= process.end_commit(now_ms);
        busy |= process.turn(now_ms)?;
        process.dispatch.send_offers(now_ms)?;
        busy |= process.go_on_saving()?;
        self.hear();
        self.pump();
        while let Some(last) = self.process().running.len().checked_sub(1) {
            busy = true;
            self.go_on(last)?;
            self.hear();
            if self.process().changing.is_some() {
                break;
            }
        }
        if self.process().changing.is_none() {
            let view_ids: Vec<_> = {
                let view = self.process().view.read();
                view.subscriptions().map(|it| it.id).collect()
            };
            let process = self.process();
            let resumed = view_ids
                .into_iter()
                .find_map(|id| process.with_status(id, true));
            if let Some(change) = resumed {
                process.change(vec![change]);
                busy = true;
            }
        }
        let at_end =
            self.process().dispatch.ledger().applied().position >= self.process().log.end();
        Ok(busy || !at_end)
    }

    fn open(&mut self) -> Vec<Open> {
        let ledger = self.process().dispatch.ledger();
        let ids: Vec<_> = ledger.directory().subscriptions().map(|it| it.id).collect();
        ledger.open_before(&ids, None, None, usize::MAX).unwrap()
    }

    /// Ids grow in the order of the log.
    fn read_log(&mut self) {
        let log = Arc::clone(&self.process().log);
        let mut position = log.start();
        let mut ids: Vec<EventId> = Vec::new();
        while let Some(record) = log.next(position).unwrap() {
            position = record.next;
            if let Some(Entry::Accepted(events)) = &record.entry {
                ids.extend(events.iter().map(|event| event.meta.id));
            }
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "ids do not grow: {ids:?}");
        if log.journal().layout().segment_of(log.start()) == 0 {
            self.witness.check_log(&ids.into_iter().collect());
        }
    }

    /// The journal alone leads to the same state.
    fn rebuild(&mut self, open: &[Open]) {
        let directory = self.process().dispatch.ledger().directory().clone();
        self.process = None;
        self.disk.kill();
        self.engine.lose();
        let rebuilt = opening::open(&self.options).unwrap();
        assert_eq!(*rebuilt.ledger.directory(), directory);
        self.process = Some(Process::start(rebuilt, self.schedule.clone()));
        assert_eq!(self.open(), open);
    }
}
