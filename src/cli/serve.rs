//! `postrider serve`: runs the relay until it is told to stop.

use std::io::IsTerminal;
use std::time::Duration;

use actix::System;
use clap::Args;
use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, SettingsArgs, print};
use crate::{app, telemetry};

/// How often it is told how many lines of the log were left out.
const TELL_LEFT_OUT_EVERY: Duration = Duration::from_secs(5);
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
            self.keep_running(&running, &mut signals).await?;
            log::info!("stopping");
            tokio::select! {
                () = running.stop() => {}
                () = signals.next() => log::warn!("stopped at once; nothing accepted is lost"),
            }
            Ok(())
        })
    }
}

impl Serve {
    /// Runs until it is to stop. SIGHUP has the levels of the log read again, unless there is a terminal
    /// that may have been closed.
    async fn keep_running(
        &self,
        running: &app::Running,
        signals: &mut Signals,
    ) -> Result<(), CliError> {
        let has_terminal = std::io::stderr().is_terminal();
        let mut ticks = tokio::time::interval(TELL_LEFT_OUT_EVERY);
        loop {
            tokio::select! {
                asked = signals.ask() => match asked {
                    Asked::Hangup if !has_terminal => self.read_levels_again(),
                    _ => return Ok(()),
                },
                error = running.failed() => return Err(error.into()),
                _ = ticks.tick() => telemetry::tell_left_out(),
            }
        }
    }

    fn read_levels_again(&self) {
        match self.settings.load() {
            Ok(loaded) => {
                telemetry::set_levels(loaded.config.log.levels);
                log::info!("log.level was read again; other settings count from the next start");
            }
            Err(error) => log::warn!("the settings cannot be read again: {error}"),
        }
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
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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
        self.ask().await;
    }

    async fn ask(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Hangup,
        }
    }
}

/// What a signal asks for.
enum Asked {
    Stop,
    /// To read settings again, or to end with the terminal.
    Hangup,
}
