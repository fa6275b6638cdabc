//! Programs that start the relay and watch it.

use std::process::{Command, Stdio};

/// A command that is started by another program.
pub fn started_by(tracer: &str, arguments: &[String], command: &Command) -> Command {
    let mut started = Command::new(tracer);
    started.args(arguments).arg(command.get_program());
    started.args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => started.env(name, value),
            None => started.env_remove(name),
        };
    }
    started
}
