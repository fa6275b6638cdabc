//! What a relay answers, laid out for people: tables and pairs in plain aligned text.
//!
//! Pure text. Columns are as wide as what is in them; where there is a width to keep to, the widest
//! give way first, and the first column, which holds ids, never does. What a relay says is somebody
//! else's text: nothing in it reaches a terminal as a command.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::style::Style;
use crate::config::{Limit, printable};

/// What lies between two columns.
const GAP: &str = "  ";
/// How narrow a column may become.
const MIN_COLUMN: usize = 8;
/// What stands for nothing.
const NOTHING: &str = "-";

/// A list: a line for each entry, a column for each of these fields. With `room`, it keeps to so many
/// characters where it can.
pub fn list(columns: &[&str], entries: &[Value], room: Option<usize>, style: Style) -> String {
    let titles = columns.iter().map(|field| title(field).to_uppercase());
    let mut rows: Vec<Vec<String>> = vec![titles.collect()];
    rows.extend(entries.iter().map(|entry| {
        let cells = columns.iter().map(|field| cell(&entry[*field]));
        cells.collect()
    }));
    let widths = widths(&rows, room);
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let line = line(row, &widths);
        let line = if index == 0 {
            style.strong(&line)
        } else {
            line
        };
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// One thing, field by field: these first, then all others of it except those that are left apart.
pub fn details(first: &[&str], apart: &[&str], of: &Value) -> Vec<(String, String)> {
    let Some(fields) = of.as_object() else {
        return Vec::new();
    };
    let known = first.iter().filter_map(|name| fields.get_key_value(*name));
    let rest = fields
        .iter()
        .filter(|(name, _)| !first.contains(&name.as_str()) && !apart.contains(&name.as_str()));
    let pair = |(name, value): (&String, &Value)| (title(name), cell(value));
    known.chain(rest).map(pair).collect()
}

/// Lines of a name and what is said about it.
pub fn pairs(pairs: &[(String, String)]) -> String {
    let longest = pairs.iter().map(|(name, _)| length(name)).max();
    let width = longest.unwrap_or_default();
    let mut text = String::new();
    for (name, says) in pairs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name:<width$}{GAP}{says}");
    }
    text
}

/// How a field is called in front of people: `created_at` is `created`.
fn title(field: &str) -> String {
    let stem = field
        .strip_suffix("_at")
        .or_else(|| field.strip_suffix("_id"))
        .unwrap_or(field);
    printable(&stem.replace('_', " "))
}

/// A value on one line.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => NOTHING.to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Object(members) if members.is_empty() => NOTHING.to_owned(),
        value => as_typed(value).unwrap_or_else(|| printable(&value.to_string())),
    };
    if text.is_empty() {
        NOTHING.to_owned()
    } else {
        text
    }
}

/// A rate limit or an order as it is typed: `1000/1m`, `by:data.order_id`.
fn as_typed(value: &Value) -> Option<String> {
    if let Some(path) = value.get("by").and_then(Value::as_str) {
        return Some(format!("by:{}", printable(path)));
    }
    let limit = value.get("limit")?.as_u64()?;
    let window = Duration::from_secs(value.get("window_seconds")?.as_u64()?);
    let limit = u32::try_from(limit).ok()?;
    Some(Limit::Window { limit, window }.to_string())
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn widths(rows: &[Vec<String>], room: Option<usize>) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| rows.iter().map(|row| length(&row[column])).max();
    let mut widths: Vec<usize> = (0..columns)
        .map(|column| widest(column).unwrap_or(0))
        .collect();
    let Some(room) = room else { return widths };
    let gaps = GAP.len() * columns.saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        match widths.iter_mut().skip(1).max() {
            Some(widest) if *widest > MIN_COLUMN => *widest -= 1,
            _ => break,
        }
    }
    widths
}

fn line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, &width) in row.iter().zip(widths) {
        let cell = if length(cell) > width {
            let kept = cell.chars().take(width.saturating_sub(1));
            kept.chain(['…']).collect()
        } else {
            cell.clone()
        };
        let _ = write!(line, "{cell:<width$}{GAP}");
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: fn() -> Style = || Style::new(false);

    #[test]
    fn columns_fit_what_is_in_them() {
        let entries = [
            json!({ "id": "key_1", "name": "a", "last_used_at": null }),
            json!({ "id": "key_22", "name": "Grüße", "last_used_at": "2026-01-01T00:00:00Z" }),
        ];
        let shown = list(&["id", "name", "last_used_at"], &entries, None, PLAIN());
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "ID      NAME   LAST USED",
                "key_1   a      -",
                "key_22  Grüße  2026-01-01T00:00:00Z",
            ]
        );
    }

    #[test]
    fn the_widest_columns_give_way_and_ids_never_do() {
        let url = format!("https://example.com/{}", "x".repeat(200));
        let id = "sub_0123456789012345678901234567890123456789";
        let entries = [json!({ "id": id, "status": "active", "url": url })];
        let columns = ["id", "status", "url"];
        let shown = list(&columns, &entries, Some(80), PLAIN());
        let line = shown.lines().nth(1).unwrap();
        assert_eq!(length(line), 80, "{line}");
        assert!(line.starts_with(id) && line.contains("  active  ") && line.ends_with('…'));
        // Where there is no room at all, it is narrow and not gone.
        let shown = list(&columns, &entries, Some(1), PLAIN());
        assert!(shown.contains(id) && shown.contains("https:/…"), "{shown}");
        assert!(list(&columns, &entries, None, PLAIN()).contains(&url));
    }

    #[test]
    fn a_thing_is_shown_with_all_its_fields_but_those_left_apart() {
        let key = json!({
            "zone": [1, 2], "id": "key_1", "key": "lwa.secret", "created_at": "now",
            "rate_limit": { "limit": 1000, "window_seconds": 60 }, "enabled": true, "x": [],
            "ordering": { "by": "data.id" }, "none": {},
        });
        let shown = pairs(&details(&["id", "created_at", "gone"], &["key"], &key));
        assert_eq!(
            shown,
            "id          key_1\ncreated     now\nenabled     yes\nnone        -\nordering    by:data.id\nrate limit  1000/1m\nx           -\nzone        1, 2\n"
        );
    }

    #[test]
    fn what_a_relay_says_cannot_drive_a_terminal() {
        let entries = [json!({ "id": "\u{1b}[2Jkey_1\n", "name": "\u{202e}gnp" })];
        let shown = list(&["id", "name"], &entries, None, PLAIN());
        assert!(
            !shown.contains('\u{1b}') && !shown.contains('\u{202e}'),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 2);
    }
}
