//! `postrider keys`: API keys, over the local socket without one.
//!
//! A key is printed once, by the command that makes it, and kept nowhere: alone on standard output, so
//! that a script can take it; what there is to say about it goes to standard error.

use std::io::Write;

use clap::{ArgGroup, Args, Subcommand};
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::ask::{All, AskArgs, Many, One};
use super::resource::Resource;
use super::values::{self, object};
use super::{CliError, print};
use crate::config::printable;
use crate::domain::api_key::{self, Environment};

const KEYS: Resource = Resource {
    path: "/v1/account/api-keys",
    plural: "keys",
    prefix: "key_",
    columns: &[
        "id",
        "name",
        "environment",
        "created_at",
        "last_used_at",
        "expires_at",
    ],
    apart: &["key"],
    last: |_| Vec::new(),
};

/// Make, change and delete API keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key; it is printed once and kept nowhere
    #[command(after_help = "The key alone goes to standard output.

Examples:
  postrider keys create owner
  postrider keys create ci --permission events:write --integration-id INT_ID
  postrider keys create reader --permission events:read --rate-limit 1000/1m --json
  postrider keys create guest --expires-at 2030-01-31T12:00:00Z --environment test")]
    Create(Create),
    /// List keys; a key itself is never shown again
    #[command(after_help = "Examples:
  postrider keys list
  postrider keys list --json | jq -r '.keys[] | select(.last_used_at == null) | .id'")]
    List(All),
    /// Show a key's name, rights and times
    #[command(after_help = "Examples:
  postrider keys show KEY_ID")]
    Show(One),
    /// Change what a key is called and may do, with immediate effect
    #[command(after_help = "Examples:
  postrider keys update KEY_ID --name deploy
  postrider keys update KEY_ID --permission events:write --permission events:read
  postrider keys update KEY_ID --expires-at never --rate-limit default")]
    Update(Update),
    /// Replace a key's secret; its id, name and rights stay
    #[command(
        after_help = "The new key alone goes to standard output. Without --overlap, the one before it is refused at once.

Examples:
  postrider keys rotate KEY_ID --overlap 1h
  postrider keys rotate KEY_ID --json"
    )]
    Rotate(Rotate),
    /// Delete keys; requests that begin afterwards are refused
    #[command(after_help = "Examples:
  postrider keys delete KEY_ID
  postrider keys delete KEY_ID KEY_ID KEY_ID")]
    Delete(Many),
    /// Print a new key without talking to a relay, for `POSTRIDER_BOOTSTRAP_KEY`
    #[command(after_help = "Examples:
  postrider keys generate > owner.key")]
    Generate,
}

/// Make a key.
#[derive(Debug, Args)]
pub struct Create {
    /// What to call it
    #[arg(default_value = "local operator")]
    name: String,
    /// What it may do, such as `events:write`; may be repeated; without it, everything you may
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// The only integration it reaches
    #[arg(long, value_name = "INT_ID")]
    integration_id: Option<String>,
    /// A label that the key carries: `lwa.sk_live_…` or `lwa.sk_test_…`
    #[arg(long, value_parser = ["live", "test"])]
    environment: Option<String>,
    /// When it ends, such as 2030-01-31T12:00:00Z; without it, never
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// A limit of its own, such as 1000/1m
    #[arg(long, value_name = "N/DURATION", value_parser = values::rate_limit)]
    rate_limit: Option<Value>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Change a key.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("changes").required(true).multiple(true).args([
    "name", "permissions", "expires_at", "rate_limit",
])))]
pub struct Update {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    /// What to call it from now on
    #[arg(long)]
    name: Option<String>,
    /// What it may do from now on, and nothing else; may be repeated
    #[arg(long = "permission", value_name = "PERMISSION")]
    permissions: Vec<String>,
    /// When it ends, such as 2030-01-31T12:00:00Z, or `never`
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// A limit of its own, such as 1000/1m, or `default`
    #[arg(long, value_name = "N/DURATION", value_parser = values::rate_limit)]
    rate_limit: Option<Value>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Rotate a key.
#[derive(Debug, Args)]
pub struct Rotate {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    /// How long the key before it still works, such as 1h
    #[arg(long, value_name = "DURATION", value_parser = values::seconds)]
    overlap: Option<u64>,
    #[command(flatten)]
    ask: AskArgs,
}

impl Keys {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(all) => all.list(&KEYS),
            Self::Show(one) => one.show(&KEYS),
            Self::Update(update) => update.run(),
            Self::Rotate(rotate) => rotate.run(),
            Self::Delete(many) => many.delete(&KEYS),
            Self::Generate => {
                let key = api_key::generate(Environment::Live, getrandom::fill)?;
                print(&format!("{}\n", key.expose_secret()))
            }
        }
    }
}

impl Create {
    fn run(&self) -> Result<(), CliError> {
        let body = object([
            ("name", Some(json!(self.name))),
            ("permissions", values::texts(&self.permissions)),
            (
                "integration_id",
                self.integration_id.as_ref().map(|id| json!(id)),
            ),
            ("environment", self.environment.as_ref().map(|it| json!(it))),
            ("expires_at", self.expires_at.as_deref().map(values::time)),
            ("rate_limit", self.rate_limit.clone()),
        ]);
        let session = self.ask.open()?;
        let answer = session.ask(Method::POST, KEYS.path, body.to_string())?;
        session.print_alone("key", &answer)
    }
}

impl Update {
    fn run(&self) -> Result<(), CliError> {
        let body = object([
            ("name", self.name.as_ref().map(|name| json!(name))),
            ("permissions", values::texts(&self.permissions)),
            ("expires_at", self.expires_at.as_deref().map(values::time)),
            ("rate_limit", self.rate_limit.clone()),
        ]);
        self.ask.open()?.update(&KEYS, &self.id, &body)
    }
}

impl Rotate {
    fn run(&self) -> Result<(), CliError> {
        let session = self.ask.open()?;
        let body = object([(
            "overlap_seconds",
            self.overlap.map(|seconds| json!(seconds)),
        )]);
        let path = format!("{}/rotate", KEYS.place(&self.id)?);
        let answer = session.ask(Method::POST, &path, body.to_string())?;
        session.print_alone("key", &answer)?;
        let until = match answer["previous_expires_at"].as_str() {
            Some(time) => format!("works until {}", printable(time)),
            None => "is refused from now on".to_owned(),
        };
        // The key is out; a terminal that is gone takes nothing back.
        let _ = writeln!(std::io::stderr(), "The key before it {until}.");
        Ok(())
    }
}
