//! `postrider keys`: makes and lists keys; without a key, through the local socket.

use std::fmt::Write;

use actix::System;
use clap::{Args, Subcommand};
use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::client::RelayArgs;
use super::{CliError, print};
use crate::domain::api_key::{self, Environment};

/// Make and list API keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key; it is printed once and kept nowhere
    Create(Create),
    /// List keys
    List(List),
    /// Print a new key without talking to a relay, for `POSTRIDER_BOOTSTRAP_KEY`
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
    #[command(flatten)]
    relay: RelayArgs,
}

/// List keys.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    relay: RelayArgs,
}

impl Keys {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run(),
            Self::List(list) => list.run(),
            Self::Generate => {
                let key = api_key::generate(Environment::Live, getrandom::fill)?;
                print(&format!("{}\n", key.expose_secret()))
            }
        }
    }
}

impl Create {
    fn run(&self) -> Result<(), CliError> {
        let mut body = json!({ "name": self.name });
        if !self.permissions.is_empty() {
            body["permissions"] = json!(self.permissions);
        }
        if let Some(id) = &self.integration_id {
            body["integration_id"] = json!(id);
        }
        let client = self.relay.client()?;
        let send = client.send(
            Method::POST,
            "/v1/account/api-keys",
            body.to_string().into(),
        );
        let answer = System::new().block_on(send)?;
        print(&format!("{}\n", text(&answer, "key")))
    }
}

impl List {
    fn run(&self) -> Result<(), CliError> {
        let client = self.relay.client()?;
        let mut lines = format!(
            "{:<14}{:<22}{:<22}{}\n",
            "ID", "CREATED", "LAST USED", "NAME"
        );
        let mut path = "/v1/account/api-keys?limit=100".to_owned();
        System::new().block_on(async {
            loop {
                let answer = client.send(Method::GET, &path, bytes::Bytes::new()).await?;
                for key in answer["keys"].as_array().into_iter().flatten() {
                    let row = [
                        text(key, "id"),
                        text(key, "created_at"),
                        text(key, "last_used_at"),
                    ];
                    let [id, created, used] = row;
                    let name = text(key, "name");
                    // Writing to a string cannot fail.
                    let _ = writeln!(lines, "{id:<14}{created:<22}{used:<22}{name}");
                }
                match answer["next_cursor"].as_str() {
                    Some(cursor) => {
                        path = format!("/v1/account/api-keys?limit=100&cursor={cursor}");
                    }
                    None => return Ok::<_, CliError>(()),
                }
            }
        })?;
        print(&lines)
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or("-")
}
