//! How a subscription's deliveries stand, for people.

use serde_json::Value;

/// A name and what is said beside it.
type Pair = (&'static str, String);

/// Nothing where the relay did not tell it.
pub fn in_words(subscription: &Value) -> Vec<Pair> {
    let standing = &subscription["standing"];
    if !standing.is_object() {
        return Vec::new();
    }
    let count = |name: &'static str| (name, standing[name].as_u64().unwrap_or(0).to_string());
    let probing = match standing["probing"].as_bool() {
        Some(true) => "yes: its receiver fails and gets one attempt now and then",
        _ => "no",
    };
    vec![
        count("pending"),
        count("retrying"),
        count("dead"),
        ("probing", probing.to_owned()),
        ("failing since", failing(standing)),
        ("blocked by", blocked(&standing["blocked_by"])),
    ]
}

fn failing(standing: &Value) -> String {
    let failures = standing["failures"].as_u64().unwrap_or(0);
    match standing["failing_since"].as_str() {
        Some(since) => format!("{since}, with nothing but failures: {failures}"),
        None => "-".to_owned(),
    }
}

fn blocked(by: &Value) -> String {
    let text = |name: &str| by[name].as_str().unwrap_or_default();
    if by.is_null() {
        return "-".to_owned();
    }
    format!(
        "{} of event {}, next attempt at {}, after {} that failed",
        text("delivery_id"),
        text("event_uuid"),
        text("next_attempt_at"),
        by["attempts"].as_u64().unwrap_or(0),
    )
}
