//! Accounts, which only the local operator makes, closes and takes away, and which never meet.

use serde_json::{Value, json};

use super::{Account, ask, locally, status};
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, Subscription, text};
use crate::support::{eventually, samples};

fn accounts(relay: &Relay) -> Vec<Value> {
    let listed = locally(relay, "GET", "/local/accounts", &[], &Value::Null).expect(200);
    listed["accounts"].as_array().unwrap().clone()
}

fn names(accounts: &[Value]) -> Vec<&str> {
    let names = accounts.iter().map(|account| account["name"].as_str());
    names.map(Option::unwrap).collect()
}

/// An account with an event on its way to a receiver that takes its time, and one that waits behind it.
struct Waiting {
    account: Account,
    integration: Integration,
    subscription: Subscription,
    receiver: Receiver,
}

impl Waiting {
    fn make(relay: &Relay) -> Self {
        let receiver = Receiver::answering(|_| Reply::Held(200));
        let account = Account::make(relay, "acme");
        let integration = account.integration(relay);
        let subscription = json!({ "url": receiver.url(), "events": ["**"], "max_in_flight": 1 });
        let subscription = account.subscribe(relay, &subscription);
        for n in 0..2 {
            relay.send(&integration, &samples::event("theirs", n));
        }
        receiver.wait_for(1);
        Self {
            account,
            integration,
            subscription,
            receiver,
        }
    }
}

/// An event of the first account that goes all the way: whatever was to be sent before it has been.
fn one_of_ours_arrives(relay: &Relay, shop: &Integration, receiver: &Receiver) {
    let before = receiver.count();
    relay.send(shop, &samples::event("ours", 1));
    receiver.wait_for(before + 1);
}

#[test]
fn accounts_are_made_and_listed_and_share_nothing() {
    let relay = Relay::start();
    relay.integration("shop");
    let acme = Account::make(&relay, "acme");
    assert!(acme.id.starts_with("acct_") && acme.key.starts_with("lwa.sk_live_"));
    let listed = accounts(&relay);
    assert_eq!(names(&listed), ["default", "acme"], "the oldest first");
    assert!(listed.iter().all(|account| account["suspended"] == false));
    let shown = ask(&relay, &acme.key, "GET", "/v1/account", &Value::Null).expect(200);
    assert_eq!(
        (&shown["id"], &shown["name"]),
        (&listed[1]["id"], &json!("acme"))
    );
    let theirs = ask(&relay, &acme.key, "GET", "/v1/integrations", &Value::Null).expect(200);
    assert_eq!(theirs["integrations"], json!([]));
    for wrong in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "a", "key": "b" }),
    ] {
        locally(&relay, "POST", "/local/accounts", &[], &wrong).expect(422);
    }
    assert_eq!(accounts(&relay).len(), 2);
}

#[test]
fn nothing_is_sent_for_a_suspended_account_until_it_is_resumed() {
    let mut relay = Relay::start();
    let (shop, ours) = (relay.integration("shop"), Receiver::start());
    relay.subscribe(&ours.url(), &["**"]);
    let Waiting {
        account: acme,
        integration,
        receiver,
        ..
    } = Waiting::make(&relay);

    let suspended = acme.change(&relay, "POST", "/suspend").expect(200);
    assert_eq!(suspended["suspended"], true);
    // What was under way may end; what waits stays where it is, now and after a restart.
    receiver.release();
    let account = [("X-Postrider-Account", acme.id.as_str())];
    eventually("the end of what was under way", || {
        let path = "/v1/deliveries?status=delivered";
        let shown = locally(&relay, "GET", path, &account, &Value::Null).expect(200);
        (shown["deliveries"].as_array().unwrap().len() == 1).then_some(())
    });
    for _ in 0..2 {
        one_of_ours_arrives(&relay, &shop, &ours);
        assert_eq!(receiver.count(), 1, "nothing is sent for it");
        for key in [&acme.key, &integration.api_key] {
            assert_eq!(status(&relay, key), 401);
        }
        relay
            .post(&integration, &[], &samples::event("theirs", 3))
            .expect(401);
        assert_eq!(accounts(&relay)[1]["suspended"], true);
        relay.kill();
        relay.restart();
    }

    let resumed = acme.change(&relay, "POST", "/resume").expect(200);
    assert_eq!(resumed["suspended"], false);
    let arrived = receiver.wait_for(2);
    assert_ne!(arrived[0].id(), arrived[1].id());
    relay.send(&integration, &samples::event("theirs", 4));
    receiver.wait_for(3);
}

/// What the first account sees of everything that it owns.
fn ours_is(relay: &Relay) -> Vec<Value> {
    let lists = ["integrations", "subscriptions", "events", "deliveries"];
    let mut all: Vec<_> = lists.map(|list| relay.get(&format!("/v1/{list}"))).into();
    let mut keys = relay.get("/v1/account/api-keys");
    for key in keys["keys"].as_array_mut().unwrap() {
        key["last_used_at"] = Value::Null;
    }
    all.push(keys);
    all
}

#[test]
fn nothing_is_left_of_a_deleted_account_and_nothing_is_changed_of_another() {
    let mut relay = Relay::start();
    let (shop, ours) = (relay.integration("shop"), Receiver::start());
    relay.subscribe(&ours.url(), &["**"]);
    let uuid = relay.send(&shop, &samples::event("ours", 1));
    relay.wait_for_deliveries(&uuid, "delivered");
    let Waiting {
        account: acme,
        integration,
        subscription,
        receiver,
    } = Waiting::make(&relay);
    let before = ours_is(&relay);

    assert_eq!(acme.change(&relay, "DELETE", "").status, 204);
    receiver.release();
    for round in ["at first", "after a crash", "from the journal alone"] {
        assert_eq!(names(&accounts(&relay)), ["default"], "{round}");
        for key in [&acme.key, &integration.api_key] {
            assert_eq!(status(&relay, key), 401, "{round}");
        }
        relay
            .post(&integration, &[], &samples::event("theirs", 3))
            .expect(401);
        // For its neighbour, too, its door is none.
        let headers = [("X-API-Key", relay.key.as_str())];
        let event = samples::event("ours", 2);
        let door = relay
            .connect()
            .request("POST", &integration.path(), &headers, &event);
        door.unwrap().expect(404);
        let path = format!("/v1/subscriptions/{}", subscription.id);
        relay.manage("GET", &path, b"").expect(404);
        let account = [("X-Postrider-Account", acme.id.as_str())];
        locally(&relay, "GET", "/v1/events", &account, &Value::Null).expect(404);
        if round == "at first" {
            assert_eq!(ours_is(&relay), before);
        }
        one_of_ours_arrives(&relay, &shop, &ours);
        assert_eq!(receiver.count(), 1, "{round}");
        relay.kill();
        if round == "after a crash" {
            std::fs::remove_dir_all(relay.data_dir().join("state")).unwrap();
        }
        relay.restart();
    }
    assert_eq!(acme.change(&relay, "DELETE", "").status, 404);
    assert_eq!(acme.change(&relay, "POST", "/suspend").status, 404);
}

#[test]
fn the_last_account_stays() {
    let mut relay = Relay::start();
    let acme = Account::make(&relay, "acme");
    let first = text(&accounts(&relay)[0]["id"]);
    let path = format!("/local/accounts/{first}");
    assert_eq!(
        locally(&relay, "DELETE", &path, &[], &Value::Null).status,
        204
    );
    assert_eq!(status(&relay, &relay.key), 401);
    let kept = acme.change(&relay, "DELETE", "").expect(409);
    assert_eq!(kept["error"], "CONFLICT");
    assert_eq!(status(&relay, &acme.key), 200);
    // And the next start is no first one.
    relay.kill();
    relay.restart();
    assert_eq!(names(&accounts(&relay)), ["acme"]);
    assert_eq!(status(&relay, &relay.key), 401);
}

#[test]
fn the_port_knows_nothing_of_what_is_the_local_operators() {
    let relay = Relay::start();
    let acme = Account::make(&relay, "acme");
    let suspend = format!("/local/accounts/{}/suspend", acme.id);
    for (method, path) in [
        ("GET", "/local/accounts"),
        ("POST", "/local/accounts"),
        ("DELETE", suspend.trim_end_matches("/suspend")),
        ("POST", &suspend),
        ("POST", "/local/secrets/rotate"),
        ("POST", "/local/backup"),
        ("GET", "/local/nothing"),
        ("PUT", "/local/accounts"),
    ] {
        for key in [&relay.key, &acme.key, "nonsense", ""] {
            let body = json!({ "name": "mine" });
            let mut refused = ask(&relay, key, method, path, &body).expect(404);
            refused.as_object_mut().unwrap().remove("timestamp");
            let expected = json!({ "error": "NOT_FOUND", "message": "Route not found" });
            assert_eq!(refused, expected, "{method} {path}");
        }
    }
    let listed = accounts(&relay);
    assert_eq!(names(&listed), ["default", "acme"]);
    assert_eq!(listed[1]["suspended"], false);
}

#[test]
fn only_the_local_operator_chooses_whom_he_acts_for() {
    let relay = Relay::start();
    let acme = Account::make(&relay, "acme");
    let account = ("X-Postrider-Account", acme.id.as_str());
    let shown = locally(&relay, "GET", "/v1/account", &[account], &Value::Null).expect(200);
    assert_eq!(shown["name"], "acme");
    let shown = locally(&relay, "GET", "/v1/account", &[], &Value::Null).expect(200);
    assert_eq!(shown["name"], "default");
    for nobody in ["acct_000000000", "acme", ""] {
        let nobody = [("X-Postrider-Account", nobody)];
        locally(&relay, "GET", "/v1/account", &nobody, &Value::Null).expect(404);
    }

    let over_tcp = |headers: &[(&str, &str)]| {
        let mut connection = relay.connect();
        connection
            .request("GET", "/v1/account", headers, b"")
            .unwrap()
    };
    over_tcp(&[account]).expect(401);
    let shown = over_tcp(&[account, ("X-API-Key", &relay.key)]).expect(200);
    assert_eq!(shown["name"], "default");
}
