//! What is logged, and how.

use std::str::FromStr;

use log::LevelFilter;

/// The target of a line for each request.
pub const ACCESS: &str = "access";
/// The target of a line for each attempt.
pub const ATTEMPT: &str = "attempt";

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Up to which level.
    pub levels: LogLevels,
    /// The form of a line.
    pub format: LogFormat,
}

/// Up to which level there are lines: `info`, or `info,access=debug,attempt=off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLevels {
    /// Of the relay itself; libraries never log below `warn`.
    pub relay: LevelFilter,
    /// Of requests.
    pub access: LevelFilter,
    /// Of attempts.
    pub attempt: LevelFilter,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogLevels {
    /// The same for all.
    pub fn of(level: LevelFilter) -> Self {
        Self {
            relay: level,
            access: level,
            attempt: level,
        }
    }
}

impl FromStr for LogLevels {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(',').map(str::trim);
        let relay = parts.next().ok_or(())?.parse().map_err(|_| ())?;
        let mut levels = Self::of(relay);
        for part in parts {
            let (target, level) = part.split_once('=').ok_or(())?;
            let level = level.parse().map_err(|_| ())?;
            match target {
                ACCESS => levels.access = level,
                ATTEMPT => levels.attempt = level,
                _ => return Err(()),
            }
        }
        Ok(levels)
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_attempts_may_have_levels_of_their_own() {
        let levels = |text: &str| text.parse::<LogLevels>();
        assert_eq!(levels("warn"), Ok(LogLevels::of(LevelFilter::Warn)));
        let own = LogLevels {
            relay: LevelFilter::Info,
            access: LevelFilter::Debug,
            attempt: LevelFilter::Off,
        };
        assert_eq!(levels("info,access=debug, attempt=off"), Ok(own));
        for text in [
            "",
            "loud",
            "info,",
            "info,debug",
            "access=info",
            "info,hyper=trace",
            "info,access=",
        ] {
            assert_eq!(levels(text), Err(()), "{text}");
        }
    }
}
