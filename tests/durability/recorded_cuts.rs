//! The power goes at any moment of a recording, and everything that was acknowledged is there.
//!
//! What [`crate::power_cuts`] does on a disk of our own, done where none can be mounted, too: a store
//! works in an ordinary directory, what it asks of the kernel is recorded, and the disk that a cut
//! leaves is made from the recording.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::account::{Promise, account, heard, listen};
use crate::disk::{Cut, Disk};
use crate::recording::{self, Replay, acknowledge, recorded, recorded_dir};
use crate::state_harms::{self, Harmed, scramble};
use crate::support::chance::Chance;
use crate::trace::can_trace;
use crate::workload::Workload;
use crate::world::Said;
use crate::{empty_disk, is_full};

/// Commits of one recording.
const COMMITS: usize = 150;

const NOTHING: Promise<'static> = Promise {
    said: &[],
    acknowledged: 0,
};

/// An empty directory of the machine, and its path without any link: as the kernel names it.
fn directory() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// The recorded program's part: a store under load.
fn work(dir: &Path) {
    let mut chance = Chance::new("recorded");
    let (store, world, _) = account(dir, NOTHING);
    let mut workload = Workload::on(store, world, Vec::new());
    workload.on_acknowledged = Box::new(acknowledge);
    workload.run(COMMITS, &mut chance);
    let all = Promise {
        said: &workload.said,
        acknowledged: workload.said.len(),
    };
    listen(&workload.store, all);
}

/// A recording that was done again: the disk at each of its moments, and what was acknowledged by then.
struct Replayed {
    moments: Vec<(Disk, usize)>,
    last: Disk,
}

/// Records what a test of this name does in a directory that holds what is on a disk, after sled's folder
/// there was harmed.
fn replayed(test: &str, mut before: Disk, harm: Option<Harmed>, chance: &mut Chance) -> Replayed {
    let (_kept, dir) = directory();
    before.lay_out(&dir).unwrap();
    if let Some(harm) = harm {
        harm(&dir.join("store"));
        before = Disk::taken_from(&dir).unwrap();
    }
    let steps = recording::record(test, &dir, chance.next());
    let mut moments = Vec::new();
    let watcher = |disk: &Disk, acknowledged| moments.push((disk.clone(), acknowledged));
    let mut replay = Replay::new(&dir, before, watcher);
    replay.play(&steps);
    let last = replay.disk.clone();
    drop(replay);
    let differences = last.differences(&dir).unwrap();
    assert!(
        differences.is_empty(),
        "the recording missed what was done to {differences:?}"
    );
    Replayed { moments, last }
}

/// Opens what is left of a disk, and accounts for it. Returns how many records are there.
fn reopen(left: &Disk, promise: Promise<'_>, harm: Option<Harmed>) -> usize {
    let (_kept, dir) = directory();
    left.lay_out(&dir).unwrap();
    let store = dir.join("store");
    if let Some(harm) = harm.filter(|_| store.exists()) {
        harm(&store);
    }
    account(&dir, promise).2
}

fn everything_said(last: &Disk) -> Vec<Said> {
    let (_kept, dir) = directory();
    last.lay_out(&dir).unwrap();
    let options = crate::workload::options(&dir);
    heard(&postrider::store::open(&options).unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_when_a_recording_is_cut_anywhere() {
    if let Some(dir) = recorded_dir() {
        return recorded(|| work(&dir));
    }
    if !can_trace() {
        return;
    }
    let test = "recorded_cuts::nothing_acknowledged_is_lost_when_a_recording_is_cut_anywhere";
    let mut chance = Chance::new("recorded cuts");
    let (recordings, cuts) = if is_full() { (12, 100) } else { (1, 75) };
    let (mut moments, mut records) = (0, 0);
    for _ in 0..recordings {
        let recorded = replayed(test, empty_disk(), None, &mut chance);
        let said = everything_said(&recorded.last);
        moments += recorded.moments.len();
        for _ in 0..cuts {
            let picked = chance.one_of(&recorded.moments);
            let (disk, acknowledged) = picked.expect("there was a moment");
            let promise = Promise {
                said: &said,
                acknowledged: *acknowledged,
            };
            let harmed = chance.once_in(3);
            let harm = chance.one_of(&state_harms::ALL).filter(|_| harmed);
            let left = disk.cut(Cut::any(&mut chance), &mut chance);
            reopen(&left, promise, harm.map(|(_, harm)| *harm));
            records += acknowledged;
        }
    }
    println!(
        "{} cuts of {recordings} recordings with {moments} writes and syncs, {records} acknowledged \
         records looked for: 0 lost, 0 won't open",
        recordings * cuts
    );
}

#[test]
fn nothing_is_lost_when_a_recorded_recovery_is_cut_at_any_write() {
    if let Some(dir) = recorded_dir() {
        return recorded(|| account_again(&dir));
    }
    if !can_trace() {
        return;
    }
    let load = "recorded_cuts::nothing_acknowledged_is_lost_when_a_recording_is_cut_anywhere";
    let test = "recorded_cuts::nothing_is_lost_when_a_recorded_recovery_is_cut_at_any_write";
    let mut chance = Chance::new("recorded recoveries");
    let recordings = if is_full() { 12 } else { 1 };
    let (mut recoveries, mut cuts) = (0, 0);
    for _ in 0..recordings {
        let recorded = replayed(load, empty_disk(), None, &mut chance);
        let said = everything_said(&recorded.last);
        let (disk, acknowledged) = chance.one_of(&recorded.moments).expect("a moment");
        let promise = Promise {
            said: &said,
            acknowledged: *acknowledged,
        };
        let left = [
            (disk.killed(), None),
            (disk.cut(Cut::Torn, &mut chance), None),
            (disk.killed(), Some(scramble as Harmed)),
        ];
        for (left, harm) in left {
            let recovery = replayed(test, left, harm, &mut chance);
            recoveries += 1;
            cuts += recovery.moments.len() + 1;
            for (disk, _) in recovery.moments {
                reopen(&disk.cut(Cut::any(&mut chance), &mut chance), promise, None);
            }
            // What a recovered store has read it may act on, so that is promised from here on.
            let recovered = reopen(&recovery.last, promise, None);
            let acted_on = Promise {
                acknowledged: recovered,
                ..promise
            };
            reopen(&recovery.last.cut(Cut::Drop, &mut chance), acted_on, None);
        }
    }
    println!("{cuts} cuts in {recoveries} recorded recoveries: 0 lost, 0 won't open");
}

/// The recorded program's part: a store is opened, and not looked at.
fn account_again(dir: &Path) {
    drop(postrider::store::open(&crate::workload::options(dir)).unwrap());
}
