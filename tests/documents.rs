//! The tables in README.md are printed from the same data as the program. Run with
//! `KEYWAY_WRITE_DOCUMENTS=1` to write them anew.

#[path = "support/readme.rs"]
mod readme;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use keyway::command::{Handling, supported};
use keyway::config::KEYS;
use keyway::telemetry::metrics;

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
    readme::check_tables(&[
        ("commands", commands()),
        ("keys", keys()),
        ("metrics", metrics::markdown()),
    ]);
}
