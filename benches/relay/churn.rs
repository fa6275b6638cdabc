//! A relay that is used for longer than it keeps things: events come in at a steady pace, are delivered,
//! and go again with their segments.
//!
//! Prints that the space comes back, and the latency of every second, so that one can see whether a
//! roll-over, a checkpoint or a removal shows in it: the seconds in which a segment came or went are set
//! beside the others. For how many seconds is `BENCH_CHURN_S`; the line for each second goes to the file
//! `BENCH_CHURN_PLOT` names, if it does.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::load::{self, Sample};
use super::receiver::Sink;
use super::{BODY_BYTES, CONNECTIONS, Relay, percentile};

const DEFAULT_SECONDS: u64 = 60;
/// Events a second: what two shared cores do without haste.
const PACE: u32 = 4_000;
/// What the journal may take. A segment is 64 MiB.
const MAX_BYTES: u64 = 256 << 20;

/// One second of it.
struct Second {
    p50_us: u32,
    p99_us: u32,
    max_us: u32,
    /// Segments that were begun or removed in it.
    turned: u64,
    store_mb: f64,
    resident_mb: f64,
}

pub fn run(body: &str) {
    let seconds: u64 = std::env::var("BENCH_CHURN_S").map_or(DEFAULT_SECONDS, |given| {
        given.parse().expect("BENCH_CHURN_S is a number")
    });
    let max_bytes = MAX_BYTES.to_string();
    let relay = Relay::start_with(&[("POSTRIDER_RETENTION__MAX_BYTES", &max_bytes)]);
    let sink = Sink::start();
    relay.subscribe(sink.address(), "**");
    let (mut lines, mut count) = (Vec::new(), 0);
    let (mut last, mut most_mb) = (segments(&relay), 0.0_f64);
    for _ in 0..seconds {
        let samples = load::paced(
            &relay.load(body),
            CONNECTIONS as u32,
            PACE,
            Duration::from_secs(1),
        );
        count += samples.len();
        let now = segments(&relay);
        let store_mb = store_bytes(&relay) as f64 / 1e6;
        most_mb = most_mb.max(store_mb);
        lines.push(second(
            &samples,
            now.0 - last.0 + now.1 - last.1,
            store_mb,
            &relay,
        ));
        last = now;
    }
    let payload = (count * BODY_BYTES) as f64;
    println!(
        "churn       {count} events in {seconds} s, {:.1} times what is kept; {} segments begun, {} removed; \
         the store took {most_mb:.0} MB at most, {:.0} MB at the end",
        payload / MAX_BYTES as f64,
        last.0,
        last.1,
        store_bytes(&relay) as f64 / 1e6
    );
    compare(&lines);
    if let Ok(path) = std::env::var("BENCH_CHURN_PLOT") {
        std::fs::write(&path, plot(&lines)).expect("the plot is written");
    }
}

fn second(samples: &[Sample], turned: u64, store_mb: f64, relay: &Relay) -> Second {
    let mut latencies_us: Vec<u32> = samples.iter().map(Sample::latency_us).collect();
    latencies_us.sort_unstable();
    let at = |percent| percentile(&latencies_us, percent);
    Second {
        p50_us: at(50.0),
        p99_us: at(99.0),
        max_us: at(100.0),
        turned,
        store_mb,
        resident_mb: relay.resident_mb(),
    }
}

/// The seconds in which a segment came or went, beside the others.
fn compare(lines: &[Second]) {
    for (name, turned) in [("with", true), ("without", false)] {
        let own = lines.iter().filter(|second| (second.turned > 0) == turned);
        let mut p99s: Vec<u32> = own.map(|second| second.p99_us).collect();
        p99s.sort_unstable();
        if let (Some(least), Some(most)) = (p99s.first(), p99s.last()) {
            println!(
                "            {:>4} seconds {name:<7} a segment's coming or going: p99 {} µs (median; {least} to {most})",
                p99s.len(),
                p99s[p99s.len() / 2]
            );
        }
    }
    let resident = lines.iter().map(|second| second.resident_mb);
    println!(
        "            {:.1} MB resident at most",
        resident.fold(0.0, f64::max)
    );
}

fn plot(lines: &[Second]) -> String {
    let mut text =
        "second\tp50_us\tp99_us\tmax_us\tsegments_turned\tstore_mb\tresident_mb\n".to_owned();
    for (at, second) in lines.iter().enumerate() {
        let Second {
            p50_us,
            p99_us,
            max_us,
            turned,
            store_mb,
            resident_mb,
        } = second;
        let _ = writeln!(
            text,
            "{at}\t{p50_us}\t{p99_us}\t{max_us}\t{turned}\t{store_mb:.0}\t{resident_mb:.1}"
        );
    }
    text
}

/// How many segments were begun since the start, and how many of them were removed.
fn segments(relay: &Relay) -> (u64, u64) {
    let files = std::fs::read_dir(relay.store().join("journal")).expect("a journal");
    let numbers = files.filter_map(|file| {
        let name = file.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".seg")?.parse::<u64>().ok()
    });
    let numbers: Vec<u64> = numbers.collect();
    let (first, last) = (numbers.iter().min(), numbers.iter().max());
    (*last.unwrap_or(&0), *first.unwrap_or(&0))
}

fn store_bytes(relay: &Relay) -> u64 {
    fn used(path: &Path) -> u64 {
        use std::os::unix::fs::MetadataExt;
        let Ok(meta) = path.symlink_metadata() else {
            return 0;
        };
        let inside = std::fs::read_dir(path).ok().into_iter().flatten().flatten();
        meta.blocks() * 512 + inside.map(|entry| used(&entry.path())).sum::<u64>()
    }
    used(&relay.store())
}
