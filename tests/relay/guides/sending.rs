//! The programs that send: what they print is the event that arrives, and they are as patient as the guide
//! says, and no more.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::page::Page;
use crate::clients::Client;
use crate::support::receiver::{Delivery, Receiver, Reply};
use crate::support::relay::Relay;
use crate::support::tls::TlsProxy;

pub const GUIDE: &str = "quick-start.md";
pub const SECTION: &str = "Send from a program";
const UUID: &str = "01a21676-7602-7000-af76-d093d8e30509";
/// How often a program tries.
const TRIES: usize = 5;

macro_rules! senders {
    ($($test:ident: $client:ident, $file:literal;)+) => {
        /// The programs that are run here.
        pub const PROGRAMS: &[&str] = &[$($file),+];

        $(#[test]
        fn $test() {
            check(Client::$client, $file);
        })+
    };
}

senders! {
    the_shell_sends: Shell, "send.sh";
    python_sends: Requests, "send.py";
    javascript_sends: Fetch, "send.mjs";
    ruby_sends: Ruby, "send.rb";
    php_sends: Php, "send.php";
    laravel_sends: Laravel, "laravel.php";
}

/// A program in a folder of its own.
struct Program {
    client: Client,
    file: &'static str,
    folder: TempDir,
}

/// What came of it.
#[derive(Debug)]
struct Ran {
    worked: bool,
    out: String,
    err: String,
}

impl Program {
    /// Runs it as the guide says: all that it knows is in three variables.
    fn run(&self, url: &str, door: &str, key: &str, proxy: &TlsProxy) -> Ran {
        let variables = [
            ("RELAY_URL", url),
            ("INTEGRATION_KEY", door),
            ("RELAY_API_KEY", key),
        ];
        let folder = self.folder.path();
        let output = self
            .client
            .run(folder, self.file, &variables, proxy.authority());
        let [out, err] =
            [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        Ran {
            worked: output.status.success(),
            out,
            err,
        }
    }

    /// Runs it against somebody who answers like this, and tells what arrived.
    fn meets(
        &self,
        reply: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> (Ran, Vec<Delivery>) {
        let count = AtomicUsize::new(0);
        let busy = Receiver::answering(move |_| reply(count.fetch_add(1, Ordering::SeqCst)));
        let proxy = TlsProxy::before(busy.address());
        let url = format!("http://{}", busy.address());
        let ran = self.run(&url, "door", "key", &proxy);
        (ran, busy.arrived())
    }
}

fn check(client: Client, file: &'static str) {
    if !client.is_here() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let text = Page::read(GUIDE).program(SECTION, file).to_owned();
    fs::write(folder.path().join(file), text).unwrap();
    let program = Program {
        client,
        file,
        folder,
    };
    check_sending(&program);
    check_waiting(&program);
    check_giving_up(&program);
}

/// Its uuid is the event that arrives, also if it is run twice; a wrong key is told of and not tried again.
fn check_sending(program: &Program) {
    let relay = Relay::start();
    let proxy = TlsProxy::before(relay.address());
    let receiver = Receiver::start();
    let subscription = relay.subscribe(&receiver.url(), &["order.*"]);
    let shop = relay.integration("shop");
    for _ in 0..2 {
        let ran = program.run(&proxy.url(), &shop.key, &shop.api_key, &proxy);
        let delivery = receiver.wait_for(1).remove(0);
        assert!(ran.worked, "{ran:?}");
        assert_eq!(ran.out, format!("{}\n", delivery.id()), "{ran:?}");
        delivery.verify(&subscription.secret);
        let body: Value = serde_json::from_slice(&delivery.body).unwrap();
        assert_eq!(body["event"], "order.completed");
        assert!(body["data"]["order_id"].is_u64(), "{body}");
    }
    let refused = program.run(&proxy.url(), &shop.key, "nobodys-key", &proxy);
    assert!(!refused.worked && refused.out.is_empty(), "{refused:?}");
    assert!(refused.err.contains("Invalid API key"), "{refused:?}");
    let events = relay.get("/v1/events");
    assert_eq!(events["events"].as_array().unwrap().len(), 1);
}

/// It waits as long as it is asked to, and sends the same again.
fn check_waiting(program: &Program) {
    let wait =
        |status, seconds: &str| Reply::Answer(status, vec![("retry-after", seconds.to_owned())]);
    let accepted = || Reply::Says(202, format!(r#"{{"uuid":"{UUID}"}}"#).into_bytes());
    let (ran, arrived) = program.meets(move |index| match index {
        // Neither is what it would wait by itself.
        0 => wait(429, "2"),
        1 => wait(503, "1"),
        _ => accepted(),
    });
    assert!(ran.worked, "{ran:?}");
    assert_eq!(ran.out, format!("{UUID}\n"));
    assert_eq!(arrived.len(), 3);
    for (pair, least_ms) in arrived.windows(2).zip([1990, 990]) {
        assert!(pair[1].at - pair[0].at >= Duration::from_millis(least_ms));
        assert_eq!(pair[0].body, pair[1].body);
        let key = pair[0].header("idempotency-key");
        assert_eq!(key, pair[1].header("idempotency-key"));
        assert!(key.starts_with("\"order-"), "{key}");
        assert_eq!(pair[0].header("x-api-key"), "key");
        assert_eq!(pair[0].path, "/api/webhooks/door");
    }
    if program.client == Client::Shell {
        return; // curl leaves that to whoever runs it, as the guide says.
    }
    let (ran, arrived) = program.meets(move |index| match index {
        0 => Reply::HangUp,
        _ => accepted(),
    });
    assert!(ran.worked && arrived.len() == 2, "{ran:?}");
}

/// It tries so often and not more, and not at all where that would take too long or is of no use.
fn check_giving_up(program: &Program) {
    let wait = |seconds: &str| {
        let after = vec![("retry-after", seconds.to_owned())];
        move |_| Reply::Answer(503, after.clone())
    };
    // curl takes a 0 for no answer at all.
    let shortly = if program.client == Client::Shell {
        "1"
    } else {
        "0"
    };
    for (met, tries) in [
        (program.meets(wait(shortly)), TRIES),
        (program.meets(wait("3600")), 1),
        (
            program.meets(|_| Reply::Says(422, b"{\"error\":\"no\"}".to_vec())),
            1,
        ),
    ] {
        let (ran, arrived) = met;
        assert!(!ran.worked && ran.out.is_empty(), "{ran:?}");
        assert_eq!(arrived.len(), tries, "{ran:?}");
    }
}
