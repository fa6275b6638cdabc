//! The loop: the seed decides what happens next, to the relay, to its disk, to its clock and outside.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outside::Request;
use super::process::Process;
use super::witness::{UNSURE_MS, Witness};
use crate::domain::event::NewEvent;
use crate::domain::retention::Retention;
use crate::domain::retry::Schedule;
use crate::store::background::Background;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::error::StoreError;
use crate::store::fixtures::{Random, options};
use crate::store::opening;
use crate::store::state::engine::simulated::SimulatedEngine;
use crate::store::{Machine, Options};

const START_MS: u64 = 1_700_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const SEGMENT_BYTES: u64 = 12 << 10;

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Events that were acknowledged.
    pub accepted: u64,
    /// Attempts that reached their receivers.
    pub attempts: u64,
    /// Those that had reached them before.
    pub repeats: u64,
    /// Ends of processes.
    pub ends: u64,
    /// Requests for which there was no room on the disk.
    pub refused: u64,
    /// Segments that retention removed.
    pub removed: u64,
}

impl Counts {
    /// Adds up.
    pub fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.attempts += other.attempts;
        self.repeats += other.repeats;
        self.ends += other.ends;
        self.refused += other.refused;
        self.removed += other.removed;
    }
}

/// See the module.
pub struct World {
    pub(super) random: Random,
    pub(super) witness: Witness,
    pub(super) trace: bool,
    pub(super) now_ms: u64,
    /// The other clock, which never goes back.
    pub(super) now: Instant,
    pub(super) disk: SimulatedDisk,
    pub(super) engine: SimulatedEngine,
    pub(super) options: Options,
    pub(super) schedule: Schedule,
    pub(super) kept: Retention,
    pub(super) process: Option<Process>,
    pub(super) requests: Vec<Request>,
    /// What was sent with a key, to be sent again.
    pub(super) keyed: Vec<(u64, Vec<NewEvent>)>,
    pub(super) next_body: u64,
    pub(super) next_subscription: u64,
    /// The generation of the last replay.
    pub(super) next_generation: u16,
    /// A fault that ends the process was asked for.
    pub(super) is_failing: bool,
    /// Steps for which the disk stays full.
    full_for: u64,
    pub(super) was_full: bool,
    /// Receivers that do not answer with a 2xx, in a hundred.
    pub(super) failing_percent: u64,
    pub(super) counts: Counts,
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
                2 * SEGMENT_BYTES
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
            next_generation: 0,
            is_failing: false,
            full_for: 0,
            was_full: false,
            counts: Counts::default(),
            failing_percent,
        };
        world.witness.latest_ms = START_MS;
        world.start();
        world
    }

    /// Everything that happened, to be added up.
    pub fn counts(&self) -> Counts {
        Counts {
            accepted: self.witness.accepted,
            attempts: self.witness.attempts,
            repeats: self.witness.repeats,
            ..self.counts
        }
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap()
    }

    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} ms  {}", self.now_ms, what());
        }
    }

    /// One thing happens.
    pub fn step(&mut self) {
        let now_ms = self.now_ms;
        self.make_room_in_time();
        let mut done = Ok(());
        match self.random.below(200) {
            0..=24 => self.send(),
            25..=31 => self.change(),
            32..=46 => {
                let soon = self.random.chance(30);
                self.process().commit(soon, now_ms);
            }
            47..=66 => self.write(),
            67..=84 => {
                self.process().end_commit(now_ms);
            }
            85..=106 => done = self.process().turn(now_ms).map(drop),
            107..=110 => done = self.process().save(),
            111..=118 => done = self.process().go_on_saving().map(drop),
            119..=133 => {
                self.pump();
            }
            134..=163 => done = self.attempt(),
            164..=171 => self.advance(),
            172..=175 => done = self.process().dispatch.ring(now_ms),
            176 => done = self.process().dispatch.sweep(now_ms).map(drop),
            177..=190 => done = self.retire(),
            191..=192 => {
                self.process().look_for_space(now_ms);
            }
            193..=194 => {
                let lanes = self.process().dispatch.outlet();
                lanes.are_busy = !lanes.are_busy;
            }
            _ => self.fault(),
        }
        self.look_after(done);
    }

    fn make_room_in_time(&mut self) {
        if self.full_for == 1 {
            self.disk.set_free_bytes(u64::MAX);
            self.note(|| "the disk has room".to_owned());
        }
        self.full_for = self.full_for.saturating_sub(1);
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

    fn fault(&mut self) {
        match self.random.below(100) {
            0..=9 if self.full_for == 0 => {
                let bytes = self.random.below(20_000);
                self.disk.set_free_bytes(bytes);
                self.full_for = 1 + self.random.below(400);
                self.was_full = true;
                self.note(|| format!("{bytes} bytes are free"));
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
                self.note(|| format!("the end comes after {operations} operations"));
            }
            _ => {}
        }
    }

    // The machine.

    /// The process ends, with or without the machine, and the next one starts.
    pub(super) fn end(&mut self) {
        self.counts.ends += 1;
        self.process = None;
        self.requests.clear();
        self.stop();
        self.disk.fail_syncs(0);
        self.is_failing = false;
        match self.random.below(20) {
            0 => {
                self.note(|| "the state is lost".to_owned());
                self.engine.lose();
            }
            1 => {
                self.note(|| "the state is an earlier one".to_owned());
                self.engine.go_back();
            }
            _ => {}
        }
        self.start();
    }

    /// The power goes; or only the process does, which may be in the middle of an operation too.
    fn stop(&mut self) {
        if self.random.chance(60) {
            self.note(|| "power cut".to_owned());
            self.disk.power_cut(&mut self.random);
        } else {
            self.disk.kill();
        }
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
            self.stop();
        };
        let (start, end) = (opened.log.start(), opened.log.end());
        self.note(|| format!("{:?}, {start} to {end}", opened.report));
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
        self.witness.begins();
        if self.random.chance(15) {
            // Early, when nothing but the recovery made sure of what it found.
            self.disk.cut_power_after(self.random.below(5));
        }
    }

    pub(super) fn retire(&mut self) -> Result<(), StoreError> {
        let (kept, now_ms) = (self.kept, self.now_ms);
        let before = self.process().log.start();
        self.process().retire(&kept, now_ms)?;
        self.counts.removed += u64::from(self.process().log.start() > before);
        Ok(())
    }

    fn advance(&mut self) {
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
    }

    pub(super) fn pass(&mut self, forward_ms: u64) {
        self.now_ms += forward_ms;
        self.now += Duration::from_millis(forward_ms);
        self.witness.latest_ms = self.witness.latest_ms.max(self.now_ms);
    }
}
