//! The tables in README.md are printed from the same data as the program. Run with
//! `KEYWAY_WRITE_DOCUMENTS=1` to write them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use keyway::command::{Handling, supported};
use keyway::config::KEYS;
use keyway::telemetry::metrics;

fn readme() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

/// Puts `content` between the markers of `name`.
fn with_block(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let (before, rest) = text
        .split_once(&begin)
        .expect("README.md has the opening marker");
    let (_, after) = rest
        .split_once(&end)
        .expect("README.md has the closing marker");
    format!("{before}{begin}{content}{end}{after}")
}

/// One row for each way of handling, with the commands that are handled so.
fn commands() -> String {
    let mut by_handling: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for command in supported().filter(|command| command.handling != Handling::Container) {
        let name = command.name.to_uppercase().replace('|', " ");
        let mut handling = command.handling.describe();
        if command.across.is_some() {
            handling +=
                "; over several slots computed from the parts, if `cross_slot_reads = \"emulate\"`";
        }
        by_handling.entry(handling).or_default().push(name);
    }
    let mut out = String::from("| what Keyway does | commands |\n|---|---|\n");
    for (handling, mut names) in by_handling {
        names.sort();
        writeln!(out, "| {handling} | {} |", names.join(", ")).expect("a string takes it");
    }
    out
}

fn keys() -> String {
    let mut out = String::from("| key | default | what |\n|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            Some("") => "none".to_owned(),
            Some(default) => format!("`{default}`"),
            None if key.is_required() => "required".to_owned(),
            None => "none".to_owned(),
        };
        let help = key
            .help
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ");
        writeln!(out, "| `{}` | {default} | {help} |", key.path()).expect("a string takes it");
    }
    out
}

#[test]
fn the_tables_of_the_readme_are_true() {
    let text = fs::read_to_string(readme()).expect("README.md is there");
    let mut expected = with_block(&text, "commands", &commands());
    expected = with_block(&expected, "keys", &keys());
    expected = with_block(&expected, "metrics", &metrics::markdown());
    if std::env::var_os("KEYWAY_WRITE_DOCUMENTS").is_some() {
        fs::write(readme(), expected).expect("README.md can be written");
        return;
    }
    assert!(
        text == expected,
        "the tables of README.md are out of date: run \
         KEYWAY_WRITE_DOCUMENTS=1 cargo test --test documents"
    );
}
