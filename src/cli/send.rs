//! `postrider send`: sends one event and prints its uuid, or many and prints theirs.

mod lines;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;

use super::CliError;
use super::ask::AskArgs;

/// The largest file that is read: more than any relay takes.
const MAX_BYTES: u64 = 32 << 20;

/// Send an event, or many.
#[derive(Debug, Args)]
#[command(
    after_help = "With --ndjson, each line is an event. They are sent in batches, each of which is accepted
whole or not at all; at the first that is refused it ends and says which line is to blame.

Examples:
  postrider send --integration INTEGRATION_KEY data/samples/order.completed.json
  postrider send --integration INTEGRATION_KEY --json < event.json
  postrider send --integration INTEGRATION_KEY --ndjson events.ndjson > uuids
  postrider send --integration INTEGRATION_KEY --ndjson - < events.ndjson"
)]
pub struct Send {
    /// The integration's key: the last part of its ingest URL
    #[arg(long, short, value_name = "INTEGRATION_KEY")]
    integration: String,
    /// A file with {"event": …, "data": …}; `-` or nothing reads standard input
    #[arg(conflicts_with = "ndjson")]
    file: Option<PathBuf>,
    /// A file with an event on each line; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    ndjson: Option<PathBuf>,
    #[command(flatten)]
    ask: AskArgs,
}

impl Send {
    /// Sends, and prints the uuid once an event is on the relay's disk.
    pub fn run(&self) -> Result<(), CliError> {
        let known = self
            .integration
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric());
        if self.integration.is_empty() || !known {
            let message = "--integration takes the last part of an ingest URL: letters and digits";
            return Err(CliError::Usage(message.to_owned()));
        }
        let path = format!("/api/webhooks/{}", self.integration);
        if let Some(file) = &self.ndjson {
            let input = BufReader::new(open(Some(file))?);
            return lines::send(&self.ask.open()?, &format!("{path}/batch"), input);
        }
        let file = self.file.as_deref();
        let mut body = Vec::new();
        let read = open(file)?.take(MAX_BYTES).read_to_end(&mut body);
        read.map_err(CliError::io("cannot read the event"))?;
        let session = self.ask.open()?;
        let answer = session.ask(Method::POST, &path, body)?;
        session.print_alone("uuid", &answer)
    }
}

/// A file; `-` or nothing is standard input.
fn open(file: Option<&Path>) -> Result<Box<dyn Read>, CliError> {
    match file.filter(|file| file.as_os_str() != "-") {
        Some(file) => {
            let what = format!("cannot read {}", file.display());
            Ok(Box::new(File::open(file).map_err(CliError::io(what))?))
        }
        None => Ok(Box::new(std::io::stdin().lock())),
    }
}
