//! Takes typed values out of the layers, and remembers everything on the way:
//! the effective setting, its origin, and each problem met.
//!
//! The settings that exist are the ones that are read here; a key in any layer
//! that nobody read is a mistake. A value is judged even where a higher layer
//! hides it, and a secret's text never appears in a setting or a problem.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use toml::Value;

use super::layers::{Entry, Given, Origin};
use super::value::{notation, size};
use super::{ConfigError, Problem, Setting};
use crate::domain::duration::{format_duration, parse_duration};

/// Longest path, in bytes: Linux's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;
/// Edits that may lie between a misspelt key and the one suggested.
const MAX_EDITS: usize = 3;
/// Shown in place of a secret.
const MASK: &str = "\"********\"";

/// How bare text becomes TOML.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Flag,
    Integer,
    Text,
    List,
}

type Parse<T> = Box<dyn Fn(&Value) -> Option<T>>;

/// What a setting may hold: how it is read, and the same in words.
pub(super) struct Kind<T> {
    shape: Shape,
    allowed: String,
    parse: Parse<T>,
}

/// Yes or no.
pub(super) fn flag() -> Kind<bool> {
    Kind {
        shape: Shape::Flag,
        allowed: "true or false".to_owned(),
        parse: Box::new(Value::as_bool),
    }
}

/// A whole number within bounds.
pub(super) fn whole_number<T: TryFrom<i64>>(bounds: RangeInclusive<i64>) -> Kind<T> {
    Kind {
        shape: Shape::Integer,
        allowed: format!("a whole number from {} to {}", bounds.start(), bounds.end()),
        parse: Box::new(move |value| {
            value
                .as_integer()
                .filter(|number| bounds.contains(number))?
                .try_into()
                .ok()
        }),
    }
}

/// A number of bytes within bounds.
pub(super) fn bytes<T: TryFrom<i64>>(bounds: RangeInclusive<i64>) -> Kind<T> {
    let (least, most) = (size(*bounds.start()), size(*bounds.end()));
    Kind {
        allowed: format!("a number of bytes from {least} to {most}"),
        ..whole_number(bounds)
    }
}

/// A duration within bounds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> Kind<Duration> {
    let (least, most) = (
        format_duration(*bounds.start()),
        format_duration(*bounds.end()),
    );
    Kind {
        shape: Shape::Text,
        allowed: format!(
            "a duration from {least} to {most}, such as \"500ms\", \"15s\" or \"30d\""
        ),
        parse: Box::new(move |value| {
            parse_duration(value.as_str()?)
                .ok()
                .filter(|duration| bounds.contains(duration))
        }),
    }
}

/// Text that the type itself reads and bounds.
pub(super) fn text<T: FromStr>(allowed: impl Into<String>) -> Kind<T> {
    Kind {
        shape: Shape::Text,
        allowed: allowed.into(),
        parse: Box::new(|value| value.as_str()?.parse().ok()),
    }
}

/// The same, where empty text stands for nothing.
pub(super) fn optional<T: FromStr + 'static>(allowed: impl Into<String>) -> Kind<Option<T>> {
    Kind {
        shape: Shape::Text,
        allowed: allowed.into(),
        parse: Box::new(|value| match value.as_str()? {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        }),
    }
}

/// A path of the file system, or empty text.
pub(super) fn path_or_nothing() -> Kind<PathBuf> {
    Kind {
        shape: Shape::Text,
        allowed: format!("a path of at most {MAX_PATH_BYTES} bytes"),
        parse: Box::new(|value| {
            let path = value.as_str()?;
            let usable = path.len() <= MAX_PATH_BYTES && !path.contains('\0');
            usable.then(|| PathBuf::from(path))
        }),
    }
}

/// A path of the file system.
pub(super) fn path() -> Kind<PathBuf> {
    Kind {
        shape: Shape::Text,
        allowed: format!("a path of 1 to {MAX_PATH_BYTES} bytes"),
        parse: Box::new(|value| {
            let path = value.as_str()?;
            let usable = (1..=MAX_PATH_BYTES).contains(&path.len()) && !path.contains('\0');
            usable.then(|| PathBuf::from(path))
        }),
    }
}

/// A list of so many items of one kind.
pub(super) fn list<T: 'static>(item: Kind<T>, length: RangeInclusive<usize>) -> Kind<Vec<T>> {
    Kind {
        shape: Shape::List,
        allowed: format!(
            "a list of {} to {} items, each {}",
            length.start(),
            length.end(),
            item.allowed
        ),
        parse: Box::new(move |value| {
            let items = value
                .as_array()
                .filter(|items| length.contains(&items.len()))?;
            items.iter().map(&item.parse).collect()
        }),
    }
}

impl Shape {
    /// Text that does not fit stays text, and fails as such.
    fn read(self, text: &str) -> Value {
        match self {
            Self::Flag => text
                .trim()
                .parse()
                .map_or_else(|_| text.into(), Value::Boolean),
            Self::Integer => text
                .trim()
                .parse()
                .map_or_else(|_| text.into(), Value::Integer),
            Self::Text => text.into(),
            Self::List if text.trim().is_empty() => Value::Array(Vec::new()),
            Self::List => Value::Array(text.split(',').map(|item| item.trim().into()).collect()),
        }
    }
}

/// Reads settings one by one out of the layers.
pub(super) struct Reader<'a> {
    entries: &'a [Entry],
    secrets: &'a [&'a str],
    settings: Vec<Setting>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(entries: &'a [Entry], secrets: &'a [&'a str]) -> Self {
        Self {
            entries,
            secrets,
            settings: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The effective value: that of the highest layer whose value is allowed.
    /// After a problem reading goes on with a lower layer's value, so that all
    /// problems are found in one go; `None` only if no layer has a usable one.
    pub(super) fn read<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        let secret = self.secrets.contains(&key);
        let mut effective = None;
        for entry in self.entries.iter().filter(|entry| entry.key == key) {
            let value = match &entry.given {
                Given::Toml(value) => value.clone(),
                Given::Text(text) => kind.shape.read(text),
            };
            let shown = if secret {
                MASK.to_owned()
            } else {
                notation(&value)
            };
            match (kind.parse)(&value) {
                Some(value) => effective = Some((value, shown, entry.origin.clone())),
                None => self.problems.push(Problem {
                    key: key.to_owned(),
                    given: Some(shown),
                    origin: entry.origin.clone(),
                    rule: format!("must be {}", kind.allowed),
                }),
            }
        }
        let Some((value, shown, origin)) = effective else {
            self.problems.push(Problem {
                key: key.to_owned(),
                given: None,
                origin: Origin::Default,
                rule: format!("needs {}", kind.allowed),
            });
            return None;
        };
        self.settings.push(Setting {
            key: key.to_owned(),
            value: shown,
            origin,
            secret,
            allowed: kind.allowed.clone(),
        });
        Some(value)
    }

    /// Reports a pair of settings whose first must not be smaller than the second.
    /// Silent where one of them is wrong by itself.
    pub(super) fn at_least<T: PartialOrd>(
        &mut self,
        (key, value): (&str, T),
        (floor, least): (&str, T),
    ) {
        let wrong_already = self
            .problems
            .iter()
            .any(|problem| problem.key == key || problem.key == floor);
        if value >= least || wrong_already {
            return;
        }
        let (Some(setting), Some(floor)) = (self.setting(key), self.setting(floor)) else {
            return;
        };
        let rule = format!(
            "must be at least {} = {} ({})",
            floor.key, floor.value, floor.origin
        );
        let Setting {
            key, value, origin, ..
        } = setting.clone();
        self.problems.push(Problem {
            key,
            given: Some(value),
            origin,
            rule,
        });
    }

    fn setting(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// Ends the reading: the value built from the settings, or every problem.
    pub(super) fn finish<T>(mut self, built: Option<T>) -> Result<(T, Vec<Setting>), ConfigError> {
        if built.is_some() {
            self.reject_unknown();
        }
        match built {
            Some(built) if self.problems.is_empty() => Ok((built, self.settings)),
            _ => Err(ConfigError::Invalid {
                problems: self.problems,
            }),
        }
    }

    fn reject_unknown(&mut self) {
        for Entry { key, given, origin } in self.entries {
            let empty = matches!(given, Given::Toml(Value::Table(table)) if table.is_empty());
            let names = self.names_in(key);
            if self.setting(key).is_some() || (empty && !names.is_empty()) {
                continue;
            }
            let rule = if names.is_empty() {
                self.unknown(key)
            } else {
                format!("is a section, with {}", names.join(", "))
            };
            let (key, origin) = (key.clone(), origin.clone());
            self.problems.push(Problem {
                key,
                given: None,
                origin,
                rule,
            });
        }
    }

    fn unknown(&self, key: &str) -> String {
        let mut rule = "unknown setting".to_owned();
        if let Some(nearest) = self.nearest(key) {
            rule = format!("{rule}; did you mean {nearest}");
        }
        let mut section = key;
        while let Some((parent, _)) = section.rsplit_once('.') {
            section = parent;
            let names = self.names_in(section);
            if !names.is_empty() {
                return format!("{rule}; [{section}] has {}", names.join(", "));
            }
        }
        format!("{rule}; there are {}", self.names_in("").join(", "))
    }

    /// What stands directly below a section; nothing if it is none.
    fn names_in(&self, section: &str) -> Vec<&str> {
        let mut names = Vec::new();
        for setting in &self.settings {
            let rest = match section {
                "" => Some(setting.key.as_str()),
                _ => setting
                    .key
                    .strip_prefix(section)
                    .and_then(|rest| rest.strip_prefix('.')),
            };
            let name = rest.and_then(|rest| rest.split('.').next());
            names.extend(name.filter(|name| !names.contains(name)));
        }
        names
    }

    /// The known key that was probably meant: the same name elsewhere, or a slip away.
    fn nearest(&self, key: &str) -> Option<&str> {
        fn leaf(key: &str) -> &str {
            key.rsplit('.').next().unwrap_or(key)
        }
        let edits = |known: &str| {
            if leaf(known) == leaf(key) {
                1
            } else {
                strsim::levenshtein(known, key)
            }
        };
        let known = self.settings.iter().map(|setting| setting.key.as_str());
        known
            .min_by_key(|known| edits(known))
            .filter(|known| edits(known) <= MAX_EDITS)
    }
}
