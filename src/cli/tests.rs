//! The command line as a whole: every command shows how it is used, and what it shows can be typed.

use clap::{Command, CommandFactory, Parser};

use super::Cli;

/// Every command and group of commands, with the words that lead to it.
fn commands() -> Vec<(String, Command)> {
    let root = Cli::command();
    let mut found = vec![(root.get_name().to_owned(), root)];
    let mut index = 0;
    while let Some((name, command)) = found.get(index) {
        let next = command
            .get_subcommands()
            .map(|it| (format!("{name} {}", it.get_name()), it.clone()));
        let next: Vec<_> = next.collect();
        found.extend(next);
        index += 1;
    }
    found
}

/// The words of a line as a shell would have them, up to where its output goes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut until) = (Vec::new(), String::new(), None);
    for letter in line.chars() {
        match (letter, until) {
            (_, Some(end)) if letter == end => until = None,
            ('\'', None) => until = Some('\''),
            ('(', None) if word.ends_with('$') => until = Some(')'),
            (' ', None) => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    let ends = |word: &String| ["|", ">", "<"].contains(&word.as_str());
    let end = words.iter().position(ends).unwrap_or(words.len());
    words.truncate(end);
    words
}

#[test]
fn every_command_shows_examples_that_can_be_typed() {
    Cli::command().debug_assert();
    let found = commands();
    assert!(found.len() > 30, "only {} commands were found", found.len());
    for (name, command) in found {
        let help = command.get_after_help().map(ToString::to_string);
        let help = help.unwrap_or_default();
        let examples = help.split("Examples:\n").nth(1);
        let examples = examples.unwrap_or_else(|| panic!("{name} has no examples"));
        assert!(examples.contains(&name), "{name} shows others");
        for line in examples.lines() {
            assert!(line.len() <= 100, "{name}: wrapped by a terminal: {line}");
            let (_, line) = line.split_at(line.find("postrider ").expect(line));
            let line = line.replace("ACCT_ID", "acct_000000000");
            if let Err(error) = Cli::try_parse_from(words(&line)) {
                panic!("{line}: {error}");
            }
        }
    }
}

#[test]
fn help_shows_where_a_secret_goes_and_never_the_secret() {
    for (name, command) in commands() {
        for argument in command.get_arguments() {
            let shows = argument.get_env().is_some() && !argument.is_hide_env_values_set();
            assert!(
                !shows,
                "{name} shows the environment: {}",
                argument.get_id()
            );
        }
    }
}
