//! `postrider audit`: who changed what, and when.

use clap::Args;

use super::CliError;
use super::ask::AskArgs;
use super::resource::Resource;

/// How many entries are shown unless another number is wanted.
const DEFAULT_LIMIT: &str = "50";

const ENTRIES: Resource = Resource {
    path: "/v1/account/audit",
    plural: "entries",
    prefix: "",
    columns: &["at", "action", "target", "by"],
    apart: &[],
    last: |_| Vec::new(),
};

/// Show who changed what, and when.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider audit
  postrider audit --limit 1000 --json | jq -r '.entries[].action'")]
pub struct Audit {
    /// How many entries, the newest first
    #[arg(long, value_name = "N", default_value = DEFAULT_LIMIT, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    ask: AskArgs,
}

impl Audit {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
        self.ask.open()?.list(&ENTRIES, most)
    }
}
