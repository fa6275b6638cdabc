//! The power goes at any moment, and everything that was acknowledged is there when it comes back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::account::{Promise, Reopened, Return, reopen};
use crate::disk::{Cut, Disk};
use crate::faults::{Fault, Harm, Operation};
use crate::state_harms::{self, Harmed, scramble};
use crate::support::chance::Chance;
use crate::support::eventually;
use crate::workload::Workload;
use crate::world::Said;
use crate::{can_mount, empty_disk, is_full};

/// Commits between two cuts of one history.
const COMMITS: usize = 50;

/// A disk as it was at some moment, and how many records were acknowledged by then.
struct Moment {
    disk: Disk,
    acknowledged: usize,
}

impl Moment {
    fn promise<'a>(&self, said: &'a [Said]) -> Promise<'a> {
        Promise {
            said,
            acknowledged: self.acknowledged,
        }
    }
}

/// A store and all that it was told.
struct History {
    now: Reopened,
    said: Vec<Said>,
}

impl History {
    fn new() -> Self {
        let promise = Promise {
            said: &[],
            acknowledged: 0,
        };
        Self {
            now: reopen(empty_disk(), promise, Return::default()),
            said: Vec::new(),
        }
    }

    /// Puts it under load, and keeps some moments of that, whatever was being written just then, and
    /// the last.
    fn run(self, commits: usize, keep: usize, chance: &mut Chance) -> (Vec<Moment>, Vec<Said>) {
        let Reopened {
            store,
            world,
            mount,
            ..
        } = self.now;
        let mut workload = Workload::on(store, world, self.said);
        let acknowledged = Arc::new(AtomicUsize::new(workload.said.len()));
        let count = Arc::clone(&acknowledged);
        workload.on_acknowledged = Box::new(move |records| count.store(records, Ordering::SeqCst));
        let moments = Arc::new(Mutex::new(Vec::<Moment>::new()));
        let kept = Arc::clone(&moments);
        let mut coin = chance.fork();
        let mut seen = 0;
        mount.watch(Box::new(move |disk| {
            seen += 1;
            let at = usize::try_from(coin.below(seen)).unwrap();
            let mut kept = kept.lock().unwrap();
            // Any of all moments is kept with the same chance, however many there will be.
            if kept.len() < keep || at < keep {
                let moment = Moment {
                    disk: disk.clone(),
                    acknowledged: acknowledged.load(Ordering::SeqCst),
                };
                if kept.len() < keep {
                    kept.push(moment);
                } else {
                    kept[at] = moment;
                }
            }
        }));
        workload.run(commits, chance);
        let said = std::mem::take(&mut workload.said);
        let mut moments = std::mem::take(&mut *moments.lock().unwrap());
        moments.push(Moment {
            disk: mount.disk(),
            acknowledged: said.len(),
        });
        (moments, said)
    }
}

impl History {
    /// Puts it under load, and stops it when its last record is written and not synced.
    fn stop_before_a_sync(self, chance: &mut Chance) -> (Moment, Vec<Said>) {
        let Reopened {
            store,
            world,
            mount,
            ..
        } = self.now;
        let mut workload = Workload::on(store, world, self.said);
        workload.run(COMMITS, chance);
        let segment = workload.make_room(chance);
        let acknowledged = workload.said.len();
        mount.harm(Fault {
            on: Some(Operation::Sync),
            below: segment.strip_prefix(mount.path()).unwrap().to_owned(),
            harm: Harm::Hang,
        });
        let answer = workload.begin(chance);
        eventually("a sync", || mount.is_hanging().then_some(()));
        let disk = mount.disk();
        mount.heal();
        assert!(answer.blocking_recv().unwrap().is_err(), "its sync failed");
        let said = std::mem::take(&mut workload.said);
        (Moment { disk, acknowledged }, said)
    }
}

/// Cuts the power at random moments of several histories, each of which goes on from one of its cuts.
fn cut_at_random_moments(name: &str, histories: usize, cuts: usize, harms: &[(&str, Harmed)]) {
    let mut chance = Chance::new(name);
    let (mut cut, mut records) = (0, 0);
    for _ in 0..histories {
        let mut history = History::new();
        for _ in 0..3 {
            let (moments, said) = history.run(COMMITS, cuts, &mut chance);
            let mut goes_on = None;
            for moment in &moments {
                let how = Cut::any(&mut chance);
                let left = moment.disk.cut(how, &mut chance);
                let back = Return {
                    before: chance.one_of(harms).map(|(_, harm)| *harm),
                    watcher: None,
                };
                let reopened = reopen(left, moment.promise(&said), back);
                cut += 1;
                records += moment.acknowledged;
                goes_on = Some(reopened);
            }
            let now = goes_on.expect("there was a moment");
            let said = said[..now.records].to_vec();
            history = History { now, said };
        }
    }
    println!("{name}: {cut} cuts, {records} acknowledged records looked for, 0 lost, 0 won't open");
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_goes_under_load() {
    if !can_mount() {
        return;
    }
    let (histories, cuts) = if is_full() { (25, 40) } else { (2, 14) };
    cut_at_random_moments("power cuts", histories, cuts, &[]);
}

#[test]
fn without_its_state_everything_comes_back_from_the_journal_after_a_cut() {
    if !can_mount() {
        return;
    }
    let (histories, cuts) = if is_full() { (10, 40) } else { (1, 10) };
    cut_at_random_moments(
        "power cuts, state harmed",
        histories,
        cuts,
        &state_harms::ALL,
    );
}

/// Opens a store; returns it, and the disk before every single write and sync of that.
fn watch_opening(
    left: Disk,
    promise: Promise<'_>,
    before: Option<Harmed>,
) -> (Reopened, Vec<Disk>) {
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let watched = Return {
        before,
        watcher: Some(Box::new(move |disk| {
            seen.lock().unwrap().push(disk.clone());
        })),
    };
    let opened = reopen(left, promise, watched);
    let steps = std::mem::take(&mut *steps.lock().unwrap());
    (opened, steps)
}

/// Cuts the power before every single write and sync of a recovery, and after it.
fn cut_through_a_recovery(
    left: Disk,
    promise: Promise<'_>,
    before: Option<Harmed>,
    chance: &mut Chance,
) -> usize {
    let (recovered, steps) = watch_opening(left, promise, before);
    let after = recovered.mount.disk();
    // What a recovered store has read it may act on, so that is promised from here on.
    let acted_on = Promise {
        acknowledged: recovered.records,
        ..promise
    };
    drop(recovered);
    let cuts = steps.len() + 2;
    for step in steps {
        let how = Cut::any(chance);
        reopen(step.cut(how, chance), promise, Return::default());
    }
    for how in [Cut::Drop, Cut::Torn] {
        reopen(after.cut(how, chance), acted_on, Return::default());
    }
    cuts
}

#[test]
fn a_first_start_can_be_cut_at_any_write() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::new("power cuts in first starts");
    let nothing = Promise {
        said: &[],
        acknowledged: 0,
    };
    let starts = if is_full() { 20 } else { 1 };
    let each =
        (0..starts).map(|_| cut_through_a_recovery(empty_disk(), nothing, None, &mut chance));
    let cuts: usize = each.sum();
    println!("{cuts} cuts in {starts} first starts: 0 won't open");
}

#[test]
fn a_first_start_that_was_killed_leaves_nothing_unsynced_behind() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::new("killed first starts");
    let nothing = Promise {
        said: &[],
        acknowledged: 0,
    };
    let (_, steps) = watch_opening(empty_disk(), nothing, None);
    println!("{} first starts killed", steps.len());
    for step in steps {
        let history = History {
            now: reopen(step.killed(), nothing, Return::default()),
            said: Vec::new(),
        };
        let (moments, said) = history.run(3, 0, &mut chance);
        let last = moments.last().expect("the last moment is kept");
        let left = last.disk.cut(Cut::Drop, &mut chance);
        reopen(left, last.promise(&said), Return::default());
    }
}

#[test]
fn nothing_is_lost_when_the_power_goes_at_any_write_of_a_recovery() {
    if !can_mount() {
        return;
    }
    let mut chance = Chance::new("power cuts in recoveries");
    let histories = if is_full() { 24 } else { 1 };
    let (mut recoveries, mut cuts) = (0, 0);
    for _ in 0..histories {
        let (moment, said) = History::new().stop_before_a_sync(&mut chance);
        // Killed: what was written and not synced is there, and can still go.
        let left = [
            (moment.disk.killed(), None),
            (moment.disk.cut(Cut::Torn, &mut chance), None),
            (moment.disk.killed(), Some(scramble as Harmed)),
        ];
        for (disk, harm) in left {
            recoveries += 1;
            cuts += cut_through_a_recovery(disk, moment.promise(&said), harm, &mut chance);
        }
    }
    println!("{cuts} cuts in {recoveries} recoveries: 0 lost, 0 won't open");
}
