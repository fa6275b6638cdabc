//! Logging: one line for each record on standard error, as text or as JSON.
//!
//! - Libraries log at `warn` and never below, whatever is asked for: their finer levels print headers and
//!   bodies, and with them secrets.
//! - What repeats is limited (`repeats`), so that no stranger fills a disk by it.
//! - The levels can be changed while it runs ([`set_levels`]).
//! - What is logged is up to the caller; nothing here redacts. `docs/logs.md` has every field.

mod line;
mod repeats;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use chrono::Utc;
use log::{LevelFilter, Log, Metadata, Record};

use self::repeats::Repeats;
use crate::config::{self, LogFormat, LogLevels};

/// The target of the relay's own records begins with the crate's name.
const OUR_TARGET: &str = env!("CARGO_CRATE_NAME");
/// The target of what was done, which is never left out.
const AUDIT: &str = "audit";
/// Logs what strangers send as errors of ours, a line for each.
const SILENT_TARGET: &str = "actix_http";

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A logger is installed already.
    #[error("logging is set up already")]
    AlreadySet(#[from] log::SetLoggerError),
}

/// Lets pass what is to be logged; how it is written is `env_logger`'s.
struct Logger {
    levels: RwLock<LogLevels>,
    repeats: Repeats,
    writer: env_logger::Logger,
}

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// Starts logging to standard error, once per process.
pub fn init(log: &config::Log) -> Result<(), TelemetryError> {
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let logger = LOGGER.get_or_init(|| Logger {
        levels: RwLock::new(log.levels),
        repeats: Repeats::default(),
        writer: writer(json),
    });
    log::set_logger(logger)?;
    log::set_max_level(highest(log.levels));
    Ok(())
}

/// Changes what is logged from now on; a line that is being written is done when this returns.
pub fn set_levels(levels: LogLevels) {
    if let Some(logger) = LOGGER.get() {
        *logger
            .levels
            .write()
            .unwrap_or_else(PoisonError::into_inner) = levels;
        log::set_max_level(highest(levels));
    }
}

/// Logs nothing more: what is said after this is the last that is said, whatever other threads still do.
pub fn fall_silent() {
    set_levels(LogLevels {
        relay: LevelFilter::Off,
        access: LevelFilter::Off,
        attempt: LevelFilter::Off,
    });
}

/// Says how much was left out because it repeated itself. To be called now and then.
pub fn tell_left_out() {
    if let Some(logger) = LOGGER.get() {
        logger
            .repeats
            .tell_left_out(Utc::now().timestamp(), &logger.writer);
    }
}

/// Libraries may always warn.
fn highest(levels: LogLevels) -> LevelFilter {
    let LogLevels {
        relay,
        access,
        attempt,
    } = levels;
    relay.max(access).max(attempt)
}

fn writer(json: bool) -> env_logger::Logger {
    let mut builder = env_logger::Builder::new();
    builder.target(env_logger::Target::Stderr);
    builder.filter_level(LevelFilter::Trace);
    builder.format(move |out, record| {
        let line = if json {
            line::json(record, Utc::now())?
        } else {
            line::text(record, Utc::now(), out.default_level_style(record.level()))
        };
        writeln!(out, "{line}")
    });
    builder.build()
}

/// Up to which level a target is logged.
fn level_of(target: &str, levels: LogLevels) -> LevelFilter {
    let is_in = |whole: &str| {
        let rest = target.strip_prefix(whole);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    match target {
        config::ACCESS => levels.access,
        config::ATTEMPT => levels.attempt,
        AUDIT => levels.relay,
        _ if is_in(OUR_TARGET) => levels.relay,
        _ if is_in(SILENT_TARGET) => LevelFilter::Off,
        _ => levels.relay.min(LevelFilter::Warn),
    }
}

fn is_enabled(metadata: &Metadata<'_>, levels: LogLevels) -> bool {
    metadata.level() <= level_of(metadata.target(), levels)
}

impl Logger {
    fn levels(&self) -> RwLockReadGuard<'_, LogLevels> {
        self.levels.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_enabled(metadata, *self.levels())
    }

    fn log(&self, record: &Record<'_>) {
        // Held while it writes, so that whoever changes the levels knows what comes after.
        let levels = self.levels();
        let admits =
            || record.target() == AUDIT || self.repeats.admit(record, Utc::now().timestamp());
        if is_enabled(record.metadata(), *levels) && admits() {
            self.writer.log(record);
        }
    }

    fn flush(&self) {
        self.writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_never_log_below_warn_and_requests_have_a_level_of_their_own() {
        let levels = LogLevels {
            relay: LevelFilter::Trace,
            access: LevelFilter::Debug,
            attempt: LevelFilter::Off,
        };
        for (target, level) in [
            ("postrider", LevelFilter::Trace),
            ("postrider::http", LevelFilter::Trace),
            ("postrider_of_others", LevelFilter::Warn),
            ("hyper::client", LevelFilter::Warn),
            ("actix_http", LevelFilter::Off),
            ("actix_http::h1", LevelFilter::Off),
            ("access", LevelFilter::Debug),
            ("attempt", LevelFilter::Off),
            ("audit", LevelFilter::Trace),
        ] {
            assert_eq!(level_of(target, levels), level, "{target}");
        }
        let quiet = LogLevels::of(LevelFilter::Error);
        assert_eq!(level_of("hyper", quiet), LevelFilter::Error);
        assert_eq!(highest(levels), LevelFilter::Trace);
    }
}
