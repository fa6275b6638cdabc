//! `postrider secrets`: the key that signing secrets are sealed under. The local operator's alone.

use clap::{Args, Subcommand};
use http::Method;

use super::ask::{LocalAskArgs, print_json};
use super::{CliError, print};

/// The key that signing secrets are sealed under.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Make a new key and seal all secrets under it
    #[command(
        after_help = "The new key is put in front of the others in the key file; make a new copy of the file.
The old keys stay in it for the backups that need them, and can be removed from its end
when none does any more.

Examples:
  postrider secrets rotate"
    )]
    Rotate(Rotate),
}

/// Make a new key.
#[derive(Debug, Args)]
pub struct Rotate {
    #[command(flatten)]
    ask: LocalAskArgs,
}

impl Secrets {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        let Self::Rotate(rotate) = self;
        let session = rotate.ask.open()?;
        let done = session.ask(Method::POST, "/local/secrets/rotate", "")?;
        if session.json {
            return print_json(&done);
        }
        print(&format!(
            "{} secrets are sealed under the key {}; make a new copy of the key file\n",
            done["resealed"],
            done["key_id"].as_str().unwrap_or_default()
        ))
    }
}
