//! `postrider send`: sends one event and prints its uuid.

use std::io::Read;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use http::Method;

use super::CliError;
use super::ask::AskArgs;

/// The largest file that is read: more than any relay takes.
const MAX_BYTES: u64 = 32 << 20;

/// Send an event.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider send --integration INTEGRATION_KEY data/samples/order.completed.json
  postrider send --integration INTEGRATION_KEY --json < event.json")]
pub struct Send {
    /// The integration's key: the last part of its ingest URL
    #[arg(long, short, value_name = "INTEGRATION_KEY")]
    integration: String,
    /// A file with {"event": …, "data": …}; `-` or nothing reads standard input
    file: Option<PathBuf>,
    #[command(flatten)]
    ask: AskArgs,
}

impl Send {
    /// Sends, and prints the uuid once the event is on the relay's disk.
    pub fn run(&self) -> Result<(), CliError> {
        let known = self
            .integration
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric());
        if self.integration.is_empty() || !known {
            let message = "--integration takes the last part of an ingest URL: letters and digits";
            return Err(CliError::Usage(message.to_owned()));
        }
        let body = self.read()?;
        let session = self.ask.open()?;
        let path = format!("/api/webhooks/{}", self.integration);
        let answer = session.ask(Method::POST, &path, body)?;
        session.print_alone("uuid", &answer)
    }

    fn read(&self) -> Result<Bytes, CliError> {
        let mut body = Vec::new();
        if let Some(file) = self.file.as_deref().filter(|file| file.as_os_str() != "-") {
            let what = || CliError::io(format!("cannot read {}", file.display()));
            let file = std::fs::File::open(file).map_err(what())?;
            file.take(MAX_BYTES)
                .read_to_end(&mut body)
                .map_err(what())?;
        } else {
            let read = std::io::stdin()
                .lock()
                .take(MAX_BYTES)
                .read_to_end(&mut body);
            read.map_err(CliError::io("cannot read standard input"))?;
        }
        Ok(body.into())
    }
}
