//! `postrider completions`: what a shell needs to finish commands that are being typed.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, CliError, print};

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider completions bash > ~/.local/share/bash-completion/completions/postrider
  postrider completions zsh > ~/.zfunc/_postrider
  postrider completions fish > ~/.config/fish/completions/postrider.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints them.
    pub fn run(&self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "postrider", &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}
