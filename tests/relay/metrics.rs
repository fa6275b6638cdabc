//! What the relay counts of itself: that it is right, complete, documented, and nobody's business.

mod names;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::http::Answer;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// A reading, with these headers.
fn read_with(relay: &Relay, headers: &[(&str, &str)]) -> Answer {
    let answer = relay.connect().request("GET", "/metrics", headers, b"");
    answer.unwrap()
}

/// Every number, by its name and labels as they are written.
fn numbers(relay: &Relay) -> BTreeMap<String, f64> {
    let answer = read_with(relay, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn is(numbers: &BTreeMap<String, f64>, series: &str, value: u32) -> bool {
    numbers.get(series) == Some(&f64::from(value))
}

#[track_caller]
fn expect(numbers: &BTreeMap<String, f64>, expected: &[(&str, u32)]) {
    for (series, value) in expected {
        let told = format!("{series} is not {value} in {numbers:#?}");
        assert!(is(numbers, series, *value), "{told}");
    }
}

/// An event that the receiver takes, and one that it never does, as often as this; all are settled.
fn settle(relay: &Relay, delivered: u64, dead: u64) -> (Receiver, Vec<String>) {
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|delivery| {
        Reply::status(if delivery.path == "/good" { 200 } else { 500 })
    });
    let at = format!("http://{}", receiver.address());
    let subscribe = |path: &str| {
        let body = json!({
            "url": format!("{at}/{path}"), "events": [format!("{path}.*")],
            "retry_schedule": ["0s", "10ms"],
        });
        relay.subscribe_as(&body).id
    };
    let subscriptions = ["good", "bad"].map(subscribe);
    let send = |event_type, count, status| {
        for number in 0..count {
            let uuid = relay.send(&shop, &samples::event(event_type, number));
            relay.wait_for_deliveries(&uuid, status);
        }
    };
    send("good.made", delivered, "delivered");
    send("bad.made", dead, "dead");
    for _ in 0..3 {
        relay
            .post(&shop, &[], br#"{"event": "good.made"}"#)
            .expect(422);
    }
    (receiver, subscriptions.into())
}

#[test]
fn after_traffic_of_a_known_shape_the_numbers_are_exactly_that() {
    let relay = Relay::start();
    let (_receiver, subscriptions) = settle(&relay, 5, 2);
    relay
        .manage("GET", "/v1/subscriptions/sub_none", b"")
        .expect(404);
    let nobody = [("X-API-Key", "lwa.sk_live_nobody")];
    let refused = relay.connect().request("GET", "/v1/account", &nobody, b"");
    refused.unwrap().expect(401);
    eventually("everything to be journalled", || {
        let now = numbers(&relay);
        let in_mailboxes = |(name, waiting): (&String, &f64)| {
            name.starts_with("postrider_mailbox_messages{") && *waiting > 0.0
        };
        let is_over =
            now["postrider_unjournalled_outcomes"] == 0.0 && !now.iter().any(in_mailboxes);
        is_over.then_some(())
    });
    let numbers = numbers(&relay);
    expect(
        &numbers,
        &[
            ("postrider_ready", 1),
            ("postrider_events_accepted_total", 7),
            ("postrider_commit_events_sum", 7),
            ("postrider_attempts_total{outcome=\"delivered\"}", 5),
            ("postrider_attempts_total{outcome=\"5xx\"}", 4),
            ("postrider_attempts_total{outcome=\"timeout\"}", 0),
            ("postrider_attempt_seconds_count", 9),
            ("postrider_deliveries_total{result=\"delivered\"}", 5),
            ("postrider_deliveries_total{result=\"dead\"}", 2),
            ("postrider_delivery_seconds_count", 5),
            ("postrider_backlog_deliveries{state=\"pending\"}", 0),
            ("postrider_backlog_deliveries{state=\"retrying\"}", 0),
            ("postrider_backlog_deliveries{state=\"dead\"}", 2),
            ("postrider_oldest_pending_seconds", 0),
            (
                "postrider_requests_refused_total{door=\"ingest\",reason=\"invalid\"}",
                3,
            ),
            (
                "postrider_requests_refused_total{door=\"ingest\",reason=\"overloaded\"}",
                0,
            ),
            (
                "postrider_requests_refused_total{door=\"manage\",reason=\"not_found\"}",
                1,
            ),
            (
                "postrider_requests_refused_total{door=\"manage\",reason=\"unauthorized\"}",
                1,
            ),
            ("postrider_undispatched_bytes", 0),
            ("postrider_journal_segments", 1),
            ("postrider_queue_requests", 0),
            ("postrider_mailbox_refused_total{actor=\"queue\"}", 0),
            ("postrider_mailbox_refused_total{actor=\"lane\"}", 0),
        ],
    );
    for measured in [
        "postrider_commit_seconds_count",
        "postrider_sync_seconds_count",
        "postrider_journal_bytes",
        "postrider_state_bytes",
        "postrider_disk_free_bytes",
        "postrider_resident_memory_bytes",
    ] {
        assert!(numbers[measured] > 0.0, "{measured}");
    }

    let stats = relay.get("/v1/stats");
    assert_eq!(stats["events_accepted"]["total"], 7, "{stats}");
    assert_eq!(stats["events_accepted"]["last_minute"], 7, "{stats}");
    assert_eq!(stats["attempts"]["total"], 9);
    assert_eq!(stats["deliveries_delivered"]["total"], 5);
    assert_eq!(stats["deliveries_dead"]["total"], 2);
    assert!(stats["delivery_ms"]["p99"].is_u64() && stats["attempt_ms"]["p50"].is_u64());
    let backlog = |dead| json!({ "pending": 0, "retrying": 0, "dead": dead });
    assert_eq!(stats["backlog"], backlog(2));
    let standing = |id: &String, dead| json!({ "id": id, "status": "active", "probing": false, "backlog": backlog(dead) });
    let [good, bad] = &subscriptions[..] else {
        panic!("{subscriptions:?}")
    };
    let expected = json!([standing(good, 0), standing(bad, 2)]);
    assert_eq!(stats["subscriptions"], expected);
    let first = relay.get("/v1/stats?limit=1");
    let next = text(&first["next_cursor"]);
    let second = relay.get(&format!("/v1/stats?limit=1&cursor={next}"));
    assert_eq!(second["subscriptions"], json!([standing(bad, 2)]));
    assert_eq!(second["backlog"], backlog(2), "it is the whole account's");
}

#[test]
fn what_waits_and_what_is_paused_shows() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["**"]);
    let path = format!("/v1/subscriptions/{}", subscription.id);
    relay
        .manage("POST", &format!("{path}/pause"), b"")
        .expect(200);
    let uuid = relay.send(&shop, &samples::event("a", 1));
    eventually("the pause", || {
        let numbers = numbers(&relay);
        let is_paused = is(&numbers, "postrider_lanes{state=\"paused\"}", 1)
            && is(&numbers, "postrider_lanes{state=\"active\"}", 0)
            && is(
                &numbers,
                "postrider_backlog_deliveries{state=\"pending\"}",
                1,
            );
        is_paused.then_some(())
    });
    expect(&numbers(&relay), &[("postrider_oldest_due_seconds", 0)]);
    relay
        .manage("POST", &format!("{path}/resume"), b"")
        .expect(200);
    relay.wait_for_deliveries(&uuid, "delivered");
    expect(
        &numbers(&relay),
        &[("postrider_backlog_deliveries{state=\"pending\"}", 0)],
    );
}

#[test]
fn a_restart_finds_the_backlog_and_counts_anew() {
    let mut relay = Relay::start();
    let (_receiver, _) = settle(&relay, 1, 3);
    relay.terminate();
    relay.restart();
    expect(
        &numbers(&relay),
        &[
            ("postrider_backlog_deliveries{state=\"dead\"}", 3),
            ("postrider_events_accepted_total", 0),
            ("postrider_deliveries_total{result=\"dead\"}", 0),
        ],
    );
    relay.delete(&format!("/v1/subscriptions/{}", text(&dead_one(&relay))));
    eventually("the deliveries of a deleted subscription to go", || {
        let numbers = numbers(&relay);
        (numbers["postrider_backlog_deliveries{state=\"dead\"}"] == 0.0).then_some(())
    });
}

fn dead_one(relay: &Relay) -> Value {
    let stats = relay.get("/v1/stats");
    let mut standings = stats["subscriptions"].as_array().unwrap().iter();
    let dead = standings.find(|it| it["backlog"]["dead"] == 3);
    dead.unwrap()["id"].clone()
}

#[test]
fn each_reason_to_refuse_is_counted_as_itself() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let body = json!({
        "name": "slow", "permissions": ["events:write"],
        "rate_limit": { "limit": 1, "window_seconds": 3600 },
    });
    let slow = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let send = |relay: &Relay, key: &str, body: &[u8]| {
        let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
        let answer = relay
            .connect()
            .request("POST", &shop.path(), &headers, body);
        answer.unwrap().status
    };
    let event = samples::event("a", 1);
    assert_eq!(send(&relay, &slow, &event), 202);
    assert_eq!(send(&relay, &slow, &event), 429);
    assert_eq!(send(&relay, &shop.api_key, b"{"), 400);
    assert_eq!(send(&relay, "lwa.sk_live_nobody", &event), 401);
    let of =
        |reason| format!("postrider_requests_refused_total{{door=\"ingest\",reason=\"{reason}\"}}");
    let [limited, unreadable, nobody] = ["rate_limited", "unreadable", "unauthorized"].map(of);
    let once = [(&*limited, 1), (&*unreadable, 1), (&*nobody, 1)];
    expect(&numbers(&relay), &once);
    relay.terminate();

    relay.set("STORE__MIN_FREE_BYTES", "1099511627776");
    relay.restart();
    eventually("the disk to be found full", || {
        (numbers(&relay)["postrider_ready"] == 0.0).then_some(())
    });
    assert_eq!(send(&relay, &shop.api_key, &event), 503);
    expect(
        &numbers(&relay),
        &[(&*of("no_space"), 1), (&*of("overloaded"), 0)],
    );
}

#[test]
fn through_a_proxy_only_a_key_with_the_right_reads_and_no_window_counts_it() {
    let relay = Relay::with(&[("RATE_LIMIT__MANAGE", "2/1h")]);
    let body = json!({ "name": "reader", "permissions": ["metrics:read"] });
    let reader = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let body = json!({ "name": "sender", "permissions": ["events:write", "keys:read"] });
    let sender = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let proxies = [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
    ];
    for proxy in proxies {
        let without = read_with(&relay, &[proxy]);
        assert_eq!(
            without.expect(404)["message"],
            "Route not found",
            "{proxy:?}"
        );
        read_with(&relay, &[proxy, ("X-API-Key", &sender)]).expect(403);
        read_with(&relay, &[proxy, ("X-API-Key", "lwa.sk_live_nobody")]).expect(401);
        let read = read_with(&relay, &[proxy, ("X-API-Key", &reader)]);
        assert_eq!(read.status, 200);
        assert_eq!(
            read.header("content-type"),
            Some("text/plain; version=0.0.4")
        );
        assert_eq!(read.header("x-ratelimit-limit"), None);
    }
}

#[test]
fn an_account_sees_its_own_numbers_alone_and_a_bound_key_none() {
    let relay = Relay::start();
    let (_receiver, _) = settle(&relay, 2, 1);
    let made = relay
        .command(&["accounts", "create", "other", "--json"])
        .output();
    let other: Value = serde_json::from_slice(&made.unwrap().stdout).unwrap();
    let stats_of = |key: &str| {
        let answer = relay
            .connect()
            .request("GET", "/v1/stats", &[("X-API-Key", key)], b"");
        answer.unwrap()
    };
    let stats = stats_of(&text(&other["key"])).expect(200);
    for count in [
        "events_accepted",
        "attempts",
        "deliveries_delivered",
        "deliveries_dead",
    ] {
        assert_eq!(stats[count]["total"], 0, "{stats}");
    }
    assert_eq!(stats["backlog"]["dead"], 0);
    assert_eq!(stats["subscriptions"], json!([]));
    assert_eq!(stats["delivery_ms"], json!({ "p50": null, "p99": null }));
    let shop = relay.integration("bound");
    let body = json!({ "name": "bound", "integration_id": shop.id });
    let bound = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    stats_of(&bound).expect(403);
}

#[test]
fn a_reading_holds_no_secret_and_no_word_from_outside() {
    let relay = Relay::start();
    let shop = relay.integration("confidential");
    let receiver = Receiver::answering(|_| Reply::status(500));
    let body = json!({
        "url": receiver.url(), "events": ["confidential.*"], "retry_schedule": ["0s"],
        "headers": { "Authorization": "Bearer confidential" }, "description": "confidential",
    });
    let subscription = relay.subscribe_as(&body);
    let uuid = relay.send(&shop, &samples::event("confidential.made", 1));
    relay.wait_for_deliveries(&uuid, "dead");
    let text = read_with(&relay, &[]).text();
    let port = receiver.address().to_string();
    for word in [
        "confidential",
        "lwa.",
        "whsec",
        "acct_",
        "int_",
        "key_",
        "sub_",
        "dlv_",
        &relay.key,
        &shop.key,
        &shop.api_key,
        &subscription.secret,
        &uuid,
        &port,
    ] {
        assert!(!text.contains(word), "{word} in {text}");
    }
}
