//! Killed again and again under everything at once: whatever was accepted arrives, whatever was taken
//! back stays taken back, and what comes twice is no more than what was under way.
//!
//! The bound on duplicates: a delivery comes twice if it was answered with 2xx and that outcome was not
//! journalled yet. Until an outcome comes back through the log, the dispatcher counts its delivery as
//! offered, and it offers a lane no more than `WINDOW`: so a kill costs a subscription at most `WINDOW`
//! duplicates, and all of them together at most `MAX_UNJOURNALLED`.

use std::time::{Duration, Instant};

use postrider::actors::delivery::WINDOW;
use postrider::actors::queue::MAX_UNJOURNALLED;
use serde_json::json;

use super::gardener::Gardener;
use crate::support::chance::Chance;
use crate::support::load::{Load, Promises};
use crate::support::relay::{Relay, Subscription};
use crate::support::tally::{Manner, Tally};
use crate::support::{eventually, is_full};

const SENDERS: u64 = 4;
/// How often the state is removed after a kill. Rebuilding it takes longer with every life.
const REBUILT_ONE_IN: u64 = 8;
/// The attempts that a doomed delivery has.
const DOOMED: [&str; 3] = ["0s", "100ms", "200ms"];
/// How many deliveries are asked about one by one.
const SAMPLES: usize = 50;

fn kills() -> usize {
    if is_full() { 200 } else { 24 }
}

/// A subscription whose deliveries are tried again soon, and then again and again for a minute and
/// more.
fn stubborn(relay: &Relay, url: &str) -> Subscription {
    let mut schedule = vec!["0s", "40ms", "40ms", "80ms", "160ms", "320ms", "640ms"];
    schedule.resize(20, "1s");
    schedule.resize(50, "2s");
    relay.subscribe_as(&json!({ "url": url, "events": ["**"], "retry_schedule": schedule }))
}

/// How the relay fared.
#[derive(Default)]
struct Lives {
    kills: usize,
    restarts: Vec<Duration>,
    rebuilt: usize,
}

impl Lives {
    /// Kills the relay at a random moment and starts it again.
    fn kill(&mut self, relay: &mut Relay, load: &Load, chance: &mut Chance, tallies: &[&Tally]) {
        load.aim_at(Some(relay.address()));
        load.wait_for_more(chance.below(800));
        pause(chance.below(60));
        load.aim_at(None);
        relay.kill();
        self.kills += 1;
        for tally in tallies {
            tally.next_life();
        }
        if chance.once_in(REBUILT_ONE_IN) {
            std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
            self.rebuilt += 1;
        }
        if chance.once_in(4) {
            // Killed again while it recovers.
            let (mut child, _out) = relay.spawn();
            pause(chance.below(150));
            child.kill().unwrap();
            child.wait().unwrap();
            self.kills += 1;
        }
        let begun = Instant::now();
        relay.restart();
        self.restarts.push(begun.elapsed());
    }

    fn restarts(&self) -> String {
        let mut restarts = self.restarts.clone();
        restarts.sort();
        let [min, median, max] = [0, restarts.len() / 2, restarts.len() - 1];
        let ms = |at: usize| restarts[at].as_millis();
        format!("{}/{}/{} ms", ms(min), ms(median), ms(max))
    }
}

/// A random moment: the one thing here that is a matter of time.
fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn nothing_accepted_is_lost_however_often_the_process_is_killed() {
    let mut chance = Chance::new("crash");
    // What always fails is to be tried to the end of its schedule here, and not to be probed for days.
    let mut relay = Relay::with(&[
        ("RATE_LIMIT__AUTH_FAILURES", "off"),
        ("DELIVERY__PROBE_AFTER", "0"),
    ]);
    let shop = relay.integration("shop");
    let steady = Tally::start(Manner::Steady);
    let flaky = Tally::start(Manner::FailingNowAndThen(chance.next()));
    let absent = Tally::start(Manner::DownAtTimes);
    let doomed = Tally::start(Manner::Failing);
    let permanent = [&steady, &flaky, &absent];
    for tally in permanent {
        stubborn(&relay, &tally.url());
    }
    relay.subscribe_as(&json!({
        "url": doomed.url(), "events": ["load.doomed"], "retry_schedule": DOOMED,
    }));
    let load = Load::start(&shop, SENDERS, &mut chance, &flaky);
    let gardener = Gardener::start(&load.shared, &relay.key, &mut chance);

    let mut lives = Lives::default();
    let mut down_for = 0;
    while lives.kills < kills() {
        lives.kill(&mut relay, &load, &mut chance, &permanent);
        // Down for the next few kills, or there again.
        down_for = match down_for {
            0 if chance.once_in(4) => 1 + chance.below(4),
            lives => lives.saturating_sub(1),
        };
        absent.set_down(down_for > 0);
    }
    absent.set_down(false);
    load.aim_at(Some(relay.address()));
    let promises = load.finish();
    let mut garden = gardener.finish();

    let lost: Vec<String> = permanent
        .iter()
        .flat_map(|tally| tally.wait_for_all(&promises))
        .collect();
    let missing = garden.wait_for_all(&promises);
    for one in missing.iter().take(SAMPLES) {
        let (uuid, _) = one.split_once(' ').unwrap();
        println!("missing {one}: {:?}", relay.event(uuid));
    }
    assert_none("lost by those who came later", &missing);
    garden.check_keys(relay.address());
    check_doomed(&relay, &doomed, &promises, lives.kills);
    garden.check_what_is_gone(&promises);
    let duplicates = check_duplicates(&permanent, lives.kills);
    println!(
        "kills {} ({} of them with the state removed), accepted {}, delivered {}, lost {}, \
         duplicates {duplicates}, restarts {} (min/median/max), {}, {}",
        lives.kills,
        lives.rebuilt,
        promises.len(),
        steady.counts().delivered(),
        lost.len(),
        lives.restarts(),
        garden.summary(),
        chance.origin(),
    );
    assert_none("lost", &lost);
}

/// There is none of these; if there are, a few are named.
#[track_caller]
fn assert_none(what: &str, found: &[String]) {
    let few = &found[..found.len().min(5)];
    assert!(found.is_empty(), "{} {what}: {few:?} …", found.len());
}

/// What always fails is tried as often as its schedule says and no more, and is dead then: an attempt
/// is only repeated when a kill came between it and the journal.
fn check_doomed(relay: &Relay, doomed: &Tally, promises: &Promises, kills: usize) {
    let mut due = promises.clone();
    due.retain(|_, promise| promise.event_type == "load.doomed");
    let allowed = DOOMED.len();
    let untried = doomed.wait_until_each(&due, |came| came.highest as usize >= allowed);
    assert_none("not tried to the end", &untried);
    for uuid in due.keys().rev().take(SAMPLES) {
        let event = eventually("a dead delivery", || {
            let event = relay.event(uuid)?;
            let deliveries = event["deliveries"].as_array().unwrap();
            let dead = deliveries.iter().any(|it| it["status"] == "dead");
            dead.then_some(event)
        });
        let deliveries = event["deliveries"].as_array().unwrap();
        let dead = deliveries.iter().find(|it| it["status"] == "dead").unwrap();
        assert_eq!(
            dead["attempts"].as_array().unwrap().len(),
            allowed,
            "{dead}"
        );
    }
    let mut repeated = 0;
    for came in doomed.came() {
        assert!(came.highest as usize <= allowed, "{came:?}");
        assert!(came.tried <= allowed + kills, "{came:?}");
        repeated += came.tried.saturating_sub(allowed);
    }
    println!(
        "{} doomed, {repeated} of their attempts repeated",
        due.len()
    );
    assert!(repeated <= kills * WINDOW);
}

/// Counts what came twice and holds it against the bound; see the module.
fn check_duplicates(tallies: &[&Tally], kills: usize) -> String {
    let mut total = 0;
    let mut worst = 0;
    for tally in tallies {
        assert_eq!(tally.doubly_accepted(), 0, "a repeat was accepted anew");
        let by_life = tally.duplicates();
        worst = worst.max(by_life.iter().copied().max().unwrap_or(0));
        total += by_life.iter().sum::<usize>();
    }
    // A life may have begun with two kills.
    assert!(worst <= 2 * WINDOW, "{worst} duplicates after one kill");
    assert!(total <= kills * MAX_UNJOURNALLED);
    format!("{total} (most after one kill: {worst} of at most {WINDOW})")
}
