//! The layers of the configuration, flattened: every dotted key that was given,
//! what it was given as, and where.
//!
//! Never judges a value and never reads the process environment: that is passed in.
//! Entries come out lowest layer first, so a later one for the same key wins.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::value::printable;
use super::{ConfigError, Sources};

/// The lowest layer: the file shipped with the relay.
pub(super) const DEFAULTS: &str = include_str!("../../data/postrider.toml");
/// Largest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

const ENV_PREFIX: &str = "POSTRIDER_";
/// Variables with the prefix that speak to other parts of the program, and what each is.
pub(super) const NOT_SETTINGS: [(&str, &str); 3] = [
    (
        "POSTRIDER_URL",
        "the relay that the commands speak to, where it is not the one on this machine",
    ),
    ("POSTRIDER_API_KEY", "the key that they need for that"),
    (
        "POSTRIDER_BOOTSTRAP_KEY",
        "the owner's key of an empty store, in place of one that is made: of `postrider keys generate`. Later \
         starts ignore it",
    ),
];

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The defaults shipped with the relay.
    Default,
    /// The file given with `--config`.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// An option of the command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path) => write!(out, "file {}", printable(&path.to_string_lossy())),
            Self::Environment(name) => write!(out, "environment {}", printable(name)),
            Self::CommandLine => out.write_str("command line"),
        }
    }
}

/// A value as it was given.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    /// Typed already, in a file.
    Toml(Value),
    /// Bare text whose type the setting decides: environment, command line.
    Text(String),
}

/// One value that some layer gives to some key.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub given: Given,
    pub origin: Origin,
}

/// Reads all layers, lowest first.
pub(super) fn collect(sources: Sources) -> Result<Vec<Entry>, ConfigError> {
    let mut entries = parse(DEFAULTS, &Origin::Default)?;
    if let Some(path) = sources.file {
        let text = read(&path).map_err(|source| ConfigError::Read {
            path: path.clone(),
            source,
        })?;
        entries.extend(parse(&text, &Origin::File(path))?);
    }
    entries.extend(
        sources
            .env
            .into_iter()
            .filter_map(|(name, text)| from_environment(name, text)),
    );
    entries.extend(sources.overrides.into_iter().map(|(key, text)| Entry {
        key,
        given: Given::Text(text),
        origin: Origin::CommandLine,
    }));
    Ok(entries)
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    // One byte more than allowed tells "full" from "too large", also for a pipe.
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
}

fn parse(text: &str, origin: &Origin) -> Result<Vec<Entry>, ConfigError> {
    let table: Table = text.parse().map_err(|source: toml::de::Error| {
        let before = source
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        ConfigError::Syntax {
            origin: origin.clone(),
            line,
            source: Box::new(source),
        }
    })?;
    let mut entries = Vec::new();
    flatten(table, "", origin, &mut entries);
    Ok(entries)
}

/// The depth is bounded by the TOML parser's own limit on nesting.
fn flatten(table: Table, section: &str, origin: &Origin, entries: &mut Vec<Entry>) {
    for (name, value) in table {
        let key = if section.is_empty() {
            name
        } else {
            format!("{section}.{name}")
        };
        match value {
            // An empty table stays: it may be a misspelt section.
            Value::Table(table) if !table.is_empty() => flatten(table, &key, origin, entries),
            value => entries.push(Entry {
                key,
                given: Given::Toml(value),
                origin: origin.clone(),
            }),
        }
    }
}

fn from_environment(name: String, text: String) -> Option<Entry> {
    let path = name.strip_prefix(ENV_PREFIX)?;
    if NOT_SETTINGS.iter().any(|(other, _)| *other == name) {
        return None;
    }
    let key = path.to_ascii_lowercase().replace("__", ".");
    Some(Entry {
        key,
        given: Given::Text(text),
        origin: Origin::Environment(name),
    })
}

/// The environment variable of a setting.
pub(super) fn variable(key: &str) -> String {
    format!(
        "{ENV_PREFIX}{}",
        key.replace('.', "__").to_ascii_uppercase()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        from_environment(name.to_owned(), String::new()).map(|entry| entry.key)
    }

    #[test]
    fn environment_names_map_to_dotted_keys() {
        assert_eq!(
            environment("POSTRIDER_DATA_DIR").as_deref(),
            Some("data_dir")
        );
        assert_eq!(
            environment("POSTRIDER_RATE_LIMIT__INGEST").as_deref(),
            Some("rate_limit.ingest")
        );
        for key in ["data_dir", "rate_limit.ingest"] {
            assert_eq!(environment(&variable(key)).as_deref(), Some(key));
        }
    }

    #[test]
    fn other_variables_are_left_alone() {
        for name in [
            "PATH",
            "postrider_data_dir",
            "POSTRIDER_URL",
            "POSTRIDER_API_KEY",
            "POSTRIDER_BOOTSTRAP_KEY",
        ] {
            assert_eq!(environment(name), None, "{name}");
        }
    }

    #[test]
    fn a_syntax_error_names_the_file_and_the_line() {
        let origin = Origin::File(PathBuf::from("relay.toml"));
        let error = parse("[queue]\ncapacity = 5\n\nmax_bytes 7\n", &origin)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("file relay.toml, line 4: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let large = dir.path().join("large.toml");
        std::fs::write(&large, vec![b'#'; 1024 * 1024 + 1]).unwrap();
        let binary = dir.path().join("binary.toml");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();

        for path in [
            dir.path().join("missing.toml"),
            large,
            binary,
            dir.path().to_owned(),
        ] {
            let sources = Sources {
                file: Some(path.clone()),
                ..Sources::default()
            };
            let error = collect(sources).unwrap_err();
            assert!(matches!(error, ConfigError::Read { .. }), "{error:?}");
            assert!(
                error.to_string().contains(&path.display().to_string()),
                "{error}"
            );
        }
    }

    #[test]
    fn hostile_nesting_is_an_error_and_not_a_stack_overflow() {
        for text in [
            "a.".repeat(100_000) + "b = 1",
            format!("a = {}", "[".repeat(100_000)),
        ] {
            assert!(matches!(
                parse(&text, &Origin::Default),
                Err(ConfigError::Syntax { .. })
            ));
        }
    }
}
