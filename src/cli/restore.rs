//! `postrider restore`: a new store from a backup.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{CliError, StoreArgs, print, work};
use crate::app::offline;
use crate::domain::time;

/// What is read of the file at a time.
const READ_BYTES: usize = 256 << 10;

/// Make a new store from a backup.
#[derive(Debug, Args)]
#[command(
    after_help = "The directory must be new or empty. All of the backup is checked; if anything is wrong with it,
nothing is left behind. The store keeps its id, its keys and its secrets. A relay that starts on it
goes on with every delivery that was open; what was delivered after the backup was made is delivered
once more. Never let the old store and the restored one both go on.

Examples:
  postrider restore postrider.backup --data-dir /var/lib/postrider
  ssh other-machine cat postrider.backup | postrider restore - --data-dir ./restored
  postrider serve --data-dir ./restored"
)]
pub struct Restore {
    /// The backup; `-` for standard input
    file: PathBuf,
    /// Where the new store goes: a directory that is new or empty
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// A TOML file with settings, for where the sealing keys are
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Restore {
    /// Restores, and says what.
    pub fn run(&self) -> Result<(), CliError> {
        let config = StoreArgs::of(&self.data_dir, self.config.clone())
            .load()?
            .config;
        let from = open(&self.file)?;
        let target = Arc::new(offline::target(&self.data_dir)?);
        let worker = Arc::clone(&target);
        let restored = work::on_thread(move || offline::restore(&config, from, &worker));
        let restored = async { restored.await?.map_err(CliError::Undone) };
        let restored = work::run(restored, || target.abandon())?;
        let last = restored.last_event_at_ms.map_or_else(String::new, |at_ms| {
            format!(", the last accepted at {}", time::rfc3339(at_ms))
        });
        print(&format!(
            "restored {} events{last}: {} records, as of {}\nstart a relay on them with `postrider serve --data-dir {}`\n",
            restored.events,
            restored.records,
            time::rfc3339(restored.made_at_ms),
            self.data_dir.display(),
        ))
    }
}

/// A file to be read from its beginning to its end; `-` is standard input.
pub fn open(path: &Path) -> Result<Box<dyn Read + Send>, CliError> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let what = format!("cannot read {}", path.display());
    let file = File::open(path).map_err(CliError::io(what))?;
    Ok(Box::new(BufReader::with_capacity(READ_BYTES, file)))
}
