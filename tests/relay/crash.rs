//! Killed at any moment: whatever was accepted arrives, whatever was taken back stays taken back.

mod gardener;
mod under_load;

use std::path::Path;

use serde_json::json;

use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};
use crate::support::samples;

#[test]
fn what_was_taken_back_stays_taken_back() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    for round in 0..5 {
        let (gone, stays) = (Receiver::start(), Receiver::start());
        let deleted = relay.subscribe(&gone.url(), &["**"]);
        let kept = relay.subscribe(&stays.url(), &["**"]);
        let name = json!({ "name": format!("round {round}") });
        let made = relay.create("/v1/account/api-keys", &name);
        let (id, key) = (text(&made["id"]), text(&made["key"]));

        relay.delete(&format!("/v1/subscriptions/{}", deleted.id));
        relay.delete(&format!("/v1/account/api-keys/{id}"));
        relay.kill();
        if round % 2 == 1 {
            std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
        }
        relay.restart();

        let headers = [("X-API-Key", key.as_str())];
        let event = samples::event("a", round);
        let answer = relay
            .connect()
            .request("POST", &shop.path(), &headers, &event);
        answer.unwrap().expect(401);
        let path = format!("/v1/subscriptions/{}", deleted.id);
        relay.manage("GET", &path, b"").expect(404);
        let uuid = relay.send(&shop, &event);
        relay.wait_for_deliveries(&uuid, "delivered");
        assert_eq!((gone.count(), stays.count()), (0, 1));
        relay.delete(&format!("/v1/subscriptions/{}", kept.id));
    }
}

type Harm = fn(&Path);

/// What can happen to the state while nobody looks.
const HARM: [(&str, Harm); 4] = [
    ("deleted", |state| std::fs::remove_dir_all(state).unwrap()),
    ("emptied", |state| {
        std::fs::remove_dir_all(state).unwrap();
        std::fs::create_dir(state).unwrap();
    }),
    ("filled with garbage", |state| {
        for file in files(state) {
            let length = std::fs::metadata(&file).unwrap().len().min(1 << 20);
            std::fs::write(&file, vec![0xa5; usize::try_from(length).unwrap()]).unwrap();
        }
    }),
    ("cut to nothing", |state| {
        for file in files(state) {
            std::fs::write(&file, b"").unwrap();
        }
    }),
];

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

#[test]
fn without_its_state_everything_comes_back_from_the_journal() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let key = [("Idempotency-Key", "once")];
    let first = text(
        &relay
            .post(&shop, &key, &samples::event("once", 1))
            .expect(202)["uuid"],
    );
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["**"]);
    let path = format!("/v1/subscriptions/{}", subscription.id);
    let mut sent = Vec::new();
    for (n, (harm, inflict)) in HARM.iter().enumerate() {
        relay
            .manage("POST", &format!("{path}/pause"), b"")
            .expect(200);
        for n in 0..20 {
            sent.push(relay.send(&shop, &samples::event("waits", n)));
        }
        relay.kill();
        inflict(&relay.data_dir().join("state"));
        relay.restart();

        assert_eq!(relay.get(&path)["status"], "paused", "{harm}");
        relay
            .manage("POST", &format!("{path}/resume"), b"")
            .expect(200);
        for uuid in &sent {
            relay.wait_for_deliveries(uuid, "delivered");
        }
        assert_eq!(
            receiver.count(),
            20 * (n + 1),
            "{harm}: nothing comes twice"
        );
        let again = relay
            .post(&shop, &key, &samples::event("once", 1))
            .expect(202);
        assert_eq!(again["uuid"], first.as_str(), "{harm}");
    }
    for delivery in receiver.arrived() {
        delivery.verify(&subscription.secret);
    }
}
