//! `postrider man`: manual pages, made from the same words as `--help`.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};

use super::{Cli, CliError, print};

/// Print manual pages.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider man | man -l -
  postrider man --all-in /usr/local/share/man/man1")]
pub struct Man {
    /// Write a page for each command into this directory instead
    #[arg(long, value_name = "DIR")]
    all_in: Option<PathBuf>,
}

impl Man {
    /// Prints or writes them.
    pub fn run(&self) -> Result<(), CliError> {
        match &self.all_in {
            None => {
                let mut text = Vec::new();
                let rendered = clap_mangen::Man::new(Cli::command()).render(&mut text);
                rendered.map_err(CliError::io("cannot make a manual page"))?;
                print(&String::from_utf8_lossy(&text))
            }
            Some(dir) => {
                std::fs::create_dir_all(dir).map_err(cannot_write(dir))?;
                clap_mangen::generate_to(Cli::command(), dir).map_err(cannot_write(dir))
            }
        }
    }
}

fn cannot_write(dir: &Path) -> impl FnOnce(std::io::Error) -> CliError + use<> {
    CliError::io(format!("cannot write manual pages into {}", dir.display()))
}
