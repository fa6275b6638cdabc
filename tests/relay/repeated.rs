//! Receivers that repeat what they were sent: what is kept of a failure shows no secret.

use serde_json::{Value, json};

use crate::support::files::found;
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::samples;

const TOKEN: &str = "pl4nted/t0ken+of-a-receiver";
const API_KEY: &str = "lwa.sk_live_abcdef1234567890abcdef1234567890";
/// How much of a response is kept.
const KEPT_BYTES: usize = 4096;

/// The head of a request, line by line.
fn head(delivery: &Delivery) -> String {
    let lines = delivery
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    lines.collect()
}

/// Starts a relay with a subscription that sends a secret header, and fails one event for each way of
/// repeating what was sent. Returns the relay, all secrets, and what is shown of each response.
fn shown(repeat: &[fn(&Delivery, &str) -> String]) -> (Relay, Vec<String>, Vec<String>) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let made = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "retry_schedule": ["0s"],
        "headers": { "Authorization": format!("Bearer {TOKEN}"), "X-Tenant": "abc" },
    }));
    let path = format!("/v1/subscriptions/{}/rotate-secret", made.id);
    let rotated = relay.manage("POST", &path, b"").expect(200);
    let secrets = [made.secret, text(&rotated["secret"])];
    let mut planted: Vec<_> = [TOKEN, API_KEY].map(str::to_owned).into();
    planted.extend(
        secrets
            .iter()
            .map(|secret| secret["whsec_".len()..].to_owned()),
    );
    let mut all = Vec::new();
    for repeat in repeat {
        let (repeat, secrets) = (*repeat, secrets.concat());
        receiver.now_answers(move |it| Reply::Says(500, repeat(it, &secrets).into_bytes()));
        let uuid = relay.send(&shop, &samples::event("order.paid", 1));
        let event = relay.wait_for_deliveries(&uuid, "dead");
        all.push(text(&event["deliveries"][0]["attempts"][0]["response"]));
    }
    for delivery in receiver.arrived() {
        let signatures = delivery.header("webhook-signature").split(' ');
        planted.extend(signatures.map(|signature| signature["v1,".len()..].to_owned()));
    }
    (relay, planted, all)
}

#[test]
fn a_receiver_may_repeat_everything_and_no_secret_is_shown_or_stored() {
    let (mut relay, planted, shown) = shown(&[
        |it, secrets| {
            let bare = secrets.replace("whsec_", " ");
            format!("{}{secrets} {API_KEY}{bare} and so on", head(it))
        },
        |it, secrets| {
            json!([head(it), secrets, API_KEY])
                .to_string()
                .replace('/', r"\/")
        },
        |it, secrets| {
            let all = format!("{}{secrets} {API_KEY}", head(it));
            all.replace('/', "%2F")
                .replace('+', "%2b")
                .replace('=', "%3D")
        },
    ]);
    for shown in &shown {
        let plain = shown.replace(r"\/", "/").replace("%2F", "/");
        let plain = plain.replace("%2b", "+").replace("%3D", "=");
        for secret in &planted {
            assert!(!plain.contains(secret), "{secret} in {shown}");
        }
    }
    for expected in [
        "authorization: ***\n",
        "x-tenant: abc\n",
        "webhook-signature: v1,*** v1,***\n",
    ] {
        assert!(shown[0].contains(expected), "{shown:?}");
    }
    assert!(shown[0].ends_with("*** *** *** *** and so on"), "{shown:?}");
    relay.terminate();
    assert_eq!(found(&relay.data_dir(), TOKEN.as_bytes()), None);
}

#[test]
fn a_secret_that_is_cut_off_where_the_keeping_ends_is_not_shown_in_part() {
    let (_relay, _, shown) = shown(&[
        |_, _| format!("{}{TOKEN}", "x".repeat(KEPT_BYTES - TOKEN.len() / 2)),
        |_, _| format!("{}Bearer {TOKEN}", "x".repeat(KEPT_BYTES - 1)),
        |_, secrets| format!("{}{secrets}", "x".repeat(KEPT_BYTES - 20)),
        |_, _| format!("{}{API_KEY}", "x".repeat(KEPT_BYTES - 20)),
    ]);
    for (shown, masked_bytes) in shown.iter().zip([TOKEN.len() / 2, 1, 20, 20]) {
        let kept = "x".repeat(KEPT_BYTES - masked_bytes);
        assert_eq!(shown, &(kept + &"***"[..masked_bytes.min(3)]));
    }
}

#[test]
fn a_sample_s_answer_is_masked_too() {
    let relay = Relay::start();
    let receiver = Receiver::answering(|it| Reply::Says(400, head(it).into_bytes()));
    let made = relay.subscribe_as(&json!({
        "url": receiver.url(), "events": ["**"], "headers": { "X-Key": TOKEN },
    }));
    let path = format!("/v1/subscriptions/{}/test", made.id);
    let said: Value = relay.manage("POST", &path, b"").expect(200);
    let response = text(&said["response"]);
    assert!(
        response.contains("x-key: ***\n") && !response.contains(TOKEN),
        "{response}"
    );
}
