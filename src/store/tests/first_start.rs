//! First starts that end within any of their operations, and the one after it too: whoever acknowledges
//! something in the end still has it after a power cut.

use std::path::Path;
use std::sync::Arc;

use crate::store::background::Background;
use crate::store::committer::Commit;
use crate::store::disk::simulated::SimulatedDisk;
use crate::store::fixtures::{Random, event, options};
use crate::store::opening::{self, Opened};
use crate::store::state::engine::simulated::SimulatedEngine;
use crate::store::{Machine, Options};

/// More operations than a first start has.
const MANY: u64 = 1_000;
/// Cuts, each of which may take something else.
const CUTS: u64 = 6;

struct Young {
    disk: SimulatedDisk,
    options: Options,
}

impl Young {
    fn new() -> Self {
        let root = Path::new("/data");
        let disk = SimulatedDisk::new(root);
        let machine = Machine {
            disk: Arc::new(disk.clone()),
            engine: Arc::new(SimulatedEngine::new(disk.clone())),
            background: Background::Inline,
        };
        let options = Options {
            machine,
            ..options(root)
        };
        Self { disk, options }
    }

    /// Starts a process that ends within an operation, unless it has fewer. Says how many it had.
    fn start_and_kill(&self, operations: u64) -> u64 {
        let before = self.disk.steps();
        self.disk.cut_power_after(operations);
        let opened = opening::open(&self.options);
        assert!(opened.is_ok() || self.disk.is_off());
        self.disk.kill();
        self.disk.steps() - before
    }

    fn open(&self) -> Opened {
        opening::open(&self.options).unwrap()
    }
}

#[test]
fn first_starts_that_are_killed_at_any_operation_leave_a_store_that_can_be_relied_on() {
    let all = Young::new().start_and_kill(MANY);
    assert!((5..MANY).contains(&all), "{all} operations");
    for (first, second) in (0..all).flat_map(|first| (0..all).map(move |second| (first, second))) {
        for seed in 0..CUTS {
            let young = Young::new();
            young.start_and_kill(first);
            young.start_and_kill(second);
            let accepted = Commit {
                events: vec![event(1, 10)],
                ..Commit::default()
            };
            young.open().work.commit(accepted).unwrap();
            young.disk.power_cut(&mut Random(seed));
            let last = young.open().ledger.last_event();
            let how = format!("killed at {first} and {second}, seed {seed}");
            assert_eq!(last, Some(event(1, 10).meta.id), "{how}");
        }
    }
}
