//! `postrider status`: how the relay is, on one screen.
//!
//! The account's own numbers, and how the relay itself is where that may be seen: on its own machine, or with
//! a key that has `metrics:read`. It says nothing that the relay does not say.

mod screen;

use std::collections::BTreeMap;

use actix::System;
use bytes::Bytes;
use clap::Args;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use self::screen::in_words;
use super::ask::{AskArgs, Query, Session, print_json};
use super::client::{ClientError, JSON};
use super::style::{self, Style};
use super::{CliError, print};

/// The gauges of the relay that are shown, and how they are called here.
const GAUGES: [(&str, &str); 8] = [
    ("postrider_ready", "ready"),
    ("postrider_oldest_pending_seconds", "oldest_pending_seconds"),
    ("postrider_oldest_due_seconds", "oldest_due_seconds"),
    ("postrider_undispatched_bytes", "undispatched_bytes"),
    ("postrider_journal_bytes", "journal_bytes"),
    ("postrider_disk_free_bytes", "disk_free_bytes"),
    ("postrider_disk_min_free_bytes", "disk_min_free_bytes"),
    ("postrider_resident_memory_bytes", "resident_memory_bytes"),
];
const SUBSCRIPTIONS: &str = "subscriptions";

/// How the relay is.
#[derive(Debug, Args)]
#[command(after_help = "Exit status 1 if the relay takes no events in for now.

Examples:
  postrider status
  postrider status --json | jq '.relay.disk_free_bytes, .stats.backlog'
  watch -n 2 postrider status")]
pub struct Status {
    #[command(flatten)]
    ask: AskArgs,
}

impl Status {
    /// Shows it.
    pub fn run(&self) -> Result<(), CliError> {
        let session = self.ask.open()?;
        let status = System::new().block_on(ask(&session))?;
        if session.json {
            print_json(&status)?;
        } else {
            let style = Style::new(style::stdout_has_colour());
            print(&in_words(&status, style::stdout_width(), style))?;
        }
        match status["problem"].as_str() {
            None => Ok(()),
            Some(problem) => Err(CliError::Failed(format!(
                "no events are taken in: {problem}"
            ))),
        }
    }
}

/// Everything that is shown.
async fn ask(session: &Session) -> Result<Value, CliError> {
    let problem = problem(session).await?;
    let everything = Query::new();
    let of = |path: &'static str| session.follow(path, SUBSCRIPTIONS, &everything, usize::MAX);
    let mut stats = of("/v1/stats").await?;
    let known = allowed(of("/v1/subscriptions").await)?.unwrap_or_default();
    describe(&mut stats, &known);
    let metrics = session
        .client
        .send_as(JSON, Method::GET, "/metrics", Bytes::new());
    let relay = allowed(metrics.await)?.map(|text| gauges(&String::from_utf8_lossy(&text)));
    Ok(json!({ "problem": problem, "relay": relay, "stats": stats }))
}

/// Why the relay takes no events in, if it does not.
async fn problem(session: &Session) -> Result<Option<String>, ClientError> {
    let answer = session
        .client
        .send(Method::GET, "/health/ready", Bytes::new());
    match answer.await {
        Ok(_) => Ok(None),
        Err(ClientError::Refused { status, message })
            if status == StatusCode::SERVICE_UNAVAILABLE =>
        {
            Ok(Some(message))
        }
        Err(error) => Err(error),
    }
}

/// Nothing, where the key may not see it.
fn allowed<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Err(error) if error.is_refusal() => Ok(None),
        answer => answer.map(Some),
    }
}

/// Adds to how each subscription stands where it sends, and why it is paused.
fn describe(stats: &mut Value, known: &Value) {
    let known = known[SUBSCRIPTIONS].as_array().into_iter().flatten();
    let known: BTreeMap<_, _> = known.map(|it| (it["id"].as_str(), it)).collect();
    let standing = stats[SUBSCRIPTIONS].as_array_mut();
    for it in standing.into_iter().flatten() {
        if let Some(same) = known.get(&it["id"].as_str()).copied() {
            it["url"] = same["url"].clone();
            it["paused_reason"] = same["paused_reason"].clone();
        }
    }
}

/// The gauges in Prometheus' text, and the version that runs.
fn gauges(text: &str) -> Value {
    let mut found = serde_json::Map::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        if let Some((_, called)) = GAUGES.iter().find(|(known, _)| *known == name) {
            found.insert((*called).to_owned(), json!(value.parse::<f64>().ok()));
        }
        let version = name.strip_prefix("postrider_build_info{version=\"");
        if let Some(version) = version.and_then(|rest| rest.strip_suffix("\"}")) {
            found.insert("version".to_owned(), json!(version));
        }
    }
    Value::Object(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_taken_out_of_the_metrics() {
        let text = "# HELP postrider_ready x\npostrider_ready 1\npostrider_build_info{version=\"0.1.0\"} 1\n\
                    postrider_journal_bytes 134217728\npostrider_other 5\nnonsense\n";
        let expected = json!({ "ready": 1.0, "version": "0.1.0", "journal_bytes": 134_217_728.0 });
        assert_eq!(gauges(text), expected);
    }
}
