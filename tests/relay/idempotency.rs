//! One key, one answer: however many ask at once, and whatever becomes of the process and its state.

use std::collections::BTreeSet;
use std::sync::Barrier;

use crate::support::eventually;
use crate::support::http::{self, Answer};
use crate::support::receiver::{Delivery, Receiver};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

const RACERS: usize = 16;

fn keyed(to: &Integration, path: &str, key: &str, body: &[u8]) -> Vec<u8> {
    let headers = [("X-API-Key", &*to.api_key), ("Idempotency-Key", key)];
    http::request("POST", path, &headers, body)
}

/// Sends these requests at the same moment, each over a connection of its own.
fn race(relay: &Relay, requests: &[Vec<u8>]) -> Vec<Answer> {
    let start = Barrier::new(requests.len());
    std::thread::scope(|scope| {
        let racers: Vec<_> = requests
            .iter()
            .map(|request| {
                let mut connection = relay.connect();
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    connection.send_raw(request).unwrap();
                    connection.answer().unwrap()
                })
            })
            .collect();
        racers
            .into_iter()
            .map(|racer| racer.join().unwrap())
            .collect()
    })
}

fn accepted(relay: &Relay) -> BTreeSet<String> {
    let events = relay.get("/v1/events?limit=100");
    let events = events["events"].as_array().unwrap();
    events.iter().map(|event| text(&event["uuid"])).collect()
}

#[test]
fn of_requests_that_race_with_one_key_exactly_one_is_accepted() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let mut uuids = BTreeSet::new();
    for round in 0..20 {
        let body = samples::event("a", round);
        let request = keyed(&shop, &shop.path(), &format!("race-{round}"), &body);
        let answers = race(&relay, &vec![request; RACERS]);
        let first = |answer: &&Answer| {
            answer.status == 202 && answer.header("idempotent-replayed").is_none()
        };
        let firsts: Vec<_> = answers.iter().filter(first).collect();
        assert_eq!(firsts.len(), 1, "round {round}: {answers:?}");
        let uuid = text(&firsts[0].json()["uuid"]);
        for answer in &answers {
            match answer.status {
                202 => assert_eq!(answer.json()["uuid"], uuid.as_str()),
                409 => assert_eq!(answer.json()["error"], "Conflict"),
                _ => panic!("{answer:?}"),
            }
        }
        uuids.insert(uuid);
    }
    assert_eq!(accepted(&relay), uuids);
}

#[test]
fn of_different_bodies_that_race_with_one_key_exactly_one_is_accepted() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    for round in 0..20 {
        let key = format!("race-{round}");
        let requests: Vec<_> = (0..RACERS as u64)
            .map(|n| keyed(&shop, &shop.path(), &key, &samples::event("a", n)))
            .collect();
        let answers = race(&relay, &requests);
        let taken = answers.iter().filter(|answer| answer.status == 202).count();
        let refused = answers.iter().filter(|answer| answer.status == 422).count();
        assert_eq!(
            (taken, refused),
            (1, RACERS - 1),
            "round {round}: {answers:?}"
        );
    }
    assert_eq!(accepted(&relay).len(), 20);
}

#[test]
fn a_batch_answers_a_repeat_with_all_its_uuids_in_order_whatever_happened_since() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    relay.subscribe(&receiver.url(), &["**"]);
    let events: Vec<_> = (0..50).map(|n| samples::event("a", n)).collect();
    let path = format!("{}/batch", shop.path());
    let json = [b"{\"events\":[", &events.join(&b","[..])[..], b"]}"].concat();
    let send = |relay: &Relay, key: &str| {
        let mut connection = relay.connect();
        connection
            .send_raw(&keyed(&shop, &path, key, &json))
            .unwrap();
        connection.answer().unwrap()
    };
    let uuids = |answer: &Answer| -> Vec<String> {
        let answer = answer.expect(202);
        answer["uuids"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect()
    };
    let first = uuids(&send(&relay, "batch-0"));
    assert_eq!(first.len(), 50);
    assert!(first.is_sorted());
    let mut made = first.len();
    for round in 1..5 {
        relay.kill();
        if round % 2 == 1 {
            std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
        }
        relay.restart();
        let again = send(&relay, "batch-0");
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(uuids(&again), first, "round {round}");
        // A key of its own is another request, however alike.
        let other = send(&relay, &format!("batch-{round}"));
        assert_eq!(other.header("idempotent-replayed"), None);
        made += uuids(&other).len();
    }
    // A kill may have come between a delivery and the journal, so that it comes again.
    eventually("every event", || {
        let arrived = receiver.arrived();
        let ids: BTreeSet<_> = arrived.iter().map(Delivery::id).collect();
        assert!(ids.len() <= made, "a repeat is no new event");
        (ids.len() == made).then_some(())
    });
}
