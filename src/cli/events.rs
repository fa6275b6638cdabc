//! `postrider events`: what came in, how it fared, and delivering it once more.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::ask::{AskArgs, Query, Session, print_json};
use super::client::ClientError;
use super::resource::Resource;
use super::style::{self, Style};
use super::subscriptions::SUBSCRIPTIONS;
use super::values::{self, object};
use super::{CliError, attempts, print, table};
use crate::config::printable;

/// How many are shown unless another number is wanted.
const DEFAULT_LIMIT: &str = "50";

const EVENTS: Resource = Resource {
    path: "/v1/events",
    plural: "events",
    prefix: "",
    columns: &["uuid", "event", "accepted_at", "size_bytes"],
    apart: &["deliveries", "payload", "payload_base64"],
    last: |_| Vec::new(),
};
const NEW_DELIVERIES: [&str; 2] = ["id", "subscription_id"];

/// Look at events, and deliver them once more.
#[derive(Debug, Subcommand)]
pub enum Events {
    /// List events, the newest first
    #[command(after_help = "Examples:
  postrider events list --type 'order.*' --since 10m
  postrider events list --limit 1000 --json | jq -r '.events[].uuid'")]
    List(List),
    /// Show an event: every delivery with its attempts, and its payload
    #[command(after_help = "Examples:
  postrider events show EVENT_UUID
  postrider events show EVENT_UUID --json | jq .payload")]
    Show(One),
    /// Deliver an event once more, to those who want it as they are now, or to one of them
    #[command(
        after_help = "The `webhook-id` is the same as ever. Whoever is named gets it, whatever it wants.

Examples:
  postrider events replay EVENT_UUID --dry-run
  postrider events replay EVENT_UUID --to SUB_ID"
    )]
    Replay(Replay),
}

/// List events.
#[derive(Debug, Args)]
pub struct List {
    /// Those of these types, such as `order.*`
    #[arg(long, value_name = "PATTERN")]
    r#type: Option<String>,
    /// Those of this integration
    #[arg(long, value_name = "INT_ID")]
    integration_id: Option<String>,
    /// Those from this time on, such as 2030-01-31T12:00:00Z, or 10m: so long ago
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    since: Option<String>,
    /// Those up to this time
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    until: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    ask: AskArgs,
}

/// One event.
#[derive(Debug, Args)]
pub struct One {
    /// Its uuid, as lists show it
    #[arg(value_name = "EVENT_UUID")]
    uuid: String,
    #[command(flatten)]
    ask: AskArgs,
}

/// Deliver it once more.
#[derive(Debug, Args)]
pub struct Replay {
    /// Its uuid, as lists show it
    #[arg(value_name = "EVENT_UUID")]
    uuid: String,
    /// To this subscription alone
    #[arg(long, value_name = "SUB_ID")]
    to: Option<String>,
    /// Only say who would get it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    ask: AskArgs,
}

impl Events {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(one) => show(&one.ask.open()?, &one.uuid),
            Self::Replay(replay) => replay.run(),
        }
    }
}

/// The path of an event. What is no uuid is not repeated: it may be a key.
pub fn place(uuid: &str) -> Result<String, CliError> {
    let uuid = Uuid::try_parse(uuid).map_err(|_| {
        let message = "that is not the uuid of an event; `postrider events list` shows them";
        CliError::Usage(message.to_owned())
    })?;
    Ok(format!("{}/{uuid}", EVENTS.path))
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        if let Some(id) = &self.integration_id {
            super::integrations::INTEGRATIONS.place(id)?;
        }
        let fields = [
            ("type", &self.r#type),
            ("integration_id", &self.integration_id),
            ("since", &self.since),
            ("until", &self.until),
        ];
        let query: Query = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .collect();
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        self.ask
            .open()?
            .list_of(&EVENTS, &query, most, Value::clone)
    }
}

/// The payload is never written anew: its numbers and its order stay.
fn show(session: &Session, uuid: &str) -> Result<(), CliError> {
    let answer = session.ask_raw(&place(uuid)?)?;
    if session.json {
        return print(&format!("{}\n", answer.trim_end()));
    }
    let unreadable = |error: serde_json::Error| ClientError::Answer(error.to_string());
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(&answer).map_err(unreadable)?;
    let known = members.iter().filter(|(name, _)| *name != "payload");
    let known = known.map(|(name, raw)| Ok((name.clone(), serde_json::from_str(raw.get())?)));
    let event: Value = known
        .collect::<Result<_, _>>()
        .map(Value::Object)
        .map_err(unreadable)?;

    let style = Style::new(style::stdout_has_colour());
    let mut text = table::pairs(&table::details(EVENTS.columns, EVENTS.apart, &event));
    for delivery in event["deliveries"].as_array().into_iter().flatten() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}", heading(delivery, style));
        text.push_str(&attempts::all(delivery, style::stdout_width(), style));
    }
    let (title, payload) = match (members.get("payload"), event["payload_base64"].as_str()) {
        (Some(json), _) => ("Payload", json.get()),
        (None, base64) => ("Payload, in base64", base64.unwrap_or_default()),
    };
    let _ = writeln!(text, "\n{}", style.strong(title));
    for line in payload.lines() {
        let _ = writeln!(text, "{}", printable(line));
    }
    print(&text)
}

/// A delivery in a line.
fn heading(delivery: &Value, style: Style) -> String {
    let text = |name: &str| printable(delivery[name].as_str().unwrap_or_default());
    let next = match delivery["next_attempt_at"].as_str() {
        Some(at) => format!(", next attempt at {}", printable(at)),
        None => String::new(),
    };
    let (id, to, status) = (text("id"), text("subscription_id"), text("status"));
    format!("{} to {to}: {status}{next}", style.strong(&id))
}

impl Replay {
    fn run(&self) -> Result<(), CliError> {
        if let Some(id) = &self.to {
            SUBSCRIPTIONS.place(id)?;
        }
        let path = format!("{}/replay", place(&self.uuid)?);
        let body = object([
            ("subscription_id", self.to.as_ref().map(|id| json!(id))),
            ("dry_run", Some(json!(self.dry_run))),
        ]);
        let session = self.ask.open()?;
        let answer = session.ask(Method::POST, &path, Bytes::from(body.to_string()))?;
        if session.json {
            return print_json(&answer);
        }
        let made = answer["deliveries"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        if made.is_empty() {
            return print("nobody wants it; --to SUB_ID sends it all the same\n");
        }
        let style = Style::new(style::stdout_has_colour());
        print(&table::list(
            &NEW_DELIVERIES,
            made,
            style::stdout_width(),
            style,
        ))
    }
}
