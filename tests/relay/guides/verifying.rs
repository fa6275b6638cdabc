//! The programs that verify: they take what is genuine, also while a secret is replaced and by a public
//! key, and nothing else: nothing that was changed, is too old, or was signed by another key.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use postrider::domain::signature::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::free_port;
use super::page::Page;
use super::verify::verify;
use crate::clients::Client;
use crate::signatures::{
    BODY, PRIVATE_KEY, deliveries_of_a_rotation, forged, signed_by_a_private_key, with,
};
use crate::support::eventually;
use crate::support::http::Connection;
use crate::support::relay::{Relay, text};

pub const GUIDE: &str = "verifying-signatures.md";
const RECEIVERS: &str = "A receiver";
const LIBRARY: &str = "With a library";
const BY_HAND: &str = "By hand";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HEADERS: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];

macro_rules! verifiers {
    ($($test:ident: $client:ident, $section:ident $verifier:literal, $receiver:literal;)+) => {
        /// The programs that are run here, and where they stand.
        pub const PROGRAMS: &[(&str, &str)] = &[
            (LIBRARY, "verify.rs"),
            $(($section, $verifier), (RECEIVERS, $receiver)),+
        ];

        $(#[test]
        fn $test() {
            check(Client::$client, $section, $verifier, $receiver);
        })+
    };
}

verifiers! {
    python_verifies_with_the_library: PythonVerifier, LIBRARY "verify.py", "receive.py";
    javascript_verifies_with_the_library: NodeVerifier, LIBRARY "verify.cjs", "receive.cjs";
    python_verifies_by_hand: Cryptography, BY_HAND "verify.py", "receive.py";
    javascript_verifies_by_hand: Fetch, BY_HAND "verify.cjs", "receive.cjs";
    ruby_verifies_by_hand: Webrick, BY_HAND "verify.rb", "receive.rb";
    php_verifies_by_hand: Php, BY_HAND "verify.php", "receive.php";
}

fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A delivery that this key signs at this time, for whoever verifies with `verifier`.
fn signed(key: &str, member: &str, verifier: &str, at_seconds: u64) -> Value {
    let body = std::str::from_utf8(BODY).unwrap();
    let signature = SigningKey::parse(key).unwrap().sign("id", at_seconds, BODY);
    let values = ["id".to_owned(), at_seconds.to_string(), signature];
    let headers: BTreeMap<_, _> = HEADERS.into_iter().zip(values).collect();
    json!({ member: verifier, "headers": headers, "body": body })
}

/// What must be refused although somebody who has the key signed it: for its age, or the way it is written.
fn aged_and_mangled(key: &str, member: &str, verifier: &str) -> Vec<(Value, bool)> {
    let now = now_seconds();
    let at = |seconds| signed(key, member, verifier, seconds);
    let mut judged = vec![
        (at(now - 200), true),
        (at(now - 400), false),
        (at(now + 400), false),
    ];
    let fresh = at(now);
    let signature = text(&fresh["headers"]["webhook-signature"]);
    let (version, bare) = signature.split_once(',').unwrap();
    let other = if version == "v1" { "v1a" } else { "v1" };
    for mangled in [
        String::new(),
        version.to_owned(),
        format!("{version},"),
        format!("{version},!"),
        format!("{version},{}", &bare[1..]),
        format!("{version},{}==", "A".repeat(86)),
        format!("{other},{bare}"),
        format!("v2,{bare}"),
        bare.to_owned(),
        "x".repeat(5000),
    ] {
        let mut changed = fresh.clone();
        changed["headers"]["webhook-signature"] = json!(mangled);
        judged.push((changed, false));
    }
    for timestamp in ["", "soon", "-1", &"9".repeat(100)] {
        let mut changed = fresh.clone();
        changed["headers"]["webhook-timestamp"] = json!(timestamp);
        judged.push((changed, false));
    }
    // Among signatures that do not fit, one that does is enough.
    let mut among = fresh.clone();
    let several = format!("v1,{} {signature} v1a,AAAA", "A".repeat(44));
    among["headers"]["webhook-signature"] = json!(several);
    judged.push((among, true));
    judged
}

/// Deliveries for those who verify with a secret, and whether each is genuine.
fn with_secrets() -> Vec<(Value, bool)> {
    let mut judged = deliveries_of_a_rotation();
    let genuine: Vec<_> = judged.iter().filter(|(_, genuine)| *genuine).collect();
    let forged: Vec<_> = genuine.iter().flat_map(|(it, _)| forged(it)).collect();
    judged.extend(forged.into_iter().map(|it| (it, false)));
    judged.extend(aged_and_mangled(SECRET, "secret", SECRET));
    judged
}

/// The same for those who verify with a public key.
fn with_public_keys() -> Vec<(Value, bool)> {
    let (delivery, public) = signed_by_a_private_key();
    let genuine = with(&delivery, "public_key", &public);
    let another = format!("whpk_{}A=", "A".repeat(42));
    let mut judged: Vec<_> = forged(&genuine).map(|it| (it, false)).into();
    judged.push((with(&delivery, "public_key", &another), false));
    judged.push((genuine, true));
    judged.extend(aged_and_mangled(PRIVATE_KEY, "public_key", &public));
    judged
}

/// What a delivery is to be verified with.
fn key_of(delivery: &Value) -> String {
    let key = ["secret", "public_key"].into_iter();
    key.filter_map(|member| delivery[member].as_str()).collect()
}

/// A receiver of the guide, with a verifier of the guide beside it.
struct Receiving {
    child: Child,
    address: SocketAddr,
    printed: Arc<Mutex<String>>,
}

impl Receiving {
    fn start(client: Client, folder: &TempDir, file: &str, key: &str) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let (port, place) = (address.port().to_string(), address.to_string());
        let arguments = match client {
            Client::Php => vec!["-S", &place, file],
            _ => vec![file],
        };
        let variables = [("WEBHOOK_KEY", key), ("PORT", &port)];
        let mut child = client.start(folder.path(), &arguments, &variables);
        let out = BufReader::new(child.stdout.take().unwrap());
        let printed = Arc::<Mutex<String>>::default();
        let keep = Arc::clone(&printed);
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let mut kept = keep.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let receiving = Self {
            child,
            address,
            printed,
        };
        eventually(&format!("{file} to listen"), || {
            TcpStream::connect(address).ok()
        });
        receiving
    }

    /// What it answers.
    fn status(&self, delivery: &Value) -> u16 {
        let headers = HEADERS.map(|name| (name, delivery["headers"][name].as_str().unwrap()));
        let mut connection = Connection::open(self.address).unwrap();
        let body = delivery["body"].as_str().unwrap();
        let answer = connection.request("POST", "/hook", &headers, body.as_bytes());
        answer
            .unwrap_or_else(|error| panic!("{error}: {delivery}"))
            .status
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Deliveries by the keys that they are to be verified with.
type ByKey = BTreeMap<String, Vec<(Value, bool)>>;

fn by_key(judged: Vec<(Value, bool)>) -> ByKey {
    let mut by_key = ByKey::new();
    for it in judged {
        by_key.entry(key_of(&it.0)).or_default().push(it);
    }
    by_key
}

fn check(client: Client, section: &str, verifier: &str, receiver: &str) {
    if !client.is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let page = Page::read(GUIDE);
    for (section, file) in [(section, verifier), (RECEIVERS, receiver)] {
        fs::write(folder.path().join(file), page.program(section, file)).unwrap();
    }
    check_with_a_relay(client, &folder, receiver);
    let mut judged = with_secrets();
    if section == BY_HAND {
        judged.extend(with_public_keys());
    }
    for (key, judged) in by_key(judged) {
        let receiving = Receiving::start(client, &folder, receiver, &key);
        for (delivery, genuine) in judged {
            let expected = if genuine { 204 } else { 401 };
            assert_eq!(
                receiving.status(&delivery),
                expected,
                "{client:?}: {delivery}"
            );
        }
    }
}

/// A relay delivers to a receiver that has the secret, and not to one that has another.
fn check_with_a_relay(client: Client, folder: &TempDir, file: &str) {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let subscribe = |to: &Receiving, secret: &str, events: &str| {
        let url = format!("http://{}/hook", to.address);
        relay.subscribe_as(&json!({
            "url": url, "events": [events], "secret": secret, "retry_schedule": ["0s"],
        }))
    };
    let receiving = Receiving::start(client, folder, file, SECRET);
    subscribe(&receiving, SECRET, "order.*");
    let uuid = relay.send(&shop, BODY);
    relay.wait_for_deliveries(&uuid, "delivered");
    let line = format!("{uuid} {}", std::str::from_utf8(BODY).unwrap());
    eventually("what arrived to be printed", || {
        let printed = receiving.printed.lock().unwrap().clone();
        printed.lines().any(|it| it == line).then_some(())
    });
    subscribe(&receiving, &SECRET.replace("MfKQ", "NfKQ"), "wrong.*");
    let uuid = relay.send(&shop, br#"{"event": "wrong.key", "data": 1}"#);
    let refused = relay.wait_for_deliveries(&uuid, "dead");
    let attempt = &refused["deliveries"][0]["attempts"][0];
    assert_eq!(attempt["status_code"], 401, "{refused}");
}

#[test]
fn rust_verifies_with_the_library() {
    let page = Page::read(GUIDE);
    let ours = include_str!("verify.rs");
    assert_eq!(
        page.program(LIBRARY, "verify.rs"),
        ours,
        "what is compiled here, tests/relay/guides/verify.rs, is not what the guide shows"
    );
    for (delivery, genuine) in with_secrets() {
        let mut headers = HeaderMap::new();
        for name in HEADERS {
            let value = delivery["headers"][name].as_str().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        let body = text(&delivery["body"]);
        let verified = verify(&key_of(&delivery), &headers, body.as_bytes());
        assert_eq!(verified, genuine, "{delivery}");
    }
}
