//! Five times what may wait: refused at once, at no cost in memory, and what is accepted meanwhile is
//! delivered like everything else.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::support::flood::{Flood, Tide, percentile};
use crate::support::http;
use crate::support::is_full;
use crate::support::load::{Promise, Promises, mark};
use crate::support::relay::{Integration, Relay};
use crate::support::samples;
use crate::support::tally::{Manner, Tally};

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Requests that may wait for a commit.
const PLACES: u32 = 32;
const TIMES: u32 = 5;
/// What a relay may grow by while it is overloaded: the latest records, two checkpoints, attempts and
/// outcomes under way, and what the allocator keeps of them.
const MAX_GROWTH_MIB: u64 = 96;

fn lasts() -> Duration {
    Duration::from_secs(if is_full() { 60 } else { 5 })
}

/// Watches the memory while work is done; returns the most that was seen.
pub fn watching<T>(relay: &Relay, work: impl FnOnce() -> T) -> (T, u64) {
    let (working, done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let mut most = 0;
            while done.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                most = most.max(relay.resident_mib());
            }
            most
        });
        // Dropped also when the work fails, so that nobody waits for the watcher.
        let working = working;
        let worked = work();
        drop(working);
        (worked, watcher.join().unwrap())
    })
}

fn flood(relay: &Relay, shop: &Integration, body: &[u8], connections: u32) -> Flood {
    let key = [("X-API-Key", shop.api_key.as_str())];
    Flood {
        address: relay.address(),
        request: http::request("POST", &shop.path(), &key, body),
        connections,
        lasts: lasts(),
    }
}

fn promises(tides: &[&Tide], body: &[u8]) -> Promises {
    let promise = Promise {
        mark: mark(body),
        event_type: "a",
        sent_at: Instant::now(),
    };
    let uuids = tides.iter().flat_map(|tide| tide.accepted.clone());
    uuids.map(|uuid| (uuid, promise)).collect()
}

#[test]
fn at_five_times_what_may_wait_memory_stays_and_every_202_is_delivered() {
    let relay = Relay::with(&[("QUEUE__CAPACITY", &PLACES.to_string())]);
    let shop = relay.integration("shop");
    let tally = Tally::start(Manner::Steady);
    relay.subscribe(&tally.url(), &["**"]);
    let body = samples::sized(1024);

    let steady = flood(&relay, &shop, &body, PLACES / 2);
    let calm = steady.run(Duration::ZERO);
    let before_mib = relay.resident_mib();
    let excess = flood(&relay, &shop, &body, PLACES * TIMES);
    let ((rough, excess), most_mib) = watching(&relay, || {
        std::thread::scope(|scope| {
            let excess = scope.spawn(|| excess.run(Duration::ZERO));
            let rough = steady.run(Duration::ZERO);
            (rough, excess.join().unwrap())
        })
    });

    for tide in [&calm, &rough, &excess] {
        assert_eq!(
            tide.strange.first(),
            None,
            "and {} more",
            tide.strange.len()
        );
    }
    assert!(calm.refused_after.is_empty(), "there is room for half");
    assert!(!excess.refused_after.is_empty(), "there was no refusal");
    assert!(!rough.accepted.is_empty(), "nobody else got in");
    assert_eq!(calm.unanswered + rough.unanswered + excess.unanswered, 0);
    let promises = promises(&[&calm, &rough, &excess], &body);
    let lost = tally.wait_for_all(&promises);
    let all_refused = rough.refused_after.len() + excess.refused_after.len();
    let [calm_p99, rough_p99] = [&calm, &rough].map(|tide| percentile(&tide.accepted_after, 99));
    println!(
        "calm: {} accepted in {:?}, p99 {calm_p99:?}; flood: {} offered, {} accepted, {all_refused} \
         refused (p50 {:?}, p99 {:?}), accepted p99 {rough_p99:?}, {:.1} times as long; memory \
         {before_mib} MiB, at most {most_mib} MiB, {} MiB after; {} promised, {} lost",
        calm.accepted.len(),
        lasts(),
        rough.sent + excess.sent,
        rough.accepted.len() + excess.accepted.len(),
        percentile(&excess.refused_after, 50),
        percentile(&excess.refused_after, 99),
        rough_p99.as_secs_f64() / calm_p99.as_secs_f64(),
        relay.resident_mib(),
        promises.len(),
        lost.len(),
    );
    assert_eq!(lost.first(), None, "and more: {} lost", lost.len());
    assert!(
        most_mib <= before_mib + MAX_GROWTH_MIB,
        "{before_mib} MiB became {most_mib} MiB"
    );
}
