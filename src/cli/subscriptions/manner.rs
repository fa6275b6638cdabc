//! How a subscription's events are sent, as `create` and `update` are told it.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::values;

/// How events are sent.
#[derive(Debug, Args)]
pub struct Manner {
    /// What it is for; '' takes a description back
    #[arg(long)]
    description: Option<String>,
    /// What must be in an event, as JSON: '{"data.total": {"$gte": 100}}', or `none`
    #[arg(long, value_name = "JSON", value_parser = values::json_or_none)]
    filter: Option<Value>,
    /// How a body is sent
    #[arg(long, value_parser = ["raw", "standard", "cloudevents"])]
    format: Option<String>,
    /// A header to send along, `NAME: VALUE`; may be repeated; those given replace all there were, and
    /// `none` takes them back
    #[arg(long = "header", value_name = "HEADER", value_parser = values::header)]
    headers: Vec<Option<(String, String)>>,
    /// Attempts that may begin in a second, or `default`: any number
    #[arg(long, value_name = "N", value_parser = values::number)]
    rate_limit: Option<Value>,
    /// Attempts under way at a time, or `default`
    #[arg(long, value_name = "N", value_parser = values::number)]
    max_in_flight: Option<Value>,
    /// In which order: none, strict, or by:PATH, in order among events with the same value there
    #[arg(long, value_name = "ORDER", value_parser = values::ordering)]
    ordering: Option<Value>,
    /// The waits before each attempt, such as 0s,5s,5m, or `default`
    #[arg(long, value_name = "WAITS", value_delimiter = ',')]
    retry_schedule: Vec<String>,
}

impl Manner {
    /// What was asked for, by the names of the API's fields.
    pub fn fields(&self) -> [(&'static str, Option<Value>); 8] {
        let headers: BTreeMap<_, _> = self.headers.iter().flatten().cloned().collect();
        [
            ("filter", self.filter.clone()),
            ("format", self.format.as_ref().map(|name| json!(name))),
            (
                "headers",
                (!self.headers.is_empty()).then(|| json!(headers)),
            ),
            ("rate_limit", self.rate_limit.clone()),
            ("description", self.description.as_deref().map(values::text)),
            ("max_in_flight", self.max_in_flight.clone()),
            ("ordering", self.ordering.clone()),
            (
                "retry_schedule",
                values::texts_or_default(&self.retry_schedule),
            ),
        ]
    }
}
