//! What the log says, and what it never says.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

/// Something that nobody but its owner may see.
const PLANTED: &str = "planted-0bad5ec4e7";

/// The lines that a relay wrote, as objects.
fn lines(relay: &Relay) -> Vec<Value> {
    let said = relay.said();
    let lines = said.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn of_target(relay: &Relay, target: &str) -> Vec<Value> {
    let mut lines = lines(relay);
    lines.retain(|line| line["target"] == target);
    lines
}

#[test]
fn each_request_and_each_attempt_has_a_line_that_tells_what_came_of_it() {
    let relay = Relay::with(&[("LOG__LEVEL", "info,access=debug,attempt=debug")]);
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|delivery| match delivery.attempt() {
        1 => Reply::status(500),
        _ => Reply::status(200),
    });
    let made = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s", "0s"],
    }));
    let uuid = relay.send(&shop, &samples::event("order.paid", 1));
    relay.wait_for_deliveries(&uuid, "delivered");
    relay
        .manage("GET", "/v1/nowhere?key=value", b"")
        .expect(404);

    let attempts = eventually("two lines for two attempts", || {
        let attempts = of_target(&relay, "attempt");
        (attempts.len() == 2).then_some(attempts)
    });
    let told = |line: &Value| {
        let fields = ["event", "subscription", "attempt", "outcome", "status"];
        fields.map(|field| line[field].clone())
    };
    let (event, to) = (json!(uuid), json!(made.id));
    assert_eq!(
        told(&attempts[0]),
        [
            event.clone(),
            to.clone(),
            json!(1),
            json!("retrying"),
            json!(500)
        ]
    );
    assert_eq!(
        told(&attempts[1]),
        [event, to, json!(2), json!("delivered"), json!(200)]
    );
    assert!(attempts[0]["duration_ms"].is_number());

    let asked = of_target(&relay, "access");
    let sent = asked
        .iter()
        .find(|line| line["route"] == "/api/webhooks/{integration_key}");
    let sent = sent.expect("the request that sent the event");
    assert_eq!(
        (&sent["method"], &sent["status"]),
        (&json!("POST"), &json!(202))
    );
    assert_eq!(sent["client"], "127.0.0.1");
    assert!(text(&sent["by"]).starts_with("key_"), "{sent}");
    assert!(text(&sent["account"]).starts_with("acct_"), "{sent}");
    let lost = asked.iter().find(|line| line["status"] == 404).unwrap();
    assert!(
        lost.get("route")
            .is_none_or(|route| !text(route).contains("nowhere")),
        "{lost}"
    );
    assert!(
        !relay.said().contains(&shop.key),
        "an integration key is in the log"
    );
}

#[test]
fn what_repeats_is_limited_and_what_was_left_out_is_counted() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let mut connection = relay.connect();
    let headers = [
        ("X-API-Key", shop.api_key.as_str()),
        ("Content-Type", "application/json"),
    ];
    let event = samples::event("a", 1);
    for _ in 0..500 {
        let answer = connection.request("POST", &shop.path(), &headers, &event);
        answer.unwrap().expect(202);
    }
    let left_out = || {
        let lines = of_target(&relay, "access").into_iter();
        lines
            .filter_map(|line| line["left_out"].as_u64())
            .sum::<u64>()
    };
    eventually("all requests to be written or counted", || {
        let written = of_target(&relay, "access").into_iter();
        let written = written.filter(|line| line["status"] == 202).count() as u64;
        (written + left_out() >= 500 && left_out() > 0).then_some(())
    });
}

#[test]
fn the_level_is_changed_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("postrider.toml");
    std::fs::write(&settings, "log.level = \"off\"\n").unwrap();
    let mut relay = Relay::stopped(&[]);
    relay.configure_with(&settings);
    relay.restart();
    relay.get("/v1/account");
    assert_eq!(lines(&relay), Vec::<Value>::new());
    std::fs::write(&settings, "log.level = \"info,access=debug\"\n").unwrap();
    relay.hang_up();
    eventually("the relay to read it", || {
        relay.get("/v1/account");
        (!of_target(&relay, "access").is_empty()).then_some(())
    });
    // What cannot be read changes nothing, and ends nothing.
    std::fs::write(&settings, "log.level = \"loud\"\n").unwrap();
    relay.hang_up();
    eventually("a warning", || {
        relay
            .said()
            .contains("the settings cannot be read again")
            .then_some(())
    });
    relay.get("/v1/account");
}

#[test]
fn no_secret_is_in_the_log_at_any_level() {
    let relay = Relay::with(&[("LOG__LEVEL", "trace")]);
    let shop = relay.integration("shop");
    let receiver = Receiver::answering(|_| Reply::Says(500, PLANTED.as_bytes().to_vec()));
    let url = format!("{}?token={PLANTED}", receiver.url());
    let made = relay.subscribe_as(&json!({
        "url": url, "events": ["**"], "headers": { "authorization": format!("Bearer {PLANTED}") },
        "retry_schedule": ["0s"],
    }));
    let path = format!("/v1/subscriptions/{}", made.id);
    let refused = json!({ "url": format!("https://user:{PLANTED}@example.com/") });
    relay
        .manage("PATCH", &path, refused.to_string().as_bytes())
        .expect(422);
    relay
        .manage("POST", &format!("{path}/test"), b"")
        .expect(200);
    let body = format!(r#"{{"event":"a.b","data":"{PLANTED}"}}"#);
    let uuid = relay.send(&shop, body.as_bytes());
    relay.wait_for_deliveries(&uuid, "dead");
    for broken in [format!(r#"{{"event":"{PLANTED} "}}"#), PLANTED.to_owned()] {
        let answer = relay.post(&shop, &[("Idempotency-Key", PLANTED)], broken.as_bytes());
        assert!(answer.status >= 400, "{}", answer.text());
    }
    for (key, path) in [
        (format!("lwa.sk_live_{PLANTED}"), "/v1/account".to_owned()),
        (relay.key.clone(), format!("/v1/account?api_key={PLANTED}")),
        (relay.key.clone(), format!("/{PLANTED}")),
        (relay.key.clone(), format!("/api/webhooks/{PLANTED}")),
        (
            relay.key.clone(),
            format!("/v1/tail?text={PLANTED}&follow=false"),
        ),
    ] {
        let headers = [("X-API-Key", key.as_str()), ("Cookie", PLANTED)];
        relay
            .connect()
            .request("GET", &path, &headers, b"")
            .unwrap();
    }
    let mut broken = relay.connect();
    broken
        .send_raw(format!("GET / HTTP/1.1\r\n{PLANTED}\r\n\r\n").as_bytes())
        .unwrap();
    assert!(broken.answer().is_ok_and(|answer| answer.status == 400));
    eventually("the attempt's line", || {
        (!of_target(&relay, "attempt").is_empty()).then_some(())
    });
    let said = relay.said();
    for secret in [PLANTED, &relay.key, &shop.api_key, &shop.key, &made.secret] {
        let line = said.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret is in the log");
    }
}

/// The fields that the program gives its lines: `log::info!(a:% = b, c; "…")` has `a` and `c`.
fn fields_in(source: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for call in source.split("log::").skip(1) {
        let names = ["error!(", "warn!(", "info!(", "debug!(", "log!("];
        let Some(call) = names.iter().find_map(|name| call.strip_prefix(name)) else {
            continue;
        };
        // What comes before the message, if anything does.
        let Some((before, _)) = call.split_once('"') else {
            continue;
        };
        let Some((given, _)) = before.rsplit_once(';') else {
            continue;
        };
        let given = given
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default());
        let given = given.collect::<Vec<_>>().join(" ");
        for part in given.split(',').map(str::trim) {
            let name: String = part
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            let is_field = part[name.len()..].trim_start().starts_with([':', '=']) || part == name;
            let is_setting = part.starts_with("target:") || name.is_empty() || name == "level";
            if is_field && !is_setting {
                fields.insert(name);
            }
        }
    }
    fields
}

fn read_all(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, into);
        } else {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_field_is_in_the_table_and_the_table_has_no_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut source = String::new();
    read_all(&root.join("src"), &mut source);
    let mut used = fields_in(&source);
    assert!(used.len() > 10, "{used:?}");
    used.extend(["ts", "level", "target", "msg", "left_out"].map(str::to_owned));
    let table = std::fs::read_to_string(root.join("docs/logs.md")).unwrap();
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<String> = rows.map(str::to_owned).collect();
    assert_eq!(used, told);
}

#[test]
fn fields_are_found_in_the_source() {
    let source = r#"log::info!(a:% = b.c(), d; "x {y}"); log::warn!("no; fields"); log::log!(
        target: T, level,
        // why
        event:% = e, status = f(1, 2); "z");"#;
    let found: Vec<_> = fields_in(source).into_iter().collect();
    assert_eq!(found, ["a", "d", "event", "status"]);
}
