//! `postrider accounts`: who shares this relay, invisible to each other.
//!
//! The local operator's alone: it goes through the socket in the data directory and never elsewhere.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliError;
use super::ask::LocalAskArgs;
use super::resource::Resource;

const ACCOUNTS: Resource = Resource {
    path: "/local/accounts",
    plural: "accounts",
    prefix: "acct_",
    columns: &["id", "name", "suspended", "created_at"],
    apart: &["key"],
    last: owner_key,
};

/// Make, suspend and delete accounts.
#[derive(Debug, Subcommand)]
pub enum Accounts {
    /// Make an account, and a key that may do everything in it
    #[command(after_help = "The key is shown this once.

Examples:
  postrider accounts create acme
  postrider accounts create acme --json | jq -r .key")]
    Create(Create),
    /// List accounts
    #[command(after_help = "Examples:
  postrider accounts list
  postrider keys list --account ACCT_ID")]
    List(List),
    /// Refuse its keys until it is resumed; nothing of it is lost
    #[command(after_help = "Examples:
  postrider accounts suspend ACCT_ID")]
    Suspend(One),
    /// Let its keys in again
    #[command(after_help = "Examples:
  postrider accounts resume ACCT_ID")]
    Resume(One),
    /// Delete accounts with everything that is theirs
    #[command(
        after_help = "Integrations, keys and subscriptions go with it, for good. The last account stays.

Examples:
  postrider accounts delete ACCT_ID --yes"
    )]
    Delete(Delete),
}

/// Make an account.
#[derive(Debug, Args)]
pub struct Create {
    /// What to call it
    name: String,
    #[command(flatten)]
    ask: LocalAskArgs,
}

/// List accounts.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    ask: LocalAskArgs,
}

/// One account.
#[derive(Debug, Args)]
pub struct One {
    /// Its id, as lists show it
    #[arg(value_name = "ACCT_ID")]
    id: String,
    #[command(flatten)]
    ask: LocalAskArgs,
}

/// Delete accounts.
#[derive(Debug, Args)]
pub struct Delete {
    /// Their ids, as lists show them
    #[arg(value_name = "ACCT_ID", required = true)]
    ids: Vec<String>,
    /// Yes, with everything that is theirs
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    ask: LocalAskArgs,
}

impl Accounts {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => {
                let body = json!({ "name": create.name });
                create.ask.open()?.create(&ACCOUNTS, &body)
            }
            Self::List(list) => list.ask.open()?.list(&ACCOUNTS, usize::MAX),
            Self::Suspend(one) => one.ask.open()?.act(&ACCOUNTS, &one.id, "suspend"),
            Self::Resume(one) => one.ask.open()?.act(&ACCOUNTS, &one.id, "resume"),
            Self::Delete(delete) => delete.run(),
        }
    }
}

impl Delete {
    fn run(&self) -> Result<(), CliError> {
        let session = self.ask.open()?;
        if !self.yes {
            let message = "an account takes its integrations, keys and subscriptions with it, for \
                           good; if that is what you want, add --yes";
            return Err(CliError::Usage(message.to_owned()));
        }
        session.delete(&ACCOUNTS, &self.ids)
    }
}

/// The key that was made with the account.
fn owner_key(account: &Value) -> Vec<(&'static str, String)> {
    match account["key"].as_str() {
        Some(key) => vec![
            ("API key", key.to_owned()),
            (
                "",
                "shown this once; it may do everything in this account".to_owned(),
            ),
        ],
        None => Vec::new(),
    }
}
