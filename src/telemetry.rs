//! Logging: one line per record on standard error, as text or as JSON.
//!
//! - A record is one line, whatever it holds: hostile text cannot forge a second
//!   one or steer the terminal.
//! - Libraries log at `warn` and never below, whatever is asked for: their finer
//!   levels print headers and bodies, and with them secrets.
//! - What is logged is up to the caller; nothing here redacts.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use chrono::{DateTime, SecondsFormat, Utc};
use env_logger::fmt::style::Style;
use log::kv::{self, VisitSource, VisitValue};
use log::{LevelFilter, Record};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::{self, LogFormat, printable};

/// The target of our own records begins with the crate's name.
const OUR_TARGET: &str = env!("CARGO_CRATE_NAME");
/// Longest message or field, in bytes; the rest is cut off.
const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Keys of a JSON line that a record's own fields may not take.
const RESERVED: [&str; 4] = ["ts", "level", "target", "msg"];

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A logger is installed already.
    #[error("logging is set up already")]
    AlreadySet(#[from] log::SetLoggerError),
}

/// Starts logging to standard error, once per process.
pub fn init(log: &config::Log) -> Result<(), TelemetryError> {
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    builder(log.level, json).try_init()?;
    Ok(())
}

fn builder(level: LevelFilter, json: bool) -> env_logger::Builder {
    let mut builder = env_logger::Builder::new();
    builder.target(env_logger::Target::Stderr);
    builder.filter_level(level.min(LevelFilter::Warn));
    builder.filter_module(OUR_TARGET, level);
    // It logs what strangers send as errors of ours, a line for each.
    builder.filter_module("actix_http", LevelFilter::Off);
    builder.format(move |out, record| {
        let line = if json {
            json_line(record, Utc::now())?
        } else {
            text_line(record, Utc::now(), out.default_level_style(record.level()))
        };
        writeln!(out, "{line}")
    });
    builder
}

/// `2026-11-21T18:13:27.123Z WARN  postrider::app: message key="value"`
fn text_line(record: &Record<'_>, now: DateTime<Utc>, style: Style) -> String {
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
fn json_line(record: &Record<'_>, now: DateTime<Utc>) -> serde_json::Result<String> {
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
    use log::{Level, Log as _, Metadata};

    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp_millis(1_614_265_330_042).unwrap()
    }

    fn text(message: &str, fields: &[(&str, kv::Value<'_>)]) -> String {
        let mut record = Record::builder();
        record
            .level(Level::Warn)
            .target("postrider::app")
            .key_values(&fields);
        text_line(
            &record.args(format_args!("{message}")).build(),
            now(),
            Style::new(),
        )
    }

    fn json(message: &str, fields: &[(&str, kv::Value<'_>)]) -> String {
        let mut record = Record::builder();
        record
            .level(Level::Warn)
            .target("postrider::app")
            .key_values(&fields);
        json_line(&record.args(format_args!("{message}")).build(), now()).unwrap()
    }

    #[test]
    fn text_is_time_level_target_message_and_fields() {
        assert_eq!(
            text(
                "disk is slow",
                &[("took_ms", 17_u64.into()), ("path", "a b".into())]
            ),
            "2021-02-25T15:02:10.042Z WARN  postrider::app: disk is slow path=\"a b\" took_ms=17"
        );
    }

    #[test]
    fn json_is_one_object_with_the_fields_beside_the_message() {
        assert_eq!(
            json(
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
        let line: Value = serde_json::from_str(&json("real", &[("msg", "fake".into())])).unwrap();
        assert_eq!(
            (&line["msg"], &line["kv_msg"]),
            (&"real".into(), &"fake".into())
        );
    }

    #[test]
    fn hostile_text_stays_on_its_line_and_out_of_the_terminal() {
        let hostile = "a\r\nb\u{1b}[2J\u{9b}\u{202e}\"";
        let line = text(hostile, &[("from", hostile.into())]);
        assert!(
            !line.chars().any(|c| c.is_control() || c == '\u{202e}'),
            "{line:?}"
        );
        assert!(line.contains("a\\r\\nb\\u{1b}[2J"), "{line}");

        let line = json(hostile, &[("from", hostile.into())]);
        assert_eq!(line.lines().count(), 1, "{line:?}");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["msg"], &line["from"]),
            (&hostile.into(), &hostile.into())
        );
    }

    #[test]
    fn an_endless_message_is_cut() {
        let line = text(&"é".repeat(MAX_TEXT_BYTES), &[]);
        assert!(
            line.ends_with("é…") && line.len() < MAX_TEXT_BYTES + 100,
            "{} bytes",
            line.len()
        );
    }

    #[test]
    fn libraries_never_log_below_warn() {
        let enabled = |level, target, record_level| {
            let metadata = Metadata::builder()
                .level(record_level)
                .target(target)
                .build();
            builder(level, true).build().enabled(&metadata)
        };
        assert!(enabled(LevelFilter::Trace, "postrider::http", Level::Trace));
        assert!(enabled(LevelFilter::Trace, "hyper", Level::Warn));
        assert!(!enabled(LevelFilter::Trace, "hyper", Level::Info));
        assert!(!enabled(LevelFilter::Info, "postrider", Level::Debug));
        assert!(!enabled(LevelFilter::Error, "hyper", Level::Warn));
        assert!(!enabled(LevelFilter::Off, "postrider", Level::Error));
        assert!(!enabled(LevelFilter::Off, "hyper", Level::Error));
    }
}
