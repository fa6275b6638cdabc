//! `postrider tasks`: what is being done with many deliveries.

use bytes::Bytes;
use clap::{Args, Subcommand};
use http::Method;

use super::CliError;
use super::ask::{All, AskArgs, One};
use super::resource::Resource;

/// Tasks, and how they are shown.
pub const TASKS: Resource = Resource {
    path: "/v1/tasks",
    plural: "tasks",
    prefix: "task_",
    columns: &["id", "kind", "status", "percent", "affected", "created_at"],
    apart: &[],
    last: |_| Vec::new(),
};

/// Look at tasks, and stop them.
#[derive(Debug, Subcommand)]
pub enum Tasks {
    /// List tasks: those under way, and the latest that are over
    #[command(after_help = "Examples:
  postrider tasks list
  postrider tasks list --json | jq -r '.tasks[] | select(.status == \"running\") | .id'")]
    List(All),
    /// Show how far a task is, and what it is about
    #[command(after_help = "Examples:
  postrider tasks show TASK_ID
  postrider tasks show TASK_ID --json | jq .percent")]
    Show(One),
    /// Stop a task; what it has done stays done
    #[command(after_help = "Examples:
  postrider tasks stop TASK_ID")]
    Stop(Stop),
}

/// Stop a task.
#[derive(Debug, Args)]
pub struct Stop {
    /// Its id, as lists show it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    ask: AskArgs,
}

impl Tasks {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        match self {
            Self::List(all) => all.list(&TASKS),
            Self::Show(one) => one.show(&TASKS),
            Self::Stop(stop) => {
                let session = stop.ask.open()?;
                let place = TASKS.place(&stop.id)?;
                let task = session.ask(Method::DELETE, &place, Bytes::new())?;
                session.show(&TASKS, &task)
            }
        }
    }
}
