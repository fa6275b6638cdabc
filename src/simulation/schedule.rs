//! A schedule of weeks, kept to the millisecond: by the relay's own cores, on a clock that is moved from
//! one alarm to the next, through restarts.

use std::time::Instant;

use super::process::Process;
use super::world::World;
use crate::actors::delivery::core::Moment;
use crate::domain::delivery::{Outcome, Reply};
use crate::domain::directory::fixtures::subscription;
use crate::domain::directory::{Change, Subscription};
use crate::domain::ids::SubscriptionId;
use crate::domain::ordering::Ordering;
use crate::domain::retry::Schedule;

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const DAY_MS: u64 = 24 * HOUR_MS;
/// What a delivery waits before each attempt: more than five weeks in all.
const WAITS_MS: [u64; 13] = [
    0,
    5 * SECOND_MS,
    300 * SECOND_MS,
    HOUR_MS / 2,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
    3 * DAY_MS,
    7 * DAY_MS,
    24 * DAY_MS,
];
/// Moves every wait by the same tenth.
const JITTER: f64 = 0.75;
const ORDERED: u64 = 1;
const UNORDERED: u64 = 2;

/// When each attempt began.
type Begun = Vec<(SubscriptionId, u64)>;

#[test]
fn a_schedule_of_weeks_is_kept_to_the_millisecond_through_restarts() {
    let mut world = World::new(7, false);
    world.disk.keep_power();
    world.kept.events_ms = u64::MAX;
    for (id, ordering) in [(ORDERED, Ordering::Strict), (UNORDERED, Ordering::None)] {
        let record = Subscription {
            ordering,
            retry_schedule: Some(Schedule::new(WAITS_MS.to_vec()).unwrap()),
            ..subscription(id, 1, &["**"])
        };
        world.witness.subscribes(record.clone(), WAITS_MS.len());
        world
            .process()
            .change(vec![Change::PutSubscription(record.into())]);
        world.rest();
    }
    let accepted_ms = world.now_ms;
    world.send_one();
    let mut begun = Begun::new();
    for round in 0.. {
        begun.extend(world.rest());
        let Some(wait_ms) = world.next_ms() else {
            break;
        };
        world.pass(wait_ms);
        if round % 3 == 1 {
            world.end();
            world.disk.keep_power();
        }
        let now_ms = world.now_ms;
        world.process().dispatch.ring(now_ms).unwrap();
    }
    for id in [ORDERED, UNORDERED] {
        let of = SubscriptionId::from_bits(id);
        let own = begun.iter().filter(|(by, _)| *by == of);
        let own: Vec<u64> = own.map(|(_, at_ms)| at_ms - accepted_ms).collect();
        let due = WAITS_MS.iter().scan(0, |at_ms, wait_ms| {
            *at_ms += wait_ms * 11 / 10;
            Some(*at_ms)
        });
        assert_eq!(own, due.collect::<Vec<_>>(), "{of}");
    }
}

impl World {
    /// Everything happens that can without time passing; every attempt fails. Says which began.
    fn rest(&mut self) -> Begun {
        let (now, now_ms) = (self.now, self.now_ms);
        let mut begun = Begun::new();
        loop {
            let process = self.process();
            let mut busy = process.commit(true, now_ms);
            busy |= process.write_commit().is_some();
            busy |= process.end_commit(now_ms);
            busy |= process.turn(now_ms).unwrap();
            process.dispatch.send_offers(now_ms).unwrap();
            busy |= process.go_on_saving().unwrap();
            let _ = process.changed();
            let failed = fail_all(process, now, now_ms);
            busy |= !failed.is_empty();
            begun.extend(failed);
            let applied = process.dispatch.ledger().applied().position;
            if !busy && process.running.is_empty() && applied >= process.log.end() {
                return begun;
            }
        }
    }

    /// How long until something is due.
    fn next_ms(&mut self) -> Option<u64> {
        let (now, now_ms) = (self.now, self.now_ms);
        let process = self.process();
        let held = process.pump(Moment {
            at: now,
            unix_ms: now_ms,
        });
        let held_ms = held.map(|held| u64::try_from(held.as_millis()).unwrap());
        let alarm_ms = process.dispatch.next_alarm_ms();
        let alarm_ms = alarm_ms.map(|due_ms| due_ms.saturating_sub(now_ms));
        held_ms.into_iter().chain(alarm_ms).min()
    }
}

fn fail_all(process: &mut Process, now: Instant, now_ms: u64) -> Begun {
    process.pump(Moment {
        at: now,
        unix_ms: now_ms,
    });
    let mut begun = Begun::new();
    while let Some(last) = process.running.len().checked_sub(1) {
        let of = process.running[last].target.subscription.id;
        if process.read(last, now).unwrap().is_some() {
            let reply = Reply::Status {
                code: 500,
                retry_after_ms: None,
            };
            let outcome = process.end(last, reply, (now_ms, now_ms), JITTER, now);
            assert!(matches!(outcome, Outcome::Retry { .. } | Outcome::Dead));
            begun.push((of, now_ms));
        }
    }
    begun
}
