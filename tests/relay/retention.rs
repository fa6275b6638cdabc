//! What is kept for how long: a journal that may not grow gives up its oldest segments, and nothing that
//! is still needed with them.

use std::collections::BTreeMap;

use serde_json::json;

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

/// Two whole batches of it are more than a tenth of a segment.
const FILLER_BYTES: usize = 200_000;
const FILLERS_PER_BATCH: usize = 20;

/// Sends so many events that nobody wants, and returns the first one's uuid.
fn fill(relay: &Relay, shop: &Integration, batches: usize) -> String {
    let filler = String::from_utf8(samples::sized(FILLER_BYTES)).unwrap();
    let batch = format!(
        r#"{{"events":[{}]}}"#,
        vec![filler; FILLERS_PER_BATCH].join(",")
    );
    let path = format!("{}/batch", shop.path());
    let headers = [("X-API-Key", shop.api_key.as_str())];
    let mut connection = relay.connect();
    let mut first = None;
    for _ in 0..batches {
        let answer = connection.request("POST", &path, &headers, batch.as_bytes());
        let uuids = answer.unwrap().expect(202);
        first.get_or_insert_with(|| text(&uuids["uuids"][0]));
    }
    first.unwrap()
}

fn first_segment(relay: &Relay) -> u64 {
    let files = std::fs::read_dir(relay.data_dir().join("journal")).unwrap();
    let numbers = files.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".seg")?.parse().ok()
    });
    numbers.min().unwrap()
}

#[test]
fn what_is_still_needed_outlives_its_segment_and_the_rest_goes() {
    let mut relay = Relay::with(&[
        ("RETENTION__MAX_BYTES", "1"),
        ("INGEST__MAX_BATCH_BYTES", "5000000"),
    ]);
    let shop = relay.integration("shop");
    let (waits, dies) = (
        Receiver::start(),
        Receiver::answering(|_| Reply::status(500)),
    );
    let paused = relay.subscribe(&waits.url(), &["waits.**"]);
    let path = format!("/v1/subscriptions/{}", paused.id);
    relay
        .manage("POST", &format!("{path}/pause"), b"")
        .expect(200);
    relay.subscribe_as(&json!({
        "url": dies.url(), "events": ["dies.**"], "retry_schedule": ["0s"]
    }));
    let bodies: Vec<_> = (0..5).map(|n| samples::event("waits.here", n)).collect();
    let waiting: Vec<_> = bodies.iter().map(|body| relay.send(&shop, body)).collect();
    let dead = relay.send(&shop, &samples::event("dies.at_once", 1));
    relay.wait_for_deliveries(&dead, "dead");
    let key = [("Idempotency-Key", "once")];
    let keyed = samples::event("nobody.wants_it", 1);
    let once = relay.post(&shop, &key, &keyed).expect(202)["uuid"].clone();
    let unwanted = fill(&relay, &shop, 50);

    eventually("the oldest segment to go", || {
        (first_segment(&relay) > 0).then_some(())
    });
    for uuid in waiting.iter().chain([&dead]) {
        assert!(relay.event(uuid).is_some(), "{uuid} is gone");
    }
    assert!(relay.event(&unwanted).is_none(), "nobody needs it");
    let listed = relay.get("/v1/deliveries?status=dead");
    assert_eq!(listed["deliveries"][0]["event_uuid"], dead.as_str());
    let again = relay.post(&shop, &key, &keyed);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(202)["uuid"], once);

    relay.kill();
    std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
    relay.restart();
    assert_eq!(
        relay.get("/v1/deliveries?status=dead")["deliveries"],
        listed["deliveries"]
    );
    assert_eq!(relay.post(&shop, &key, &keyed).expect(202)["uuid"], once);
    relay
        .manage("POST", &format!("{path}/resume"), b"")
        .expect(200);
    let arrived = waits.wait_for(5);
    // Several are in flight at once, so they may overtake each other.
    let arrived: BTreeMap<_, _> = arrived
        .iter()
        .map(|it| (it.id().to_owned(), it.body.clone()))
        .collect();
    let sent: BTreeMap<_, _> = waiting.iter().cloned().zip(bodies).collect();
    assert_eq!(arrived, sent);
    for uuid in &waiting {
        // Its time was over; now nothing needs it any more.
        eventually("a delivered event to go", || {
            relay.event(uuid).is_none().then_some(())
        });
    }
}

#[test]
fn what_was_not_delivered_in_time_is_dead_and_can_still_be_seen() {
    let relay = Relay::with(&[
        ("RETENTION__EVENTS", "1s"),
        ("INGEST__MAX_BATCH_BYTES", "5000000"),
    ]);
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let paused = relay.subscribe(&receiver.url(), &["waits.**"]);
    let path = format!("/v1/subscriptions/{}", paused.id);
    relay
        .manage("POST", &format!("{path}/pause"), b"")
        .expect(200);
    let uuid = relay.send(&shop, &samples::event("waits.here", 1));
    fill(&relay, &shop, 17);
    eventually("the oldest segment to go", || {
        (first_segment(&relay) > 0).then_some(())
    });
    relay.wait_for_deliveries(&uuid, "dead");
    assert_eq!(receiver.count(), 0);
}
