//! `postrider backup`: everything accepted so far, in one file, while traffic flows.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::Method;
use http_body_util::BodyExt;

use super::client::{ClientError, RelayClient};
use super::output::Output;
use super::{CliError, StoreArgs, work};
use crate::app::{SOCKET, offline};
use crate::config::Config;
use crate::domain::time;

/// Back up the store while traffic flows.
#[derive(Debug, Args)]
#[command(
    after_help = "What was accepted before the command began is in the backup. A relay that runs on the data
directory makes it; if none does, the store is read as it is. The file appears once it is whole
and is readable for its owner only: it holds the bodies of events and the secrets of subscriptions.

Examples:
  postrider backup /var/backups/postrider-$(date +%F).backup
  postrider backup - | ssh other-machine 'cat > postrider.backup'
  postrider backup --data-dir /var/lib/postrider postrider.backup"
)]
pub struct Backup {
    /// The file to write; `-` for standard output
    file: PathBuf,
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    store: StoreArgs,
}

impl Backup {
    /// Makes the backup.
    pub fn run(&self) -> Result<(), CliError> {
        let config = self.store.load()?.config;
        let output = Arc::new(Output::begin(&self.file, self.force)?);
        let made = make(config, Arc::clone(&output));
        let made = work::run(made, || output.abandon())?;
        output.finish()?;
        let by = time::rfc3339(made.made_at_ms);
        output.say(&format!(
            "backed up everything accepted by {by}: {} records, {} bytes of journal\n",
            made.records, made.bytes
        ))
    }
}

async fn make(config: Config, output: Arc<Output>) -> Result<offline::Made, CliError> {
    let relay = RelayClient::socket(config.data_dir.join(SOCKET));
    let made = match relay.stream(&[], Method::POST, "/local/backup").await {
        Ok(mut archive) => {
            let (blocks, incoming) = work::pipe();
            let copied = work::on_thread(move || offline::receive(incoming, &mut &*output));
            let fed = async move {
                // A connection that breaks off ends the archive before its trailer, which is noticed.
                while let Some(Ok(frame)) = archive.frame().await {
                    if let Ok(block) = frame.into_data()
                        && blocks.send(block).await.is_err()
                    {
                        break;
                    }
                }
            };
            futures_util::future::join(copied, fed).await.0?
        }
        Err(ClientError::NoRelay { .. }) => {
            work::on_thread(move || offline::back_up(&config, &mut &*output)).await?
        }
        Err(error) => return Err(error.into()),
    };
    made.map_err(CliError::Undone)
}
