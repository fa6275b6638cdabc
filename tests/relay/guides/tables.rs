//! What the guide to operating lists is what there is: every class of errors, every alert, every word of
//! the API, every setting and every metric that is named.

use std::collections::BTreeSet;
use std::path::Path;

use postrider::domain::delivery::TOO_OLD;

use super::GUIDES;
use super::page::Page;

const GUIDE: &str = "operating.md";

/// A file of the repository.
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands between the first quotes of each line that holds this.
fn quoted(text: &str, on: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| line.contains(on));
    lines
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect()
}

/// What follows this, up to that.
fn part<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let (_, part) = text.split_once(from).expect(from);
    part.split_once(to).expect(to).0
}

/// The words of a column that are written as code.
fn column(heading: &str, index: usize) -> BTreeSet<String> {
    let page = Page::read(GUIDE);
    let rows = page.rows(heading).into_iter();
    let cells = rows.filter_map(|row| row.get(index).map(|cell| (*cell).to_owned()));
    let words = cells.filter(|cell| cell.starts_with('`') && cell.ends_with('`'));
    words
        .map(|cell| cell.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn every_class_of_errors_is_explained_and_no_other() {
    let outbound = file("src/outbound/mod.rs");
    let mut known = quoted(part(&outbound, "const fn class(", "\n    }\n"), "=>");
    assert!(known.len() >= 7, "{known:?}");
    for path in ["src/actors/delivery.rs", "src/actors/delivery/making.rs"] {
        known.extend(quoted(&file(path), "not_attempted("));
    }
    known.insert(TOO_OLD.to_owned());
    let mut explained = column("What an attempt met", 0);
    explained.remove("status_code");
    assert_eq!(explained, known);
    // What is counted and what is told on the command line are the same words.
    let counted = file("src/actors/metrics/attempts.rs");
    let counted = quoted(part(&counted, "const ERRORS", "];"), "\"");
    known.remove(TOO_OLD);
    assert_eq!(counted, known);
}

#[test]
fn every_alert_is_explained_and_no_other() {
    let rules = file("deploy/prometheus/alerts.yml");
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: BTreeSet<_> = alerts.map(str::to_owned).collect();
    assert_eq!(column("Alerts", 0), alerts);
}

#[test]
fn every_word_of_the_api_is_explained_and_no_other() {
    let errors = file("src/http/error/mod.rs");
    let words = part(&errors, "fn kind(", "\n    }\n")
        .split('"')
        .skip(1)
        .step_by(2);
    let words = words.filter(|word| word.bytes().all(|it| it.is_ascii_uppercase() || it == b'_'));
    let words: BTreeSet<_> = words.map(str::to_owned).collect();
    assert!(words.len() > 10, "{words:?}");
    assert_eq!(column("What the API answers", 1), words);
}

/// Everything in a page that is written as code.
fn code(page: &Page) -> impl Iterator<Item = &str> {
    let outside = page.text.lines().scan(false, |inside, line| {
        let fence = line.trim_start().starts_with("```");
        *inside ^= fence;
        Some((!*inside && !fence).then_some(line))
    });
    outside
        .flatten()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

#[test]
fn every_setting_and_every_metric_that_a_guide_names_exists() {
    let reference = Page::read("configuration.md");
    let settings: BTreeSet<_> = reference
        .headings()
        .map(|it| it.trim_matches('`'))
        .collect();
    let sections: BTreeSet<_> = settings
        .iter()
        .filter_map(|it| it.split_once('.'))
        .collect();
    let sections: BTreeSet<_> = sections.into_iter().map(|(section, _)| section).collect();
    let metrics = file("docs/metrics.md");
    let mut found = 0;
    for guide in GUIDES {
        let page = Page::read(guide);
        for word in code(&page) {
            let name = word.split([' ', '=']).next().unwrap_or_default();
            if name.starts_with("postrider_") && guide != "metrics.md" {
                assert!(metrics.contains(&format!("`{name}`")), "{guide}: {name}");
                found += 1;
            }
            let section = name.split('.').next().unwrap_or_default();
            if name.contains('.') && sections.contains(section) {
                assert!(settings.contains(name), "{guide}: {name} is no setting");
                found += 1;
            }
        }
    }
    assert!(found > 40, "only {found} names were found");
}
