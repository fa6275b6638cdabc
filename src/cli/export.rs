//! `postrider export` and `postrider import`: a store as lines, for another machine or engine.

use std::io::{BufReader, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::output::Output;
use super::restore::open;
use super::{CliError, StoreArgs, print, work};
use crate::app::offline;

/// What is written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// Write a stopped store as lines of JSON.
#[derive(Debug, Args)]
#[command(
    after_help = "No relay may run on the data directory: the two would deliver the same events. To export one
that goes on, make a backup, restore it elsewhere and export that.

The export holds accounts, integrations, API keys (as their SHA-256), subscriptions with their
SECRETS, idempotency keys (as digests), and events with the deliveries that are not settled. Only
events that are still open for somebody are written; --all writes every event that is kept, of
which an import takes over those that are open. A file is readable for its owner only.

Examples:
  postrider export postrider.ndjson
  postrider export --all --data-dir /var/lib/postrider | gzip > postrider.ndjson.gz"
)]
pub struct Export {
    /// The file to write; `-` or nothing is standard output
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Every event that is kept, not only those that are still open
    #[arg(long)]
    all: bool,
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Make a new store from an export.
#[derive(Debug, Args)]
#[command(
    after_help = "The directory must be new or empty. If any line is wrong, it is named and nothing is left
behind. A relay that starts on the store has the same accounts, integrations, keys, subscriptions
and secrets; deliveries that were open go on where they were, and nothing that was settled is sent
again.

Examples:
  postrider import postrider.ndjson --data-dir /var/lib/postrider
  gunzip -c postrider.ndjson.gz | postrider import - --data-dir ./moved
  postrider serve --data-dir ./moved"
)]
pub struct Import {
    /// The export; `-` for standard input
    file: PathBuf,
    /// Where the new store goes: a directory that is new or empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A TOML file with settings, for where the sealing keys are
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Export {
    /// Exports, and says how much.
    pub fn run(&self) -> Result<(), CliError> {
        let config = self.store.load()?.config;
        let output = Arc::new(Output::begin(&self.file, self.force)?);
        let (worker, all) = (Arc::clone(&output), self.all);
        let exported = work::on_thread(move || {
            let mut to = std::io::BufWriter::with_capacity(WRITE_BYTES, &*worker);
            let exported = offline::export(&config, all, &mut to)?;
            to.flush().map_err(offline::not_written)?;
            Ok(exported)
        });
        let exported = async { exported.await?.map_err(CliError::Undone) };
        let exported = work::run(exported, || output.abandon())?;
        output.finish()?;
        output.say(&format!(
            "exported {} events in {} lines; they hold secrets\n",
            exported.events, exported.lines
        ))
    }
}

impl Import {
    /// Imports, and says how much.
    pub fn run(&self) -> Result<(), CliError> {
        let from = BufReader::new(open(&self.file)?);
        let config = StoreArgs::of(&self.data_dir, self.config.clone())
            .load()?
            .config;
        let target = Arc::new(offline::target(&self.data_dir)?);
        let worker = Arc::clone(&target);
        let imported = work::on_thread(move || offline::import(&config, from, &worker));
        let imported = async { imported.await?.map_err(CliError::Undone) };
        let done = work::run(imported, || target.abandon())?;
        let settled = match done.settled {
            0 => String::new(),
            settled => format!("{settled} events that were settled stay in the export\n"),
        };
        print(&format!(
            "imported {} records of the directory, {} idempotency keys and {} events with {} open deliveries\n{settled}start a relay on them with `postrider serve --data-dir {}`\n",
            done.directory,
            done.keys,
            done.events,
            done.deliveries,
            self.data_dir.display(),
        ))
    }
}
