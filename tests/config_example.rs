//! `proxy.toml.example` is the manual of the configuration: it must parse, name every key, and tell
//! each default truly.

use std::collections::BTreeSet;
use std::path::Path;

use keyway::config::{Environment, KEYS, resolve};

const EXAMPLE: &str = include_str!("../proxy.toml.example");

fn example_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy.toml.example")
}

/// The `section.key` of each line that sets a key (`key = `) or shows one without default (`#key = `).
fn keys_of(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let key = line
            .strip_prefix(prefix)
            .and_then(|line| line.split_once(" = "))
            .map(|(key, _)| key);
        if let Some(key) = key
            && key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            found.insert(format!("{section}.{key}"));
        }
    }
    found
}

#[test]
fn no_key_is_missing() {
    let given = keys_of(EXAMPLE, "");
    let shown = keys_of(EXAMPLE, "#");
    for key in KEYS {
        let path = key.path();
        let is_optional = key.default.is_none() && !key.is_required();
        if is_optional {
            assert!(
                shown.contains(&path),
                "the example lacks a line `#{}`",
                key.name
            );
        } else {
            assert!(given.contains(&path), "the example lacks a line for {path}");
        }
    }
    assert_eq!(given.len() + shown.len(), KEYS.len(), "{given:?} {shown:?}");
}

#[test]
fn every_default_is_true() {
    let effective = resolve(Some(&example_path()), &Environment::default())
        .unwrap_or_else(|errors| panic!("the example is refused:\n{errors}"));
    for key in KEYS {
        let path = key.path();
        let Some(default) = key.default else { continue };
        let (text, is_default) = effective.text_of(&path).expect("it has a default");
        assert!(!is_default, "{path} is not set in the example");
        assert_eq!(text, default, "the example's {path} is not the default");
    }
}

#[test]
fn the_keys_without_default_are_shown_with_values_that_work() {
    let text: String = EXAMPLE
        .lines()
        .map(|line| {
            let is_key = line.starts_with('#')
                && line[1..].starts_with(|c: char| c.is_ascii_lowercase())
                && line.contains(" = ");
            format!("{}\n", if is_key { &line[1..] } else { line })
        })
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("proxy.toml");
    std::fs::write(&path, text).expect("the folder is ours");
    let environment = Environment::of(&[
        ("CLIENT_PASSWORD", "one"),
        ("REDIS_PASSWORD", "two"),
        ("ADMIN_TOKEN", "three"),
    ]);
    let effective = resolve(Some(&path), &environment).unwrap_or_else(|errors| panic!("{errors}"));
    let settings = effective.settings;
    assert!(
        settings
            .listen
            .password
            .is_some_and(|secret| secret.matches(b"one"))
    );
    assert!(
        settings
            .upstream
            .password
            .is_some_and(|secret| secret.matches(b"two"))
    );
}

#[test]
fn short_names_are_mentioned() {
    for key in KEYS {
        if let Some(short) = key.short {
            assert!(EXAMPLE.contains(&format!("Short name: {short}")), "{short}");
        }
    }
}
