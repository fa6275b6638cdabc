//! A disk without room, made by a reserve that is larger than any disk.

use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};
use crate::support::samples;

const ALL_OF_IT: &str = "1099511627776";

#[test]
fn a_start_on_a_full_disk_says_so_and_goes_on_with_what_was_accepted() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["**"]);
    relay
        .manage(
            "POST",
            &format!("/v1/subscriptions/{}/pause", subscription.id),
            b"",
        )
        .expect(200);
    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    relay.terminate();

    relay.set("STORE__MIN_FREE_BYTES", ALL_OF_IT);
    relay.restart();
    let health = eventually("readiness to go red", || {
        let mut connection = relay.connect();
        let answer = connection
            .request("GET", "/health/ready", &[], b"")
            .unwrap();
        (answer.status == 503).then(|| answer.json())
    });
    assert!(text(&health["reason"]).contains("disk is full"), "{health}");
    let refused = relay.post(&shop, &[], &samples::event("order.paid", 2));
    assert_eq!(text(&refused.expect(503)["error"]), "Service unavailable");
    assert!(refused.header("retry-after").is_some());
    // What needs little room and cannot wait is still done: deliveries, and changes of who may do what.
    relay
        .manage(
            "POST",
            &format!("/v1/subscriptions/{}/resume", subscription.id),
            b"",
        )
        .expect(200);
    assert_eq!(receiver.wait_for(1)[0].id(), uuid);
    relay.wait_for_deliveries(&uuid, "delivered");
    relay.terminate();

    relay.set("STORE__MIN_FREE_BYTES", "0");
    relay.restart();
    let second = relay.send(&shop, &samples::event("order.paid", 3));
    assert_eq!(receiver.wait_for(2)[1].id(), second);
}

#[test]
fn a_first_start_on_a_full_disk_ends_with_a_sentence() {
    let mut relay = Relay::stopped(&[("STORE__MIN_FREE_BYTES", ALL_OF_IT)]);
    let (code, said) = relay.refusal();
    assert_eq!(code, Some(1));
    assert!(said.contains("the disk is full"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    relay.set("STORE__MIN_FREE_BYTES", "0");
    relay.restart();
}
