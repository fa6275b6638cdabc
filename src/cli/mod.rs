//! The command line: what can be typed, and what it does.
//!
//! One file for each command. Those that manage what a relay has share `ask` (the request, the answer
//! for people or for scripts), `table` and `values`. Exit status: 0 done, 1 it failed, 2 what was
//! typed or configured is wrong, 3 the relay has no such thing.

pub mod accounts;
pub mod ask;
mod attempts;
pub mod audit;
pub mod backup;
pub mod client;
pub mod completions;
pub mod config;
pub mod deliveries;
pub mod demo;
pub mod doctor;
pub mod events;
pub mod explain;
pub mod export;
pub mod integrations;
pub mod keys;
pub mod listen;
pub mod man;
pub mod many;
pub mod output;
mod progress;
mod report;
pub mod resource;
pub mod restore;
pub mod secrets;
pub mod send;
pub mod serve;
pub mod status;
pub mod stream;
pub mod style;
pub mod subscriptions;
pub mod table;
pub mod tail;
pub mod tasks;
pub mod values;
pub mod which;
pub mod work;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, Loaded, Sources};
use crate::telemetry;

/// It failed: the relay refused, could not be reached, or a file could not be written.
const EXIT_FAILED: u8 = 1;
/// What was typed or configured is wrong; nothing was done. Also clap's own.
const EXIT_USAGE: u8 = 2;
/// The relay has no such thing.
const EXIT_NOT_FOUND: u8 = 3;

/// A webhook and event relay: one binary, durable before it answers, no other server.
#[derive(Debug, Parser)]
#[command(
    name = "postrider",
    version,
    about,
    propagate_version = true,
    after_help = "A relay on this machine is reached through its data directory, without a key; one elsewhere with
POSTRIDER_URL and POSTRIDER_API_KEY.

Exit status: 0 done, 1 it failed, 2 what was typed or configured is wrong, 3 the relay has no such
thing. Of several, as of `delete`, 3 means that it had none of those that remain.

Examples:
  postrider demo
  postrider serve --config /etc/postrider.toml
  postrider integrations create shop
  postrider subscriptions create https://example.com/hooks --events 'order.*'"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay
    Serve(serve::Serve),
    /// See the whole journey in a minute: a relay, a receiver, real deliveries
    Demo(demo::Demo),
    /// Show how the relay is, on one screen
    Status(status::Status),
    /// Send an event, or many
    Send(send::Send),
    /// Print the effective settings and where each came from
    #[command(after_help = "Examples:
  postrider config
  postrider config --config /etc/postrider.toml --listen 127.0.0.1:8080
  postrider config --reference")]
    Config(config::PrintConfig),
    /// Examine a store without changing it, and save what is left of a damaged one
    Doctor(doctor::Doctor),
    /// API keys: who may do what
    #[command(
        subcommand,
        after_help = "Examples:
  postrider keys create ci --permission events:write
  postrider keys list --json
  postrider keys rotate KEY_ID --overlap 1h"
    )]
    Keys(keys::Keys),
    /// Integrations: where events come in
    #[command(
        subcommand,
        after_help = "Examples:
  postrider integrations create shop
  postrider integrations list"
    )]
    Integrations(integrations::Integrations),
    /// Subscriptions: who is sent which events
    #[command(
        subcommand,
        after_help = "Examples:
  postrider subscriptions create https://example.com/hooks --events 'order.*'
  postrider subscriptions pause SUB_ID"
    )]
    Subscriptions(subscriptions::Subscriptions),
    /// Events: what came in, and how it fared
    #[command(
        subcommand,
        after_help = "Examples:
  postrider events list --since 10m
  postrider events show EVENT_UUID"
    )]
    Events(events::Events),
    /// Watch events pass: what comes in, every attempt, and how deliveries end
    Tail(tail::Tail),
    /// Have deliveries come to this machine, which needs no address for that
    Listen(listen::Listen),
    /// Say why each subscription did or did not get an event
    Explain(explain::Explain),
    /// Deliveries: how each event fares with each subscription
    #[command(
        subcommand,
        after_help = "Examples:
  postrider deliveries list --status dead
  postrider deliveries retry --all --since 2h"
    )]
    Deliveries(deliveries::Deliveries),
    /// Tasks: what is being done with many deliveries
    #[command(
        subcommand,
        after_help = "Examples:
  postrider tasks list
  postrider tasks stop TASK_ID"
    )]
    Tasks(tasks::Tasks),
    /// Accounts: who shares the relay on this machine
    #[command(
        subcommand,
        after_help = "Examples:
  postrider accounts create acme
  postrider integrations create shop --account ACCT_ID"
    )]
    Accounts(accounts::Accounts),
    /// The key that signing secrets are sealed under
    #[command(
        subcommand,
        after_help = "Examples:
  postrider secrets rotate"
    )]
    Secrets(secrets::Secrets),
    /// Show who changed what, and when
    Audit(audit::Audit),
    /// Back up the store while traffic flows
    Backup(backup::Backup),
    /// Make a new store from a backup
    Restore(restore::Restore),
    /// Write a stopped store as lines of JSON
    Export(export::Export),
    /// Make a new store from an export
    Import(export::Import),
    /// Print manual pages
    Man(man::Man),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Print the description of the interface, as /openapi.json has it
    #[command(
        after_help = "A running relay has it at /openapi.json, and for people at /docs.

Examples:
  postrider openapi > openapi.json"
    )]
    Openapi,
}

/// Where the store and its settings are, on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// A TOML file with settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the journal and the state live
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

impl StoreArgs {
    /// Those of a store in this directory, with settings from this file.
    pub fn of(data_dir: &Path, config: Option<PathBuf>) -> Self {
        Self {
            config,
            data_dir: Some(data_dir.to_string_lossy().into_owned()),
        }
    }

    /// The effective settings: command line over environment over file over defaults.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        self.load_with(None)
    }

    fn load_with(&self, listen: Option<&String>) -> Result<Loaded, ConfigError> {
        let options = [
            ("data_dir", self.data_dir.as_ref()),
            ("server.listen", listen),
        ];
        let overrides = options
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?.clone())))
            .collect();
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Config::load(Sources {
            file: self.config.clone(),
            env,
            overrides,
        })
    }
}

/// What a relay is started with, on the command line.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// Address and port to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
}

impl SettingsArgs {
    /// The effective settings.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        self.store.load_with(self.listen.as_ref())
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// What was configured is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// The relay did not start, or ended.
    #[error(transparent)]
    App(#[from] crate::app::AppError),
    /// A store was to be read or made, and was not.
    #[error("{0}; nothing was left behind")]
    Undone(#[source] crate::app::AppError),
    /// The relay could not be asked, or said no.
    #[error(transparent)]
    Client(#[from] client::ClientError),
    /// A file or the terminal failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The operating system gave no random numbers.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The store cannot be examined.
    #[error(transparent)]
    Store(#[from] crate::store::error::StoreError),
    /// Of several things, the relay refused to do it with some.
    #[error("{}", each(.0))]
    Kept(Vec<(String, client::ClientError)>),
    /// What was typed cannot be done.
    #[error("{0}")]
    Usage(String),
    /// What was to be seen was not seen.
    #[error("{0}")]
    Failed(String),
}

fn each(kept: &[(String, client::ClientError)]) -> String {
    let each = kept.iter().map(|(id, error)| format!("{id}: {error}"));
    each.collect::<Vec<_>>().join("\n")
}

impl CliError {
    /// What kind of failure it is, for scripts.
    fn exit_status(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => EXIT_USAGE,
            Self::Client(error) if error.is_usage() => EXIT_USAGE,
            Self::Client(error) if error.is_not_found() => EXIT_NOT_FOUND,
            Self::Kept(kept) if kept.iter().all(|(_, error)| error.is_not_found()) => {
                EXIT_NOT_FOUND
            }
            _ => EXIT_FAILED,
        }
    }

    /// For `map_err` on input and output.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            what: what.into(),
            source,
        }
    }
}

/// Runs what was typed.
pub fn run() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    let ended = match Cli::parse().command {
        Command::Serve(serve) => serve.run().map(done),
        Command::Demo(demo) => demo.run().map(done),
        Command::Status(status) => status.run().map(done),
        Command::Send(send) => send.run().map(done),
        Command::Config(config) => config.run().map(done),
        Command::Doctor(doctor) => doctor.run(),
        Command::Keys(keys) => keys.run().map(done),
        Command::Integrations(integrations) => integrations.run().map(done),
        Command::Subscriptions(subscriptions) => subscriptions.run().map(done),
        Command::Events(events) => events.run().map(done),
        Command::Tail(tail) => tail.run().map(done),
        Command::Listen(listen) => listen.run().map(done),
        Command::Explain(explain) => explain.run().map(done),
        Command::Deliveries(deliveries) => deliveries.run().map(done),
        Command::Tasks(tasks) => tasks.run().map(done),
        Command::Accounts(accounts) => accounts.run().map(done),
        Command::Secrets(secrets) => secrets.run().map(done),
        Command::Audit(audit) => audit.run().map(done),
        Command::Backup(backup) => backup.run().map(done),
        Command::Restore(restore) => restore.run().map(done),
        Command::Export(export) => export.run().map(done),
        Command::Import(import) => import.run().map(done),
        Command::Man(man) => man.run().map(done),
        Command::Completions(completions) => completions.run().map(done),
        Command::Openapi => print(crate::http::openapi::text()).map(done),
    };
    match ended {
        Ok(code) => code,
        // Whoever read our output has seen enough.
        Err(CliError::Io { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            telemetry::fall_silent();
            for line in error.to_string().lines() {
                // The exit status says it even where nobody listens.
                let _ = writeln!(std::io::stderr(), "postrider: {line}");
            }
            ExitCode::from(error.exit_status())
        }
    }
}

/// Prints to standard output.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::io("cannot print"))
}

#[cfg(test)]
mod tests;
