//! The form of a line: text for people, or a JSON object.
//!
//! A record is one line, whatever it holds: hostile text cannot forge a second one or steer the terminal.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};
use env_logger::fmt::style::Style;
use log::Record;
use log::kv::{self, VisitSource, VisitValue};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::printable;

/// Longest message or field, in bytes; the rest is cut off.
const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Keys of a JSON line that a record's own fields may not take.
const RESERVED: [&str; 4] = ["ts", "level", "target", "msg"];

/// `2026-11-21T18:13:27.123Z WARN  postrider::app: message key="value"`
pub fn text(record: &Record<'_>, now: DateTime<Utc>, style: Style) -> String {
    let (level, target) = (record.level(), record.target());
    let mut line = clipped(record.args().to_string());
    for (key, value) in fields(record) {
        // Writing to a String cannot fail.
        let _ = write!(line, " {key}={value}");
    }
    let line = printable(&format!("{target}: {line}"));
    format!("{} {style}{level:<5}{style:#} {line}", timestamp(now))
}

/// `{"ts":"…","level":"WARN","target":"postrider::app","msg":"…","key":"value"}`
pub fn json(record: &Record<'_>, now: DateTime<Utc>) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        ts: String,
        level: &'static str,
        target: &'a str,
        msg: String,
        #[serde(flatten)]
        fields: Map<String, Value>,
    }
    serde_json::to_string(&Line {
        ts: timestamp(now),
        level: record.level().as_str(),
        target: record.target(),
        msg: clipped(record.args().to_string()),
        fields: fields(record),
    })
}

/// RFC 3339, UTC, in milliseconds.
fn timestamp(now: DateTime<Utc>) -> String {
    now.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn clipped(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text.push('…');
    }
    text
}

/// The record's key-value fields, numbers as numbers, everything else as text.
fn fields(record: &Record<'_>) -> Map<String, Value> {
    let mut fields = Fields(Map::new());
    // The visitor below never fails; a source that does has given what it could.
    let _ = record.key_values().visit(&mut fields);
    fields.0
}

struct Fields(Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut field = Field(Value::Null);
        value.visit(&mut field)?;
        // What is not known is not told.
        if field.0.is_null() || field.0 == "" {
            return Ok(());
        }
        let prefix = if RESERVED.contains(&key.as_str()) {
            "kv_"
        } else {
            ""
        };
        self.0.insert(format!("{prefix}{key}"), field.0);
        Ok(())
    }
}

struct Field(Value);

impl VisitValue<'_> for Field {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = clipped(value.to_string()).into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has no infinity and no NaN.
        self.0 = if value.is_finite() {
            value.into()
        } else {
            value.to_string().into()
        };
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use log::Level;

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_614_265_330_042).unwrap()
    }

    fn text_of(message: &str, fields: &[(&str, kv::Value<'_>)]) -> String {
        let mut record = Record::builder();
        record
            .level(Level::Warn)
            .target("postrider::app")
            .key_values(&fields);
        text(
            &record.args(format_args!("{message}")).build(),
            now(),
            Style::new(),
        )
    }

    fn json_of(message: &str, fields: &[(&str, kv::Value<'_>)]) -> String {
        let mut record = Record::builder();
        record
            .level(Level::Warn)
            .target("postrider::app")
            .key_values(&fields);
        json(&record.args(format_args!("{message}")).build(), now()).unwrap()
    }

    #[test]
    fn text_is_time_level_target_message_and_fields() {
        assert_eq!(
            text_of(
                "disk is slow",
                &[("took_ms", 17_u64.into()), ("path", "a b".into())]
            ),
            "2021-02-25T15:02:10.042Z WARN  postrider::app: disk is slow path=\"a b\" took_ms=17"
        );
    }

    #[test]
    fn json_is_one_object_with_the_fields_beside_the_message() {
        assert_eq!(
            json_of(
                "disk is slow",
                &[
                    ("took_ms", 17_u64.into()),
                    ("ok", false.into()),
                    ("ratio", f64::NAN.into())
                ]
            ),
            r#"{"ts":"2021-02-25T15:02:10.042Z","level":"WARN","target":"postrider::app","msg":"disk is slow","ok":false,"ratio":"NaN","took_ms":17}"#
        );
    }

    #[test]
    fn a_field_cannot_replace_the_message() {
        let line: Value =
            serde_json::from_str(&json_of("real", &[("msg", "fake".into())])).unwrap();
        assert_eq!(
            (&line["msg"], &line["kv_msg"]),
            (&"real".into(), &"fake".into())
        );
    }

    #[test]
    fn hostile_text_stays_on_its_line_and_out_of_the_terminal() {
        let hostile = "a\r\nb\u{1b}[2J\u{9b}\u{202e}\"";
        let line = text_of(hostile, &[("from", hostile.into())]);
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
        assert!(line.contains("a\\r\\nb\\u{1b}[2J"), "{line}");

        let line = json_of(hostile, &[("from", hostile.into())]);
        assert_eq!(line.lines().count(), 1, "{line:?}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["msg"], &line["from"]),
            (&hostile.into(), &hostile.into())
        );
    }

    #[test]
    fn an_endless_message_is_cut() {
        let line = text_of(&"é".repeat(MAX_TEXT_BYTES), &[]);
        assert!(
            line.ends_with("é…") && line.len() < MAX_TEXT_BYTES + 100,
            "{} bytes",
            line.len()
        );
    }
}
