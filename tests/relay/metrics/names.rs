//! That names are the same everywhere: in a reading, in the documentation, in the rules, on the dashboard.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{read_with, settle};
use crate::support::relay::Relay;

const RULES: &str = "deploy/prometheus/alerts.yml";
const DASHBOARD: &str = "deploy/grafana/postrider.json";
const TABLE: &str = "docs/metrics.md";
/// What a histogram is read by.
const PARTS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// See the documents' clients: what `tests/run` found or installed is not left out in silence.
const PROMISED: &str = "POSTRIDER_TEST_CLIENTS";

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect(name)
}

fn reading() -> String {
    let relay = Relay::start();
    let _settled = settle(&relay, 1, 1);
    read_with(&relay, &[]).text()
}

/// The kind of each metric of a reading.
fn kinds(reading: &str) -> BTreeMap<&str, &str> {
    let types = reading
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split_once(' ').unwrap()).collect()
}

/// Every word of a text that would be one of our metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words = text.split(|letter| !is_part(letter));
    words
        .filter(|word| word.starts_with("postrider_"))
        .collect()
}

/// `promtool`, if it is here; if not, says so, and fails where `tests/run` has promised it.
fn promtool() -> Option<Command> {
    let own = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/bin/promtool");
    let program = if own.exists() { own } else { "promtool".into() };
    if Command::new(&program).arg("--version").output().is_ok() {
        return Some(Command::new(program));
    }
    println!("!!! NOT RUN: promtool is not here (tests/run installs it)");
    let promised = std::env::var(PROMISED).unwrap_or_default();
    assert!(promised.split(' ').all(|client| client != "promtool"));
    None
}

#[track_caller]
fn succeeds(mut command: Command, input: &str) {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn every_metric_is_documented_and_nothing_else_is() {
    let reading = reading();
    let table = file(TABLE);
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeMap<_, _> = rows
        .map(|row| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap().trim_end_matches('`');
            (name, cells.next().unwrap())
        })
        .collect();
    assert_eq!(documented, kinds(&reading));
    for series in reading.lines().filter(|line| !line.starts_with('#')) {
        let (_, labels) = series.split_once('{').unwrap_or_default();
        let labels = labels.split('}').next().unwrap_or_default();
        for pair in labels.split(',').filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once('=').unwrap();
            let value = value.trim_matches('"');
            let is_computed = ["le", "version"].contains(&label);
            let is_told =
                is_computed || value.ends_with("xx") || table.contains(&format!("`{value}`"));
            assert!(is_told, "{TABLE} does not tell of {series}");
        }
    }
}

#[test]
fn the_rules_and_the_dashboard_name_only_what_there_is() {
    let reading = reading();
    let kinds = kinds(&reading);
    let exists = |name: &str| {
        let of_histogram = PARTS.iter().find_map(|part| name.strip_suffix(part));
        of_histogram.is_some_and(|of| kinds.get(of) == Some(&"histogram"))
            || kinds.get(name).is_some_and(|kind| *kind != "histogram")
    };
    let (rules, dashboard) = (file(RULES), file(DASHBOARD));
    let used = &names(&rules) | &names(&dashboard);
    for name in &used {
        assert!(exists(name), "there is no {name}");
    }
    for name in kinds.keys() {
        let parts = PARTS.map(|part| format!("{name}{part}"));
        let shown = names(&dashboard);
        let is_shown = shown.contains(name) || parts.iter().any(|part| shown.contains(&**part));
        assert!(is_shown, "the dashboard does not show {name}");
    }
    let dashboard: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn prometheus_takes_the_rules_and_finds_nothing_wrong_with_a_reading() {
    let reading = reading();
    if let Some(mut promtool) = promtool() {
        promtool.args(["check", "metrics"]);
        succeeds(promtool, &reading);
    }
    if let Some(mut promtool) = promtool() {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES);
        promtool.args(["check", "rules"]).arg(rules);
        succeeds(promtool, "");
    }
}
