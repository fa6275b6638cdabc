//! `postrider serve`: runs the relay until it is told to stop.

use std::io::IsTerminal;

use actix::System;
use clap::Args;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, SettingsArgs, print};
use crate::{app, telemetry};

const BOOTSTRAP_KEY: &str = "POSTRIDER_BOOTSTRAP_KEY";

/// Run the relay.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postrider serve
  postrider serve --config /etc/postrider.toml
  postrider serve --data-dir /var/lib/postrider/store --listen 127.0.0.1:0")]
pub struct Serve {
    #[command(flatten)]
    settings: SettingsArgs,
}

impl Serve {
    /// Runs until a signal or a fatal error.
    pub fn run(&self) -> Result<(), CliError> {
        let config = self.settings.load()?.config;
        telemetry::init(&config.log)?;
        allow_open_files();
        // Whatever is made from here on is for this user only.
        umask(Mode::from_raw_mode(0o077));
        let bootstrap_key = std::env::var(BOOTSTRAP_KEY)
            .ok()
            .filter(|key| !key.is_empty());
        System::new().block_on(async move {
            let mut signals = Signals::listen()?;
            let running = tokio::select! {
                running = app::start(&config, bootstrap_key.map(SecretString::from)) => running?,
                () = signals.next() => return Ok(()),
            };
            if let Some(key) = &running.first_key {
                show_first_key(key);
            }
            print(&format!("postrider ready http://{}\n", running.address))?;
            tokio::select! {
                () = signals.next() => {}
                error = running.failed() => return Err(error.into()),
            }
            log::info!("stopping");
            tokio::select! {
                () = running.stop() => {}
                () = signals.next() => log::warn!("stopped at once; nothing accepted is lost"),
            }
            Ok(())
        })
    }
}

/// Every connection is an open file, and many systems start a process with room for few: takes what
/// this process may have.
fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        log::warn!("the limit on open files stays as it is: {error}");
    }
}

/// The owner's key is shown once, and only to a person: a log is no place for it.
fn show_first_key(key: &SecretString) {
    if std::io::stderr().is_terminal() {
        eprintln!(
            "\nThis is a first start. The owner's API key, shown only now:\n\n  {}\n",
            key.expose_secret()
        );
    } else {
        log::info!("this is a first start; make a key with `postrider keys create NAME`");
    }
}

/// What asks the process to end.
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens for SIGTERM, SIGINT and a closed terminal from now on.
    pub fn listen() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(CliError::io("cannot listen for signals"));
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
