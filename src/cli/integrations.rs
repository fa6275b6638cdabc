//! `postrider integrations`: the doors through which events come in.
//!
//! Each has an ingest path, which nobody can guess, and a key made with it, which is shown once.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliError;
use super::ask::{All, AskArgs, Many, One};
use super::resource::Resource;

/// Integrations, and how they are shown.
pub const INTEGRATIONS: Resource = Resource {
    path: "/v1/integrations",
    plural: "integrations",
    prefix: "int_",
    columns: &["id", "name", "enabled", "created_at"],
    // The integration's key is shown as what it is for: the end of a path.
    apart: &["integration_key", "api_key"],
    last: doors,
};

/// Make, change and delete integrations.
#[derive(Debug, Subcommand)]
pub enum Integrations {
    /// Make an integration, and a key that may send to it and nothing else
    #[command(after_help = "The API key is shown this once.

Examples:
  postrider integrations create shop
  postrider integrations create shop --json | jq -r '.integration_key, .api_key.key'")]
    Create(Create),
    /// List integrations
    #[command(after_help = "Examples:
  postrider integrations list
  postrider integrations list --json | jq -r '.integrations[].name'")]
    List(All),
    /// Show an integration and where its events are sent
    #[command(after_help = "Examples:
  postrider integrations show INT_ID")]
    Show(One),
    /// Rename an integration
    #[command(after_help = "Examples:
  postrider integrations update INT_ID --name 'the shop'")]
    Update(Update),
    /// Refuse its events until it is enabled again
    #[command(after_help = "Examples:
  postrider integrations disable INT_ID")]
    Disable(One),
    /// Take its events again
    #[command(after_help = "Examples:
  postrider integrations enable INT_ID")]
    Enable(One),
    /// Give it another ingest path; the one before leads nowhere from then on
    #[command(
        after_help = "Its API keys stay as they are; `postrider keys rotate` replaces those.

Examples:
  postrider integrations rotate-key INT_ID"
    )]
    RotateKey(One),
    /// Delete integrations that have no subscriptions, and the keys bound to them
    #[command(after_help = "Examples:
  postrider integrations delete INT_ID
  postrider integrations delete INT_ID INT_ID")]
    Delete(Many),
}

/// Make an integration.
#[derive(Debug, Args)]
pub struct Create {
    /// What to call it
    name: String,
    #[command(flatten)]
    ask: AskArgs,
}

/// Rename an integration.
#[derive(Debug, Args)]
pub struct Update {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    /// What to call it from now on
    #[arg(long)]
    name: String,
    #[command(flatten)]
    ask: AskArgs,
}

impl Integrations {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => {
                let body = json!({ "name": create.name });
                create.ask.open()?.create(&INTEGRATIONS, &body)
            }
            Self::List(all) => all.list(&INTEGRATIONS),
            Self::Show(one) => one.show(&INTEGRATIONS),
            Self::Update(update) => {
                let body = json!({ "name": update.name });
                update.ask.open()?.update(&INTEGRATIONS, &update.id, &body)
            }
            Self::Disable(one) => one.act(&INTEGRATIONS, "disable"),
            Self::Enable(one) => one.act(&INTEGRATIONS, "enable"),
            Self::RotateKey(one) => one.act(&INTEGRATIONS, "rotate-key"),
            Self::Delete(many) => many.delete(&INTEGRATIONS),
        }
    }
}

/// Where its events go, and the key that was made with it.
fn doors(integration: &Value) -> Vec<(&'static str, String)> {
    let mut doors = Vec::new();
    if let Some(key) = integration["integration_key"].as_str() {
        doors.push(("ingest path", format!("/api/webhooks/{key}")));
    }
    if let Some(key) = integration["api_key"]["key"].as_str() {
        doors.push(("API key", key.to_owned()));
        doors.push((
            "",
            "shown this once; it may send to this path and nothing else".to_owned(),
        ));
    }
    doors
}
