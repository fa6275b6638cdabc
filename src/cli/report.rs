//! What `postrider doctor` says, in plain aligned text.

use std::fmt::{Display, Write};
use std::path::Path;

use super::doctor::{Examined, Keys};
use crate::domain::sealed::SealingKeyId;
use crate::domain::time::rfc3339_seconds;
use crate::store::examine::{Damage, OpenCounts, Report, Salvaged, Start, StateFound};

/// Where what is said about a name begins.
const INDENT: usize = 15;

/// Lines of a name and what is said about it.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, name: &str, says: impl Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<INDENT$}{says}");
    }

    fn damage(&mut self, listed: &[Damage], places: u64) {
        for damage in listed {
            self.line("", place(damage));
        }
        let more = places.saturating_sub(listed.len() as u64);
        if more > 0 {
            self.line("", format!("and {more} more places"));
        }
    }
}

/// The examination of a store.
pub fn of_store(
    Examined {
        store: report,
        keys,
    }: &Examined,
) -> String {
    let mut lines = Lines::default();
    lines.line("store", &report.store_id);
    lines.line("directory", report.dir.display());
    if report.is_running {
        lines.line("relay", "is running; examined up to what it had synced");
    } else {
        lines.line("relay", "is not running");
    }
    journal(&mut lines, report);
    records(&mut lines, report);
    let who = &report.directory;
    lines.line("accounts", who.accounts);
    lines.line("integrations", who.integrations);
    lines.line("keys", who.keys);
    lines.line("subscriptions", who.subscriptions);
    if report.damaged_places == 0 {
        lines.line("damage", "none");
    } else {
        let missing = match report.missing_records {
            0 => String::new(),
            records => format!("; {} missing between whole ones", count(records, "record")),
        };
        lines.line(
            "damage",
            format!("{}{missing}", count(report.damaged_places, "place")),
        );
        lines.damage(&report.damage, report.damaged_places);
    }
    if let Some(torn) = &report.torn {
        lines.line("torn end", place(torn));
        lines.line("", "left by a crash; nobody was answered for it");
    }
    lines.line("state", state(report));
    if let Some(open) = &report.open {
        lines.line("deliveries", open_counts(open));
    }
    lines.line("secrets", secrets(report, keys));
    lines.line("a start", start(report));
    lines.0
}

fn journal(lines: &mut Lines, report: &Report) {
    let segments = &report.segments;
    let says = format!(
        "{} in use, {} prepared, {} bytes",
        count(segments.used, "segment"),
        segments.prepared,
        segments.bytes
    );
    lines.line("journal", says);
    let joined = |formats: Vec<String>| formats.join(", ");
    let says = format!(
        "segments {}; records {}",
        joined(segments.formats.iter().map(u32::to_string).collect()),
        joined(report.contents.formats.iter().map(u8::to_string).collect()),
    );
    lines.line("formats", says);
    if let (Some(first), Some(last)) = (segments.first_begun_ms, segments.last_begun_ms) {
        let (first, last) = (rfc3339_seconds(first), rfc3339_seconds(last));
        lines.line("begun", format!("{first}, the last segment {last}"));
    }
}

fn records(lines: &mut Lines, report: &Report) {
    let contents = &report.contents;
    let mut says = format!("{} whole", contents.records);
    if let (Some(first), Some(last)) = (report.first_sequence, report.last_sequence) {
        let chain = if report.missing_records == 0 && report.damaged_places == 0 {
            "the chain is whole"
        } else {
            "the chain is broken"
        };
        says = format!("{says}, numbers {first} to {last}; {chain}");
    }
    lines.line("records", says);
    if report.first_sequence.is_some_and(|first| first > 0) {
        lines.line(
            "",
            "what came before was removed by retention, unless a segment is missing",
        );
    }
    for (kind, records) in &contents.records_by_kind {
        lines.line(&format!("  {kind}"), records);
    }
    for (kind, records) in &contents.unknown_kinds {
        lines.line(
            &format!("  kind {kind}"),
            format!("{records}, unknown to this release"),
        );
    }
    let mut says = contents.events.to_string();
    if let (Some(first), Some(last)) = (contents.first_event_ms, contents.last_event_ms) {
        let (first, last) = (rfc3339_seconds(first), rfc3339_seconds(last));
        says = format!("{says}, from {first} to {last}");
    }
    lines.line("events", says);
    lines.line("attempts", contents.attempts);
}

fn state(report: &Report) -> String {
    match &report.state {
        StateFound::Missing => "missing".to_owned(),
        StateFound::Empty => "holds no checkpoint yet; the journal holds everything".to_owned(),
        StateFound::Other => "holds the checkpoint of another store".to_owned(),
        StateFound::OtherFormat { found, known } => {
            format!("has format {found}, this release uses {known}")
        }
        StateFound::Condemned => "was found damaged while it was in use".to_owned(),
        StateFound::Unreadable { why } => format!("cannot be read: {why}"),
        StateFound::Changing { why } => {
            format!("cannot be read while the relay writes it: {why}")
        }
        StateFound::Checkpoint { place, is_ahead } => {
            let (position, end) = (place.position, report.end);
            if *is_ahead {
                let gone = position - end;
                format!(
                    "checkpoint at {position}, but the journal ends at {end}: {gone} bytes of it are gone"
                )
            } else {
                let rest = end - position;
                format!("checkpoint at {position} of {end}, {rest} bytes of journal after it")
            }
        }
    }
}

fn open_counts(open: &OpenCounts) -> String {
    let OpenCounts {
        waiting,
        retrying,
        dead,
    } = open;
    format!("{waiting} waiting, {retrying} retrying, {dead} dead")
}

fn secrets(report: &Report, keys: &Keys) -> String {
    match keys {
        Keys::Found { .. } if report.sealed_under.is_empty() => "none is sealed".to_owned(),
        Keys::Found { given_by } => {
            let ids = report.sealed_under.iter().map(SealingKeyId::to_string);
            let ids = ids.collect::<Vec<_>>().join(", ");
            format!("sealed under {ids}, given by {given_by}")
        }
        Keys::NotReadable { why } => format!("nothing is known of their keys: {why}"),
        Keys::Missing { why } => why.clone(),
    }
}

fn start(report: &Report) -> String {
    let (replays, rebuilds) = match &report.start {
        Start::Running => return "is not possible while the relay runs".to_owned(),
        Start::Refuses { why } => return format!("would be refused: {why}"),
        Start::Succeeds {
            replays_records,
            rebuilds_state,
        } => (*replays_records, *rebuilds_state),
    };
    let mut does = Vec::new();
    if rebuilds {
        does.push(format!(
            "rebuilds the state from {}",
            count(replays, "record")
        ));
    } else if replays > 0 {
        does.push(format!("replays {}", count(replays, "record")));
    }
    if let Some(torn) = &report.torn {
        does.push(format!(
            "cuts off a torn end of {}",
            count(torn.bytes, "byte")
        ));
    }
    if does.is_empty() {
        return "would succeed".to_owned();
    }
    format!("would succeed: {}", does.join(", "))
}

/// What was saved of a store.
pub fn of_salvage(salvaged: &Salvaged, out: &Path) -> String {
    let mut lines = Lines::default();
    lines.line("salvaged to", out.display());
    let events = count(salvaged.events, "event");
    lines.line("records", format!("{}, with {events}", salvaged.records));
    let who = &salvaged.directory;
    lines.line("accounts", who.accounts);
    lines.line("integrations", who.integrations);
    lines.line("keys", who.keys);
    lines.line("subscriptions", who.subscriptions);
    lines.line("deliveries", open_counts(&salvaged.open));
    if salvaged.lost_places == 0 {
        lines.line("lost", "nothing");
    } else {
        let says = format!(
            "{} at least, {} in {}",
            count(salvaged.lost_records, "record"),
            count(salvaged.lost_bytes, "byte"),
            count(salvaged.lost_places, "place"),
        );
        lines.line("lost", says);
        lines.damage(&salvaged.lost, salvaged.lost_places);
    }
    if salvaged.directory_is_uncertain {
        let says = "changes of keys and subscriptions may be among what was lost: look whether \
                    what was revoked or deleted last is";
        lines.line("check", says);
    }
    lines.line(
        "next",
        format!("postrider serve --data-dir {}", out.display()),
    );
    lines.0
}

fn place(damage: &Damage) -> String {
    let Damage {
        path,
        offset,
        bytes,
        what,
    } = damage;
    let bytes = count(*bytes, "byte");
    format!("{} at byte {offset}, {bytes}: {what}", path.display())
}

fn count(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}
