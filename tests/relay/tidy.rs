//! The house's own rules: which floor may know which, and what no line of it may hold.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What each part of the crate may name of the others.
const FLOORS: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("config", &["domain"]),
    ("telemetry", &["config"]),
    ("store", &["domain"]),
    ("outbound", &["domain"]),
    ("actors", &["domain", "store", "outbound"]),
    ("http", &["domain", "store", "outbound", "actors"]),
    (
        "app",
        &["domain", "store", "outbound", "actors", "http", "config"],
    ),
    (
        "cli",
        &["domain", "store", "http", "config", "app", "telemetry"],
    ),
    ("main", &["cli"]),
];
const MAX_LINES: usize = 430;
const NICE_LINES: usize = 400;

struct Source {
    /// Relative to `src`, with `/`.
    name: String,
    text: String,
    /// The lines that are part of the program: without tests, comments and strings' ends.
    code: Vec<(usize, String)>,
}

impl Source {
    fn room(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 50, "the sources are elsewhere");
    let read = |path: &PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    let files: Vec<_> = files.iter().map(read).collect();
    let of_tests: BTreeSet<_> = files
        .iter()
        .flat_map(|(path, text)| test_files(path, text))
        .collect();
    let source = |(path, text): (PathBuf, String)| {
        // What a test file declares lies in the folder of its name.
        let is_test = of_tests
            .iter()
            .any(|file| path == *file || path.starts_with(file.with_extension("")));
        let code = if is_test { Vec::new() } else { code(&text) };
        let name = path
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        Source { name, text, code }
    };
    files.into_iter().map(source).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// The lines outside of tests, which stand at the bottom of a file or in files of their own.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut code = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            let line = line.split("//").next().unwrap_or_default();
            code.push((index + 1, line.to_owned()));
        } else if lines.next().is_none_or(|(_, item)| !item.ends_with(';')) {
            break;
        }
    }
    code
}

/// The files that a file declares as modules for tests only.
fn test_files(file: &Path, text: &str) -> Vec<PathBuf> {
    let stem = file.file_stem().unwrap();
    let is_root = ["mod", "lib", "main"].iter().any(|root| stem == *root);
    let dir = if is_root {
        file.parent().unwrap().to_owned()
    } else {
        file.with_extension("")
    };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let names = declared.filter_map(|pair| pair[1].strip_suffix(';')?.split("mod ").nth(1));
    names.map(|name| dir.join(format!("{name}.rs"))).collect()
}

/// Reports every line of the program that a rule finds something in.
fn check(rule: &str, find: impl Fn(&Source, &str) -> Option<String>) {
    let mut found = Vec::new();
    for source in sources() {
        for (number, line) in &source.code {
            if let Some(what) = find(&source, line) {
                found.push(format!("src/{}:{number}: {what}", source.name));
            }
        }
    }
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

/// The parts of the crate that a line names: `crate::store::…`, `crate::{domain, …}`.
fn named_rooms(line: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for after in line.split("crate::").skip(1) {
        let group = after
            .strip_prefix('{')
            .and_then(|rest| rest.split('}').next());
        for path in group.unwrap_or(after).split(',') {
            let room: String = path
                .trim()
                .chars()
                .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
                .collect();
            rooms.push(room);
            if group.is_none() {
                break;
            }
        }
    }
    rooms
}

fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

#[test]
fn every_floor_knows_only_those_below() {
    let floors: BTreeMap<_, _> = FLOORS.into_iter().collect();
    check("an import points up or sideways", |source, line| {
        let room = source.room();
        if room == "lib" {
            return None;
        }
        let allowed = floors
            .get(room)
            .unwrap_or_else(|| panic!("{room} has no floor yet"));
        let stranger = named_rooms(line)
            .into_iter()
            .find(|named| named != room && !allowed.contains(&named.as_str()));
        stranger.map(|named| format!("{room} names {named}"))
    });
}

#[test]
fn only_the_store_knows_sled_and_bincode() {
    check(
        "what is on the disk is the store's affair",
        |source, line| {
            let foreign = ["sled", "bincode"]
                .into_iter()
                .find(|name| names(line, name))?;
            (source.room() != "store").then(|| format!("names {foreign}"))
        },
    );
}

#[test]
fn neither_the_domain_nor_the_store_knows_actors() {
    check("no runtime below the actors", |source, line| {
        let foreign = ["actix", "actix_web", "actix_rt"]
            .into_iter()
            .find(|name| names(line, name))?;
        ["domain", "store"]
            .contains(&source.room())
            .then(|| format!("names {foreign}"))
    });
}

#[test]
fn every_message_can_be_refused() {
    check("do_send ignores a full mailbox", |_, line| {
        names(line, "do_send").then(|| "do_send".to_owned())
    });
}

#[test]
fn nothing_panics_by_intention() {
    let words = [
        ".unwrap()",
        ".expect(\"",
        "panic!",
        "todo!",
        "unimplemented!",
        "unreachable!",
    ];
    check("the program does not panic", |_, line| {
        let word = words.into_iter().find(|word| line.contains(word))?;
        Some(word.to_owned())
    });
}

#[test]
fn every_file_says_what_it_is_and_is_one_idea_long() {
    for Source { name, text, .. } in sources() {
        assert!(
            text.starts_with("//! "),
            "src/{name} does not say what it is"
        );
        let lines = text.lines().count();
        if lines > NICE_LINES {
            println!("src/{name} has {lines} lines");
        }
        assert!(lines <= MAX_LINES, "src/{name} has {lines} lines");
    }
}

#[test]
fn the_rules_see_what_they_look_for() {
    assert_eq!(
        named_rooms("use crate::{app, telemetry::init};"),
        ["app", "telemetry"]
    );
    assert_eq!(
        named_rooms("fn f(x: crate::store::Log, y: crate::domain::Id)"),
        ["store", "domain"]
    );
    assert!(names("use sled::Db;", "sled") && !names("handled", "sled"));
    let text = "fn a() {} // .unwrap()\n#[cfg(test)]\nmod fixtures;\n#[cfg(test)]\nmod tests { x.unwrap() }\n";
    assert_eq!(code(text), [(1, "fn a() {} ".to_owned())]);
    let elsewhere = test_files(Path::new("a/b.rs"), text);
    assert_eq!(elsewhere, [Path::new("a/b/fixtures.rs")]);
    assert_eq!(
        test_files(Path::new("a/mod.rs"), text),
        [Path::new("a/fixtures.rs")]
    );
}

#[test]
fn every_bound_that_the_documentation_names_is_where_it_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("docs/bounds.md")).unwrap();
    let mut found = 0;
    for (before, after) in table
        .match_indices("` (`src/")
        .map(|(at, _)| table.split_at(at))
    {
        let name = before.rsplit('`').next().unwrap();
        let file = after["` (`".len()..].split('`').next().unwrap();
        let source = std::fs::read_to_string(root.join(file)).expect(file);
        assert!(
            source.contains(&format!("const {name}: ")),
            "{file} has no {name}"
        );
        found += 1;
    }
    assert!(found > 40, "only {found} bounds were found");
}

#[test]
fn every_planted_bug_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let planted = std::fs::read_dir(root.join("tests/planted")).unwrap();
    let patches: Vec<PathBuf> = planted.map(|entry| entry.unwrap().path()).collect();
    assert!(patches.len() > 20, "they are elsewhere");
    for patch in patches {
        let check = std::process::Command::new("git")
            .current_dir(root)
            .args(["apply", "--check"])
            .arg(&patch)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert!(check.status.success(), "{}: {said}", patch.display());
    }
}
