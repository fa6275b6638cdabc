//! More than may wait: refused at once, in the dialect, and nothing half taken.

mod clients;
mod flood;

use std::collections::BTreeSet;

use crate::support::eventually;
use crate::support::http;
use crate::support::relay::{Relay, text};
use crate::support::samples;

const CONNECTIONS: usize = 32;

#[test]
fn beyond_what_may_wait_the_answer_is_503_and_what_was_accepted_is_all_there() {
    let relay = Relay::with(&[("QUEUE__CAPACITY", "1")]);
    let shop = relay.integration("shop");
    let key = [("X-API-Key", shop.api_key.as_str())];
    let request = http::request("POST", &shop.path(), &key, &samples::event("a", 1));
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| relay.connect()).collect();
    let mut accepted = BTreeSet::new();
    eventually("a refusal", || {
        for connection in &mut connections {
            connection.send_raw(&request).unwrap();
        }
        let mut refused = None;
        for connection in &mut connections {
            let answer = connection.answer().unwrap();
            if answer.status == 202 {
                accepted.insert(text(&answer.json()["uuid"]));
            } else {
                assert!(answer.header("retry-after").is_some());
                let error = answer.expect(503);
                assert_eq!(error["error"], "Service unavailable");
                assert_eq!(error.as_object().unwrap().len(), 2);
                refused = Some(());
            }
        }
        refused
    });
    assert!(!accepted.is_empty(), "one at a time may come in");
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
