//! Histories on a simulated disk, with every fault it knows: the power goes during any operation, that
//! of a recovery included; processes end; syncs fail; the disk is full; the state is lost or old.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::super::retire::{TWO_SEGMENTS, retire};
use super::History;
use crate::domain::delivery::Attempt;
use crate::domain::directory::Change;
use crate::domain::event::Event;
use crate::domain::ids::EventId;
use crate::store::background::Background;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::entry::Entry;
use crate::store::fixtures::{Random, options, scratch};
use crate::store::state::engine::simulated::SimulatedEngine;
use crate::store::{Machine, Options};

/// What a commit was to hold.
#[derive(Debug, Clone)]
pub struct Asked {
    pub changes: Vec<Change>,
    pub attempts: Vec<Attempt>,
    pub events: Vec<Event>,
    /// Where the log ended before.
    pub after: u64,
}

/// A history on a rig of its own.
pub struct Rig {
    pub history: History,
    disk: SimulatedDisk,
    engine: SimulatedEngine,
    random: Random,
    pub cuts: u64,
    pub cuts_in_recovery: u64,
}

impl Rig {
    pub fn new(seed: u64) -> Self {
        let root = Path::new("/data");
        let disk = SimulatedDisk::new(root);
        let engine = SimulatedEngine::new(disk.clone());
        let options = Options {
            machine: Machine {
                disk: Arc::new(disk.clone()),
                engine: Arc::new(engine.clone()),
                background: Background::Inline,
            },
            ..options(root)
        };
        let mut rig = Self {
            history: History::with(seed, scratch(), options),
            disk,
            engine,
            random: Random(!seed),
            cuts: 0,
            cuts_in_recovery: 0,
        };
        rig.reopen();
        rig
    }

    /// Runs until something is broken, and finds all of it after that.
    pub fn run_and_break(&mut self) {
        match self.random.below(12) {
            0 => self.disk.fail_syncs(1),
            1..=8 => self.disk.cut_power_after(self.random.below(120)),
            _ => {}
        }
        let is_full = self.random.chance(10);
        if is_full {
            self.disk.set_free_bytes(self.random.below(40_000));
        }
        let steps = usize::try_from(self.random.below(50)).unwrap();
        // Whatever goes wrong, what was acknowledged until then has to be there afterwards.
        let retires = self.random.chance(30);
        let ran = self.history.run(steps);
        if retires && ran.is_ok() {
            let _ = retire(&mut self.history, &TWO_SEGMENTS);
        }
        self.disk.fail_syncs(0);
        if is_full && self.random.chance(50) {
            self.disk.set_free_bytes(u64::MAX);
        }
        self.history.close();
        if self.disk.is_off() || self.random.chance(30) {
            self.cut();
        } else {
            self.disk.kill();
        }
        match self.random.below(20) {
            0 => self.engine.lose(),
            1 => self.engine.go_back(),
            _ => {}
        }
        self.reopen();
        self.disk.set_free_bytes(u64::MAX);
        self.history.check();
    }

    fn cut(&mut self) {
        self.cuts += 1;
        self.disk.power_cut(&mut self.random);
        self.engine.power_cut(&mut self.random);
    }

    /// Opens the store, through as many cuts as may come.
    fn reopen(&mut self) {
        let mut most = self.random.below(4);
        loop {
            if most > 0 {
                self.disk.cut_power_after(self.random.below(30));
            }
            let opened = self.history.try_reopen();
            if !self.disk.is_off() {
                self.disk.keep_power();
                opened.unwrap();
                return self.history.find_unsure();
            }
            // It may have gone during something that nobody waits for.
            self.history.close();
            self.cuts_in_recovery += 1;
            most -= 1;
            self.cut();
        }
    }
}

impl History {
    /// Takes in what is there of a commit that nobody was answered for: all of its records, the first
    /// of them, or none, and each of them whole.
    fn find_unsure(&mut self) {
        let Some(asked) = self.unsure.take() else {
            return;
        };
        let log = Arc::clone(&self.store().log);
        let mut at = asked.after;
        while let Some(record) = log.next(at).unwrap() {
            at = record.next;
            match record.entry.as_ref().unwrap() {
                Entry::Directory(found) => {
                    assert_eq!(*found, asked.changes);
                    self.changed(&asked.changes);
                }
                Entry::Settled(found) => {
                    assert_eq!(*found, asked.attempts);
                    self.settled(&asked.attempts);
                }
                Entry::Accepted(found) => {
                    assert_eq!(bodies(found), bodies(&asked.events));
                    self.accepted(&asked.events, Some(record.position));
                }
                // These change nothing that a user can see.
                Entry::Snapshot(_) | Entry::Carried(_) | Entry::Keys(_) | Entry::Retired(_) => {}
            }
        }
    }
}

fn bodies(events: &[Event]) -> Vec<(EventId, Bytes)> {
    let body = |event: &Event| (event.meta.id, event.body.clone());
    events.iter().map(body).collect()
}
