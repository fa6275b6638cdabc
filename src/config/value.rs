//! The notations that settings are written in: durations, rate limits, and the
//! one-line TOML in which values are shown.
//!
//! Pure text in, pure values out; nothing here knows which setting it serves.
//! Parsing never panics or wraps around: what does not fit is an error.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use toml::Value;

use crate::domain::duration::{format_duration, parse_duration};

/// Most requests a rate limit may allow in one window.
pub const MAX_LIMIT: u32 = 1_000_000;
/// Shortest window of a rate limit. Windows are whole seconds, as the headers count in seconds.
pub const MIN_WINDOW: Duration = Duration::from_secs(1);
/// Longest window of a rate limit.
pub const MAX_WINDOW: Duration = Duration::from_hours(24);

/// A rate limit: none, or so many requests in each fixed window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Requests are not counted.
    Off,
    /// At most `limit` requests in each window.
    Window {
        /// Requests per window, from 1 to [`MAX_LIMIT`].
        limit: u32,
        /// Length of the window, in whole seconds from [`MIN_WINDOW`] to [`MAX_WINDOW`].
        window: Duration,
    },
}

/// The text is not a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"off\" or requests/window, such as \"100/15m\"")]
pub struct LimitError;

impl FromStr for Limit {
    type Err = LimitError;

    fn from_str(text: &str) -> Result<Self, LimitError> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let (limit, window) = text.split_once('/').ok_or(LimitError)?;
        if !limit.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(LimitError); // `u32::from_str` would let a `+` pass.
        }
        let limit: u32 = limit.parse().map_err(|_| LimitError)?;
        let window = parse_duration(window).map_err(|_| LimitError)?;
        let fits = (1..=MAX_LIMIT).contains(&limit)
            && (MIN_WINDOW..=MAX_WINDOW).contains(&window)
            && window.subsec_nanos() == 0;
        if fits {
            Ok(Self::Window { limit, window })
        } else {
            Err(LimitError)
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => out.write_str("off"),
            Self::Window { limit, window } => write!(out, "{limit}/{}", format_duration(*window)),
        }
    }
}

/// A number of bytes, and the same for people if it is a round one: `16777216 (16 MiB)`.
pub(super) fn size(bytes: i64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB"].into_iter();
    let sizes = units
        .zip(1..)
        .map(|(unit, power)| (unit, 1024_i64.pow(power)));
    let round = sizes.filter(|(_, size)| bytes > 0 && bytes % size == 0);
    match round.last() {
        Some((unit, size)) => format!("{bytes} ({} {unit})", bytes / size),
        None => bytes.to_string(),
    }
}

/// Writes a value in TOML on one line, whatever characters it holds.
pub(super) fn notation(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(notation).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", quoted(key), notation(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
            value.to_string()
        }
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if disturbs_a_line(c) => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Makes foreign text safe to print within one line of a terminal or a log:
/// control characters, line separators and direction overrides become escapes.
pub fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if disturbs_a_line(c) {
            printable.extend(c.escape_default());
        } else {
            printable.push(c);
        }
    }
    printable
}

/// All of these lie within U+0000 to U+FFFF, so four hexadecimal digits name them.
fn disturbs_a_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written() {
        let window = Duration::from_mins(15);
        assert_eq!("100/15m".parse(), Ok(Limit::Window { limit: 100, window }));
        assert_eq!("off".parse(), Ok(Limit::Off));
        assert_eq!(Limit::Window { limit: 100, window }.to_string(), "100/15m");
        assert_eq!(Limit::Off.to_string(), "off");
    }

    #[test]
    fn a_limit_outside_its_bounds_is_refused() {
        for text in [
            "",
            "100",
            "/15m",
            "100/",
            "0/1s",
            "+1/1s",
            "1000001/1s",
            "1/0s",
            "1/1500ms",
            "1/2d",
            "1/1s/1s",
            "Off",
        ] {
            assert_eq!(text.parse::<Limit>(), Err(LimitError), "{text:?}");
        }
    }

    #[test]
    fn round_sizes_are_shown_for_people() {
        for (bytes, expected) in [
            (0, "0"),
            (1000, "1000"),
            (1024, "1024 (1 KiB)"),
            (262_144, "262144 (256 KiB)"),
            (16 << 20, "16777216 (16 MiB)"),
            (1 << 50, "1125899906842624 (1 PiB)"),
        ] {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn any_text_is_shown_on_one_line_and_reads_back_the_same() {
        for text in [
            "plain",
            "quo\"te \\ back",
            "two\nlines\u{7f}\u{9b}",
            "over\u{202e}ride",
            "é 😀",
        ] {
            let shown = notation(&Value::String(text.to_owned()));
            assert!(!shown.chars().any(disturbs_a_line), "{shown:?}");
            let back: toml::Table = format!("key = {shown}").parse().unwrap();
            assert_eq!(back["key"].as_str(), Some(text));
        }
    }

    #[test]
    fn printable_text_keeps_what_is_harmless() {
        assert_eq!(printable("naïve \"quotes\" 😀"), "naïve \"quotes\" 😀");
        assert_eq!(
            printable("a\r\nb\u{1b}[31m\u{2028}"),
            "a\\r\\nb\\u{1b}[31m\\u{2028}"
        );
    }
}
