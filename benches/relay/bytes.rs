//! What an event costs the disk, with one subscription that takes it: bytes written and bytes kept,
//! each per byte of payload.
//!
//! Written is what the process hands to the system with its write calls on files of the store, counted by
//! `strace`: the kernel's own figure counts a whole block for every sync, however little was new in it.
//! Kept is what the store then takes without what is allocated ahead in its last segments.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load;
use super::receiver::Sink;
use super::{BODY_BYTES, CONNECTIONS, Relay};

const EVENTS: usize = 300_000;
const ROUND: Duration = Duration::from_secs(5);
/// Until the last checkpoint has been written.
const SETTLE: Duration = Duration::from_secs(3);

pub fn run(body: &str) {
    let trace = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a file");
    if !super::have("strace") {
        println!("bytes       NOT RUN: strace is not there to count the writes");
        return;
    }
    let relay = Relay::start_traced(trace.path());
    let sink = Sink::start();
    relay.subscribe(sink.address(), "**");
    let mut count = 0;
    let mut rounds = 0;
    while count < EVENTS {
        let sent = load::run(&relay.load(body), CONNECTIONS, ROUND);
        count += sent.count();
        sink.wait_for(count, sent.started());
        rounds += 1;
    }
    std::thread::sleep(SETTLE);
    let payload = (count * BODY_BYTES) as f64;
    let written = Written::read(trace.path(), &relay.store());
    let kept = kept(&relay.store());
    println!(
        "bytes       {:.2} written per byte of payload, of it {:.2} to the journal and {:.2} to sled, in {} \
         syncs; {:.2} kept ({count} events in {rounds} rounds, all delivered)",
        written.bytes() as f64 / payload,
        written.journal as f64 / payload,
        written.state as f64 / payload,
        written.syncs,
        kept as f64 / payload,
    );
}

/// What write calls handed over.
#[derive(Default)]
struct Written {
    journal: u64,
    state: u64,
    other: u64,
    syncs: u64,
}

impl Written {
    /// Reads what `strace -y` wrote: lines such as `17 pwrite64(9</a/b>, "..."..., 4096, 0) = 4096`, and
    /// `<... pwrite64 resumed>) = 4096` for calls that another one interrupted.
    fn read(trace: &Path, store: &Path) -> Self {
        let trace = std::fs::read_to_string(trace).expect("the trace is readable");
        let store = store.to_str().expect("a path in UTF-8");
        let mut written = Self::default();
        let mut unfinished = std::collections::HashMap::new();
        for line in trace.lines() {
            let mut words = line.split_whitespace();
            let thread = words.next().unwrap_or_default();
            let path = match line.split_once('<') {
                Some((_, rest)) if rest.starts_with("... ") => unfinished.remove(thread),
                Some((_, rest)) => rest.split('>').next(),
                None => None,
            };
            let Some(path) = path else { continue };
            if line.ends_with("<unfinished ...>") {
                unfinished.insert(thread, path);
            } else if let Some(file) = path.strip_prefix(store) {
                let result = line
                    .rsplit("= ")
                    .next()
                    .and_then(|it| it.trim().parse().ok());
                written.add(line, file, result.unwrap_or(0));
            }
        }
        written
    }

    fn add(&mut self, line: &str, file: &str, result: u64) {
        if line.contains("sync") {
            self.syncs += 1;
        } else if file.starts_with("/journal") {
            self.journal += result;
        } else if file.starts_with("/state") {
            self.state += result;
        } else {
            self.other += result;
        }
    }

    fn bytes(&self) -> u64 {
        self.journal + self.state + self.other
    }
}

/// What a store takes without what is allocated ahead.
fn kept(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(meta) = path.symlink_metadata() else {
        return 0;
    };
    if meta.is_dir() {
        let inside = std::fs::read_dir(path).expect("a directory");
        let paths: Vec<PathBuf> = inside.flatten().map(|entry| entry.path()).collect();
        return paths.iter().map(|path| kept(path)).sum();
    }
    if path.extension().is_some_and(|it| it == "seg") {
        let bytes = std::fs::read(path).expect("a segment");
        let last = bytes.iter().rposition(|byte| *byte != 0);
        return last.map_or(0, |last| last as u64 + 1);
    }
    let is_reserve = path.file_name().is_some_and(|name| name == "reserve");
    if is_reserve { 0 } else { meta.blocks() * 512 }
}
