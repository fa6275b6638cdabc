//! What is closed is closed with the answer, however busy the relay is: a request that begins after it is
//! refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use super::{Account, Key, ask};
use crate::support::eventually;
use crate::support::relay::{Integration, Relay};
use crate::support::samples;

const SENDERS: usize = 8;
/// Requests that each sender has let in before the door is closed, and refused afterwards.
const EACH: usize = 25;

/// Wrong keys are refused as such, however many they are.
fn relay() -> Relay {
    Relay::with(&[("RATE_LIMIT__AUTH_FAILURES", "off")])
}

/// Tells senders that the door is closed, also when closing it failed.
struct Closing<'a>(&'a AtomicBool);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends on connections that are kept, from many sides, while something is closed.
#[track_caller]
fn expect_closed(relay: &Relay, to: &Integration, key: &str, refusal: u16, close: impl FnOnce()) {
    let closed = AtomicBool::new(false);
    let well_on = AtomicUsize::new(0);
    let send = || {
        let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
        let mut connection = relay.connect();
        let (mut let_in, mut refused) = (0, 0);
        while refused < EACH {
            let begins_after = closed.load(Ordering::SeqCst);
            let event = samples::event("order.paid", 1);
            let answer = connection.request("POST", &to.path(), &headers, &event);
            let answer = answer.unwrap();
            let status = answer.status;
            if answer.header("connection") == Some("close") {
                connection = relay.connect();
            }
            if begins_after {
                assert_eq!(status, refusal, "it began after the door was closed");
                refused += 1;
            } else {
                assert!([202, refusal].contains(&status), "{status}");
                let_in += usize::from(status == 202);
                if let_in == EACH {
                    well_on.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(send);
        }
        let _closed_in_the_end = Closing(&closed);
        eventually("all senders to be well on", || {
            (well_on.load(Ordering::SeqCst) == SENDERS).then_some(())
        });
        close();
    });
}

#[test]
fn a_deleted_key_is_refused_from_then_on() {
    let relay = relay();
    let shop = relay.integration("shop");
    let key = Key::make(&relay, &json!({ "name": "leaked" }));
    expect_closed(&relay, &shop, &key.secret, 401, || {
        relay.delete(&key.path());
    });
}

#[test]
fn the_old_secret_of_a_rotated_key_is_refused_from_then_on() {
    let relay = relay();
    let shop = relay.integration("shop");
    let key = Key::make(&relay, &json!({ "name": "leaked" }));
    let path = format!("{}/rotate", key.path());
    expect_closed(&relay, &shop, &key.secret, 401, || {
        ask(&relay, &relay.key, "POST", &path, &Value::Null).expect(200);
    });
}

#[test]
fn a_disabled_integration_takes_nothing_from_then_on() {
    let relay = relay();
    let shop = relay.integration("shop");
    let path = format!("/v1/integrations/{}/disable", shop.id);
    expect_closed(&relay, &shop, &shop.api_key, 403, || {
        ask(&relay, &relay.key, "POST", &path, &Value::Null).expect(200);
    });
}

#[test]
fn a_suspended_accounts_keys_are_refused_from_then_on() {
    let relay = relay();
    let acme = Account::make(&relay, "acme");
    let theirs = acme.integration(&relay);
    expect_closed(&relay, &theirs, &theirs.api_key, 401, || {
        acme.change(&relay, "POST", "/suspend").expect(200);
    });
}
