//! What a process did to the files of a directory, recorded, so that its power can be cut afterwards.
//!
//! The process is this test's own program, started again under `strace` and told to do one thing. That
//! needs no file system of our own: where none can be mounted, every cut is a cut of a recording.

mod replay;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use self::replay::Replay;
use crate::support::eventually;
use crate::trace::{self, Call};

/// Tells the program that it is being recorded, and where its store is.
const RECORDED: &str = "POSTRIDER_TEST_RECORDED_DIR";
/// Longer than any single write.
const STRINGS: &str = "100000000";
const CALLS: &str = "trace=openat,close,dup,dup2,dup3,fcntl,lseek,mkdir,mkdirat,rename,renameat,renameat2,\
                     unlink,unlinkat,rmdir,link,linkat,write,pwrite64,writev,pwritev,pwritev2,truncate,\
                     ftruncate,fallocate,copy_file_range,sendfile,fsync,fdatasync";
/// The threads that a store starts.
const THREADS: [&str; 4] = ["commit", "checkpoint", "journal-prepare", "index"];
/// How the recorded program says how much was acknowledged.
const ACKNOWLEDGED: &str = "acknowledged ";

/// Whether this program is the recorded one; then, where its store is.
pub fn recorded_dir() -> Option<PathBuf> {
    std::env::var_os(RECORDED).map(PathBuf::from)
}

/// Does what is to be recorded, and waits until every thread of the store is gone: what the end of a
/// process breaks off may have been done or not, and nobody could tell. sled's own threads stay, idle.
pub fn recorded(work: impl FnOnce()) {
    work();
    let of_store = |thread: &PathBuf| {
        let name = std::fs::read_to_string(thread.join("comm")).unwrap_or_default();
        THREADS.contains(&name.trim_end())
    };
    eventually("the end of the store's threads", || {
        let all = std::fs::read_dir("/proc/self/task").unwrap();
        let mut all = all.map(|thread| thread.unwrap().path());
        (!all.any(|thread| of_store(&thread))).then_some(())
    });
}

/// Tells the recorder how many records are acknowledged.
pub fn acknowledge(records: usize) {
    println!("{ACKNOWLEDGED}{records}");
}

/// One thing that happened.
#[derive(Debug)]
pub enum Step {
    /// So many records were acknowledged.
    Acknowledged(usize),
    /// The kernel did what it was asked to.
    Call(Call),
}

/// Runs the part of a test of this program that asks for [`recorded_dir`].
pub fn record(test: &str, dir: &Path, seed: u64) -> Vec<Step> {
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("trace");
    let tracer = ["-f", "-xx", "-s", STRINGS, "-e", CALLS, "-o"];
    let output = Command::new("strace")
        .args(tracer)
        .arg(&file)
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(RECORDED, dir)
        .env("POSTRIDER_TEST_SEED", seed.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{test}, recorded: {said}");
    let trace = std::fs::read_to_string(&file).unwrap();
    in_order(trace::read(&trace))
}

/// The calls in an order that promises nothing too early: one counts when it ended, but what was written
/// while a sync of the same file ran was not synced by it, and what is acknowledged is so from the moment
/// at which that is said.
fn in_order(calls: Vec<Call>) -> Vec<Step> {
    let syncs: Vec<_> = calls
        .iter()
        .filter(|it| ["fsync", "fdatasync"].contains(&it.name.as_str()))
        .map(|it| (it.argument(0).to_owned(), it.began, it.ended))
        .collect();
    let during_a_sync = |call: &Call| {
        let over = syncs.iter().filter(|(file, began, ended)| {
            file == call.argument(0) && *began < call.ended && call.ended < *ended
        });
        over.map(|(.., ended)| *ended).max()
    };
    let mut steps = Vec::new();
    for call in calls {
        if let Some(records) = acknowledged(&call) {
            steps.push(((call.began, 0), Step::Acknowledged(records)));
            continue;
        }
        let at = match call.name.as_str() {
            // Its number may be another file's before this is seen to end.
            "close" => (call.began, 0),
            "write" | "pwrite64" | "ftruncate" | "fallocate" => match during_a_sync(&call) {
                Some(end) => (end, 1),
                None => (call.ended, 0),
            },
            _ => (call.ended, 0),
        };
        steps.push((at, Step::Call(call)));
    }
    steps.sort_by_key(|(at, _)| *at);
    steps.into_iter().map(|(_, step)| step).collect()
}

fn acknowledged(call: &Call) -> Option<usize> {
    if call.name != "write" || call.argument(0) != "1" {
        return None;
    }
    let text = String::from_utf8(call.bytes(1)).ok()?;
    text.trim_end().strip_prefix(ACKNOWLEDGED)?.parse().ok()
}
