//! A delivery as people see it: how it stands, and what each attempt met, in words.

use std::fmt::Write;

use serde_json::{Value, json};

use super::style::Style;
use super::table;
use crate::config::printable;

const COLUMNS: [&str; 7] = [
    "attempt",
    "started_at",
    "took",
    "resolve",
    "connect",
    "first_byte",
    "result",
];

/// A line of a list.
pub fn row(delivery: &Value) -> Value {
    let attempts = delivery["attempts"].as_array();
    let mut row = delivery.clone();
    row["attempts"] = json!(attempts.map_or(0, Vec::len));
    row["last"] = json!(last_result(delivery));
    row
}

/// What the last attempt met.
pub fn last_result(delivery: &Value) -> Option<String> {
    delivery["attempts"].as_array()?.last().map(result)
}

/// What an attempt met.
fn result(attempt: &Value) -> String {
    match (attempt["status_code"].as_u64(), attempt["error"].as_str()) {
        (Some(code), _) => format!("HTTP {code}"),
        (None, Some(class)) => in_words(class),
        (None, None) => "nothing".to_owned(),
    }
}

/// A class of failures in words; one that is not known here, as the relay calls it.
fn in_words(class: &str) -> String {
    let words = match class {
        "address_not_allowed" => "its address is not allowed",
        "resolve" => "its name has no address",
        "connect" => "no connection",
        "tls" => "no TLS connection",
        "timeout" => "no answer in time",
        "closed" => "the connection was closed",
        "invalid_response" => "what came back is no HTTP",
        other => return printable(other),
    };
    words.to_owned()
}

/// All attempts, and of the last that failed what came back; nothing where none was made.
pub fn all(delivery: &Value, room: Option<usize>, style: Style) -> String {
    let attempts = delivery["attempts"].as_array();
    let attempts = attempts.map_or(&[][..], Vec::as_slice);
    if attempts.is_empty() {
        return String::new();
    }
    let took = |attempt: &Value, name: &str| {
        let ms = attempt[name].as_u64();
        ms.map(|ms| format!("{ms} ms"))
    };
    let rows: Vec<Value> = attempts
        .iter()
        .map(|attempt| {
            json!({
                "attempt": attempt["number"],
                "started_at": attempt["started_at"],
                "took": took(attempt, "duration_ms"),
                "resolve": took(attempt, "resolve_ms"),
                "connect": took(attempt, "connect_ms"),
                "first_byte": took(attempt, "first_byte_ms"),
                "result": result(attempt),
            })
        })
        .collect();
    let mut text = table::list(&COLUMNS, &rows, room, style);
    let answered = attempts.iter().rev().find(|it| it["response"].is_string());
    if let Some(attempt) = answered {
        let title = format!("What attempt {} was answered", attempt["number"]);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", style.strong(&title));
        let response = attempt["response"].as_str().unwrap_or_default();
        for line in response.lines() {
            let _ = writeln!(text, "  {}", printable(line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attempt_met_is_told_in_words() {
        for (attempt, says) in [
            (json!({ "status_code": 503, "error": null }), "HTTP 503"),
            (
                json!({ "status_code": null, "error": "connect" }),
                "no connection",
            ),
            (
                json!({ "status_code": null, "error": "new\u{1b}" }),
                "new\\u{1b}",
            ),
        ] {
            let delivery = json!({ "id": "dlv_1", "attempts": [{ "error": "tls" }, attempt] });
            assert_eq!(last_result(&delivery).as_deref(), Some(says));
            assert_eq!(row(&delivery)["attempts"], 2);
        }
        let waiting = json!({ "attempts": [] });
        assert_eq!(
            (last_result(&waiting), &row(&waiting)["last"]),
            (None, &Value::Null)
        );
        assert_eq!(all(&waiting, None, Style::new(false)), "");
    }

    #[test]
    fn what_was_answered_is_laid_out_and_drives_no_terminal() {
        let attempt = json!({
            "number": 2, "started_at": "now", "duration_ms": 7, "first_byte_ms": 6,
            "status_code": 500, "response": "broken\n\u{1b}[2J",
        });
        let shown = all(&json!({ "attempts": [attempt] }), None, Style::new(false));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "ATTEMPT  STARTED  TOOK  RESOLVE  CONNECT  FIRST BYTE  RESULT",
                "2        now      7 ms  -        -        6 ms        HTTP 500",
                "",
                "What attempt 2 was answered",
                "  broken",
                "  \\u{1b}[2J",
            ]
        );
    }
}
