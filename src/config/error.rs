//! What is said when the configuration cannot be used: which key, where it came
//! from, what was given and what is allowed, each problem on one line.
//!
//! Foreign text is shortened and made printable before it is repeated.

use std::fmt::{self, Write as _};
use std::io;
use std::path::PathBuf;

use super::layers::Origin;
use super::value::printable;

/// How much of a key or a wrong value is repeated, in characters.
const MAX_SHOWN_CHARS: usize = 120;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read as text.
    #[error("file {}: {source}", printable(&path.to_string_lossy()))]
    Read {
        /// As given with `--config`.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not TOML.
    #[error("{origin}, line {line}: {}", printable(&source.message().replace('\n', ", ")))]
    Syntax {
        /// The file.
        origin: Origin,
        /// Counted from 1.
        line: usize,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// Settings that don't exist, or values that are not allowed.
    #[error("{}", lines(problems))]
    Invalid {
        /// All of them; shown one per line.
        problems: Vec<Problem>,
    },
}

fn lines(problems: &[Problem]) -> String {
    let mut lines = String::new();
    for problem in problems {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "{problem}");
    }
    lines.truncate(lines.trim_end().len());
    lines
}

/// One thing wrong with the configuration, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) key: String,
    /// In TOML notation; absent where the key itself is the mistake, as its
    /// value may be a secret under a misspelt name.
    pub(super) given: Option<String>,
    pub(super) origin: Origin,
    pub(super) rule: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            given,
            origin,
            rule,
        } = self;
        out.write_str(&clipped(&printable(key)))?;
        if let Some(given) = given {
            write!(out, " = {}", clipped(given))?;
        }
        write!(out, " ({origin}): {rule}")
    }
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_shortened() {
        let problem = Problem {
            key: "data_dir".to_owned(),
            given: Some("é".repeat(500)),
            origin: Origin::CommandLine,
            rule: "must be shorter".to_owned(),
        };
        let shown = "é".repeat(MAX_SHOWN_CHARS);
        assert_eq!(
            problem.to_string(),
            format!("data_dir = {shown}… (command line): must be shorter")
        );
    }
}
