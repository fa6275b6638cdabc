//! Reading along: live, with filters, after a break, after a restart, and when one is too slow.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Integration, Relay, text};
use crate::support::samples;
use crate::support::tail::{Message, Tail};

fn start() -> (Relay, Integration) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    (relay, shop)
}

fn names(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|it| it.name.as_str()).collect()
}

fn all_since(relay: &Relay, query: &str) -> Vec<Message> {
    let query = format!("since=2020-01-01T00:00:00Z&follow=false&{query}");
    Tail::open(relay, &relay.key, &query, None).rest()
}

#[test]
fn a_reader_sees_an_event_come_in_every_attempt_and_how_it_ends() {
    let (relay, shop) = start();
    let receiver = Receiver::answering(|delivery| match delivery.attempt() {
        1 => Reply::Says(500, b"not today".to_vec()),
        _ => Reply::status(200),
    });
    let mut tail = Tail::open(&relay, &relay.key, "", None);
    let made = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s", "0s"],
    }));
    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    let seen = tail.take(4);
    assert_eq!(
        names(&seen),
        [
            "event.accepted",
            "delivery.attempt",
            "delivery.attempt",
            "delivery.settled"
        ]
    );
    let [accepted, failed, delivered, settled] = [0, 1, 2, 3].map(|at| &seen[at].data);
    assert_eq!(
        (&accepted["uuid"], &accepted["event"]),
        (&json!(uuid), &json!("order.paid"))
    );
    assert_eq!(accepted["integration_id"], shop.id);
    for attempt in [failed, delivered, settled] {
        assert_eq!(attempt["event_uuid"], uuid);
        assert_eq!(attempt["event"], "order.paid");
        assert_eq!(attempt["subscription_id"], made.id);
        assert!(text(&attempt["delivery_id"]).starts_with("dlv_"));
    }
    assert_eq!(
        (&failed["status"], &failed["status_code"]),
        (&json!("retrying"), &json!(500))
    );
    assert_eq!(failed["response"], "not today");
    assert_eq!(
        (&delivered["status"], &delivered["number"]),
        (&json!("delivered"), &json!(2))
    );
    assert_eq!(
        (&settled["status"], &settled["attempts"]),
        (&json!("delivered"), &json!(2))
    );
    // Each has an id of its own to come back with, and all of it is told again to who asks for it.
    let again = all_since(&relay, "");
    let facts = |messages: &[Message]| -> Vec<(String, Value)> {
        let facts = messages.iter().map(|it| (it.name.clone(), it.data.clone()));
        facts.collect()
    };
    assert_eq!(facts(&again), facts(&seen));
}

#[test]
fn a_reader_sees_what_it_asked_for_and_may_see() {
    let (relay, shop) = start();
    let bank = relay.integration("bank");
    let receiver = Receiver::start();
    let made = relay.subscribe(&receiver.url(), &["order.**"]);
    let other = relay.subscribe(&receiver.url(), &["payment.**"]);
    let order = relay.send(&shop, &samples::event("order.paid", 1));
    let payment = relay.send(
        &bank,
        br#"{"event":"payment.made","data":{"note":"a needle"}}"#,
    );
    for uuid in [&order, &payment] {
        relay.wait_for_deliveries(uuid, "delivered");
    }
    let id_of = |message: &Message| {
        let data = &message.data;
        text(if data["uuid"].is_null() {
            &data["event_uuid"]
        } else {
            &data["uuid"]
        })
    };
    for (query, uuid, count) in [
        ("type=order.*", &order, 3),
        (&*format!("integration_id={}", bank.id), &payment, 3),
        (&*format!("subscription_id={}", made.id), &order, 2),
        (
            &*format!("subscription_id={}&status=delivered", other.id),
            &payment,
            2,
        ),
        ("text=needle", &payment, 1),
        (&*format!("text={order}"), &order, 3),
    ] {
        let seen = all_since(&relay, query);
        let ids: Vec<_> = seen.iter().map(id_of).collect();
        assert_eq!(ids, vec![uuid.clone(); count], "{query}");
    }
    for query in ["status=dead", "type=nobody.*", "text=haystack"] {
        assert_eq!(all_since(&relay, query), [], "{query}");
    }
    // A key for one integration sees that one, and never another account's.
    let everything = "since=2020-01-01T00:00:00Z&follow=false";
    let body =
        json!({ "name": "narrow", "integration_id": bank.id, "permissions": ["events:read"] });
    let narrow = text(&relay.create("/v1/account/api-keys", &body)["key"]);
    let seen = Tail::open(&relay, &narrow, everything, None).rest();
    assert_eq!(seen.iter().map(id_of).collect::<Vec<_>>(), vec![payment; 3]);
    let stranger = relay
        .command(&["accounts", "create", "stranger", "--json"])
        .output()
        .unwrap();
    let stranger: Value = serde_json::from_slice(&stranger.stdout).unwrap();
    let seen = Tail::open(&relay, &text(&stranger["key"]), everything, None).rest();
    assert_eq!(seen, []);
}

#[test]
fn who_comes_back_misses_nothing_and_sees_nothing_twice_also_after_a_kill() {
    let (mut relay, shop) = start();
    let receiver = Receiver::start();
    relay.subscribe(&receiver.url(), &["**"]);
    let mut uuids = Vec::new();
    let mut send = |relay: &Relay| {
        for n in 0..5 {
            let uuid = relay.send(&shop, &samples::event("order.paid", n));
            relay.wait_for_deliveries(&uuid, "delivered");
            uuids.push(uuid);
        }
    };
    let mut tail = Tail::open(&relay, &relay.key, "", None);
    let begun_at = tail.last_id.clone();
    send(&relay);
    // It leaves at every place, in the middle of a record too, and comes back.
    let mut seen = tail.take(1);
    while seen.len() < 15 {
        let id = seen.last().unwrap().id.clone();
        seen.extend(Tail::open(&relay, &relay.key, "", Some(&id)).take(1));
    }
    let id = seen.last().unwrap().id.clone();
    relay.kill();
    relay.restart();
    send(&relay);
    let mut tail = Tail::open(&relay, &relay.key, "", Some(&id));
    seen.extend(tail.take(15));
    let told = |name: &str, member: &str| -> Vec<String> {
        let of_name = seen.iter().filter(|it| it.name == name);
        of_name.map(|it| text(&it.data[member])).collect()
    };
    assert_eq!(told("event.accepted", "uuid"), uuids);
    assert_eq!(told("delivery.attempt", "event_uuid"), uuids);
    assert_eq!(told("delivery.settled", "event_uuid"), uuids);
    // From the very beginning, in one go, it is the same.
    let query = "follow=false";
    let again = Tail::open(&relay, &relay.key, query, Some(&begun_at)).rest();
    let data = |all: &[Message]| all.iter().map(|it| it.data.clone()).collect::<Vec<_>>();
    assert_eq!(data(&again), data(&seen));
}

#[test]
fn who_is_too_slow_is_told_how_much_was_left_out_and_can_come_back_for_it() {
    // More than any socket holds, in what the reader is sent; and in the log, what it may lag.
    const BATCHES: usize = 40;
    const EVENTS: usize = 1000;
    let (relay, shop) = start();
    let mut tail = Tail::open(&relay, &relay.key, "", None);
    let event = format!(r#"{{"event":"a.b","data":"{}"}}"#, "x".repeat(200));
    let batch = format!(r#"{{"events":[{}]}}"#, vec![event; EVENTS].join(","));
    let path = format!("{}/batch", shop.path());
    let headers = [
        ("X-API-Key", shop.api_key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let mut connection = relay.connect();
    for _ in 0..BATCHES {
        let answer = connection.request("POST", &path, &headers, batch.as_bytes());
        answer.unwrap().expect(202);
    }
    let (mut seen, mut left_out, mut after) = (0, 0, String::new());
    while seen + left_out < BATCHES * EVENTS {
        let message = tail.next().expect("a message");
        match message.name.as_str() {
            "event.accepted" => seen += 1,
            "tail.missed" => {
                left_out += usize::try_from(message.data["missed"].as_u64().unwrap()).unwrap();
                after = text(&message.data["after"]);
            }
            other => panic!("{other}: {}", message.data),
        }
    }
    println!("seen {seen}, left out {left_out}");
    assert_eq!(seen + left_out, BATCHES * EVENTS);
    assert!(left_out > 0, "it was fast enough for all of it");
    // What it is sent from there on is complete.
    let uuid = relay.send(&shop, &samples::event("the.last", 1));
    assert_eq!(tail.take(1)[0].data["uuid"], uuid);
    let mut again = Tail::open(&relay, &relay.key, "follow=false", Some(&after));
    assert!(again.rest().len() > 1);
}

#[test]
fn nobody_reads_on_with_a_key_that_is_gone_and_no_stop_waits_for_readers() {
    let (mut relay, shop) = start();
    let made = relay.create(
        "/v1/account/api-keys",
        &json!({ "name": "reader", "permissions": ["events:read"] }),
    );
    let mut revoked = Tail::open(&relay, &text(&made["key"]), "", None);
    let mut good = Tail::open(&relay, &relay.key, "", None);
    relay.send(&shop, &samples::event("before", 1));
    assert_eq!(revoked.take(1)[0].data["event"], "before");
    relay.delete(&format!("/v1/account/api-keys/{}", text(&made["id"])));
    relay.send(&shop, &samples::event("after", 1));
    assert_eq!(revoked.rest(), []);
    assert_eq!(good.take(2)[1].data["event"], "after");
    relay.terminate();
    assert_eq!(good.rest(), []);
    assert!(
        !relay.said().contains("the stop timed out"),
        "{}",
        relay.said()
    );
}

#[test]
fn a_wrong_question_is_answered_with_what_is_allowed() {
    let (relay, _) = start();
    for (query, complaint) in [
        ("type=*a", "type: "),
        ("integration_id=int_", "integration_id: "),
        ("subscription_id=x", "subscription_id: "),
        (
            "status=pending",
            "status must be delivered, retrying, dead or cancelled",
        ),
        ("status=lost", "status"),
        ("since=yesterday", "since must be a time"),
        ("follow=maybe", "follow"),
        ("colour=red", "colour"),
        (
            &*format!("text={}", "x".repeat(300)),
            "text must be at most 256 bytes",
        ),
    ] {
        let refused = relay
            .manage("GET", &format!("/v1/tail?{query}"), b"")
            .expect(422);
        assert!(
            text(&refused["message"]).contains(complaint),
            "{query}: {refused}"
        );
    }
    let cursor = "AAAAAAAAAAAAAAAA";
    for id in ["", "17", cursor] {
        let headers = [("X-API-Key", relay.key.as_str()), ("Last-Event-ID", id)];
        let answer = relay
            .connect()
            .request("GET", "/v1/tail", &headers, b"")
            .unwrap();
        assert!(text(&answer.expect(422)["message"]).contains("Last-Event-ID"));
    }
}

#[test]
fn the_command_shows_what_passed_as_lines_fields_or_json() {
    let (mut relay, shop) = start();
    let receiver = Receiver::start();
    let made = relay.subscribe(&receiver.url(), &["**"]);
    let uuid = relay.send(&shop, b"{\"event\":\"order.paid\",\"data\":\"\\u001b[2J\"}");
    relay.wait_for_deliveries(&uuid, "delivered");
    let tail = |arguments: &[&str]| {
        let output = relay
            .command(&[&["tail"], arguments].concat())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = tail(&["--since", "1h"]);
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("accepted") && lines[0].contains(&uuid),
        "{lines:?}"
    );
    for part in ["delivered", "order.paid", &uuid, &made.id, "#1 200"] {
        assert!(lines[1].contains(part), "{part}: {lines:?}");
    }
    let fields = tail(&["--since", "1h", "--fields", "step,event_uuid,status_code"]);
    let attempt = format!("delivery.attempt\t{uuid}\t200");
    assert_eq!(fields.lines().nth(1), Some(attempt.as_str()));
    let json = tail(&["--since", "1h", "--json", "--status", "delivered"]);
    let steps: Vec<Value> = json
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    assert_eq!(steps[1]["step"], "delivery.settled");
    assert_eq!(tail(&["--since", "1h", "--type", "nothing.*"]), "");

    // It follows across a restart, and says so.
    let mut command = relay.command(&["tail", "--fields", "step,uuid", "--type", "order.*"]);
    let mut following = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let out = following.stdout.take().unwrap();
    let lines = crate::support::tail::lines_of(out);
    let mut sent = Vec::new();
    let accepted = |lines: &std::sync::Mutex<Vec<String>>| -> Vec<String> {
        let lines = lines.lock().unwrap();
        let accepted = lines
            .iter()
            .filter_map(|it| it.strip_prefix("event.accepted\t"));
        accepted.map(str::to_owned).collect()
    };
    // It may not be connected yet.
    eventually("the first line", || {
        sent.push(relay.send(&shop, &samples::event("order.paid", 1)));
        (!accepted(&lines).is_empty()).then_some(())
    });
    relay.kill();
    relay.restart();
    let last = relay.send(&shop, &samples::event("order.paid", 2));
    let seen = eventually("the last line", || {
        let seen = accepted(&lines);
        (seen.last() == Some(&last)).then_some(seen)
    });
    sent.push(last);
    let first = sent.iter().position(|it| *it == seen[0]).unwrap();
    assert_eq!(seen, sent[first..]);
    following.kill().unwrap();
    let said = following.wait_with_output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("not connected"));
}
