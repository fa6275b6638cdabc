//! `postrider config`: the effective settings, as a file that could be used again.
//!
//! Each line ends in a comment that says where its value came from. Secrets are
//! masked and commented out, so that a saved copy never sets a mask as a value.

use std::fmt::Write as _;

use clap::Args;

use super::{CliError, SettingsArgs, print, style};
use crate::config::{Origin, Setting, reference};

/// Widest line whose comment is still aligned with the others, in characters.
const MAX_ALIGNED_CHARS: usize = 44;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// Print the settings.
#[derive(Debug, Args)]
pub struct PrintConfig {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Print what each setting does, its default and what is allowed, as Markdown
    #[arg(long, exclusive = true)]
    reference: bool,
}

impl PrintConfig {
    /// Does it.
    pub fn run(&self) -> Result<(), CliError> {
        if self.reference {
            return print(&reference()?);
        }
        let settings = self.settings.load()?.settings;
        print(&render(&settings, style::stdout_has_colour()))
    }
}

/// Writes the settings as TOML, grouped in sections, each with its origin.
pub fn render(settings: &[Setting], colour: bool) -> String {
    let mut sections: Vec<(&str, Vec<(String, &Origin)>)> = vec![("", Vec::new())];
    for setting in settings {
        let (section, name) = setting.key.rsplit_once('.').unwrap_or(("", &setting.key));
        let mask = if setting.secret { "# " } else { "" };
        let line = (format!("{mask}{name} = {}", setting.value), &setting.origin);
        match sections.iter_mut().find(|(known, _)| *known == section) {
            Some((_, lines)) => lines.push(line),
            None => sections.push((section, vec![line])),
        }
    }

    let widths = sections
        .iter()
        .flat_map(|(_, lines)| lines)
        .map(|(line, _)| line.chars().count());
    let width = widths
        .filter(|width| *width <= MAX_ALIGNED_CHARS)
        .max()
        .unwrap_or(0);
    let blocks = sections.iter().filter(|(_, lines)| !lines.is_empty());
    let blocks: Vec<String> = blocks
        .map(|(name, lines)| block(name, lines, width, colour))
        .collect();
    blocks.join("\n")
}

fn block(name: &str, lines: &[(String, &Origin)], width: usize, colour: bool) -> String {
    let mut block = match name {
        "" => String::new(),
        name => paint(&format!("[{name}]"), BOLD, colour) + "\n",
    };
    for (line, origin) in lines {
        let hue = if **origin == Origin::Default {
            DIM
        } else {
            CYAN
        };
        let comment = paint(&format!("# {origin}"), hue, colour);
        // Writing to a String cannot fail.
        let _ = writeln!(block, "{line:<width$}  {comment}");
    }
    block
}

fn paint(text: &str, style: &str, colour: bool) -> String {
    if colour {
        format!("{style}{text}{RESET}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, Sources};

    fn setting(key: &str, value: &str, origin: Origin) -> Setting {
        Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            origin,
            secret: false,
            allowed: String::new(),
        }
    }

    #[test]
    fn settings_are_grouped_and_their_origins_aligned() {
        let settings = [
            setting(
                "queue.capacity",
                "5",
                Origin::Environment("POSTRIDER_QUEUE__CAPACITY".to_owned()),
            ),
            setting("data_dir", "\"data/store\"", Origin::CommandLine),
            setting("log.level", "\"info\"", Origin::Default),
            setting(
                "queue.max_bytes",
                "67108864",
                Origin::File(PathBuf::from("relay.toml")),
            ),
        ];
        let expected = "\
data_dir = \"data/store\"  # command line

[queue]
capacity = 5             # environment POSTRIDER_QUEUE__CAPACITY
max_bytes = 67108864     # file relay.toml

[log]
level = \"info\"           # default
";
        assert_eq!(render(&settings, false), expected);
    }

    #[test]
    fn the_output_can_be_saved_and_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let saved = dir.path().join("line\nbreak.toml");
        let overrides = [
            ("data_dir", "odd \"path\" \\ # é\n"),
            ("outbound.allow", "127.0.0.0/8,fd00::/8"),
        ];
        let overrides = overrides
            .map(|(key, text)| (key.to_owned(), text.to_owned()))
            .to_vec();
        let first = Config::load(Sources {
            overrides,
            ..Sources::default()
        })
        .unwrap();

        std::fs::write(&saved, render(&first.settings, false)).unwrap();
        let second = Config::load(Sources {
            file: Some(saved.clone()),
            ..Sources::default()
        })
        .unwrap();
        assert_eq!(second.config, first.config);
        assert!(
            second
                .settings
                .iter()
                .filter(|setting| !setting.secret)
                .all(|setting| setting.origin == Origin::File(saved.clone()))
        );

        // A path with a line break, now in every comment, must not break out of it.
        std::fs::write(&saved, render(&second.settings, false)).unwrap();
        let third = Config::load(Sources {
            file: Some(saved),
            ..Sources::default()
        })
        .unwrap();
        assert_eq!(third.config, first.config);
    }

    #[test]
    fn a_secret_is_commented_out() {
        let mut secret = setting("secrets.token", "\"********\"", Origin::Default);
        secret.secret = true;
        assert_eq!(
            render(&[secret], false),
            "[secrets]\n# token = \"********\"  # default\n"
        );
    }

    #[test]
    fn colour_changes_nothing_but_the_colour() {
        let settings = Config::load(Sources::default()).unwrap().settings;
        let mut coloured = render(&settings, true);
        assert!(coloured.contains("\x1b[1m[queue]\x1b[0m"));
        for style in [BOLD, DIM, CYAN, RESET] {
            coloured = coloured.replace(style, "");
        }
        assert_eq!(coloured, render(&settings, false));
    }
}
