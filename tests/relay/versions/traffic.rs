//! A store with something of everything in it, made by real traffic.
//!
//! All that is still to be sent belongs to paused subscriptions, so that a store stays as it is until
//! somebody resumes them. Only what every release can do is used.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, Subscription, text};

/// The owner's key of all fixtures. It opens nothing else.
pub const OWNER_KEY: &str = "lwa.sk_live_4j0DdZI3ToEtCYsaSgiYDh78eC3JcyFg";
/// A loopback address that nobody else is likely to listen on when the fixture is opened, years later.
pub const ANY_PORT: &str = "127.77.0.1:0";

const STRUCTURED: &str = r#"{ "specversion" : "1.0", "type":"com.example.order.paid","source":"/shop/1",
  "id":"A-1", "time":"2026-01-31T12:00:00Z", "data":{"total":1.10,"a":"\u00e9"} }"#;
const ORDER: &str = r#"{"event":"order.paid","data":{ "total" : 1.10, "note":"\u00e9 \/ é" }}"#;
const REFUND: &str = r#"{"data":{"z":1,"a":2,"z":3},"event":"order.refunded"}"#;
const STOCK: &str = r#"{"event":"stock.low","data":[1.0,1,1e400,-0]}"#;

/// One request: to which integration, what it says, and the events it holds.
struct Sent {
    integration: &'static str,
    batch: bool,
    headers: &'static [(&'static str, &'static str)],
    body: String,
    events: Vec<&'static str>,
}

fn before_the_checkpoint() -> Vec<Sent> {
    let json: &[_] = &[("Content-Type", "application/json")];
    let one = |integration, headers, event: &'static str| Sent {
        integration,
        batch: false,
        headers,
        body: event.to_owned(),
        events: vec![event],
    };
    vec![
        one("shop", json, ORDER),
        one("mail", json, r#"{"event":"mail.opened","data":null}"#),
        one(
            "shop",
            &[("Content-Type", "application/cloudevents+json")],
            STRUCTURED,
        ),
        one(
            "shop",
            &[
                ("Content-Type", "text/plain; charset=utf-8"),
                ("ce-specversion", "1.0"),
                ("ce-type", "scan.made"),
                ("ce-source", "/scanner/7"),
                ("ce-id", "S%201"),
                ("ce-comexamplenote", "Euro%20%E2%82%AC"),
            ],
            "not JSON at all: é €\n",
        ),
        Sent {
            integration: "shop",
            batch: true,
            headers: json,
            body: format!(r#"{{"events": [ {ORDER} , {STOCK} ]}}"#),
            events: vec![ORDER, STOCK],
        },
    ]
}

fn after_the_checkpoint() -> Vec<Sent> {
    vec![
        Sent {
            integration: "mail",
            batch: true,
            headers: &[("Content-Type", "application/x-ndjson")],
            body: format!("{REFUND}\n{STOCK}\n"),
            events: vec![REFUND, STOCK],
        },
        Sent {
            integration: "shop",
            batch: false,
            headers: &[
                ("Content-Type", "application/json"),
                ("Idempotency-Key", "order-17"),
            ],
            body: REFUND.to_owned(),
            events: vec![REFUND],
        },
    ]
}

/// Makes the store, ends its relay with a kill, and returns what there was to see before that.
pub fn make(relay: &mut Relay, receiver: &Receiver) -> Value {
    receiver.now_answers(|delivery| {
        let fails = ["/stubborn", "/hopeless"].contains(&delivery.path.as_str());
        Reply::status(if fails { 500 } else { 200 })
    });
    relay.restart();
    let integrations = [
        ("shop", relay.integration("shop")),
        ("mail", relay.integration("mail")),
    ];
    let keys = Keys::make(relay);
    let subscriptions = Subscriptions::make(relay, receiver, &integrations[0].1);
    let mut sent = Vec::new();
    for request in before_the_checkpoint() {
        sent.push(send(relay, &integrations, &request));
    }
    subscriptions.wait(relay, &sent);
    pause(relay, &subscriptions.stubborn);
    // A clean stop writes a checkpoint; what follows is in the journal alone.
    relay.terminate();
    relay.restart();
    for request in after_the_checkpoint() {
        sent.push(send(relay, &integrations, &request));
    }
    relay.delete(&format!("/v1/subscriptions/{}", subscriptions.gone.id));
    relay.delete(&format!("/v1/account/api-keys/{}", keys.revoked.0));
    subscriptions.wait(relay, &sent);
    let expected = json!({
        "receiver": receiver.address().to_string(),
        "keys": keys.expected(),
        "subscriptions_by_role": subscriptions.expected(),
        "integration_keys": integrations
            .iter()
            .map(|(name, it)| ((*name).to_owned(), json!({"path": it.path(), "api_key": it.api_key})))
            .collect::<serde_json::Map<_, _>>(),
        "sent": sent,
        "integrations": relay.get("/v1/integrations?limit=100")["integrations"],
        "subscriptions": relay.get("/v1/subscriptions?limit=100")["subscriptions"],
        "api_keys": relay.get("/v1/account/api-keys?limit=100")["keys"],
        "events": relay.get("/v1/events?limit=100")["events"],
        "whole_events": uuids(&sent).iter().map(|uuid| relay.event(uuid).unwrap()).collect::<Vec<_>>(),
    });
    relay.kill();
    expected
}

fn send(relay: &Relay, integrations: &[(&str, Integration)], request: &Sent) -> Value {
    let find = |(name, _): &&(&str, Integration)| *name == request.integration;
    let (_, integration) = integrations.iter().find(find).unwrap();
    let batch = if request.batch { "/batch" } else { "" };
    let path = format!("{}{batch}", integration.path());
    let mut headers = vec![("X-API-Key", integration.api_key.as_str())];
    headers.extend(request.headers);
    let mut connection = relay.connect();
    let answer = connection.request("POST", &path, &headers, request.body.as_bytes());
    let answer = answer.unwrap().expect(202);
    let uuids = if request.batch {
        answer["uuids"].clone()
    } else {
        json!([answer["uuid"]])
    };
    json!({
        "integration": request.integration,
        "batch": request.batch,
        "headers": request.headers,
        "body": request.body,
        "events": request.events,
        "uuids": uuids,
    })
}

/// The uuids of all events that were sent, in order.
pub fn uuids(sent: &[Value]) -> Vec<String> {
    let each = |request: &Value| request["uuids"].as_array().unwrap().clone();
    sent.iter().flat_map(each).map(|uuid| text(&uuid)).collect()
}

fn pause(relay: &Relay, subscription: &Subscription) {
    let path = format!("/v1/subscriptions/{}/pause", subscription.id);
    relay.manage("POST", &path, b"").expect(200);
}

/// Keys beside the owner's: id and key.
struct Keys {
    reader: (String, String),
    limited: (String, String),
    revoked: (String, String),
}

impl Keys {
    fn make(relay: &Relay) -> Self {
        let make = |body: Value| {
            let made = relay.create("/v1/account/api-keys", &body);
            (text(&made["id"]), text(&made["key"]))
        };
        Self {
            reader: make(json!({"name": "reader", "permissions": ["events:read"]})),
            limited: make(json!({
                "name": "limited",
                "environment": "test",
                "expires_at": "2999-12-31T23:59:59Z",
                "rate_limit": {"limit": 1000, "window_seconds": 60},
            })),
            revoked: make(json!({"name": "revoked"})),
        }
    }

    fn expected(&self) -> Value {
        json!({
            "owner": OWNER_KEY,
            "reader": self.reader.1,
            "limited": self.limited.1,
            "revoked": self.revoked.1,
        })
    }
}

/// One subscription for each thing that can become of a delivery.
struct Subscriptions {
    steady: Subscription,
    stubborn: Subscription,
    hopeless: Subscription,
    patient: Subscription,
    gone: Subscription,
}

impl Subscriptions {
    fn make(relay: &Relay, receiver: &Receiver, shop: &Integration) -> Self {
        let make = |name: &str, settings: Value| {
            let mut body = settings;
            body["url"] = json!(format!("http://{}/{name}", receiver.address()));
            relay.subscribe_as(&body)
        };
        let mut waits = vec!["0s"];
        waits.resize(50, "300ms");
        let subscriptions = Self {
            steady: make(
                "steady",
                json!({"events": ["**"], "description": "delivered at once", "max_in_flight": 7}),
            ),
            stubborn: make(
                "stubborn",
                json!({"events": ["order.*"], "retry_schedule": waits}),
            ),
            hopeless: make(
                "hopeless",
                json!({
                    "events": ["order.paid", "com.**"],
                    "retry_schedule": ["0s", "10ms"],
                    "integration_id": shop.id,
                }),
            ),
            patient: make(
                "patient",
                json!({"events": ["**"], "secret": "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}),
            ),
            gone: make("gone", json!({"events": ["**"]})),
        };
        pause(relay, &subscriptions.patient);
        pause(relay, &subscriptions.gone);
        subscriptions
    }

    /// Waits until nothing moves any more but retries.
    fn wait(&self, relay: &Relay, sent: &[Value]) {
        for uuid in uuids(sent) {
            eventually("deliveries to be settled or to fail twice", || {
                let event = relay.event(&uuid)?;
                let settled = |delivery: &Value| {
                    let subscription = delivery["subscription_id"].as_str().unwrap();
                    let status = delivery["status"].as_str().unwrap();
                    match subscription {
                        id if id == self.steady.id => status == "delivered",
                        id if id == self.hopeless.id => status == "dead",
                        id if id == self.stubborn.id => {
                            status == "pending"
                                && delivery["attempts"] == json!([])
                                && self.paused(relay)
                                || delivery["attempts"].as_array().unwrap().len() > 1
                        }
                        _ => true,
                    }
                };
                let deliveries = event["deliveries"].as_array().unwrap();
                deliveries.iter().all(settled).then_some(())
            });
        }
    }

    fn paused(&self, relay: &Relay) -> bool {
        relay.get(&format!("/v1/subscriptions/{}", self.stubborn.id))["status"] == "paused"
    }

    fn expected(&self) -> Value {
        let of = |it: &Subscription| json!({"id": it.id, "secret": it.secret});
        json!({
            "steady": of(&self.steady),
            "stubborn": of(&self.stubborn),
            "hopeless": of(&self.hopeless),
            "patient": of(&self.patient),
            "gone": of(&self.gone),
        })
    }
}
