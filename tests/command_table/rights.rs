//! Categories and the use of keys are what the servers report: in `COMMAND` for each command, in `ACL CAT` for each
//! category.

use std::collections::{BTreeMap, BTreeSet};

use keyway::command::{KeyUse, supported};

use crate::server::{Reply, Server, describes_commands};
use crate::{REDIS, VALKEY};

/// Rows of which a server says otherwise, and why.
#[rustfmt::skip]
const EXPLAINED: &[(&str, &str, &str)] = &[
    (REDIS, "wait", "it blocks, and Valkey says so; Redis 7.0 does not call it blocking"),
    (VALKEY, "wait", "as Redis 7.0: Valkey 7.2"),
    (VALKEY, "waitaof", "as wait: Valkey 7.2"),
];

#[derive(Default)]
struct Told {
    categories: BTreeSet<String>,
    keys: Vec<KeyUse>,
}

/// The programs that tell what is compared.
fn programs() -> impl Iterator<Item = &'static str> {
    let all = [REDIS, VALKEY].into_iter();
    all.filter(|binary| describes_commands(binary))
}

fn told(entries: &[Reply], all: &mut BTreeMap<String, Told>) {
    for entry in entries {
        let fields = entry.array();
        let flags = fields[2].array();
        if flags.iter().any(|flag| flag.text() == "module") {
            // Redis 8 puts vector sets into no category; the table has those that their flags amount to.
            continue;
        }
        let mut command = Told::default();
        command
            .categories
            .extend(fields[6].array().iter().map(Reply::text));
        for spec in fields[8].array() {
            let flags: Vec<String> = spec
                .field("flags")
                .array()
                .iter()
                .map(Reply::text)
                .collect();
            let has = |flag: &str| flags.iter().any(|own| own.eq_ignore_ascii_case(flag));
            // Channels of shards; and of `SORT` what nobody can tell.
            if !has("not_key") && spec.field("begin_search").field("type").text() != "unknown" {
                command.keys.push(KeyUse {
                    reads: has("access"),
                    writes: has("insert") || has("update") || has("delete"),
                });
            }
        }
        all.insert(fields[0].text(), command);
        told(fields[9].array(), all);
    }
}

// contract: R2
#[test]
fn rights_are_what_the_servers_report() {
    let mut compared = 0;
    for binary in programs() {
        let mut server = Server::start(binary);
        let mut all = BTreeMap::new();
        told(server.ask(&[b"COMMAND"]).array(), &mut all);
        for row in supported() {
            let Some(told) = all.get(row.name) else {
                continue;
            };
            let rights = row.rights().expect("it is in the table");
            let own: BTreeSet<String> = rights
                .categories
                .names()
                .map(|name| format!("@{name}"))
                .collect();
            let is_explained = EXPLAINED
                .iter()
                .any(|(of, name, _)| (*of, *name) == (binary, row.name));
            assert!(
                own == told.categories || is_explained,
                "{binary} {}: {own:?} {:?}",
                row.name,
                told.categories
            );
            let mut keys = told.keys.clone();
            keys.dedup();
            let own = match keys.len() {
                0 => continue,
                1 => vec![rights.first_key],
                _ => vec![rights.first_key, rights.other_keys],
            };
            assert_eq!(own, keys, "{binary} {}", row.name);
            compared += 1;
        }
    }
    assert!(compared > 150 * programs().count(), "{compared}");
}

// contract: C6
#[test]
fn categories_have_the_servers_commands() {
    for binary in programs() {
        let mut server = Server::start(binary);
        let known: BTreeSet<String> = {
            let mut all = BTreeMap::new();
            told(server.ask(&[b"COMMAND"]).array(), &mut all);
            all.into_keys().collect()
        };
        let categories: Vec<String> = server
            .ask(&[b"ACL", b"CAT"])
            .array()
            .iter()
            .map(Reply::text)
            .collect();
        assert_eq!(categories.len(), 21, "{categories:?}");
        for category in categories {
            let reply = server.ask(&[b"ACL", b"CAT", category.as_bytes()]);
            let theirs: BTreeSet<String> = reply.array().iter().map(Reply::text).collect();
            let explained = |name: &str| {
                EXPLAINED
                    .iter()
                    .any(|(of, row, _)| (*of, *row) == (binary, name))
            };
            let has_row = |name: &str| supported().any(|row| row.name == name);
            let ours: BTreeSet<String> = supported()
                .filter(|row| {
                    let rights = row.rights().expect("it is in the table");
                    let mut names = rights.categories.names();
                    known.contains(row.name)
                        && !explained(row.name)
                        && names.any(|own| own == category)
                })
                .map(|row| row.name.to_owned())
                .collect();
            let theirs: BTreeSet<String> = theirs
                .into_iter()
                .filter(|name| !explained(name) && has_row(name))
                .collect();
            assert_eq!(ours, theirs, "{binary} @{category}");
        }
    }
}
