//! The relay's settings: four layers in, one checked [`Config`] out.
//!
//! Lowest to highest: the defaults in `data/postrider.toml` (compiled in, and the
//! only place where a default is written), a TOML file, the environment, the
//! command line. `layers` flattens them, `reader` takes typed values out and
//! collects problems, `sections` says which settings exist and what they may
//! hold, `value` knows the notations, `error` how it is told, `reference` explains them all.
//!
//! - A [`Config`] that exists is valid: every value lies within its bounds.
//! - Nothing is skipped in silence: an unknown key or a bad value in any layer is
//!   an error, also one that a higher layer hides.
//! - It never reads the process environment and never changes after the start.

mod error;
mod layers;
mod logging;
mod reader;
mod reference;
mod sections;
mod value;

use std::path::PathBuf;

pub use error::{ConfigError, Problem};
pub use layers::Origin;
pub use logging::{ACCESS, ATTEMPT, Log, LogFormat, LogLevels};
pub use reference::reference;
pub use sections::{Config, Delivery, Ingest, Outbound, Queue, RateLimit, Server, Store};
pub use value::{Limit, LimitError, MAX_LIMIT, MAX_WINDOW, MIN_WINDOW, printable};

/// Settings whose values are never shown.
const SECRET_KEYS: &[&str] = &["secrets.key"];

/// Where settings may come from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file of `--config`.
    pub file: Option<PathBuf>,
    /// The process environment; only names that begin with `POSTRIDER_` are looked at.
    pub env: Vec<(String, String)>,
    /// Options of the command line: dotted key and text, lists comma-separated.
    pub overrides: Vec<(String, String)>,
}

/// The effective configuration and where each part of it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The typed values.
    pub config: Config,
    /// The same as a list, every setting once.
    pub settings: Vec<Setting>,
}

/// One effective setting, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted path, such as `queue.capacity`.
    pub key: String,
    /// In TOML notation, on one line; a mask if the setting is secret.
    pub value: String,
    /// The layer the value came from.
    pub origin: Origin,
    /// Whether the value is masked.
    pub secret: bool,
    /// What it may hold, in words.
    pub allowed: String,
}

impl Config {
    /// Reads all layers, checks every value in each of them, and merges them.
    pub fn load(sources: Sources) -> Result<Loaded, ConfigError> {
        load(sources, SECRET_KEYS)
    }
}

fn load(sources: Sources, secrets: &[&str]) -> Result<Loaded, ConfigError> {
    let entries = layers::collect(sources)?;
    let mut reader = reader::Reader::new(&entries, secrets);
    let config = Config::read(&mut reader);
    let (config, settings) = reader.finish(config)?;
    Ok(Loaded { config, settings })
}

#[cfg(test)]
mod tests;
