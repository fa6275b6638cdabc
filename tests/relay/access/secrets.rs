//! What a thief of the data directory learns: no key, and no secret.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{KEYS, Key, ask, locally};
use crate::support::files::{contents, files, found};
use crate::support::receiver::Receiver;
use crate::support::relay::{Integration, Relay, Subscription, text};
use crate::support::samples;

const GIVEN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The bytes of a signing secret.
fn decoded(secret: &str) -> Vec<u8> {
    let encoded = secret.strip_prefix("whsec_").unwrap();
    STANDARD.decode(encoded).unwrap()
}

/// No file of a directory holds one of these texts, nor what it decodes to.
#[track_caller]
fn expect_none(dir: &Path, secrets: &[String]) {
    assert!(files(dir).len() > 1, "nothing to look at");
    for secret in secrets {
        let text = secret.trim_start_matches("whsec_");
        assert_eq!(found(dir, text.as_bytes()), None, "{secret}");
        if secret.starts_with("whsec_") {
            assert_eq!(found(dir, &decoded(secret)), None, "the bytes of {secret}");
        }
    }
}

/// A relay that has made keys and secrets, and may be asked to deliver.
struct Store {
    relay: Relay,
    shop: Integration,
    subscriptions: Vec<(Receiver, Subscription)>,
    keys: Vec<String>,
}

impl Store {
    fn make() -> Self {
        let relay = Relay::start();
        let shop = relay.integration("shop");
        let subscribe = |secret: Value| {
            let receiver = Receiver::start();
            let mut body = json!({ "url": receiver.url(), "events": ["**"] });
            if secret.is_string() {
                body["secret"] = secret;
            }
            let made = relay.subscribe_as(&body);
            (receiver, made)
        };
        let subscriptions = vec![subscribe(json!(GIVEN)), subscribe(Value::Null)];
        assert_eq!(subscriptions[0].1.secret, GIVEN);
        let key = Key::make(&relay, &json!({ "name": "ci" }));
        let body = json!({ "overlap_seconds": 3600 });
        let rotated = ask(
            &relay,
            &relay.key,
            "POST",
            &format!("{}/rotate", key.path()),
            &body,
        );
        let rotated = text(&rotated.expect(200)["key"]);
        let keys = vec![relay.key.clone(), shop.api_key.clone(), key.secret, rotated];
        Self {
            relay,
            shop,
            subscriptions,
            keys,
        }
    }

    fn secrets(&self) -> Vec<String> {
        let secrets = self
            .subscriptions
            .iter()
            .map(|(_, made)| made.secret.clone());
        secrets.chain(self.keys.clone()).collect()
    }

    /// Sends an event, which every subscription gets with its signature.
    fn expect_signed(&self) {
        let before: Vec<_> = self
            .subscriptions
            .iter()
            .map(|(it, _)| it.count())
            .collect();
        self.relay.send(&self.shop, &samples::event("a", 1));
        for ((receiver, made), before) in self.subscriptions.iter().zip(before) {
            let arrived = receiver.wait_for(before + 1);
            arrived[before].verify(&made.secret);
        }
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The keys in a key file, the one that seals first.
fn sealing_keys(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let keys = text.lines().filter(|line| line.starts_with("seal_"));
    keys.map(str::to_owned).collect()
}

#[test]
fn a_stolen_data_directory_holds_no_key_and_no_secret() {
    let mut store = Store::make();
    store.expect_signed();
    let key_file = store.relay.key_file();
    let sealing = sealing_keys(&key_file);
    assert_eq!((sealing.len(), mode(&key_file)), (1, 0o600));
    let mut secrets = store.secrets();
    secrets.push(sealing[0].trim_start_matches("seal_").to_owned());
    // As it lies there, and as a clean stop leaves it.
    store.relay.kill();
    expect_none(&store.relay.data_dir(), &secrets);
    store.relay.restart();
    store.relay.terminate();
    expect_none(&store.relay.data_dir(), &secrets);
    store.relay.restart();
    store.expect_signed();
    for secret in &secrets {
        assert!(!store.relay.said().contains(secret.as_str()), "it was said");
    }
}

#[test]
fn without_its_sealing_key_a_store_is_not_started_and_not_changed() {
    let mut store = Store::make();
    store.relay.terminate();
    let key_file = store.relay.key_file();
    let away = key_file.with_extension("away");
    std::fs::rename(&key_file, &away).unwrap();
    let journal = |relay: &Relay| {
        let files = files(&relay.data_dir().join("journal"));
        let contents = files.into_iter().map(|path| (contents(&path), path));
        // A segment that is merely prepared holds nothing; it comes and goes.
        let used = contents.filter(|(contents, _)| !contents.is_empty());
        used.collect::<Vec<_>>()
    };
    let before = journal(&store.relay);
    let (code, said) = store.relay.refusal();
    assert_eq!(code, Some(1));
    let named = key_file.to_str().unwrap();
    assert!(
        said.contains(named) && said.contains("sealing key"),
        "{said}"
    );
    assert!(!key_file.exists(), "a new key would open nothing");
    assert!(journal(&store.relay) == before, "the journal was changed");

    let other = Relay::start();
    store.relay.has_sealing_keys_of(&other);
    let (code, said) = store.relay.refusal();
    assert_eq!(code, Some(1), "another store's key is none: {said}");
    std::fs::rename(&away, &key_file).unwrap();
    std::fs::set_permissions(&key_file, PermissionsExt::from_mode(0o644)).unwrap();
    let (code, said) = store.relay.refusal();
    assert_eq!(code, Some(1));
    assert!(
        said.contains(named) && said.contains("others may read it"),
        "{said}"
    );

    std::fs::set_permissions(&key_file, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(journal(&store.relay) == before);
    store.relay.restart();
    store.expect_signed();
}

#[test]
fn under_a_new_sealing_key_all_signatures_stay_and_the_old_key_is_not_needed() {
    let mut store = Store::make();
    let key_file = store.relay.key_file();
    let old = sealing_keys(&key_file);
    let path = "/local/secrets/rotate";
    let rotated = locally(&store.relay, "POST", path, &[], &Value::Null).expect(200);
    assert_eq!(rotated["resealed"], 2);
    let both = sealing_keys(&key_file);
    assert_eq!((both.len(), mode(&key_file)), (2, 0o600));
    assert_eq!(both[1], old[0], "the old one stays, for older backups");
    store.expect_signed();
    store.relay.kill();
    expect_none(&store.relay.data_dir(), &store.secrets());

    // Whoever gives keys by the environment needs no file, and the new key alone.
    std::fs::remove_file(&key_file).unwrap();
    store.relay.set("SECRETS__KEY", &old[0]);
    let (code, said) = store.relay.refusal();
    assert_eq!(code, Some(1), "the old key opens nothing any more: {said}");
    store.relay.set("SECRETS__KEY", &both[0]);
    store.relay.restart();
    store.expect_signed();
    assert!(!key_file.exists());
    let refused = locally(&store.relay, "POST", path, &[], &Value::Null).expect(409);
    assert!(
        text(&refused["message"]).contains("environment"),
        "{refused}"
    );
    assert_eq!(store.relay.get(KEYS)["keys"].as_array().unwrap().len(), 3);
    assert!(!store.relay.said().contains(&both[0]));
}
