//! Backups taken while traffic flows, restored elsewhere: what was accepted before is there, once.

use std::io::{BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::http::read_head;
use crate::support::load::{Load, Promises, mark};
use crate::support::receiver::{Receiver, Reply};
use crate::support::relay::{Relay, text};
use crate::support::tally::{Manner, Tally};
use crate::support::{PATIENCE, eventually, samples};

#[track_caller]
fn done(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.lines().count(), 1, "more than a sentence: {said}");
    said
}

fn back_up(relay: &Relay, file: &Path) -> String {
    let output = relay.command(&["backup", file.to_str().unwrap()]).output();
    done(&output.unwrap())
}

/// The command that restores into the directory of a relay that has none.
fn restore(relay: &Relay, file: &str) -> Output {
    let dir = relay.data_dir();
    let arguments = ["restore", file, "--data-dir", dir.to_str().unwrap()];
    relay.command(&arguments).output().unwrap()
}

/// A relay on a store restored from a backup, with the key of the one that it was taken of.
fn restored(from: &Relay, file: &Path) -> Relay {
    let mut relay = Relay::stopped(&[]);
    relay.key.clone_from(&from.key);
    relay.has_sealing_keys_of(from);
    done(&restore(&relay, file.to_str().unwrap()));
    relay.restart();
    relay
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A directory for backups.
struct Shelf(tempfile::TempDir);

impl Shelf {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// An event as it is shown, its payload to the byte.
#[derive(Deserialize)]
struct Shown<'a> {
    #[serde(borrow)]
    payload: &'a RawValue,
    deliveries: Vec<Value>,
}

/// Waits until all that was accepted is there as it came, and delivered to all.
#[track_caller]
fn expect_delivered(relay: &Relay, accepted: &Promises, subscriptions: usize) {
    let mut connection = relay.connect();
    let headers = [("X-API-Key", relay.key.as_str())];
    for (uuid, promise) in accepted {
        eventually(&format!("{uuid} is delivered"), || {
            let path = format!("/v1/events/{uuid}");
            let answer = connection.request("GET", &path, &headers, b"").unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let shown: Shown<'_> = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(
                mark(shown.payload.get().as_bytes()),
                promise.mark,
                "{uuid} is changed"
            );
            assert_eq!(shown.deliveries.len(), subscriptions, "{uuid}");
            let delivered = |delivery: &Value| delivery["status"] == "delivered";
            shown.deliveries.iter().all(delivered).then_some(())
        });
    }
}

#[test]
fn a_backup_under_load_holds_everything_accepted_before_it_began() {
    let mut chance = Chance::new("backup");
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let manners = [Manner::Steady, Manner::FailingNowAndThen(chance.next())];
    let tallies = manners.map(Tally::start);
    for tally in &tallies {
        let schedule = vec!["20ms"; 50];
        let body = json!({ "url": tally.url(), "events": ["**"], "retry_schedule": schedule });
        relay.subscribe_as(&body);
    }
    let load = Load::start(&shop, 2, &mut chance, &tallies[1]);
    load.aim_at(Some(relay.address()));
    load.wait_for_more(200);
    let settled = load.promised();
    expect_delivered(&relay, &settled, tallies.len());

    let shelf = Shelf::new();
    let file = shelf.file("backup");
    let before = load.promised();
    let said = back_up(&relay, &file);
    assert!(said.contains("backed up everything accepted by"), "{said}");
    load.wait_for_more(200);
    load.aim_at(None);
    let accepted = load.finish();
    relay.kill();

    let copy = restored(&relay, &file);
    expect_delivered(&copy, &before, tallies.len());
    for tally in &tallies {
        assert_eq!(tally.wait_for_all(&before), Vec::<String>::new());
        let again = tally.wait_until_each(&settled, |came| came.taken == 1);
        assert_eq!(again, Vec::<String>::new(), "settled, and delivered again");
    }
    println!(
        "{} settled before, {} accepted before, {} in all",
        settled.len(),
        before.len(),
        accepted.len()
    );
}

#[test]
fn a_restored_relay_goes_on_where_the_backup_was_taken() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let (steady, failing) = (
        Receiver::start(),
        Receiver::answering(|_| Reply::status(500)),
    );
    relay.subscribe(&steady.url(), &["**"]);
    let schedule = vec!["30ms"; 50];
    let retried = relay.subscribe_as(&json!({
        "url": failing.url(), "events": ["**"], "retry_schedule": schedule,
    }));
    let once = [("Idempotency-Key", "once")];
    let body = samples::event("kept.here", 1);
    let uuid = text(&relay.post(&shop, &once, &body).expect(202)["uuid"]);
    let revoked = relay.create("/v1/account/api-keys", &json!({ "name": "revoked" }));
    relay.delete(&format!("/v1/account/api-keys/{}", text(&revoked["id"])));
    eventually("one delivered, one failed", || {
        let event = relay.event(&uuid)?;
        let deliveries = event["deliveries"].as_array().unwrap();
        let is = |status: &str| deliveries.iter().any(|it| it["status"] == status);
        (is("delivered") && is("retrying")).then_some(())
    });
    let shelf = Shelf::new();
    let file = shelf.file("backup");
    back_up(&relay, &file);
    let late = relay.send(&shop, &samples::event("comes.later", 2));
    steady.wait_for(2);
    relay.kill();

    failing.now_answers(|_| Reply::status(200));
    let copy = restored(&relay, &file);
    copy.wait_for_deliveries(&uuid, "delivered");
    failing.arrived().last().unwrap().verify(&retried.secret);
    assert_eq!(copy.event(&late), None, "it came after the backup");
    assert_eq!(steady.count(), 2, "what was settled stays settled");
    let key = text(&revoked["key"]);
    let headers = [("X-API-Key", key.as_str())];
    let mut connection = copy.connect();
    let refused = connection.request("GET", "/v1/account", &headers, b"");
    refused.unwrap().expect(401);
    let again = copy.post(&shop, &once, &body);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(202)["uuid"], uuid.as_str());
    let new = copy.send(&shop, &samples::event("goes.on", 3));
    assert!(new > uuid, "ids go on growing");
    copy.wait_for_deliveries(&new, "delivered");
}

#[test]
fn a_store_without_a_relay_is_backed_up_as_it_is() {
    let mut relay = Relay::start();
    let shop = relay.integration("shop");
    let uuid = relay.send(&shop, &samples::event("a", 1));
    relay.kill();
    let shelf = Shelf::new();
    let file = shelf.file("backup");
    back_up(&relay, &file);
    let copy = restored(&relay, &file);
    assert!(copy.event(&uuid).is_some());

    let nothing = Relay::stopped(&[]);
    let path = shelf.file("other");
    let output = nothing
        .command(&["backup", path.to_str().unwrap()])
        .output();
    let said = failed(&output.unwrap());
    assert!(said.contains("there is no store in"), "{said}");
    assert!(!nothing.data_dir().exists());
    assert_eq!(names(shelf.0.path()), ["backup"]);
}

#[test]
fn a_backup_goes_through_a_pipe_and_replaces_nothing_unasked() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    let uuid = relay.send(&shop, &samples::event("a", 1));
    let mut copy = Relay::stopped(&[]);
    copy.key.clone_from(&relay.key);
    copy.has_sealing_keys_of(&relay);
    let mut giver = relay
        .command(&["backup", "-"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let dir = copy.data_dir();
    let taken = copy
        .command(&["restore", "-", "--data-dir", dir.to_str().unwrap()])
        .stdin(giver.stdout.take().unwrap())
        .output();
    let said = done(&taken.unwrap());
    assert!(said.contains("restored 1 events"), "{said}");
    assert!(giver.wait().unwrap().success());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join("journal"))), (0o700, 0o700));
    assert_eq!(mode(&copy.journal()), 0o600);
    copy.restart();
    assert!(copy.event(&uuid).is_some());

    let shelf = Shelf::new();
    let file = shelf.file("backup");
    std::fs::write(&file, "precious").unwrap();
    let path = file.to_str().unwrap();
    let said = failed(&relay.command(&["backup", path]).output().unwrap());
    assert!(said.contains("is there already"), "{said}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    done(
        &relay
            .command(&["backup", path, "--force"])
            .output()
            .unwrap(),
    );
    assert_eq!(mode(&file), 0o600);
    assert_eq!(names(shelf.0.path()), ["backup"]);
    let said = failed(&restore(&relay, path));
    assert!(
        said.contains("is not empty"),
        "a store that is in use: {said}"
    );
}

#[test]
fn what_is_wrong_with_a_backup_is_said_and_nothing_is_left_behind() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    for n in 0..20 {
        relay.send(&shop, &samples::event("a", n));
    }
    let shelf = Shelf::new();
    let file = shelf.file("backup");
    back_up(&relay, &file);
    let whole = std::fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let middle = whole.len() / 2;
    let harm: [(&str, &[u8]); 4] = [
        ("a chunk's checksum is wrong", &flipped),
        ("cut off", &whole[..middle]),
        ("this is no backup", b"{\"event\":\"a\"}"),
        ("this is no backup", b""),
    ];
    for (words, bytes) in harm {
        std::fs::write(&file, bytes).unwrap();
        let new = Relay::stopped(&[]);
        new.has_sealing_keys_of(&relay);
        let said = failed(&restore(&new, file.to_str().unwrap()));
        assert!(said.contains(words), "{said}");
        assert!(!new.data_dir().exists(), "{words}");
    }
    std::fs::write(&file, &whole).unwrap();
    let new = Relay::stopped(&[]);
    let said = failed(&restore(&new, file.to_str().unwrap()));
    assert!(said.contains("sealed under the key"), "{said}");
    assert!(!new.data_dir().exists(), "without the key it is of no use");
    let new = Relay::stopped(&[]);
    let said = failed(&restore(&new, "no-such-file"));
    assert!(said.contains("no-such-file"), "{said}");
    assert!(!new.data_dir().exists());
}

/// Asks for a backup by hand.
fn ask(relay: &Relay) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(relay.data_dir().join("postrider.sock")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = "POST /local/backup HTTP/1.1\r\nhost: relay\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::with_capacity(64, stream);
    let (first, _) = read_head(&mut stream).unwrap();
    assert_eq!(first, "HTTP/1.1 200 OK");
    stream
}

#[test]
fn one_backup_at_a_time_and_only_by_the_local_socket() {
    let relay = Relay::start();
    let shop = relay.integration("shop");
    // More than fits into any buffer on the way.
    for _ in 0..60 {
        relay.send(&shop, &samples::sized(250_000));
    }
    let shelf = Shelf::new();
    let file = shelf.file("backup");
    let path = file.to_str().unwrap();
    let slow = ask(&relay);
    let said = failed(&relay.command(&["backup", path]).output().unwrap());
    assert!(
        said.contains("409") && said.contains("one at a time"),
        "{said}"
    );
    assert_eq!(names(shelf.0.path()), Vec::<String>::new());
    relay.send(&shop, &samples::event("goes.on", 1));
    // Whoever asked went away: the next one gets his turn.
    drop(slow);
    eventually("a turn", || {
        let output = relay.command(&["backup", path]).output().unwrap();
        output.status.success().then_some(())
    });
    for method in ["GET", "POST"] {
        for path in ["/local/backup", "/local"] {
            relay.manage(method, path, b"").expect(404);
        }
    }
}

#[test]
fn a_backup_that_breaks_off_leaves_nothing() {
    let mut relay = Relay::start();
    relay.integration("shop");
    let shelf = Shelf::new();
    back_up(&relay, &shelf.file("whole"));
    let whole = std::fs::read(shelf.file("whole")).unwrap();
    relay.kill();
    let socket = relay.data_dir().join("postrider.sock");
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let file = shelf.file("backup");
    let begin = || {
        let mut command = relay.command(&["backup", file.to_str().unwrap()]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut BufReader::new(&stream)).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", whole.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&whole[..whole.len() / 2]).unwrap();
        (child.unwrap(), stream)
    };
    let (child, stream) = begin();
    drop(stream);
    let said = failed(&child.wait_with_output().unwrap());
    assert!(
        said.contains("cut off") && said.contains("nothing was left behind"),
        "{said}"
    );
    assert_eq!(names(shelf.0.path()), ["whole"]);

    let (child, _stream) = begin();
    eventually("a file in the making", || {
        (names(shelf.0.path()).len() == 2).then_some(())
    });
    let pid = child.id().to_string();
    let sent = Command::new("sh")
        .args(["-c", "kill -TERM \"$0\"", &pid])
        .status();
    assert!(sent.unwrap().success());
    let said = failed(&child.wait_with_output().unwrap());
    assert!(said.contains("interrupted"), "{said}");
    assert_eq!(names(shelf.0.path()), ["whole"]);
}
