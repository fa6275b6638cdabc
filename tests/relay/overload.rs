//! More than may wait: refused at once, in the dialect, and nothing half taken.

mod clients;
mod flood;

use std::collections::BTreeSet;

use crate::support::eventually;
use crate::support::http::{self, Answer, Connection};
use crate::support::relay::{Relay, text};
use crate::support::samples;

const CONNECTIONS: usize = 32;

/// Sends over all of these at once, and returns their answers.
fn all_at_once(connections: &mut [Connection], request: &[u8]) -> Vec<Answer> {
    for connection in connections.iter_mut() {
        connection.send_raw(request).unwrap();
    }
    let answers = connections.iter_mut().map(|it| it.answer().unwrap());
    answers.collect()
}

#[test]
fn beyond_what_may_wait_the_answer_is_503_and_what_was_accepted_is_all_there() {
    let relay = Relay::with(&[("QUEUE__CAPACITY", "1")]);
    let shop = relay.integration("shop");
    let key = [("X-API-Key", shop.api_key.as_str())];
    let request = http::request("POST", &shop.path(), &key, &samples::event("a", 1));
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| relay.connect()).collect();
    let mut accepted = BTreeSet::new();
    let mut refusals = 0;
    eventually("a refusal", || {
        let mut refused = None;
        for answer in all_at_once(&mut connections, &request) {
            if answer.status == 202 {
                accepted.insert(text(&answer.json()["uuid"]));
            } else {
                assert!(answer.header("retry-after").is_some());
                let error = answer.expect(503);
                assert_eq!(error["error"], "Service unavailable");
                assert_eq!(error.as_object().unwrap().len(), 2);
                refusals += 1;
                refused = Some(());
            }
        }
        refused
    });
    assert!(!accepted.is_empty(), "one at a time may come in");
    let metrics = relay.connect().request("GET", "/metrics", &[], b"");
    let counted = format!("postrider_mailbox_refused_total{{actor=\"queue\"}} {refusals}\n");
    assert!(metrics.unwrap().text().contains(&counted), "{counted}");
    let mut listed = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = relay.get(&format!("/v1/events?limit=100{cursor}"));
        listed.extend(
            page["events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| text(&event["uuid"])),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, accepted);
    relay.send(&shop, &samples::event("a", 2));
}

#[test]
fn whoever_comes_back_at_once_after_a_refusal_is_heard_after_those_who_came_later() {
    const OTHERS: u64 = 3;
    let relay = Relay::with(&[("QUEUE__CAPACITY", "4")]);
    let shop = relay.integration("shop");
    let key = [("X-API-Key", shop.api_key.as_str())];
    let request = http::request("POST", &shop.path(), &key, &samples::event("a", 1));
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| relay.connect()).collect();
    eventually("others are let in before who was just refused", || {
        let answers = all_at_once(&mut connections, &request);
        let refused = answers.iter().position(|answer| answer.status == 503)?;
        // It has its refusal, whole.
        let refused = &mut connections[refused];
        refused.send_raw(&request).unwrap();
        let others = (0..OTHERS).map(|n| relay.send(&shop, &samples::event("a", n)));
        let others: Vec<_> = others.collect();
        let heard = refused.answer().unwrap().expect(202);
        // Ids grow in the order of acceptance.
        let heard = text(&heard["uuid"]);
        others.iter().all(|other| *other < heard).then_some(())
    });
}
