//! What is signed is taken for genuine by the libraries that receivers use, and nothing else is.
//!
//! The library from crates.io judges deliveries all over these tests; here are the other ones.

use serde_json::{Value, json};

use crate::clients::Client;
use crate::support::receiver::{Delivery, Receiver};
use crate::support::relay::{Relay, text};

/// A body that is not the same once it was parsed and written again.
pub const BODY: &[u8] =
    "{\"event\":\"order.paid\", \"data\":{\"b\":1.50,\"a\":\"gr\u{fc}n\"}}".as_bytes();

/// One that the specification shows; nobody's.
pub const PRIVATE_KEY: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";

/// A delivery as a verifier is given it, with what it verifies with.
pub fn with(delivery: &Delivery, member: &str, key: &str) -> Value {
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers: Value = headers
        .map(|name| (name.to_owned(), json!(delivery.header(name))))
        .into_iter()
        .collect();
    let body = std::str::from_utf8(&delivery.body).unwrap();
    json!({ member: key, "headers": headers, "body": body })
}

/// The same, as somebody else might have changed it.
pub fn forged(genuine: &Value) -> [Value; 3] {
    let changed = |member: &str, text: &str| {
        let mut changed = genuine.clone();
        changed["headers"][member] = json!(text);
        changed
    };
    let mut body = genuine.clone();
    body["body"] = json!(format!("{} ", text(&genuine["body"])));
    [
        body,
        changed("webhook-id", "another"),
        changed("webhook-signature", "v1,AAAA"),
    ]
}

/// Deliveries before, during and after a rotation, each with every key and whether that must do.
pub fn deliveries_of_a_rotation() -> Vec<(Value, bool)> {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let old = relay.subscribe(&receiver.url(), &["**"]);
    let path = format!("/v1/subscriptions/{}/rotate-secret", old.id);
    let rotate = |body: &Value| {
        let rotated = relay.manage("POST", &path, body.to_string().as_bytes());
        text(&rotated.expect(200)["secret"])
    };
    let sent = |count: usize| {
        relay.send(&shop, BODY);
        receiver.wait_for(count).remove(count - 1)
    };
    let before = sent(1);
    let new = rotate(&json!({}));
    let during = sent(2);
    let last = rotate(&json!({ "overlap_seconds": 0 }));
    let after = sent(3);
    let mut judged = Vec::new();
    for (delivery, genuine) in [
        (&before, [true, false, false]),
        (&during, [true, true, false]),
        (&after, [false, false, true]),
    ] {
        for (secret, genuine) in [&old.secret, &new, &last].into_iter().zip(genuine) {
            judged.push((with(delivery, "secret", secret), genuine));
        }
    }
    judged
}

fn check_rotation(client: Client) {
    if !client.is_here() {
        return;
    }
    let mut judged = deliveries_of_a_rotation();
    let genuine: Vec<_> = judged.iter().filter(|(_, genuine)| *genuine).collect();
    let forged: Vec<_> = genuine.iter().flat_map(|(it, _)| forged(it)).collect();
    judged.extend(forged.into_iter().map(|it| (it, false)));
    let (deliveries, expected): (Vec<_>, Vec<_>) = judged.into_iter().unzip();
    let verified = client.verify(&deliveries);
    for ((delivery, expected), verified) in deliveries.iter().zip(expected).zip(&verified) {
        assert_eq!(*verified, expected, "{client:?}: {delivery}");
    }
    assert_eq!(verified.len(), deliveries.len());
}

#[test]
fn pythons_library_verifies_what_is_sent_also_while_a_secret_is_replaced() {
    check_rotation(Client::PythonVerifier);
}

#[test]
fn javascripts_library_verifies_what_is_sent_also_while_a_secret_is_replaced() {
    check_rotation(Client::NodeVerifier);
}

/// A delivery that this key signed, and its public half as the relay tells it.
pub fn signed_by_a_private_key() -> (Delivery, String) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    let made = relay.create(
        "/v1/subscriptions",
        &json!({ "url": receiver.url(), "events": ["**"], "secret": PRIVATE_KEY }),
    );
    relay.send(&shop, BODY);
    let delivery = receiver.wait_for(1).remove(0);
    (delivery, text(&made["public_key"]))
}

#[test]
fn a_general_library_verifies_what_a_private_key_signed() {
    if !Client::NodeVerifier.is_here() {
        return;
    }
    let (delivery, public_key) = signed_by_a_private_key();
    let genuine = with(&delivery, "public_key", &public_key);
    let mut deliveries = vec![genuine.clone()];
    deliveries.extend(forged(&genuine));
    let another = format!("whpk_{}A=", "A".repeat(42));
    deliveries.push(with(&delivery, "public_key", &another));
    let verified = Client::NodeVerifier.verify(&deliveries);
    assert_eq!(verified, [true, false, false, false, false]);
}
