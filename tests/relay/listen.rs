//! Listening: deliveries to a receiver that has no address.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;
use crate::support::tail::{Tail, lines_of};

fn start() -> (Relay, Integration) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    (relay, shop)
}

/// The command, as it runs.
struct Ear {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    fn open(relay: &Relay, state: &Path, arguments: &[&str]) -> Self {
        let mut command = relay.command(&[&["listen"], arguments].concat());
        command.env("XDG_STATE_HOME", state);
        let mut child = spawn(&mut command);
        let out = lines_of(child.stdout.take().unwrap());
        let said = lines_of(child.stderr.take().unwrap());
        Self { child, out, said }
    }

    fn wait_until_it_says(&self, what: &str) {
        eventually(what, || {
            let said = self.said.lock().unwrap();
            said.iter().any(|line| line.contains(what)).then_some(())
        });
    }

    fn says(&self, prefix: &str) -> String {
        let said = self.said.lock().unwrap();
        let line = said.iter().find_map(|line| line.split(prefix).nth(1));
        line.unwrap_or_else(|| panic!("no {prefix} in {said:?}"))
            .to_owned()
    }

    fn end(mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status();
        assert!(kill.unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &mut Command) -> Child {
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The subscription of this name.
fn subscription(relay: &Relay, name: &str) -> Value {
    let all = relay.get("/v1/subscriptions");
    let mut all = all["subscriptions"].as_array().unwrap().iter();
    let url = format!("listen:{name}");
    all.find(|it| it["url"] == url.as_str())
        .expect("it is there")
        .clone()
}

fn wait_until_paused(relay: &Relay, name: &str) {
    eventually("the pause", || {
        let it = subscription(relay, name);
        (it["paused_reason"] == "nobody listens").then_some(())
    });
}

#[test]
fn a_program_without_an_address_gets_deliveries_signed_retried_and_after_a_break() {
    let (mut relay, shop) = start();
    let state = TempDir::new().unwrap();
    let receiver = Receiver::answering(|delivery| match delivery.attempt() {
        1 => Reply::status(500),
        _ => Reply::status(200),
    });
    let url = receiver.url();
    let arguments = [
        "--forward-to",
        &url,
        "--name",
        "laptop",
        "--events",
        "order.*",
    ];
    let ear = Ear::open(&relay, state.path(), &arguments);
    ear.wait_until_it_says("connected");
    let secret = ear.says("signing secret is ");
    let path = format!(
        "/v1/subscriptions/{}",
        text(&subscription(&relay, "laptop")["id"])
    );
    let body = json!({ "retry_schedule": ["0s", "0s"] }).to_string();
    relay.manage("PATCH", &path, body.as_bytes()).expect(200);

    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    relay.send(&shop, &samples::event("payment.made", 1));
    let event = relay.wait_for_deliveries(&uuid, "delivered");
    let attempts = event["deliveries"][0]["attempts"].as_array().unwrap();
    let codes: Vec<_> = attempts
        .iter()
        .map(|it| it["status_code"].clone())
        .collect();
    assert_eq!(codes, [500, 200]);
    let arrived = receiver.wait_for(2);
    assert_eq!(arrived[1].id(), uuid);
    arrived[1].verify(&secret);
    assert_ne!(arrived[1].header("host"), "listener");
    eventually("two lines", || {
        (ear.out.lock().unwrap().len() == 2).then_some(())
    });

    // Nobody listens: what comes in waits, and nothing is used up.
    assert_eq!(ear.end("-INT"), Some(0));
    wait_until_paused(&relay, "laptop");
    let later = relay.send(&shop, &samples::event("order.paid", 2));
    relay.kill();
    relay.restart();
    receiver.now_answers(|_| Reply::status(200));
    let ear = Ear::open(&relay, state.path(), &arguments);
    let event = relay.wait_for_deliveries(&later, "delivered");
    assert_eq!(
        event["deliveries"][0]["attempts"].as_array().unwrap().len(),
        1
    );
    assert_eq!(ear.says("signing secret is "), secret);
    assert_eq!(
        relay.get("/v1/subscriptions")["subscriptions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // The relay goes and comes back: that is said, and the exit status of whoever ends it then says it, too.
    relay.kill();
    ear.wait_until_it_says("not connected");
    assert_eq!(ear.end("-TERM"), Some(1));
    relay.restart();
    let ear = Ear::open(
        &relay,
        state.path(),
        &["--name", "laptop", "--temporary", "--json"],
    );
    ear.wait_until_it_says("connected");
    let last = relay.send(&shop, &samples::event("order.paid", 3));
    let shown = eventually("a line", || ear.out.lock().unwrap().first().cloned());
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(
        (&shown["uuid"], &shown["status"]),
        (&json!(last), &json!(200))
    );
    assert_eq!(ear.end("-INT"), Some(0));
    assert_eq!(relay.get("/v1/subscriptions")["subscriptions"], json!([]));
}

#[test]
fn one_listens_at_a_time_and_who_is_silent_is_taken_for_gone() {
    let mut relay = Relay::stopped(&[("DELIVERY__TIMEOUT", "1s")]);
    relay.restart();
    let shop = relay.integration("shop");
    let made = relay.subscribe_as(&json!({
        "url": "listen:desk", "events": ["**"], "retry_schedule": ["0s", "0s"],
    }));
    let path = format!("/v1/subscriptions/{}", made.id);
    let mut first = Tail::of(&relay, &relay.key, &format!("{path}/listen"));
    let state = TempDir::new().unwrap();
    let mut second = Ear::open(&relay, state.path(), &["--name", "desk"]);
    second.wait_until_it_says("connected");
    assert_eq!(first.next().unwrap().name, "replaced");
    assert!(first.next().is_none());
    let uuid = relay.send(&shop, &samples::event("a.b", 1));
    let event = relay.wait_for_deliveries(&uuid, "delivered");
    assert_eq!(
        event["deliveries"][0]["attempts"].as_array().unwrap().len(),
        1
    );

    let mut third = Tail::of(&relay, &relay.key, &format!("{path}/listen"));
    assert_eq!(second.child.wait().unwrap().code(), Some(1));
    second.wait_until_it_says("somebody else listens under this name");
    let uuid = relay.send(&shop, &samples::event("a.b", 2));
    assert_eq!(third.next().unwrap().name, "delivery");
    // It says nothing at all.
    while third.next().is_some() {}
    wait_until_paused(&relay, "desk");
    eventually("the attempt that was not answered", || {
        let event = relay.event(&uuid)?;
        let error = &event["deliveries"][0]["attempts"][0]["error"];
        (error == "timeout").then_some(())
    });
}

#[test]
fn what_came_of_it_is_what_whoever_listens_says() {
    let (relay, shop) = start();
    let made = relay.subscribe_as(&json!({
        "url": "listen:desk", "events": ["**"], "retry_schedule": ["0s"],
    }));
    let path = format!("/v1/subscriptions/{}/listen", made.id);
    let mut ear = Tail::of(&relay, &relay.key, &path);
    let answer = |exchange: &Value, body: &Value| {
        relay.manage(
            "POST",
            &format!("{path}/{exchange}"),
            body.to_string().as_bytes(),
        )
    };
    for (said, status, fact, value) in [
        (
            // A whole number, however it is written.
            json!({ "status": 204.0, "retry_after_seconds": 1.0 }),
            "delivered",
            "status_code",
            json!(204),
        ),
        (
            json!({ "status": 418, "body": "no coffee" }),
            "dead",
            "response",
            json!("no coffee"),
        ),
        (
            json!({ "error": "connect" }),
            "dead",
            "error",
            json!("connect"),
        ),
        (
            json!({ "error": "closed" }),
            "dead",
            "error",
            json!("closed"),
        ),
        (
            json!({ "error": "timeout" }),
            "dead",
            "error",
            json!("timeout"),
        ),
        (
            json!({ "error": "invalid_response" }),
            "dead",
            "error",
            json!("invalid_response"),
        ),
    ] {
        let uuid = relay.send(&shop, &samples::event("a.b", 1));
        let exchange = ear.next().unwrap().data["exchange"].clone();
        for nonsense in [
            json!({}),
            json!({ "status": 99 }),
            json!({ "status": 200, "error": "connect" }),
            json!({ "status": 200, "retry_after_seconds": 1.5 }),
            json!({ "status": 200, "retry_after_seconds": u64::from(u32::MAX) + 1 }),
            json!({ "colour": "red" }),
        ] {
            answer(&exchange, &nonsense).expect(422);
        }
        let refused = answer(&exchange, &json!({ "error": "bored" })).expect(422);
        let message = text(&refused["message"]);
        assert!(message.starts_with("error: "), "{message}");
        assert!(message.contains("invalid_response"), "{message}");
        answer(&exchange, &said).expect(204);
        answer(&exchange, &said).expect(404);
        let event = relay.wait_for_deliveries(&uuid, status);
        assert_eq!(event["deliveries"][0]["attempts"][0][fact], value);
    }
    let other = relay.subscribe("http://127.0.0.1:9999/", &["nothing"]);
    let path = format!("/v1/subscriptions/{}/listen", other.id);
    let refused = relay.manage("GET", &path, b"").expect(409);
    assert!(
        text(&refused["message"]).contains("listen:NAME"),
        "{refused}"
    );
    for url in ["listen:", "listen:a b", "listen:a/b", "listen://a"] {
        let body = json!({ "url": url, "events": ["**"] }).to_string();
        relay
            .manage("POST", "/v1/subscriptions", body.as_bytes())
            .expect(422);
    }
}
