//! The screen: what matters most first, then the subscriptions that somebody should look at.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::style::Style;
use crate::cli::table;
use crate::config::printable;

/// Subscriptions that are shown.
const MAX_SHOWN: usize = 15;
const COLUMNS: [&str; 6] = ["id", "status", "pending", "retrying", "dead", "where"];
const KIB: f64 = 1024.0;

/// How the relay is, for people.
pub fn in_words(status: &Value, width: Option<usize>, style: Style) -> String {
    let (relay, numbers) = (&status["relay"], &status["stats"]);
    let mut pairs = vec![("relay".to_owned(), state(status, style))];
    let mut say = |name: &str, says: String| pairs.push((name.to_owned(), says));
    say("accepted", count(&numbers["events_accepted"]));
    say(
        "attempts",
        format!(
            "{}; {}",
            count(&numbers["attempts"]),
            spread(&numbers["attempt_ms"])
        ),
    );
    say(
        "delivered",
        format!(
            "{}; {}",
            count(&numbers["deliveries_delivered"]),
            spread(&numbers["delivery_ms"])
        ),
    );
    say("backlog", backlog(&numbers["backlog"], style));
    if relay.is_object() {
        say("oldest", oldest(relay, &numbers["backlog"]));
        say("disk", disk(relay));
        say("memory", bytes(&relay["resident_memory_bytes"]));
    }
    let mut text = table::pairs(&pairs);
    let troubled = troubled(numbers);
    if !troubled.is_empty() {
        let shown = &troubled[..troubled.len().min(MAX_SHOWN)];
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "\n{}",
            table::list(&COLUMNS, shown, width, style).trim_end()
        );
        let more = troubled.len() - shown.len();
        if more > 0 {
            let _ = writeln!(text, "and {more} more; --json has them all");
        }
    }
    text
}

fn state(status: &Value, style: Style) -> String {
    let version = match status["relay"]["version"].as_str() {
        Some(version) => format!(", version {}", printable(version)),
        None => String::new(),
    };
    let since = printable(status["stats"]["since"].as_str().unwrap_or_default());
    match status["problem"].as_str() {
        None => format!("{}{version}, up since {since}", style.good("ready")),
        Some(problem) => format!(
            "{}: {}{version}",
            style.bad("takes no events in"),
            printable(problem)
        ),
    }
}

/// `1204 in all, 20.3/s`.
fn count(count: &Value) -> String {
    let rate = count["per_second"].as_f64().unwrap_or(0.0);
    format!(
        "{} in all, {rate:.1}/s over the last minute",
        count["total"]
    )
}

fn spread(percentiles: &Value) -> String {
    let [p50, p99] = ["p50", "p99"].map(|name| percentiles[name].as_u64());
    match p50.zip(p99) {
        Some((p50, p99)) => {
            let [p50, p99] = [p50, p99].map(|ms| span(Duration::from_millis(ms)));
            format!("p50 {p50}, p99 {p99}")
        }
        None => "none timed yet".to_owned(),
    }
}

fn backlog(backlog: &Value, style: Style) -> String {
    let dead = format!("{} dead", backlog["dead"]);
    let dead = if backlog["dead"] == 0 {
        dead
    } else {
        style.bad(&dead)
    };
    format!(
        "{} pending, {} retrying, {dead}",
        backlog["pending"], backlog["retrying"]
    )
}

/// How long something has waited, over all accounts. That is looked at every few seconds: what came since
/// waits all the same.
fn oldest(relay: &Value, backlog: &Value) -> String {
    let is_open = ["pending", "retrying"].map(|name| backlog[name].as_u64().unwrap_or(0) > 0);
    let [pending_s, due_s] = ["oldest_pending_seconds", "oldest_due_seconds"]
        .map(|name| relay[name].as_f64().unwrap_or(0.0).max(0.0));
    let shown = |seconds| span(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    match (pending_s > 0.0, due_s > 0.0) {
        (false, false) if is_open.contains(&true) => {
            "undelivered for a few seconds at most, unless a pause holds it back".to_owned()
        }
        (false, false) => "nothing waits".to_owned(),
        (true, false) => format!("undelivered for {}", shown(pending_s)),
        (_, true) => format!(
            "undelivered for {}; overdue by {}",
            shown(pending_s),
            shown(due_s)
        ),
    }
}

fn disk(relay: &Value) -> String {
    let [journal, free, least] =
        ["journal_bytes", "disk_free_bytes", "disk_min_free_bytes"].map(|name| bytes(&relay[name]));
    format!("{journal} of journal; {free} free, events are refused below {least}")
}

/// Those that are paused, fail, or have given something up; the worst first.
fn troubled(numbers: &Value) -> Vec<Value> {
    let number = |it: &Value, name: &str| it["backlog"][name].as_u64().unwrap_or(0);
    let all = numbers["subscriptions"].as_array().into_iter().flatten();
    let mut troubled: Vec<_> = all
        .filter(|it| {
            let fails = number(it, "retrying") + number(it, "dead") > 0;
            it["status"] != "active" || it["probing"] == true || fails
        })
        .collect();
    troubled.sort_by_key(|it| std::cmp::Reverse(number(it, "dead") + number(it, "retrying")));
    let row = |it: &&Value| {
        let word = if it["probing"] == true {
            json!("probing")
        } else {
            it["status"].clone()
        };
        let place = match it["paused_reason"].as_str() {
            Some(reason) => json!(format!(
                "{} ({reason})",
                it["url"].as_str().unwrap_or_default()
            )),
            None => it["url"].clone(),
        };
        json!({
            "id": it["id"], "status": word, "where": place, "pending": number(it, "pending"),
            "retrying": number(it, "retrying"), "dead": number(it, "dead"),
        })
    };
    troubled.iter().map(row).collect()
}

/// `12 ms`, `1.5 s`, `3m 20s`, `2d 4h`.
fn span(duration: Duration) -> String {
    let (ms, s) = (duration.as_millis(), duration.as_secs());
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{:.1} s", duration.as_secs_f64()),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86400 => format!("{}h {}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d {}h", s / 86400, s % 86400 / 3600),
    }
}

/// `1.5 GiB`.
fn bytes(value: &Value) -> String {
    let mut amount = value.as_f64().unwrap_or(0.0);
    for unit in ["bytes", "KiB", "MiB"] {
        if amount < KIB {
            return format!("{amount:.0} {unit}");
        }
        amount /= KIB;
    }
    format!("{amount:.1} GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_tells_what_matters_and_names_who_fails() {
        let count = json!({ "total": 7, "last_minute": 60, "per_second": 1.0 });
        let none = json!({ "pending": 0, "retrying": 0, "dead": 0 });
        let dead = json!({ "pending": 1, "retrying": 2, "dead": 3 });
        let status = json!({
            "problem": null,
            "relay": {
                "version": "0.1.0", "oldest_pending_seconds": 90.0, "oldest_due_seconds": 0.0,
                "journal_bytes": 134_217_728.0, "journal_segments": 2.0, "disk_free_bytes": 1_610_612_736.0,
                "disk_min_free_bytes": 536_870_912.0, "resident_memory_bytes": 20_971_520.0,
            },
            "stats": {
                "since": "2030-01-31T12:00:00.000Z", "events_accepted": count, "attempts": count,
                "deliveries_delivered": count, "backlog": dead,
                "attempt_ms": { "p50": 5, "p99": 1500 }, "delivery_ms": { "p50": null, "p99": null },
                "subscriptions": [
                    { "id": "sub_good", "status": "active", "probing": false, "backlog": none },
                    { "id": "sub_off", "status": "paused", "probing": false, "backlog": none,
                      "url": "https://a.example/", "paused_reason": "by request" },
                    { "id": "sub_bad", "status": "active", "probing": true, "backlog": dead,
                      "url": "https://b.example/\u{1b}[2J" },
                ],
            },
        });
        let screen = in_words(&status, None, Style::new(false));
        for part in [
            "ready, version 0.1.0, up since 2030-01-31T12:00:00.000Z",
            "7 in all, 1.0/s over the last minute; p50 5 ms, p99 1.5 s",
            "1 pending, 2 retrying, 3 dead",
            "undelivered for 1m 30s",
            "128 MiB of journal; 1.5 GiB free, events are refused below 512 MiB",
            "20 MiB",
            "https://a.example/ (by request)",
        ] {
            assert!(screen.contains(part), "{part}:\n{screen}");
        }
        assert!(
            !screen.contains("sub_good") && !screen.contains('\u{1b}'),
            "{screen}"
        );
        let at = |id: &str| screen.find(id).unwrap();
        assert!(at("sub_bad") < at("sub_off"), "the worst first:\n{screen}");
    }
}
