//! Following a task: whoever is interrupted leaves it running, and hears how to look at it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::http::{read_body, read_head};
use crate::support::relay::program;

/// Something that answers like a relay whose task is like this, whatever it is asked.
fn with_a_task(task: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = task.to_string();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = BufReader::new(stream);
            let Ok(head) = read_head(&mut stream) else {
                continue;
            };
            let _ = read_body(&mut stream, &head.1);
            let length = body.len();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            let _ = stream
                .get_mut()
                .write_all(format!("{head}{body}").as_bytes());
        }
    });
    url
}

#[test]
fn whoever_is_interrupted_leaves_the_task_running_and_hears_how_to_look_at_it() {
    let url = with_a_task(&json!({
        "id": "task_0000000ab", "kind": "replay", "status": "running", "dry_run": false,
        "percent": 40, "examined": 9, "affected": 7, "error": null,
    }));
    let mut command = program();
    command
        .args(["subscriptions", "replay", "sub_000000000"])
        .env("POSTRIDER_URL", &url)
        .env("POSTRIDER_API_KEY", "lwa.x")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert_eq!(line, "replay task_0000000ab: 40%, 7 of 9 so far\n");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let mut said = String::new();
    err.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    for way in [
        "goes on",
        "tasks show task_0000000ab",
        "tasks stop task_0000000ab",
    ] {
        assert!(said.contains(way), "{said}");
    }
}

#[test]
fn a_task_that_failed_or_was_stopped_is_no_success() {
    for (status, says) in [("failed", "failed: no room"), ("cancelled", "was stopped")] {
        let url = with_a_task(&json!({
            "id": "task_0000000ab", "kind": "replay", "status": status, "dry_run": false,
            "percent": 40, "examined": 9, "affected": 1, "error": "no room",
        }));
        let output = program()
            .args(["subscriptions", "replay", "sub_000000000"])
            .env("POSTRIDER_URL", &url)
            .env("POSTRIDER_API_KEY", "lwa.x")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(says) && said.contains("replayed 1 event"),
            "{said}"
        );
    }
}
