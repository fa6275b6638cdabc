//! `postrider doctor`: examines a store without changing it, and says what it found.
//!
//! Exit status: 0 healthy (with `--salvage`: all that was readable is saved), 1 damaged, without a key that
//! its secrets are sealed under, or not to be examined, 2 there is no store, or what was typed is wrong.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use super::{CliError, StoreArgs, print, report};
use crate::app::{AppError, secrets};
use crate::config::Config;
use crate::store::examine::{self, Report, Start};
use crate::store::{self, Machine, Options};

/// Examine a store without changing it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider doctor --data-dir /var/lib/postrider/store
  postrider doctor --json
  postrider doctor --salvage ./saved")]
pub struct Doctor {
    #[command(flatten)]
    store: StoreArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Write what can be read into a new store here; OUT must be missing or empty
    #[arg(long, value_name = "OUT")]
    salvage: Option<PathBuf>,
}

impl Doctor {
    /// Does it.
    pub fn run(&self) -> Result<ExitCode, CliError> {
        let config = self.store.load()?.config;
        match &self.salvage {
            Some(out) => self.salvage(&Self::options(&config), out),
            None => self.examine(&config),
        }
    }

    fn options(config: &Config) -> Options {
        let millis =
            |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Options {
            dir: config.data_dir.clone(),
            cache_bytes: config.store.cache_bytes,
            min_free_bytes: 0,
            segment_bytes: store::SEGMENT_BYTES,
            first_wait_ms: millis(
                config
                    .delivery
                    .retry_schedule
                    .first()
                    .copied()
                    .unwrap_or_default(),
            ),
            now_ms: now.map_or(0, millis),
            machine: Machine::real(),
        }
    }

    fn examine(&self, config: &Config) -> Result<ExitCode, CliError> {
        let report = examine::examine(&Self::options(config))?;
        let store = report.ok_or_else(|| no_store(&config.data_dir))?;
        let examined = Examined::of(store, config);
        if self.json {
            print_json(&examined)?;
        } else {
            print(&report::of_store(&examined))?;
        }
        Ok(if examined.is_healthy() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    fn salvage(&self, options: &Options, out: &Path) -> Result<ExitCode, CliError> {
        if !is_vacant(out)? {
            return Err(CliError::Usage(format!(
                "{} is not an empty directory; salvage writes a new store",
                out.display()
            )));
        }
        let salvaged = examine::salvage(options, out)?.ok_or_else(|| no_store(&options.dir))?;
        if self.json {
            print_json(&salvaged)?;
        } else {
            print(&report::of_salvage(&salvaged, out))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// All that is said of a store: what is in it, and whether the keys are at hand without which it cannot
/// be served.
#[derive(Debug, Serialize)]
pub struct Examined {
    /// What is in it.
    #[serde(flatten)]
    pub store: Report,
    /// The keys.
    pub keys: Keys,
}

/// The keys that a store's secrets are sealed under.
#[derive(Debug, Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Keys {
    /// All of them are there.
    Found {
        /// A file, or the name of a setting.
        given_by: String,
    },
    /// Whoever looks may not read them. That says nothing of the store.
    NotReadable {
        /// Why not.
        why: String,
    },
    /// A start would be refused.
    Missing {
        /// With this sentence.
        why: String,
    },
}

impl Examined {
    fn of(mut store: Report, config: &Config) -> Self {
        let keys = Keys::look_for(&store, config);
        if let (Keys::Missing { why }, Start::Succeeds { .. }) = (&keys, &store.start) {
            store.start = Start::Refuses { why: why.clone() };
        }
        Self { store, keys }
    }

    fn is_healthy(&self) -> bool {
        self.store.is_healthy() && !matches!(self.keys, Keys::Missing { .. })
    }
}

impl Keys {
    fn look_for(store: &Report, config: &Config) -> Self {
        match secrets::check(config, store.sealed_under.iter().copied()) {
            Ok(()) => Self::Found {
                given_by: match &config.secrets.key {
                    Some(_) => "secrets.key".to_owned(),
                    None => secrets::path(config).display().to_string(),
                },
            },
            Err(error) => {
                let why = error.to_string();
                if matches!(&error, AppError::KeyFile(error) if error.is_denied()) {
                    Self::NotReadable { why }
                } else {
                    Self::Missing { why }
                }
            }
        }
    }
}

fn no_store(dir: &Path) -> CliError {
    CliError::Usage(format!("{} holds no store", dir.display()))
}

/// Whether there is nothing, or an empty directory.
fn is_vacant(dir: &Path) -> Result<bool, CliError> {
    match std::fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(false),
        Err(error) => Err(CliError::io(format!("cannot look into {}", dir.display()))(
            error,
        )),
    }
}

fn print_json(value: &impl Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value);
    let text = text.map_err(|error| CliError::Failed(error.to_string()))?;
    print(&format!("{text}\n"))
}
