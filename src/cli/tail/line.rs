//! What is shown of a step: a line.

use std::fmt::Write;

use chrono::{DateTime, Local};
use serde_json::{Value, json};

use crate::cli::style::Style;
use crate::config::printable;

/// How wide the type of an event may make its column.
const MAX_TYPE_COLUMNS: usize = 40;
const MIN_TYPE_COLUMNS: usize = 16;
/// As wide as the longest word for how something stands: `cancelled`, `delivered`.
const WORD_COLUMNS: usize = 9;

/// As wide as ids are.
const ID_COLUMNS: usize = 13;
/// As wide as most results are: `#1 200 1204 ms`.
const RESULT_COLUMNS: usize = 16;

/// What stands behind the type of an event, the most useful first.
struct Rest {
    whose: String,
    result: String,
    uuid: String,
}

/// Makes lines.
#[derive(Debug)]
pub enum Lines {
    /// JSON.
    Json,
    /// Fields.
    Fields(Vec<String>),
    /// Columns.
    People(People),
}

/// Aligned columns, which grow with what is in them.
#[derive(Debug)]
pub struct People {
    style: Style,
    width: Option<usize>,
    type_columns: usize,
    /// The delivery of the last attempt that was shown: that it ended with it need not be said again.
    attempted: String,
}

impl Lines {
    /// An object a line.
    pub fn json() -> Self {
        Self::Json
    }

    /// These fields of it.
    pub fn of_fields(fields: Vec<String>) -> Self {
        Self::Fields(fields)
    }

    /// For people who see so many columns.
    pub fn for_people(colour: bool, width: Option<usize>) -> Self {
        Self::People(People {
            style: Style::new(colour),
            width,
            type_columns: MIN_TYPE_COLUMNS,
            attempted: String::new(),
        })
    }

    /// Adds what is to be shown of a message.
    pub fn add(
        &mut self,
        text: &mut String,
        name: &str,
        id: &str,
        data: &str,
    ) -> Result<(), String> {
        let mut step: Value = serde_json::from_str(data).map_err(|error| error.to_string())?;
        let line = match self {
            Self::Json => {
                if let Some(fields) = step.as_object_mut() {
                    fields.insert("step".to_owned(), json!(name));
                    fields.insert("id".to_owned(), json!(id));
                }
                Some(step.to_string())
            }
            Self::Fields(fields) => {
                let values = fields.iter().map(|field| match field.as_str() {
                    "step" => name.to_owned(),
                    "id" => id.to_owned(),
                    field => plain(&step[field]),
                });
                Some(values.collect::<Vec<_>>().join("\t"))
            }
            Self::People(people) => people.line(name, &step),
        };
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
        Ok(())
    }
}

impl People {
    fn line(&mut self, name: &str, step: &Value) -> Option<String> {
        match name {
            "event.accepted" => {
                let rest = Rest {
                    whose: plain(&step["integration_id"]),
                    result: format!("{} bytes", plain(&step["size_bytes"])),
                    uuid: plain(&step["uuid"]),
                };
                Some(self.columns(&step["accepted_at"], "accepted", step, &rest))
            }
            "delivery.attempt" => {
                self.attempted = plain(&step["delivery_id"]);
                let answer = match &step["status_code"] {
                    Value::Null => plain(&step["error"]),
                    code => plain(code),
                };
                let [number, took_ms] = ["number", "duration_ms"].map(|name| plain(&step[name]));
                let rest = Rest {
                    whose: plain(&step["subscription_id"]),
                    result: format!("#{number} {answer} {took_ms} ms"),
                    uuid: plain(&step["event_uuid"]),
                };
                Some(self.columns(&step["started_at"], &plain(&step["status"]), step, &rest))
            }
            "delivery.settled" => {
                if plain(&step["delivery_id"]) == std::mem::take(&mut self.attempted) {
                    return None;
                }
                let rest = Rest {
                    whose: plain(&step["subscription_id"]),
                    result: format!("after {} attempts", plain(&step["attempts"])),
                    uuid: plain(&step["event_uuid"]),
                };
                Some(self.columns(&step["ended_at"], &plain(&step["status"]), step, &rest))
            }
            "tail.missed" => {
                let missed = match &step["missed"] {
                    Value::Null => "some steps".to_owned(),
                    number => format!("{} steps", plain(number)),
                };
                Some(self.style.bad(&format!(
                    "... {missed} left out: this end was too slow for them"
                )))
            }
            // Something of a later relay.
            _ => None,
        }
    }

    fn columns(&mut self, at: &Value, word: &str, step: &Value, rest: &Rest) -> String {
        let event = match &step["event"] {
            Value::Null => "-".to_owned(),
            event => plain(event),
        };
        let columns = event.chars().count().min(MAX_TYPE_COLUMNS);
        self.type_columns = self.type_columns.max(columns);
        let (time, width) = (local_time(&plain(at)), self.type_columns);
        let padded = format!("{word:<WORD_COLUMNS$}");
        let Rest {
            whose,
            result,
            uuid,
        } = rest;
        let line = format!(
            "{time}  {padded}  {event:<width$}  {whose:<ID_COLUMNS$}  {result:<RESULT_COLUMNS$}"
        );
        let with_uuid = format!("{line}  {uuid}");
        // A part of a uuid is of no use.
        let shown = match self.width {
            Some(width) if with_uuid.chars().count() > width => {
                line.trim_end().chars().take(width).collect()
            }
            _ => with_uuid,
        };
        // Coloured once it is cut: an escape that is cut would colour everything after it.
        match shown.split_once(&padded) {
            Some((before, after)) => {
                let painted = match word {
                    "delivered" => self.style.good(&padded),
                    "retrying" | "dead" => self.style.bad(&padded),
                    _ => self.style.strong(&padded),
                };
                format!("{}{painted}{after}", self.style.faint(before))
            }
            None => shown,
        }
    }
}

/// The time of day here, to the millisecond.
fn local_time(rfc3339: &str) -> String {
    let at = DateTime::parse_from_rfc3339(rfc3339);
    at.map_or_else(
        |_| rfc3339.to_owned(),
        |at| {
            let mut text = String::new();
            // Writing to a string cannot fail.
            let _ = write!(text, "{}", at.with_timezone(&Local).format("%H:%M:%S%.3f"));
            text
        },
    )
}

/// A value on one line, as it can be shown.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => printable(&other.to_string()),
    }
}
