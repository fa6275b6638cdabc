//! The fourth ring of tests: the relay's own cores in one thread, with a clock, a disk and receivers
//! that do what a seed says.
//!
//! A [`world`] drives a [`process`], which is wired like the real one but has no runtime, and a
//! [`witness`] outside of it knows what was promised: what was accepted is delivered, dead, cancelled
//! or pending, and never lost; no more attempts than the schedule has; the same attempt twice only
//! where a process ended before its outcome was journalled; nothing after the answer to a deletion; the
//! same id for the same idempotency key; ids in the order of the log; and whatever the state says, the
//! journal alone says it too; and what keeps its order is never received before what comes before it is
//! over. The same seed makes the same history, but for the random half of ids.

mod attempts;
mod inside;
mod outside;
mod process;
mod rest;
mod retire;
mod schedule;
mod wishes;
mod witness;
mod world;

use std::sync::Mutex;

use self::world::{Counts, World};
use crate::store::fixtures::{Seed, only_seed, seeds};

/// Things that happen in one history, before everything that is in the way is taken away.
const STEPS: usize = 1_500;
/// Histories; twenty times as many where everything is to be tested.
const SEEDS: u64 = 1_000;

#[test]
fn whatever_happens_no_promise_is_broken() {
    let todo = Mutex::new(seeds(SEEDS, 20 * SEEDS));
    let next = || todo.lock().unwrap().next();
    let totals = Mutex::new(Counts::default());
    let work = || {
        while let Some(seed) = next() {
            let counts = run(&seed);
            totals.lock().unwrap().add(counts);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let totals = totals.into_inner().unwrap();
    println!("{totals:?}");
    let enough = totals.ends > SEEDS && totals.refused > SEEDS && totals.removed > SEEDS / 10;
    assert!(only_seed().is_some() || enough, "too little happens");
}

fn run(seed: &Seed) -> Counts {
    let mut world = World::new(seed.0, only_seed().is_some());
    for _ in 0..STEPS {
        world.step();
    }
    world.finish().counts()
}
