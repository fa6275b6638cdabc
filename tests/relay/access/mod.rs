//! Who may do what, and for how long: keys, integrations, accounts; who did it; and what a thief of the
//! data directory learns.

mod accounts;
mod audit;
mod bad_input;
mod failures;
mod foreign;
mod integrations;
mod keys;
mod last_used;
mod limits;
mod revocation;
mod rotation;
mod secrets;

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::support::PATIENCE;
use crate::support::http::{Answer, read_answer, request};
use crate::support::relay::{Integration, Relay, Subscription, text};

const KEYS: &str = "/v1/account/api-keys";

/// A key, as whoever makes it gets it.
struct Key {
    id: String,
    secret: String,
}

impl Key {
    /// What a request was answered with that shows a key.
    fn of(shown: &Value) -> Self {
        Self {
            id: text(&shown["id"]),
            secret: text(&shown["key"]),
        }
    }

    /// A key made by the owner.
    fn make(relay: &Relay, body: &Value) -> Self {
        Self::of(&relay.create(KEYS, body))
    }

    /// A key that may do this.
    fn that_may(relay: &Relay, permissions: &[&str]) -> Self {
        let body = json!({ "name": "some key", "permissions": permissions });
        Self::make(relay, &body)
    }

    fn path(&self) -> String {
        format!("{KEYS}/{}", self.id)
    }
}

/// A request with this key; `null` is no body.
fn ask(relay: &Relay, key: &str, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
    let body = bytes(body);
    let mut connection = relay.connect();
    connection.request(method, path, &headers, &body).unwrap()
}

/// A request through the local socket, without a key, with these headers.
fn locally(
    relay: &Relay,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let mut socket = UnixStream::connect(relay.data_dir().join("postrider.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = request(method, path, headers, &bytes(body));
    socket.write_all(&sent).unwrap();
    read_answer(&mut BufReader::new(socket)).unwrap()
}

fn bytes(body: &Value) -> Vec<u8> {
    if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    }
}

/// What this key is answered when it asks who it is.
fn status(relay: &Relay, key: &str) -> u16 {
    ask(relay, key, "GET", "/v1/account", &Value::Null).status
}

/// An account besides the first one, and its owner's key.
struct Account {
    id: String,
    key: String,
}

impl Account {
    fn make(relay: &Relay, name: &str) -> Self {
        let body = json!({ "name": name });
        let made = locally(relay, "POST", "/local/accounts", &[], &body).expect(201);
        Self {
            id: text(&made["id"]),
            key: text(&made["key"]),
        }
    }

    /// Has the local operator do something to it.
    fn change(&self, relay: &Relay, method: &str, how: &str) -> Answer {
        let path = format!("/local/accounts/{}{how}", self.id);
        locally(relay, method, &path, &[], &Value::Null)
    }

    fn create(&self, relay: &Relay, path: &str, body: &Value) -> Value {
        ask(relay, &self.key, "POST", path, body).expect(201)
    }

    fn integration(&self, relay: &Relay) -> Integration {
        let made = self.create(relay, "/v1/integrations", &json!({ "name": "theirs" }));
        Integration {
            id: text(&made["id"]),
            key: text(&made["integration_key"]),
            api_key: text(&made["api_key"]["key"]),
        }
    }

    fn subscribe(&self, relay: &Relay, body: &Value) -> Subscription {
        let made = self.create(relay, "/v1/subscriptions", body);
        Subscription {
            id: text(&made["id"]),
            secret: text(&made["secret"]),
        }
    }
}

/// The time in so many seconds, or so many seconds ago, as requests write it.
fn in_seconds(seconds: i64) -> String {
    let then = Utc::now() + TimeDelta::seconds(seconds);
    then.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Whether it is a time in whole seconds, with `Z`.
fn is_whole_second(time: &Value) -> bool {
    let time = text(time);
    let read = DateTime::parse_from_rfc3339(&time).unwrap();
    read.to_utc().to_rfc3339_opts(SecondsFormat::Secs, true) == time
}
