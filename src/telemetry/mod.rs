//! Logging: one line for each record on standard error, as text or as JSON.
//!
//! - Libraries log at `warn` and never below, whatever is asked for: their finer levels print headers and
//!   bodies, and with them secrets.
//! - What repeats is limited (`repeats`), so that no stranger fills a disk by it.
//! - The levels can be changed while it runs ([`set_levels`]). After [`fall_silent`] nothing is logged, so that
//!   what a process says as it ends is its last line.
//! - What is logged is up to the caller; nothing here redacts. `docs/logs.md` has every field.

mod line;
mod repeats;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard};

use chrono::Utc;
use env_logger::Target;
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
        writer: writer(json, Target::Stderr),
    });
    log::set_logger(logger)?;
    log::set_max_level(highest(log.levels));
    Ok(())
}

/// Changes what is logged from now on; a line that is being written is done when this returns.
pub fn set_levels(levels: LogLevels) {
    if let Some(logger) = LOGGER.get() {
        logger.set_levels(levels);
        log::set_max_level(highest(levels));
    }
}

/// Logs nothing more: what is said after this is the last that is said, whatever other threads still do.
pub fn fall_silent() {
    set_levels(LogLevels::of(LevelFilter::Off));
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

fn writer(json: bool, target: Target) -> env_logger::Logger {
    let mut builder = env_logger::Builder::new();
    builder.target(target);
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

    fn set_levels(&self, levels: LogLevels) {
        *self.levels.write().unwrap_or_else(PoisonError::into_inner) = levels;
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
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};
    use std::{io, thread};

    use super::*;

    const THREADS: usize = 4;
    const ROUNDS: usize = 200;

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

    /// Counts the bytes that arrive; slow enough for others to come between a decision and its line.
    struct Counted(Arc<AtomicUsize>);

    impl io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            thread::yield_now();
            self.0.fetch_add(bytes.len(), Ordering::SeqCst);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written after the log fell silent, while some threads still log.
    fn written_after_silence() -> usize {
        let written = Arc::new(AtomicUsize::new(0));
        let logger = Logger {
            levels: RwLock::new(LogLevels::of(LevelFilter::Info)),
            repeats: Repeats::default(),
            writer: writer(true, Target::Pipe(Box::new(Counted(Arc::clone(&written))))),
        };
        let all_log = Barrier::new(THREADS + 1);
        let record = || {
            Record::builder()
                .target(AUDIT)
                .level(log::Level::Info)
                .build()
        };
        let until_then = thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    logger.log(&record());
                    all_log.wait();
                    while logger.enabled(record().metadata()) {
                        logger.log(&record());
                    }
                    logger.log(&record());
                });
            }
            all_log.wait();
            logger.set_levels(LogLevels::of(LevelFilter::Off));
            written.load(Ordering::SeqCst)
        });
        assert!(until_then > 0, "something was logged before");
        written.load(Ordering::SeqCst) - until_then
    }

    #[test]
    fn nothing_is_written_after_the_log_fell_silent_whoever_still_logs() {
        for round in 0..ROUNDS {
            assert_eq!(written_after_silence(), 0, "bytes in round {round}");
        }
    }
}
