//! `postrider explain`: why each subscription did or did not get an event, in sentences.
//!
//! What the relay says of it, and no guess: the verdicts are its own, on subscriptions as they are now.

use std::fmt::Write;

use actix::System;
use clap::Args;
use serde_json::Value;

use super::ask::{AskArgs, Query, print_json};
use super::style::{self, Style};
use super::{CliError, attempts, events, print, table};
use crate::config::printable;

const SUBSCRIPTIONS: &str = "subscriptions";
const FIRST: [&str; 5] = [
    "uuid",
    "event",
    "accepted_at",
    "integration_id",
    "size_bytes",
];
const APART: [&str; 3] = [SUBSCRIPTIONS, "unsubscribed", "next_cursor"];

/// Why each subscription did or did not get an event.
#[derive(Debug, Args)]
#[command(
    after_help = "Whether a subscription wants the event is judged with the subscription as it is now.

Examples:
  postrider explain EVENT_UUID
  postrider explain EVENT_UUID --json | jq '.subscriptions[] | {subscription_id, verdict}'"
)]
pub struct Explain {
    /// Its uuid, as `events list` shows it
    #[arg(value_name = "EVENT_UUID")]
    uuid: String,
    #[command(flatten)]
    ask: AskArgs,
}

impl Explain {
    /// Explains.
    pub fn run(&self) -> Result<(), CliError> {
        let path = format!("{}/explain", events::place(&self.uuid)?);
        let session = self.ask.open()?;
        let everything = Query::new();
        let pages = session.follow(&path, SUBSCRIPTIONS, &everything, usize::MAX);
        let explained = System::new().block_on(pages)?;
        if session.json {
            return print_json(&explained);
        }
        let style = Style::new(style::stdout_has_colour());
        print(&in_words(&explained, style))
    }
}

fn in_words(explained: &Value, style: Style) -> String {
    let mut text = table::pairs(&table::details(&FIRST, &APART, explained));
    let each = |name: &str| explained[name].as_array().into_iter().flatten();
    for it in each(SUBSCRIPTIONS) {
        let (id, url) = (said(it, "subscription_id"), said(it, "url"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}  {url}", style.strong(&id));
        for line in of_subscription(it, &said(explained, "uuid"), &said(explained, "event")) {
            let _ = writeln!(text, "  {line}");
        }
    }
    for delivery in each("unsubscribed") {
        let id = said(delivery, "subscription_id");
        let _ = writeln!(text, "\n{}  is gone", style.strong(&id));
        let _ = writeln!(text, "  {}", of_delivery(delivery));
    }
    if each(SUBSCRIPTIONS)
        .chain(each("unsubscribed"))
        .next()
        .is_none()
    {
        text.push_str("\nThere is no subscription that could have got it.\n");
    }
    text
}

fn said(value: &Value, name: &str) -> String {
    printable(value[name].as_str().unwrap_or_default())
}

fn of_subscription(it: &Value, uuid: &str, event: &str) -> Vec<String> {
    let deliveries = it["deliveries"].as_array().map_or(&[][..], Vec::as_slice);
    let mut lines: Vec<String> = deliveries.iter().map(of_delivery).collect();
    let against = against(it, event);
    match (deliveries.is_empty(), against) {
        (true, Some(against)) => lines.push(format!("not sent: {against}")),
        (true, None) if it["made_after"] == true => lines.push(format!(
            "not sent: it was made after the event was accepted, at {}",
            said(it, "created_at")
        )),
        (true, None) => lines.push(
            "not sent: as it is now it wants the event; it did not then, or its turn is about to come"
                .to_owned(),
        ),
        (false, Some(against)) => lines.push(format!("as it is now, it would not: {against}")),
        (false, None) => {}
    }
    if deliveries.is_empty() && it["verdict"] == "wanted" {
        let id = said(it, "subscription_id");
        lines.push(format!(
            "`postrider events replay {uuid} --to {id}` sends it"
        ));
    }
    if it["status"] == "paused" {
        lines.push(format!("paused: {}", said(it, "paused_reason")));
    }
    if it["probing"] == true {
        lines.push("its receiver fails, and gets one attempt now and then".to_owned());
    }
    lines
}

/// What speaks against sending it.
fn against(it: &Value, event: &str) -> Option<String> {
    match it["verdict"].as_str()? {
        "wanted" => None,
        "other_integration" => Some("it takes events of another integration alone".to_owned()),
        "other_type" => {
            let patterns = it["events"].as_array().into_iter().flatten();
            let patterns: Vec<_> = patterns.filter_map(Value::as_str).map(printable).collect();
            Some(format!(
                "{event} is none of what it takes: {}",
                patterns.join(", ")
            ))
        }
        "filtered" => {
            let unmet = printable(&it["unmet"].to_string());
            Some(format!("its filter does not hold: {unmet}"))
        }
        other => Some(printable(other)),
    }
}

fn of_delivery(delivery: &Value) -> String {
    let id = said(delivery, "id");
    let made = delivery["attempts"].as_array().map_or(0, Vec::len);
    let attempts = match made {
        1 => "1 attempt".to_owned(),
        made => format!("{made} attempts"),
    };
    let last = attempts::last_result(delivery).unwrap_or_default();
    let told = match delivery["status"].as_str().unwrap_or_default() {
        "delivered" => format!("delivered after {attempts}"),
        "pending" => "waits for its first attempt".to_owned(),
        "retrying" => {
            let next = match delivery["next_attempt_at"].as_str() {
                Some(at) => format!("the next is due at {}", printable(at)),
                None => "the next waits until the subscription is resumed".to_owned(),
            };
            format!("{attempts} failed, the last with: {last}; {next}")
        }
        "dead" if made > 0 => format!("dead after {attempts}, the last with: {last}"),
        "dead" => "dead without an attempt: it was too old".to_owned(),
        "cancelled" => format!("given up after {attempts}"),
        other => printable(other),
    };
    format!("{id}: {told}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn tells(subscription: &Value, lines: &[&str]) {
        assert_eq!(of_subscription(subscription, "UUID", "order.paid"), lines);
    }

    #[test]
    fn why_there_is_no_delivery_is_told_in_a_sentence() {
        let other_type = json!({ "verdict": "other_type", "events": ["user.*", "a"] });
        tells(
            &other_type,
            &["not sent: order.paid is none of what it takes: user.*, a"],
        );
        let filtered = json!({ "verdict": "filtered", "unmet": { "data.n": 1 } });
        tells(
            &filtered,
            &["not sent: its filter does not hold: {\"data.n\":1}"],
        );
        let late = json!({
            "subscription_id": "sub_1", "verdict": "wanted", "made_after": true, "created_at": "late",
        });
        tells(
            &late,
            &[
                "not sent: it was made after the event was accepted, at late",
                "`postrider events replay UUID --to sub_1` sends it",
            ],
        );
    }

    #[test]
    fn how_a_delivery_stands_is_told_with_what_holds_it_up() {
        let failed = json!([{ "status_code": null, "error": "timeout" }]);
        let delivery = json!({
            "id": "dlv_1", "status": "retrying", "next_attempt_at": null, "attempts": failed,
        });
        let paused = json!({
            "verdict": "filtered", "unmet": {}, "status": "paused", "paused_reason": "by request",
            "deliveries": [delivery],
        });
        tells(
            &paused,
            &[
                "dlv_1: 1 attempt failed, the last with: no answer in time; the next waits until the \
                 subscription is resumed",
                "as it is now, it would not: its filter does not hold: {}",
                "paused: by request",
            ],
        );
    }
}
