//! What the real relay asks of the kernel, and in which order.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use serde_json::json;

use crate::support::eventually;
use crate::support::receiver::Receiver;
use crate::support::relay::{Integration, Relay};
use crate::trace::{self, Call, can_trace};

const SENDERS: usize = 8;
const EVENTS: usize = 25;
/// Longer than any record that is written here.
const STRINGS: &str = "1000000";
const CALLS: &str = "trace=openat,mkdir,mkdirat,rename,renameat,renameat2,write,writev,pwrite64,\
                     pwritev,sendto,sendmsg,fsync,fdatasync";
/// Files that mean nothing to anybody after a power cut.
const PASSING: [&str; 4] = ["lock", "reserve", "postrider.sock", "damaged"];

/// Sends marked events with several senders; returns each uuid with its mark.
fn send_marked(relay: &Relay, shop: &Integration) -> Vec<(String, String)> {
    let sent = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for sender in 0..SENDERS {
            let sent = &sent;
            scope.spawn(move || {
                for n in 0..EVENTS {
                    let mark = format!("mark-{sender}-{n}-end");
                    let event = json!({ "event": "marked", "data": mark });
                    let uuid = relay.send(shop, event.to_string().as_bytes());
                    sent.lock().unwrap().push((uuid, mark));
                }
            });
        }
    });
    sent.into_inner().unwrap()
}

#[test]
fn what_is_answered_made_or_saved_is_synced_first() {
    if !can_trace() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trace");
    let mut relay = Relay::stopped(&[]);
    let out = file.to_str().unwrap();
    // The tracer is a grandchild, so that the process that is started is the relay itself.
    relay.trace_with(&[
        "strace", "-D", "-f", "-y", "-s", STRINGS, "-e", CALLS, "-o", out,
    ]);
    relay.restart();
    let shop = relay.integration("shop");
    let receiver = Receiver::start();
    relay.subscribe(&receiver.url(), &["**"]);
    let sent = send_marked(&relay, &shop);
    relay.terminate();
    let trace = eventually("the end of the trace", || {
        let trace = std::fs::read(&file).ok()?;
        let trace = String::from_utf8_lossy(&trace).into_owned();
        let last = trace.lines().last()?;
        last.contains("+++ exited with 0 +++").then_some(trace)
    });
    let calls = trace::read(&trace);
    assert_eq!(sent.len(), SENDERS * EVENTS);
    let syncs = every_answer_follows_its_sync(&calls, &sent);
    let made = every_name_is_synced_before_the_relay_is_ready(&calls, &relay.data_dir());
    let saves = every_checkpoint_ends_with_a_sync(&calls);
    println!(
        "{} calls: {} answers after {syncs} syncs of the journal; {made} files and directories \
         synced before the relay was ready; {saves} syncs of sled's file",
        calls.len(),
        sent.len()
    );
}

fn is_segment(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|it| it == "seg")
}

fn is_write(call: &Call) -> bool {
    ["write", "pwrite64", "writev", "pwritev"].contains(&call.name.as_str())
}

fn is_sync(call: &Call) -> bool {
    ["fsync", "fdatasync"].contains(&call.name.as_str()) && call.succeeded()
}

/// Each 202 was sent after a sync of the journal had returned that began after the event's record was
/// written. Returns how many syncs there were.
fn every_answer_follows_its_sync(calls: &[Call], sent: &[(String, String)]) -> usize {
    let of_journal = |call: &&Call| call.file().is_some_and(is_segment);
    let syncs: Vec<_> = calls
        .iter()
        .filter(of_journal)
        .filter(|it| is_sync(it))
        .collect();
    let writes: Vec<_> = calls
        .iter()
        .filter(of_journal)
        .filter(|it| is_write(it))
        .collect();
    let sends = ["sendto", "sendmsg", "write", "writev"];
    let answers = calls.iter().filter(|it| sends.contains(&it.name.as_str()));
    let answers: Vec<_> = answers
        .filter(|it| it.arguments.contains("202 Accepted"))
        .collect();
    for (uuid, mark) in sent {
        let write = writes.iter().find(|it| it.arguments.contains(mark));
        let write = write.unwrap_or_else(|| panic!("{mark} was never written"));
        let answer = answers.iter().find(|it| it.arguments.contains(uuid));
        let answer = answer.unwrap_or_else(|| panic!("{uuid} was never answered"));
        let between = syncs.iter().any(|sync| {
            sync.file() == write.file() && sync.began > write.ended && sync.ended < answer.began
        });
        assert!(
            between,
            "{mark} was answered before it was synced: {answer:?}"
        );
    }
    syncs.len()
}

/// Everything that was made in the data directory before the ready line is synced by then, and so is
/// its name. Returns how much that was.
fn every_name_is_synced_before_the_relay_is_ready(calls: &[Call], data_dir: &Path) -> usize {
    let ready = calls
        .iter()
        .find(|it| it.arguments.contains("postrider ready"));
    let ready = ready.expect("it said that it is ready").began;
    let before = || calls.iter().filter(|it| it.ended < ready && it.succeeded());
    let synced_after = |path: &Path, line: usize| {
        before().any(|it| is_sync(it) && it.began > line && it.file() == path.to_str())
    };
    let mut made = Vec::<&Path>::new();
    for call in before() {
        let is_dir = call.name.starts_with("mkdir");
        let is_rename = call.name.starts_with("rename");
        let is_file = call.name == "openat" && call.arguments.contains("O_CREAT");
        let mut quoted = call.arguments.split('"');
        let path = if is_rename {
            quoted.nth(3)
        } else {
            call.path()
        };
        let Some(path) = path
            .map(Path::new)
            .filter(|path| path.starts_with(data_dir))
        else {
            continue;
        };
        let passing = PASSING.iter().any(|name| path.ends_with(name));
        let again = made.contains(&path);
        if !(is_dir || is_file || is_rename) || passing || again || !path.exists() {
            continue;
        }
        made.push(path);
        let parent = path.parent().unwrap();
        assert!(
            synced_after(parent, call.ended),
            "the name of {} is not synced",
            path.display()
        );
        // A directory lasts with its name; a file must also have what is in it.
        assert!(
            is_dir || is_rename || synced_after(path, call.ended),
            "{} is not synced",
            path.display()
        );
    }
    made.len()
}

/// Whatever is written to sled's file is followed by our own sync of it. Returns how many there were.
fn every_checkpoint_ends_with_a_sync(calls: &[Call]) -> usize {
    let of_state = |call: &&Call| call.file().is_some_and(|file| file.ends_with("/state/db"));
    let all: Vec<_> = calls.iter().filter(of_state).collect();
    let syncs: Vec<_> = all
        .iter()
        .filter(|it| it.name == "fdatasync" && it.succeeded())
        .collect();
    let last = all
        .iter()
        .filter(|it| is_write(it))
        .map(|it| it.ended)
        .max();
    let last = last.expect("there was a checkpoint");
    assert!(
        syncs.iter().any(|it| it.began > last),
        "the last checkpoint is not synced"
    );
    syncs.len()
}
