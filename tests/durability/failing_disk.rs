//! The real relay on a disk that fails: it says what failed and ends, it never answers 202 for what is
//! not on the disk, and on a healed disk it has everything that it did.

use std::sync::Mutex;
use std::thread;

use rustix::io::Errno;
use serde_json::{Value, json};

use crate::disk::Cut;
use crate::faults::{Fault, Harm, Operation};
use crate::mount::Mount;
use crate::support::chance::Chance;
use crate::support::eventually;
use crate::support::http::Connection;
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;
use crate::{can_mount, empty_disk};

const SENDERS: u64 = 4;
/// What a sender sends at most, should the disk never fail.
const MOST_EVENTS: u64 = 150;

/// A relay on a disk of ours.
struct Bench {
    relay: Relay,
    shop: Integration,
    mount: Mount,
}

impl Bench {
    fn start(settings: &[(&str, &str)]) -> Self {
        let mount = Mount::new(empty_disk()).unwrap();
        let mut relay = Relay::stopped_on(mount.join("store"), settings);
        relay.restart();
        let shop = relay.integration("shop");
        Self { relay, shop, mount }
    }

    /// Sends with several senders until the relay answers no more; returns what was accepted.
    fn send_until_it_ends(&self) -> Vec<String> {
        let accepted = Mutex::new(Vec::new());
        let (address, shop) = (self.relay.address(), &self.shop);
        thread::scope(|scope| {
            for sender in 0..SENDERS {
                let accepted = &accepted;
                scope.spawn(move || {
                    let Ok(mut connection) = Connection::open(address) else {
                        return;
                    };
                    for n in 0..MOST_EVENTS {
                        let event = samples::event("order.paid", sender * MOST_EVENTS + n);
                        match send(&mut connection, shop, &event) {
                            Some((202, body)) => accepted.lock().unwrap().push(text(&body["uuid"])),
                            Some((503, _)) => {}
                            Some((status, body)) => panic!("{status} {body}"),
                            None => return,
                        }
                    }
                });
            }
        });
        accepted.into_inner().unwrap()
    }

    /// The process ends by itself, with status 1 and this in its last words.
    #[track_caller]
    fn expect_the_end(&mut self, words: &[&str]) {
        let status = self.relay.wait_for_exit();
        let said = self.relay.said();
        assert_eq!(status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap_or_default();
        for word in words {
            assert!(last.contains(word), "no {word:?} in {last:?}");
        }
    }

    /// On the healed disk, and on what a power cut leaves of it, everything accepted is there.
    fn expect_after_healing(mut self, accepted: &[String]) {
        self.mount.heal();
        let left = self.mount.disk().cut(Cut::Drop, &mut Chance::new("healed"));
        self.relay.restart();
        expect_all(&self.relay, accepted);
        self.relay.terminate();
        let mount = Mount::new(left).unwrap();
        let mut relay = Relay::stopped_on(mount.join("store"), &[]);
        relay.key.clone_from(&self.relay.key);
        relay.restart();
        expect_all(&relay, accepted);
        relay.terminate();
    }
}

fn send(connection: &mut Connection, to: &Integration, body: &[u8]) -> Option<(u16, Value)> {
    let headers = [
        ("X-API-Key", to.api_key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = connection.request("POST", &to.path(), &headers, body);
    let answer = answer.ok()?;
    Some((answer.status, answer.json()))
}

#[track_caller]
fn expect_all(relay: &Relay, accepted: &[String]) {
    for uuid in accepted {
        assert!(
            relay.event(uuid).is_some(),
            "{uuid} was accepted and is lost"
        );
    }
}

/// Lets the disk fail under load, and expects these words.
fn fails_with(fault: Fault, words: &[&str]) {
    if !can_mount() {
        return;
    }
    let mut bench = Bench::start(&[]);
    let event = samples::event("order.paid", 0);
    let mut accepted: Vec<_> = (0..5)
        .map(|_| bench.relay.send(&bench.shop, &event))
        .collect();
    bench.mount.harm(fault);
    accepted.extend(bench.send_until_it_ends());
    bench.expect_the_end(words);
    println!("{} accepted before the end", accepted.len());
    bench.expect_after_healing(&accepted);
}

fn journal(on: Operation, errno: Errno) -> Fault {
    Fault {
        on: Some(on),
        below: "store/journal".into(),
        harm: Harm::Error(errno),
    }
}

#[test]
fn a_sync_of_the_journal_that_fails_ends_the_process() {
    let fault = journal(Operation::Sync, Errno::IO);
    fails_with(fault, &["store/journal/", ".seg", "Input/output error"]);
}

#[test]
fn a_write_to_the_journal_that_fails_ends_the_process() {
    let fault = journal(Operation::Write, Errno::IO);
    fails_with(fault, &["store/journal/", ".seg", "Input/output error"]);
}

#[test]
fn no_space_where_space_was_allocated_ends_the_process() {
    let fault = journal(Operation::Write, Errno::NOSPC);
    fails_with(fault, &["store/journal/", ".seg", "No space left"]);
}

#[test]
fn a_disk_that_turns_read_only_ends_the_process() {
    let fault = Fault {
        on: None,
        below: "".into(),
        harm: Harm::Error(Errno::ROFS),
    };
    fails_with(fault, &["store/", "Read-only file system"]);
}

/// Something never comes back; after `sync_timeout` the process says so and ends.
fn hangs_with(below: &'static str, words: &[&str]) {
    if !can_mount() {
        return;
    }
    let mut bench = Bench::start(&[("STORE__SYNC_TIMEOUT", "1s")]);
    let event = samples::event("order.paid", 0);
    let mut accepted: Vec<_> = (0..5)
        .map(|_| bench.relay.send(&bench.shop, &event))
        .collect();
    bench.mount.harm(Fault {
        on: Some(Operation::Sync),
        below: below.into(),
        harm: Harm::Hang,
    });
    thread::scope(|scope| {
        let sending = scope.spawn(|| bench.send_until_it_ends());
        eventually("a sync that hangs", || {
            bench.mount.is_hanging().then_some(())
        });
        eventually("its last words", || {
            let said = bench.relay.said();
            words.iter().all(|word| said.contains(word)).then_some(())
        });
        // A process that hangs in the kernel, and what is connected to it, is gone only when the disk
        // lets go of it.
        bench.mount.heal();
        accepted.extend(sending.join().unwrap());
    });
    bench.expect_the_end(words);
    bench.expect_after_healing(&accepted);
}

#[test]
fn a_sync_of_the_journal_that_never_returns_ends_the_process() {
    hangs_with("store/journal", &["a sync of the journal took over 1s"]);
}

#[test]
fn a_checkpoint_that_never_returns_ends_the_process() {
    hangs_with("store/state", &["a checkpoint took over 1s"]);
}

#[test]
fn a_flush_that_hangs_after_a_failed_write_ends_the_process() {
    let fault = Fault {
        on: Some(Operation::Write),
        below: "store/state".into(),
        harm: Harm::Error(Errno::IO),
    };
    fails_with(fault, &["state"]);
}

/// Readiness, and why not.
fn readiness(relay: &Relay) -> (u16, String) {
    let mut connection = relay.connect();
    let answer = connection.request("GET", "/health/ready", &[], b"");
    let answer = answer.unwrap();
    (answer.status, answer.text())
}

#[track_caller]
fn expect_red(relay: &Relay, shop: &Integration) {
    let reason = eventually("readiness to go red", || {
        Some(readiness(relay)).filter(|(status, _)| *status == 503)
    });
    assert!(reason.1.contains("the disk is full"), "{reason:?}");
    let refused = relay.post(shop, &[], &samples::event("order.paid", 2));
    refused.expect(503);
    assert!(refused.header("retry-after").is_some());
}

#[track_caller]
fn expect_green_by_itself(relay: &Relay, shop: &Integration) -> String {
    eventually("readiness to come back", || {
        Some(()).filter(|()| readiness(relay).0 == 200)
    });
    relay.send(shop, &samples::event("order.paid", 3))
}

#[test]
fn a_disk_that_allocates_no_more_is_a_refusal_until_it_does() {
    if !can_mount() {
        return;
    }
    let bench = Bench::start(&[]);
    let relay = &bench.relay;
    bench.mount.harm(journal(Operation::Allocate, Errno::NOSPC));
    // The next segment was allocated before; after it there is no other.
    let large = json!({ "event": "large", "data": "x".repeat(250_000) }).to_string();
    let mut accepted = Vec::new();
    let refused = loop {
        let answer = relay.post(&bench.shop, &[], large.as_bytes());
        if answer.status != 202 {
            break answer;
        }
        accepted.push(text(&answer.json()["uuid"]));
        assert!(accepted.len() < 1_000, "it never noticed");
    };
    refused.expect(503);
    expect_red(relay, &bench.shop);
    bench.mount.heal();
    accepted.push(expect_green_by_itself(relay, &bench.shop));
    expect_all(relay, &accepted);
}

#[test]
fn a_restart_on_a_full_disk_starts_red_and_recovers_by_itself() {
    if !can_mount() {
        return;
    }
    let mut bench = Bench::start(&[("STORE__MIN_FREE_BYTES", "100000000")]);
    let mut accepted = vec![
        bench
            .relay
            .send(&bench.shop, &samples::event("order.paid", 1)),
    ];
    for end in ["terminated", "killed"] {
        match end {
            "killed" => bench.relay.kill(),
            _ => bench.relay.terminate(),
        }
        let mut size = 0;
        bench.mount.resize(|disk| {
            size = disk.capacity_bytes();
            size - disk.free_bytes()
        });
        bench.relay.restart();
        expect_red(&bench.relay, &bench.shop);
        expect_all(&bench.relay, &accepted);
        bench.mount.resize(|_| size);
        accepted.push(expect_green_by_itself(&bench.relay, &bench.shop));
        // The reserve comes back with the first start that finds room.
        bench.relay.terminate();
        bench.relay.restart();
    }
    expect_all(&bench.relay, &accepted);
}
