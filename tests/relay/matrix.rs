//! Every route with every kind of caller: each answer is the contract's, and nothing of another account's
//! shows.
//!
//! The routes are the program's own table, so a new one falls into the matrix by itself; where it needs a
//! kind of id that is not known here, the test says so.

use std::collections::BTreeMap;

use postrider::domain::permission::{Permission, Permissions};
use postrider::http::routes::{INGEST, LOCAL, MANAGE, Needs, OPEN, Route};
use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::Answer;
use crate::support::receiver::Receiver;
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;

/// In everything that one account gives a name to.
const OF_ONE: &str = "acornsonly";
/// The same of the other account.
const OF_OTHER: &str = "walnutsonly";
const EVERY_RIGHT: [&str; 10] = [
    "events:write",
    "events:read",
    "deliveries:write",
    "subscriptions:read",
    "subscriptions:write",
    "integrations:read",
    "integrations:write",
    "keys:read",
    "keys:write",
    "metrics:read",
];

/// What one account owns, by the path of what it is one of.
struct Owned {
    owner: String,
    ids: BTreeMap<&'static str, String>,
    shop: Integration,
}

fn ask(relay: &Relay, key: Option<&str>, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(key.map(|key| ("X-API-Key", key)));
    let answer = relay.connect().request(method, path, &headers, body);
    answer.unwrap()
}

fn make(relay: &Relay, key: &str, path: &str, body: &Value) -> Value {
    ask(relay, Some(key), "POST", path, body.to_string().as_bytes()).expect(201)
}

impl Owned {
    /// One of everything, made with an owner's key, and an event that was delivered.
    fn by(relay: &Relay, owner: &str, mark: &str, receiver: &Receiver) -> Self {
        let made = make(relay, owner, "/v1/integrations", &json!({ "name": mark }));
        let shop = Integration {
            id: text(&made["id"]),
            key: text(&made["integration_key"]),
            api_key: text(&made["api_key"]["key"]),
        };
        let body = json!({
            "url": format!("{}/{mark}", receiver.url()),
            "events": [format!("{mark}.*")],
            "description": mark,
            "integration_id": shop.id,
        });
        let subscription = make(relay, owner, "/v1/subscriptions", &body);
        let body = json!({ "name": mark, "integration_id": shop.id });
        let key = make(relay, owner, "/v1/account/api-keys", &body);
        let event = samples::event(&format!("{mark}.made"), 1);
        let sent = ask(relay, Some(&shop.api_key), "POST", &shop.path(), &event).expect(202);
        let uuid = text(&sent["uuid"]);
        let delivery = eventually("a delivery", || {
            let shown = ask(
                relay,
                Some(owner),
                "GET",
                &format!("/v1/events/{uuid}"),
                b"",
            );
            let delivery = &shown.expect(200)["deliveries"][0];
            (delivery["status"] == "delivered").then(|| text(&delivery["id"]))
        });
        let body = json!({ "event_type": format!("{mark}.*") }).to_string();
        let retry = "/v1/deliveries/retry";
        let task = ask(relay, Some(owner), "POST", retry, body.as_bytes()).expect(202);
        let ids = BTreeMap::from([
            ("/v1/tasks", text(&task["id"])),
            ("/v1/account/api-keys", text(&key["id"])),
            ("/v1/integrations", shop.id.clone()),
            ("/v1/subscriptions", text(&subscription["id"])),
            ("/v1/deliveries", delivery),
            ("/v1/events", uuid),
            ("/api/webhooks", shop.key.clone()),
        ]);
        Self {
            owner: owner.to_owned(),
            ids,
            shop,
        }
    }

    /// A route's path with this account's ids in it.
    fn path(&self, route: &Route) -> String {
        // The stream would not end by itself.
        if route.path == "/v1/tail" {
            return "/v1/tail?follow=false&since=2020-01-01T00:00:00Z".to_owned();
        }
        let Some((of, _)) = route.path.split_once("/{") else {
            return route.path.to_owned();
        };
        let id = self.ids.get(of);
        let id = id.unwrap_or_else(|| panic!("tell the matrix an id for {}", route.path));
        let rest = route.path.split_once('}').map_or("", |(_, rest)| rest);
        let rest = rest.replace("{exchange}", "1");
        format!("{of}/{id}{rest}")
    }

    /// A key of this account, beside its owner's.
    fn key(&self, relay: &Relay, body: &Value) -> String {
        text(&make(relay, &self.owner, "/v1/account/api-keys", body)["key"])
    }
}

fn body_of(route: &Route) -> Vec<u8> {
    match route.method {
        "POST" if route.path.starts_with("/api/webhooks") => samples::event("a", 1),
        "POST" | "PATCH" => b"{}".to_vec(),
        _ => Vec::new(),
    }
}

fn keyed() -> impl Iterator<Item = &'static Route> {
    INGEST.iter().chain(MANAGE)
}

fn is_ingest(route: &Route) -> bool {
    route.path.starts_with("/api/webhooks")
}

/// What is not counted with management, and by default not at all.
fn is_traffic(route: &Route) -> bool {
    is_ingest(route) || route.path.contains("/listen/")
}

/// The answer to a caller who is refused, in the words of the prefix's document.
#[track_caller]
fn refused(route: &Route, answer: &Answer, status: u16, ingest: [&str; 2], manage: [&str; 2]) {
    let [error, message] = if is_ingest(route) { ingest } else { manage };
    let mut said = answer.expect(status);
    if !is_ingest(route) {
        let timestamp = said.as_object_mut().unwrap().remove("timestamp");
        assert!(timestamp.is_some(), "{} {}", route.method, route.path);
    }
    let expected = json!({ "error": error, "message": message });
    assert_eq!(said, expected, "{} {}", route.method, route.path);
}

fn names_nothing_of(mark: &str, answer: &Answer, route: &Route) {
    let head: String = answer
        .headers
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    assert!(
        !answer.text().contains(mark) && !head.contains(mark),
        "{} {} shows another's: {}",
        route.method,
        route.path,
        answer.text()
    );
}

struct World {
    relay: Relay,
    one: Owned,
    other: Owned,
    other_account: String,
    receiver: Receiver,
}

fn world() -> World {
    let relay = Relay::with(&[
        ("RATE_LIMIT__MANAGE", "100000/1h"),
        ("RATE_LIMIT__AUTH_FAILURES", "off"),
    ]);
    let receiver = Receiver::start();
    let made = relay
        .command(&["accounts", "create", OF_OTHER, "--json"])
        .output();
    let made: Value = serde_json::from_slice(&made.unwrap().stdout).unwrap();
    let one = Owned::by(&relay, &relay.key, OF_ONE, &receiver);
    let other = Owned::by(&relay, &text(&made["key"]), OF_OTHER, &receiver);
    World {
        relay,
        one,
        other,
        other_account: text(&made["id"]),
        receiver,
    }
}

const MISSING: ([&str; 2], [&str; 2]) = (
    ["Missing API key", "API key is required in X-API-Key header"],
    [
        "UNAUTHORIZED",
        "Missing API key. Include your API key in the X-API-Key header.",
    ],
);
const INVALID: ([&str; 2], [&str; 2]) = (
    [
        "Invalid API key",
        "The provided API key is not valid or has been revoked",
    ],
    [
        "UNAUTHORIZED",
        "Invalid API key. Check that your key is correct and active.",
    ],
);
const NO_KEY: ([&str; 2], [&str; 2]) = (
    INVALID.0,
    [
        "UNAUTHORIZED",
        "Invalid API key format. Keys must start with 'lwa.' prefix.",
    ],
);
const FORBIDDEN: ([&str; 2], [&str; 2]) = (
    [
        "Insufficient permissions",
        "Your API key does not have permission to access this resource",
    ],
    [
        "FORBIDDEN",
        "Your API key does not have permission to access this resource",
    ],
);

#[test]
fn whoever_is_nobody_is_refused_everywhere_in_the_documents_words() {
    let World {
        relay,
        one,
        other,
        other_account,
        receiver: _receiver,
    } = world();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    let soon = postrider::domain::time::rfc3339_seconds(
        u64::try_from(
            soon.duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_millis(),
        )
        .unwrap(),
    );
    let expired = one.key(&relay, &json!({ "name": "short", "expires_at": soon }));
    let revoked = make(
        &relay,
        &one.owner,
        "/v1/account/api-keys",
        &json!({ "name": "gone" }),
    );
    relay.delete(&format!("/v1/account/api-keys/{}", text(&revoked["id"])));
    let suspended = relay
        .command(&["accounts", "suspend", &other_account])
        .output();
    assert!(suspended.unwrap().status.success());
    eventually("the end of a key", || {
        let answer = ask(&relay, Some(&expired), "GET", "/v1/account", b"");
        (answer.status == 401).then_some(())
    });
    let mut mistyped = one.owner.clone();
    mistyped.pop();
    let callers = [
        (None, MISSING),
        (Some(""), MISSING),
        (Some("your-api-key-here"), NO_KEY),
        (
            Some("lwa.sk_live_abcdef1234567890abcdef1234567890"),
            INVALID,
        ),
        (Some(mistyped.as_str()), INVALID),
        (Some(expired.as_str()), INVALID),
        (Some(revoked["key"].as_str().unwrap()), INVALID),
        (Some(other.owner.as_str()), INVALID),
    ];
    for route in keyed() {
        for (key, (ingest, manage)) in callers {
            let answer = ask(&relay, key, route.method, &one.path(route), &body_of(route));
            refused(route, &answer, 401, ingest, manage);
            names_nothing_of(OF_ONE, &answer, route);
            assert_eq!(
                answer.header("x-ratelimit-limit"),
                None,
                "nobody has a window"
            );
        }
    }
}

#[test]
fn nothing_of_another_account_shows_on_any_route() {
    let World {
        relay, one, other, ..
    } = world();
    for route in keyed() {
        let answer = ask(
            &relay,
            Some(&one.owner),
            route.method,
            &other.path(route),
            &body_of(route),
        );
        names_nothing_of(OF_OTHER, &answer, route);
        if route.path.contains('{') {
            let said = answer.expect(404);
            let members = if is_ingest(route) { 2 } else { 3 };
            assert_eq!(said.as_object().unwrap().len(), members, "{said}");
        }
    }
    // The other account has lost nothing by it.
    for route in keyed().filter(|route| route.method == "GET") {
        let path = other.path(route);
        let answer = ask(&relay, Some(&other.owner), "GET", &path, b"");
        // This one is sent to an address.
        let fine = if path.ends_with("/listen") { 409 } else { 200 };
        assert_eq!(answer.status, fine, "{path}: {}", answer.text());
    }
    let event = samples::event("a", 2);
    let path = other.shop.path();
    ask(&relay, Some(&other.shop.api_key), "POST", &path, &event).expect(202);
}

#[test]
fn every_route_asks_for_its_own_right_and_for_no_other() {
    let World {
        relay,
        one,
        receiver,
        ..
    } = world();
    for route in keyed() {
        let Needs::Right(right) = route.needs else {
            let key = one.key(
                &relay,
                &json!({ "name": "any", "permissions": ["metrics:read"] }),
            );
            let answer = ask(&relay, Some(&key), route.method, &one.path(route), b"");
            assert_eq!(answer.status, 200, "{} {}", route.method, route.path);
            continue;
        };
        let right = name_of(right);
        let others: Vec<&str> = EVERY_RIGHT.into_iter().filter(|it| *it != right).collect();
        let lacking = one.key(
            &relay,
            &json!({ "name": "all but one", "permissions": others }),
        );
        let answer = ask(
            &relay,
            Some(&lacking),
            route.method,
            &one.path(route),
            &body_of(route),
        );
        refused(route, &answer, 403, FORBIDDEN.0, FORBIDDEN.1);
        // What it may do takes something of its own with it.
        let mine = Owned::by(&relay, &relay.key, OF_ONE, &receiver);
        let only = mine.key(&relay, &json!({ "name": "one", "permissions": [right] }));
        let answer = ask(
            &relay,
            Some(&only),
            route.method,
            &mine.path(route),
            &body_of(route),
        );
        let told = format!("{} {}: {}", route.method, route.path, answer.text());
        // Nobody changes a key that may do more, or is given one that may.
        let beyond_its_own = answer.status == 403
            && (route.path.starts_with("/v1/account/api-keys/")
                || route.path == "/v1/integrations");
        assert!(
            beyond_its_own || ![401, 403, 404].contains(&answer.status) && answer.status < 500,
            "{told}"
        );
        // The window of what is traffic is off.
        let has_window = answer.header("x-ratelimit-limit").is_some();
        assert_eq!(has_window, !is_traffic(route), "{told}");
    }
}

fn name_of(right: Permission) -> &'static str {
    let names = Permissions::of(&[right]).names();
    assert!(
        EVERY_RIGHT.contains(&names[0]),
        "tell the matrix of {names:?}"
    );
    names[0]
}

#[test]
fn a_key_bound_to_an_integration_reaches_nothing_of_its_neighbours() {
    let World {
        relay,
        one,
        receiver,
        ..
    } = world();
    let neighbour = Owned::by(&relay, &relay.key, OF_OTHER, &receiver);
    let bound = one.key(
        &relay,
        &json!({ "name": "bound", "integration_id": one.shop.id }),
    );
    for route in keyed() {
        let path = neighbour.path(route);
        let answer = ask(&relay, Some(&bound), route.method, &path, &body_of(route));
        names_nothing_of(OF_OTHER, &answer, route);
        if is_ingest(route) {
            refused(route, &answer, 403, FORBIDDEN.0, FORBIDDEN.1);
        } else if route.path.contains('{') {
            answer.expect(404);
        }
    }
}

#[test]
fn what_is_not_for_everybody_is_not_there_from_outside_and_other_methods_are_named() {
    let relay = Relay::start();
    for route in LOCAL {
        let answer = ask(&relay, Some(&relay.key), route.method, route.path, b"{}");
        assert_eq!(answer.expect(404)["error"], "NOT_FOUND", "{}", route.path);
    }
    for route in OPEN.iter().filter(|route| route.method == "GET") {
        assert_eq!(ask(&relay, None, "GET", route.path, b"").status, 200);
    }
    let paths: BTreeMap<&str, Vec<&str>> =
        INGEST
            .iter()
            .chain(MANAGE)
            .fold(BTreeMap::new(), |mut paths, route| {
                paths.entry(route.path).or_default().push(route.method);
                paths
            });
    for (path, allowed) in paths {
        let answer = ask(&relay, Some(&relay.key), "PUT", path, b"{}");
        let said = answer.expect(405);
        let members = if path.starts_with("/api/webhooks") {
            2
        } else {
            3
        };
        assert_eq!(said.as_object().unwrap().len(), members, "{path}: {said}");
        assert_eq!(answer.header("allow"), Some(&*allowed.join(", ")), "{path}");
    }
}
