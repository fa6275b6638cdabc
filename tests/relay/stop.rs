//! Ends and beginnings: signals, a second relay, a damaged journal, wrong settings.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::json;

use crate::support::chance::Chance;
use crate::support::eventually;
use crate::support::load::Load;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;
use crate::support::tally::{Manner, Tally};

#[test]
fn what_is_in_flight_ends_and_is_remembered_before_the_process_does() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::Held(200));
    relay.subscribe(&receiver.url(), &["**"]);
    // Connections that nobody uses must not hold up the end.
    let mut idle = relay.connect();
    idle.request("GET", "/health/live", &[], b"")
        .unwrap()
        .expect(200);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    receiver.wait_for(1);
    relay.signal_terminate();
    eventually("closed doors", || idle.is_closed().then_some(()));
    receiver.release();
    assert_eq!(relay.wait_for_exit().code(), Some(0));

    relay.restart();
    relay.wait_for_deliveries(&uuid, "delivered");
    assert_eq!(receiver.count(), 1, "its outcome was not forgotten");
}

#[test]
fn a_stop_takes_no_longer_than_it_may_and_what_was_not_done_is_done_later() {
    let mut relay = Relay::with(&[("SHUTDOWN_TIMEOUT", "300ms")]);
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::Silence);
    relay.subscribe(&receiver.url(), &["**"]);
    let sent: Vec<_> = (0..5)
        .map(|n| relay.send(&shop, &samples::event("a", n)))
        .collect();
    receiver.wait_for(5);
    relay.terminate();
    receiver.now_answers(|_| Reply::status(200));
    relay.restart();
    for uuid in &sent {
        relay.wait_for_deliveries(uuid, "delivered");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut relay = Relay::with(&[("SHUTDOWN_TIMEOUT", "10m"), ("DELIVERY__TIMEOUT", "5m")]);
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::Silence);
    relay.subscribe(&receiver.url(), &["**"]);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    receiver.wait_for(1);
    relay.signal_terminate();
    eventually("the first signal heard", || {
        relay.said().contains("stopping").then_some(())
    });
    relay.signal_terminate();
    assert_eq!(relay.wait_for_exit().code(), Some(0));
    receiver.now_answers(|_| Reply::status(200));
    relay.restart();
    relay.wait_for_deliveries(&uuid, "delivered");
}

#[test]
fn a_stop_under_load_loses_nothing() {
    let mut chance = Chance::new("stop under load");
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let tally = Tally::start(Manner::Steady);
    relay.subscribe(&tally.url(), &["**"]);
    let load = Load::start(&shop, 4, &mut chance, &tally);
    for _ in 0..3 {
        load.aim_at(Some(relay.address()));
        load.wait_for_more(200);
        relay.terminate();
        load.aim_at(None);
        relay.restart();
    }
    load.aim_at(Some(relay.address()));
    let accepted = load.finish();
    assert_eq!(tally.wait_for_all(&accepted), Vec::<String>::new());
    assert_eq!(tally.duplicates(), [0], "a clean stop forgets no outcome");
}

#[test]
fn only_one_relay_runs_on_a_data_directory() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let (code, said) = relay.refusal();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("only one relay may run on a data directory"),
        "{said}"
    );
    relay.send(&shop, &samples::event("a", 1));
}

/// A stopped relay whose journal holds events with the marks 0 to 49.
fn stopped_with_events() -> (Relay, Integration) {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    for n in 0..50 {
        relay.send(&shop, mark(n).as_bytes());
    }
    relay.kill();
    (relay, shop)
}

fn mark(n: usize) -> String {
    format!(r#"{{"event":"marked","data":"mark {n} of 50"}}"#)
}

/// Where an event's body is in the journal.
fn find(journal: &Path, body: &str) -> u64 {
    let bytes = std::fs::read(journal).unwrap();
    let found = bytes
        .windows(body.len())
        .position(|window| window == body.as_bytes());
    found.expect("the body is in the journal as it came") as u64
}

#[test]
fn a_flipped_bit_in_the_journal_is_named_and_never_skipped() {
    let (mut relay, _) = stopped_with_events();
    let journal = relay.journal();
    let offset = find(&journal, &mark(25)) + 5;
    flip(&journal, offset);
    for round in ["with its state", "without its state"] {
        let (code, said) = relay.refusal();
        assert_eq!(code, Some(1), "{round}: {said}");
        assert!(said.contains(journal.to_str().unwrap()), "{round}: {said}");
        assert!(
            said.contains("damaged") && !said.contains("panicked"),
            "{round}: {said}"
        );
        let state = relay.data_dir().join("state");
        if state.exists() {
            std::fs::remove_dir_all(state).unwrap();
        }
    }
    flip(&journal, offset);
    relay.restart();
    let listed = relay.get("/v1/events?limit=100");
    assert_eq!(
        listed["events"].as_array().unwrap().len(),
        50,
        "the damage was not made worse"
    );
}

fn flip(path: &Path, offset: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
}

/// What a power cut does to a file from a place on.
type Tear = fn(&File, u64);

#[test]
fn a_torn_end_of_the_journal_is_cut_off_and_everything_before_it_kept() {
    let tears: [(&str, Tear); 3] = [
        ("cut off", |file, at| file.set_len(at).unwrap()),
        ("zeros", |file, at| {
            let length = file.metadata().unwrap().len();
            file.set_len(at).unwrap();
            file.set_len(length).unwrap();
        }),
        ("garbage", |file, at| {
            file.set_len(at).unwrap();
            file.write_all_at(&[0xa5; 5000], at).unwrap();
        }),
    ];
    for (tear, inflict) in tears {
        let (mut relay, shop) = stopped_with_events();
        let journal = relay.journal();
        let offset = find(&journal, &mark(49)) + 5;
        inflict(
            &OpenOptions::new().write(true).open(&journal).unwrap(),
            offset,
        );
        relay.restart();
        let listed = relay.get("/v1/events?limit=100");
        assert_eq!(listed["events"].as_array().unwrap().len(), 49, "{tear}");
        let receiver = Receiver::start();
        relay.subscribe(&receiver.url(), &["**"]);
        relay.send(&shop, mark(50).as_bytes());
        assert_eq!(receiver.wait_for(1)[0].body, mark(50).as_bytes(), "{tear}");
        relay.kill();
        relay.restart();
        let listed = relay.get("/v1/events?limit=100");
        assert_eq!(listed["events"].as_array().unwrap().len(), 50, "{tear}");
    }
}

#[test]
fn a_journal_that_is_missing_is_no_first_start() {
    let (relay, _) = stopped_with_events();
    std::fs::remove_dir_all(relay.data_dir().join("journal")).unwrap();
    // The state is written a moment after the events; without any there is nothing to miss.
    if relay.data_dir().join("state").exists() {
        let (code, said) = relay.refusal();
        assert_eq!(code, Some(1));
        assert!(said.contains("journal is missing"), "{said}");
    }
}

#[test]
fn a_wrong_setting_stops_the_start_and_is_named() {
    for (setting, value, named) in [
        ("QUEUE__CAPCITY", "5", "queue.capcity"),
        ("QUEUE__CAPACITY", "many", "queue.capacity"),
        ("QUEUE__CAPACITY", "0", "queue.capacity"),
        ("DELIVERY__TIMEOUT", "15", "delivery.timeout"),
        ("OUTBOUND__ALLOW", "everything", "outbound.allow"),
        ("RATE_LIMIT__MANAGE", "100", "rate_limit.manage"),
        ("SERVER__LISTENER", "127.0.0.1:1", "server.listener"),
    ] {
        let relay = Relay::stopped(&[(setting, value)]);
        let (code, said) = relay.refusal();
        assert_eq!(code, Some(2), "{setting}: {said}");
        assert!(said.to_lowercase().contains(named), "{setting}: {said}");
        assert!(!relay.data_dir().exists(), "{setting}: nothing was begun");
    }
    let relay = Relay::stopped(&[]);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[queue]\ncapacity = 5\ncolour = \"red\"\n").unwrap();
    let path = file.path().to_str().unwrap();
    let output = relay
        .command(&["serve", "--config", path])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("queue.colour") && said.contains(path),
        "{said}"
    );
}

#[test]
fn a_bootstrap_key_that_is_no_key_stops_the_start() {
    let relay = Relay::stopped(&[("BOOTSTRAP_KEY", "lwa.sk_live_tooshort")]);
    let (code, said) = relay.refusal();
    assert_eq!(code, Some(1));
    assert!(
        said.contains("POSTRIDER_BOOTSTRAP_KEY") && !said.contains("tooshort"),
        "{said}"
    );
}

#[test]
fn an_address_that_is_taken_stops_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let relay = Relay::stopped(&[]);
    let output = relay
        .command(&["serve", "--listen", &address])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.contains("cannot listen on") && said.contains(&address),
        "{said}"
    );
}

#[test]
fn a_bootstrap_key_counts_on_the_first_start_only() {
    let mut relay = Relay::start();
    let made = relay.create("/v1/account/api-keys", &json!({ "name": "other" }));
    let (other, owner) = (text(&made["key"]), relay.key.clone());
    relay.kill();
    relay.key = "lwa.sk_live_zQWBuTSOoRi4A9spHcVY5ncnsD3UhvgP".to_owned();
    let generated = relay.command(&["keys", "generate"]).output().unwrap();
    relay.key = String::from_utf8(generated.stdout)
        .unwrap()
        .trim()
        .to_owned();
    relay.restart();
    relay.manage("GET", "/v1/account", b"").expect(401);
    for key in [other, owner] {
        relay.key = key;
        relay.get("/v1/account");
    }
}
