//! The reference of all settings, in Markdown: what `docs/configuration.md` holds.
//!
//! Nothing is written here that stands elsewhere. Which settings there are, what type each has and what
//! it may hold comes out of the reading itself (`sections`), what it is without anybody's doing out of
//! the lowest layer, and the sentences are that file's own comments: for people who read the file, and
//! for those who read the reference.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::layers::{DEFAULTS, NOT_SETTINGS, variable};
use super::value::size;
use super::{Config, ConfigError, Setting, Sources};

const OPENING: &str = "\
# Configuration

Every setting: what it does, what it is by default, and what it may hold. A test compares this page with
what `postrider config --reference` prints.

A setting is given in one of these places. Each wins over those below it:

| where | how |
| --- | --- |
| the command line | `--data-dir DIR` and `--listen ADDR:PORT`, for `data_dir` and `server.listen` |
| the environment | `POSTRIDER_QUEUE__CAPACITY=5000`: `POSTRIDER_`, and the name with `__` for each dot. Lists are separated by commas: `POSTRIDER_DELIVERY__RETRY_SCHEDULE=0s,10s,5m` |
| a file | `--config FILE`, in TOML: `capacity = 5000` below `[queue]`, or `queue.capacity = 5000` |
| the defaults | [`data/postrider.toml`](../data/postrider.toml), which is part of the program |

Durations are written `500ms`, `15s`, `5m`, `2h` or `30d`. Sizes are bytes.

`postrider config` prints what is in force, and where each value came from. An unknown name or a value that is
not allowed stops the start with status 2, and with a line that says which setting, where it was given, and what
is allowed. Settings are read once: a change holds from the next start on.

## At the top of the file
";

/// All settings, as a page of Markdown.
pub fn reference() -> Result<String, ConfigError> {
    let explained = explanations(DEFAULTS);
    let sentences = |key: &str| explained.get(key).map_or("", String::as_str);
    let mut page = OPENING.to_owned();
    let mut section = "";
    let settings = Config::load(Sources::default())?.settings;
    for setting in &settings {
        let (of, _) = setting.key.rsplit_once('.').unwrap_or_default();
        if of != section {
            section = of;
            // Writing to a String cannot fail.
            let _ = write!(page, "\n## `[{section}]`\n\n{}\n", sentences(section));
        }
        let _ = write!(page, "\n{}", entry(setting, sentences(&setting.key)));
    }
    page.push_str("\n## Variables that are no settings\n\n| variable | is |\n| --- | --- |\n");
    for (name, is) in NOT_SETTINGS {
        let _ = writeln!(page, "| `{name}` | {is} |");
    }
    Ok(page)
}

fn entry(setting: &Setting, sentences: &str) -> String {
    let Setting {
        key,
        value,
        allowed,
        secret,
        ..
    } = setting;
    let default = match value.parse() {
        _ if *secret => "none; its value is never shown".to_owned(),
        Ok(bytes) if key.ends_with("_bytes") => size(bytes),
        _ => format!("`{value}`"),
    };
    let variable = variable(key);
    format!(
        "### `{key}`\n\n{sentences}\n\n\
         - Default: {default}\n\
         - Allowed: {allowed}\n\
         - Environment: `{variable}`\n"
    )
}

/// The comments of a file of settings, by the setting or the section right below each.
fn explanations(text: &str) -> HashMap<String, String> {
    let mut explained = HashMap::new();
    let mut section = String::new();
    let mut above: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            above.push(comment);
            continue;
        }
        let comment = std::mem::take(&mut above).join("\n");
        if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            explained.insert(section.clone(), comment);
        } else if let Some((name, _)) = line.split_once(" = ") {
            let dot = if section.is_empty() { "" } else { "." };
            explained.insert(format!("{section}{dot}{name}"), comment);
        }
    }
    explained
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that are promised to the outside; a test of `sections` sees to it that all others are explained.
    const PROMISED: [&str; 28] = [
        "data_dir",
        "server.listen",
        "server.workers",
        "shutdown_timeout",
        "server.trusted_proxies",
        "ingest.max_body_bytes",
        "ingest.max_batch_bytes",
        "queue.capacity",
        "queue.max_bytes",
        "store.cache_bytes",
        "store.min_free_bytes",
        "retention.events",
        "retention.dead",
        "retention.max_bytes",
        "rate_limit.auth_failures",
        "secrets.key_file",
        "rate_limit.manage",
        "rate_limit.ingest",
        "delivery.retry_schedule",
        "delivery.timeout",
        "delivery.max_in_flight",
        "delivery.disable_after",
        "outbound.allow",
        "log.level",
        "log.format",
        "POSTRIDER_URL",
        "POSTRIDER_API_KEY",
        "POSTRIDER_BOOTSTRAP_KEY",
    ];

    #[test]
    fn every_setting_and_section_is_there_with_all_that_is_to_be_said() {
        let page = reference().unwrap();
        for promised in PROMISED {
            assert!(page.contains(&format!("`{promised}`")), "no {promised}");
        }
        let settings = Config::load(Sources::default()).unwrap().settings;
        let parts: Vec<&str> = page.split("\n### ").skip(1).collect();
        assert_eq!(parts.len(), settings.len());
        for (part, setting) in parts.into_iter().zip(settings) {
            let (name, said) = part.split_once("\n\n").unwrap();
            assert_eq!(name, format!("`{}`", setting.key));
            let sentences = said.split("\n\n- Default: ").next().unwrap();
            assert!(sentences.ends_with(['.', ')']), "{name}: {sentences:?}");
            assert!(said.contains(&format!("- Allowed: {}\n", setting.allowed)));
        }
        for part in page.split("\n## `[").skip(1) {
            let sentence = part.split("\n\n").nth(1).unwrap();
            assert!(sentence.ends_with('.'), "{part}");
        }
    }

    #[test]
    fn a_secret_has_no_default_to_show() {
        let part = reference().unwrap();
        let part = part.split("### `secrets.key`\n").nth(1).unwrap();
        assert!(part.contains("- Default: none; its value is never shown\n"));
    }

    #[test]
    fn comments_belong_to_what_is_right_below_them() {
        let explained = explanations("# Not this.\n\n# One,\n# two.\na = 1\n# Of b.\n[b]\nc = 2\n");
        let of = |key: &str| explained.get(key).map(String::as_str);
        assert_eq!(of("a"), Some("One,\ntwo."));
        assert_eq!(of("b"), Some("Of b."));
        assert_eq!(of("b.c"), Some(""));
    }
}
