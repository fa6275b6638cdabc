//! A delivery as it came, what came of it, and how both are shown.

use std::fmt::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::Local;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::style::Style;
use crate::config::printable;

/// A delivery.
#[derive(Debug, Clone, Deserialize)]
pub struct Delivery {
    /// What its answer goes back with.
    pub exchange: u64,
    /// How it is sent.
    pub method: String,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
    body_base64: String,
    timeout_ms: u64,
    /// The body, decoded.
    #[serde(skip)]
    pub body: Bytes,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The status code, or the class of what went wrong.
    pub answered: Result<u16, &'static str>,
    /// How long the receiver asks to wait.
    pub retry_after_s: Option<u32>,
    /// The beginning of what it said.
    pub head: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// What is said where nothing is passed on.
    pub fn fine() -> Self {
        Self {
            answered: Ok(200),
            retry_after_s: None,
            head: String::new(),
            took: Duration::ZERO,
        }
    }

    /// The same for the relay.
    pub fn said(&self) -> Value {
        match self.answered {
            Ok(status) => json!({
                "status": status, "retry_after_seconds": self.retry_after_s, "body": self.head,
            }),
            Err(class) => json!({ "error": class }),
        }
    }

    fn in_a_word(&self) -> String {
        match self.answered {
            Ok(status) => status.to_string(),
            Err(class) => class.to_owned(),
        }
    }
}

impl Delivery {
    /// Reads it as the relay tells it.
    pub fn read(data: &str) -> Result<Self, String> {
        let mut delivery: Self = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let body = STANDARD.decode(std::mem::take(&mut delivery.body_base64));
        delivery.body = body.map_err(|error| error.to_string())?.into();
        Ok(delivery)
    }

    /// How long there is for an answer, a little of which the way back takes.
    pub fn time(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).saturating_sub(Duration::from_secs(1))
    }

    /// A header's value, safe to print.
    fn header(&self, name: &str) -> String {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map_or_else(|| "-".to_owned(), |(_, value)| printable(value))
    }

    /// What there is to say of it, on a line.
    pub fn line(&self, outcome: &Outcome, style: Style) -> String {
        let answered = outcome.in_a_word();
        let answered = match outcome.answered {
            Ok(200..=299) => style.good(&answered),
            _ => style.bad(&answered),
        };
        format!(
            "{}  {:<24}  {}  #{}  {answered}  {} ms",
            style.faint(&Local::now().format("%H:%M:%S%.3f").to_string()),
            self.header("x-postrider-event"),
            self.header("webhook-id"),
            self.header("x-postrider-attempt"),
            outcome.took.as_millis()
        )
    }

    /// The same for scripts.
    pub fn json(&self, outcome: &Outcome) -> Value {
        json!({
            "event": self.header("x-postrider-event"),
            "uuid": self.header("webhook-id"),
            "attempt": self.header("x-postrider-attempt").parse::<u32>().ok(),
            "status": outcome.answered.ok(),
            "error": outcome.answered.err(),
            "duration_ms": u64::try_from(outcome.took.as_millis()).ok(),
            "body": String::from_utf8_lossy(&self.body),
        })
    }

    /// All of it, for people.
    pub fn details(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.headers {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {}", printable(name), printable(value));
        }
        let body = serde_json::from_slice::<Value>(&self.body);
        let body = body.and_then(|body| serde_json::to_string_pretty(&body));
        let body = body.unwrap_or_else(|_| String::from_utf8_lossy(&self.body).into_owned());
        text.push('\n');
        for line in body.lines() {
            text.push_str(&printable(line));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        let body = STANDARD.encode(b"{\"event\":\"a.b\",\"data\":\"\x1b[2J\"}");
        let data = json!({
            "exchange": 7, "method": "POST", "timeout_ms": 15_000, "body_base64": body,
            "headers": [["webhook-id", "U"], ["x-postrider-event", "a.b\u{1b}"], ["x-postrider-attempt", "2"]],
        });
        Delivery::read(&data.to_string()).unwrap()
    }

    #[test]
    fn a_delivery_is_a_line_and_steers_no_terminal() {
        let delivery = delivery();
        assert_eq!(delivery.time(), Duration::from_secs(14));
        let line = delivery.line(&Outcome::fine(), Style::new(false));
        assert!(
            line.contains("#2  200  0 ms") && line.contains("  U  "),
            "{line}"
        );
        let shown = line + &delivery.details();
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn the_relay_is_told_what_came_of_it() {
        let fine = Outcome::fine();
        assert_eq!(fine.said()["status"], 200);
        let failed = Outcome {
            answered: Err("connect"),
            ..fine
        };
        assert_eq!(failed.said(), json!({ "error": "connect" }));
        assert_eq!(delivery().json(&failed)["error"], "connect");
    }
}
