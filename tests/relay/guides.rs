//! The guides at their word: what `docs/` shows is taken out of the Markdown as it stands and run, against
//! a real relay and with the real clients; and what it lists is compared with the code.
//!
//! Nothing is left out by being forgotten: a program or a command that no test runs is a failure, and so
//! is a table that lacks a word or has one too many.

mod page;
mod sending;
mod sessions;
mod tables;
mod verify;
mod verifying;

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;

use crate::support::relay::program;
use page::{Page, anchor};

const GUIDES: [&str; 7] = [
    "bounds.md",
    "configuration.md",
    "logs.md",
    "metrics.md",
    "operating.md",
    "quick-start.md",
    "verifying-signatures.md",
];

/// The programs that tests run: the guide, the section that they stand in, the file they are saved as.
fn programs() -> BTreeSet<(&'static str, &'static str, &'static str)> {
    let sent = sending::PROGRAMS.iter();
    let sent = sent.map(|file| (sending::GUIDE, sending::SECTION, *file));
    let verified = verifying::PROGRAMS.iter();
    let verified = verified.map(|(section, file)| (verifying::GUIDE, *section, *file));
    sent.chain(verified).collect()
}

/// A port that nobody listens on, out of those that the system gives to nobody by itself: no other test can
/// get it between looking and listening.
fn free_port() -> u16 {
    loop {
        let chance = u16::try_from(getrandom::u64().unwrap() % 15_000).unwrap();
        let port = 15_000 + chance;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

#[test]
fn there_is_no_guide_but_these() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "md"))
        .collect();
    files.sort();
    assert_eq!(files, GUIDES);
}

#[test]
fn every_program_and_every_command_is_run_by_a_test() {
    let mut left = programs();
    for guide in GUIDES {
        for block in Page::read(guide).blocks {
            let at = format!("docs/{guide}:{}", block.line);
            let file = block.file();
            match (block.language.as_str(), file) {
                ("json", _) => {
                    let json: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
                    assert!(json.is_ok(), "{at}: {json:?}");
                }
                ("text", _) => {}
                ("sh", None) => assert!(sessions::GUIDES.contains(&guide), "{at} is not run"),
                (language, Some(file)) => {
                    // A second one of the same name is none that is run.
                    let before = left.len();
                    left.retain(|it| *it != (guide, block.section.as_str(), file));
                    assert!(
                        left.len() < before,
                        "{at}: {file}, in {language}, is not run"
                    );
                }
                (language, None) => {
                    panic!("{at}: {language:?} without a file's name in its first line is not run")
                }
            }
        }
    }
    assert!(left.is_empty(), "these are nowhere: {left:?}");
}

#[test]
fn the_reference_of_settings_is_what_the_program_prints() {
    let output = program().args(["config", "--reference"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    // Lines alone: two whole pages side by side would be of no use.
    let page = Page::read("configuration.md").text;
    let differ = printed
        .lines()
        .zip(page.lines())
        .find(|(new, old)| new != old);
    assert!(
        differ.is_none() && printed == page,
        "docs/configuration.md is not up to date: {differ:?}. Renew it:\n\n    \
         cargo run -- config --reference > docs/configuration.md\n"
    );
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut followed = 0;
    for guide in GUIDES {
        let page = Page::read(guide);
        for link in page.links() {
            if link.contains("://") {
                continue;
            }
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                root.join("docs").join(guide)
            } else {
                root.join("docs").join(path)
            };
            assert!(target.exists(), "docs/{guide}: {link}");
            if !fragment.is_empty() {
                let there = Page::at(&target);
                let mut anchors = there.headings().map(anchor);
                assert!(anchors.any(|it| it == fragment), "docs/{guide}: {link}");
            }
            followed += 1;
        }
    }
    assert!(followed > 15, "only {followed} links were found");
}
