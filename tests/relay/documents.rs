//! The documents at their word: every program that they show is run by the real client, against a relay
//! behind TLS, and its reader sees what the document promises.
//!
//! The snippets are kept as they were published; only address, path and key are the test's own. See
//! `documents/README.md`.

mod snippet;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::Client;
use crate::support::receiver::Receiver;
use crate::support::relay::{Relay, text};
use crate::support::tls::TlsProxy;

use snippet::Snippet;

const OEMSTREAM: &str = "https://stage-api.oemstream.com";
const SALES_WEBHOOKS: &str = "https://api.saleswebhooks.com";
/// The key that the document shows; nobody's.
const EXAMPLE_KEY: &str = "lwa.sk_live_abcdef1234567890abcdef1234567890";

/// A relay, the proxy in front of it, and the folder that its reader works in.
struct Desk {
    relay: Relay,
    proxy: TlsProxy,
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let relay = Relay::start();
        Self {
            proxy: TlsProxy::before(relay.address()),
            relay,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// What a reader sees when he runs a snippet, which must succeed.
    #[track_caller]
    fn prints(&self, client: Client, snippet: &Snippet, variables: &[(&str, &str)]) -> String {
        let folder = self.folder.path();
        let file = snippet.write_into(folder);
        let output = client.run(folder, &file, variables, self.proxy.authority());
        let [out, err] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
        assert_eq!(output.status.code(), Some(0), "{out}{err}");
        match client {
            // It also says how fast it is.
            Client::Curl => out.into_owned(),
            _ => format!("{out}{err}"),
        }
    }

    /// The same of a snippet that manages, run with this key; what is printed is an answer.
    #[track_caller]
    fn answers(&self, client: Client, snippet: &Snippet, placeholder: &str, key: &str) -> Value {
        let snippet = snippet.clone().with(SALES_WEBHOOKS, &self.proxy.url());
        let printed = self.prints(client, &snippet.with(placeholder, key), &[]);
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed:?}"))
    }
}

/// A refusal as the first document has it.
struct Refusal {
    status: &'static str,
    error: &'static str,
    message: &'static str,
}

impl Refusal {
    fn body(&self) -> String {
        format!(
            r#"{{"error":"{}","message":"{}"}}"#,
            self.error, self.message
        )
    }
}

const MISSING: Refusal = Refusal {
    status: "401 Client Error: Unauthorized",
    error: "Missing API key",
    message: "API key is required in X-API-Key header",
};
const INVALID: Refusal = Refusal {
    status: "401 Client Error: Unauthorized",
    error: "Invalid API key",
    message: "The provided API key is not valid or has been revoked",
};
const INSUFFICIENT: Refusal = Refusal {
    status: "403 Client Error: Forbidden",
    error: "Insufficient permissions",
    message: "Your API key does not have permission to access this resource",
};

/// Runs a snippet that sends: with the right key, then with every wrong one.
///
/// `sent` is what its reader sees for a uuid, `refused` what he sees for a refusal by this address.
fn check_sending(
    client: Client,
    name: &str,
    event: &Value,
    sent: impl Fn(&str) -> String,
    refused: impl Fn(&Refusal, &str) -> String,
) {
    if !client.is_here() {
        return;
    }
    let desk = Desk::new();
    let receiver = Receiver::start();
    let subscription = desk.relay.subscribe(&receiver.url(), &["**"]);
    let [shop, bank] = ["shop", "bank"].map(|name| desk.relay.integration(name));
    let snippet = Snippet::read(name)
        .with(OEMSTREAM, &desk.proxy.url())
        .with("your-integration-key", &shop.key);
    let run = |key: Option<&str>| match (client, key) {
        // The others read it from their environment. A header without a value is one that curl omits.
        (Client::Curl, key) => {
            let snippet = snippet.clone();
            let snippet = snippet.with("your-api-key-here", key.unwrap_or_default());
            desk.prints(client, &snippet, &[])
        }
        (_, Some(key)) => desk.prints(client, &snippet, &[("OEMSTREAM_API_KEY", key)]),
        (_, None) => desk.prints(client, &snippet, &[]),
    };

    let printed = run(Some(&shop.api_key));
    println!("{printed}");
    let delivery = receiver.wait_for(1).remove(0);
    assert_eq!(printed.trim_end(), sent(delivery.id()));
    delivery.verify(&subscription.secret);
    let body: Value = serde_json::from_slice(&delivery.body).unwrap();
    assert_eq!(&body, event);
    let stored = desk.relay.event(delivery.id()).unwrap();
    assert_eq!(
        (&stored["payload"], &stored["event"]),
        (event, &event["event"])
    );
    assert_eq!(stored["integration_id"], shop.id.as_str());

    let url = format!("{}{}", desk.proxy.url(), shop.path());
    for (key, refusal) in [
        (None, MISSING),
        (Some("nobodys-api-key"), INVALID),
        (Some(EXAMPLE_KEY), INVALID),
        (Some(bank.api_key.as_str()), INSUFFICIENT),
    ] {
        let printed = run(key);
        // Some break their lines.
        let words: Vec<_> = printed.split_whitespace().collect();
        assert_eq!(words.join(" "), refused(&refusal, &url));
    }
    let events = desk.relay.get("/v1/events");
    assert_eq!(events["events"].as_array().unwrap().len(), 1);
}

#[test]
#[should_panic(expected = "user.created stays")]
fn nothing_but_a_placeholder_is_exchanged() {
    let snippet = Snippet::read("oemstream/send.sh");
    let _ = snippet.with("user.created", "order.completed");
}

#[test]
fn curl_sends_as_documented() {
    check_sending(
        Client::Curl,
        "oemstream/send.sh",
        &json!({
            "event": "user.created",
            "data": { "user_id": 12345, "email": "user@example.com" },
        }),
        |uuid| format!(r#"{{"uuid":"{uuid}"}}"#),
        |refusal, _| refusal.body(),
    );
}

#[test]
fn laravel_sends_as_documented() {
    check_sending(
        Client::Laravel,
        "oemstream/send.php",
        &json!({
            "event": "order.completed",
            "data": { "order_id": 67890, "total": 99.99, "customer_email": "customer@example.com" },
        }),
        |uuid| format!("Webhook sent successfully: {uuid}"),
        |refusal, _| format!("Error: {}", refusal.body()),
    );
}

#[test]
fn axios_sends_as_documented() {
    check_sending(
        Client::Axios,
        "oemstream/send.cjs",
        &json!({
            "event": "payment.processed",
            "data": { "payment_id": "pay_123456", "amount": 49.99, "currency": "USD" },
        }),
        |uuid| format!("Webhook sent: {uuid}"),
        |Refusal { error, message, .. }, _| {
            format!("Error: {{ error: '{error}', message: '{message}' }}")
        },
    );
}

#[test]
fn requests_sends_as_documented() {
    check_sending(
        Client::Requests,
        "oemstream/send.py",
        &json!({
            "event": "subscription.renewed",
            "data": {
                "subscription_id": "sub_789012",
                "customer_id": "cust_345678",
                "next_billing_date": "2025-02-10",
            },
        }),
        |uuid| format!("Webhook sent successfully: {uuid}"),
        |refusal, url| format!("Error sending webhook: {} for url: {url}", refusal.status),
    );
}

/// A refusal as the second document has it.
#[track_caller]
fn expect_unauthorized(mut answer: Value, message: &str) {
    let timestamp = answer.as_object_mut().unwrap().remove("timestamp");
    let timestamp = text(&timestamp.expect("a timestamp"));
    assert_eq!(timestamp.len(), "2025-01-20T10:30:00Z".len());
    assert_eq!(
        answer,
        json!({ "error": "UNAUTHORIZED", "message": message })
    );
}

const INVALID_KEY: &str = "Invalid API key. Check that your key is correct and active.";

/// Runs a snippet that lists subscriptions: with the right key, then with every wrong one. `reader` is
/// the line that prints the answer it is left with.
fn check_listing(client: Client, name: &str, reader: &str) {
    if !client.is_here() {
        return;
    }
    let desk = Desk::new();
    let receiver = Receiver::start();
    let subscription = desk.relay.subscribe(&receiver.url(), &["order.*"]);
    let snippet = Snippet::read(name).then_reader(reader);
    let answers = |key| desk.answers(client, &snippet, "lwa.sk_live_YOUR_API_KEY", key);

    let listed = answers(&desk.relay.key);
    assert_eq!(listed, desk.relay.get("/v1/subscriptions"));
    assert_eq!(listed["subscriptions"][0]["id"], subscription.id.as_str());
    let format = "Invalid API key format. Keys must start with 'lwa.' prefix.";
    expect_unauthorized(answers(EXAMPLE_KEY), INVALID_KEY);
    expect_unauthorized(answers("sk_live_YOUR_API_KEY"), format);
    let missing = "Missing API key. Include your API key in the X-API-Key header.";
    expect_unauthorized(answers(""), missing);
}

#[test]
fn curl_lists_as_documented() {
    check_listing(Client::Curl, "saleswebhooks/subscriptions.sh", "");
}

#[test]
fn fetch_lists_as_documented() {
    let reader = "console.log(await response.text());";
    check_listing(Client::Fetch, "saleswebhooks/subscriptions.mjs", reader);
}

#[test]
fn requests_lists_as_documented() {
    let reader = "print(response.text)";
    check_listing(Client::Requests, "saleswebhooks/subscriptions.py", reader);
}

#[test]
fn ruby_lists_as_documented() {
    let reader = "puts response.body";
    check_listing(Client::Ruby, "saleswebhooks/subscriptions.rb", reader);
}

#[test]
fn a_key_from_the_documented_env_file_is_a_key() {
    if !(Client::Curl.is_here() && Client::Fetch.is_here()) {
        return;
    }
    let desk = Desk::new();
    let key = "lwa.sk_live_YOUR_API_KEY";
    let variables = Snippet::read("saleswebhooks/key.env").with(key, &desk.relay.key);
    let listing = Snippet::read("saleswebhooks/subscriptions.mjs")
        .with(SALES_WEBHOOKS, &desk.proxy.url())
        .with("'lwa.sk_live_YOUR_API_KEY'", "apiKey")
        .then_reader("console.log(await response.text());");
    let program = Snippet::read("saleswebhooks/key.mjs").then(&listing);
    let folder = desk.folder.path();
    let [variables, program] = [variables, program].map(|snippet| snippet.write_into(folder));
    // Any shell reads such a file, and Node gets it from there, however old it is.
    let start = format!("set -a\n. ./{variables}\nexec node {program}\n");
    std::fs::write(folder.join("start.sh"), start).unwrap();
    let output = Client::Curl.run(folder, "start.sh", &[], desk.proxy.authority());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed, desk.relay.get("/v1/subscriptions"));
}

#[test]
fn keys_are_created_listed_and_deleted_as_documented() {
    if !Client::Curl.is_here() {
        return;
    }
    let desk = Desk::new();
    let [create, list, delete] = ["create_key", "list_keys", "delete_key"]
        .map(|name| Snippet::read(&format!("saleswebhooks/{name}.sh")));
    let key = "lwa.sk_live_YOUR_API_KEY";
    let answers =
        |snippet, placeholder, key: &str| desk.answers(Client::Curl, snippet, placeholder, key);

    let made = answers(&create, "lwa.sk_live_YOUR_EXISTING_KEY", &desk.relay.key);
    assert_eq!(made["name"], "Development Server");
    let new_key = text(&made["key"]);
    let unique = new_key.strip_prefix("lwa.sk_live_").unwrap();
    assert!(unique.len() == 32 && unique.bytes().all(|byte| byte.is_ascii_alphanumeric()));

    let listed = answers(&list, key, &new_key);
    assert!(!listed.to_string().contains("lwa."), "{listed}");
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for shown in keys {
        check_documented_key(shown);
    }
    assert!(keys.iter().any(|shown| shown["id"] == made["id"]));

    let delete = delete
        .with("key_8Yx9Kj2Mn", &text(&made["id"]))
        .with(SALES_WEBHOOKS, &desk.proxy.url())
        .with(key, &desk.relay.key);
    assert_eq!(desk.prints(Client::Curl, &delete, &[]), "");
    expect_unauthorized(answers(&list, key, &new_key), INVALID_KEY);
    let left = answers(&list, key, &desk.relay.key);
    assert_eq!(left["keys"].as_array().unwrap().len(), 1);
}

/// The members that the document shows, each as it shows it.
fn check_documented_key(shown: &Value) {
    assert!(text(&shown["id"]).starts_with("key_"), "{shown}");
    assert!(!text(&shown["name"]).is_empty(), "{shown}");
    let is_time = |time: &Value| {
        let time = text(time);
        time.len() == "2025-01-15T08:00:00Z".len() && time.ends_with('Z')
    };
    assert!(is_time(&shown["created_at"]), "{shown}");
    let last_used_at = shown.get("last_used_at").expect("a last_used_at");
    assert!(last_used_at.is_null() || is_time(last_used_at), "{shown}");
}
