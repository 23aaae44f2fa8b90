//! Each row says what the servers report, or why it does not.

use std::collections::BTreeMap;

use keyway::command::{Access, Command, Handling, Merge, Script, supported};

use crate::report::{Report, reports};
use crate::server::{describes_commands, version};
use crate::{REDIS, VALKEY};

/// Whether these are the versions that every run is tested against; others differ less, or otherwise.
fn are_the_usual_ones() -> bool {
    version(REDIS) == (7, 0) && version(VALKEY) == (8, 0)
}

/// What the servers at hand report.
fn all_reports() -> Vec<(&'static str, BTreeMap<String, Report>)> {
    let all = [REDIS, VALKEY].into_iter();
    let telling = all.filter(|binary| describes_commands(binary));
    telling.map(|binary| (binary, reports(binary))).collect()
}

/// Every difference is explained, and every explanation is of a difference. contract: R2 M4
#[test]
fn rows_are_what_the_servers_report() {
    let mut differences = BTreeMap::new();
    for (binary, reports) in all_reports() {
        differences.extend(self::differences(binary, &reports));
    }
    for (explained, _) in EXPLAINED {
        let is_there = differences.remove(explained).is_some();
        assert!(
            is_there || !are_the_usual_ones(),
            "no such difference: {explained}"
        );
    }
    if !are_the_usual_ones() {
        differences.retain(|name, _| !EXPLAINED_LATER.iter().any(|(later, _)| later == name));
    }
    assert!(differences.is_empty(), "not explained: {differences:#?}");
}

/// What MONITOR never shows. contract: S7
#[test]
fn the_servers_flag_the_same_commands_admin() {
    for (server, reports) in all_reports() {
        for (name, report) in reports {
            let row = supported().find(|row| row.name == name);
            if row.is_none() && LEARNT.contains(&name.as_str()) {
                continue;
            }
            let row = row.unwrap_or_else(|| panic!("no row for {name}"));
            assert_eq!(row.is_admin(), report.is_admin, "{server}: {name}");
        }
    }
}

/// Commands without a row, which are learnt.
const LEARNT: [&str; 1] = ["clusterscan"];

/// Rows that neither server has: Redis 7.4 to 8.4, Valkey 8.1 to 9.
#[test]
fn rows_of_neither_server_are_known() {
    const LATER: [&str; 42] = [
        "client|import-source",
        "cluster|cancelslotmigrations",
        "cluster|flushslot",
        "cluster|getslotmigrations",
        "cluster|migrateslots",
        "cluster|syncslots",
        "commandlog",
        "commandlog|get",
        "commandlog|help",
        "commandlog|len",
        "commandlog|reset",
        "delex",
        "delifeq",
        "digest",
        "hexpire",
        "hexpireat",
        "hexpiretime",
        "hgetdel",
        "hgetex",
        "hpersist",
        "hpexpire",
        "hpexpireat",
        "hpexpiretime",
        "hpttl",
        "hsetex",
        "httl",
        "msetex",
        "vadd",
        "vcard",
        "vdim",
        "vemb",
        "vgetattr",
        "vinfo",
        "vismember",
        "vlinks",
        "vrandmember",
        "vrange",
        "vrem",
        "vsetattr",
        "vsim",
        "xackdel",
        "xdelex",
    ];
    let all = all_reports();
    let mut unknown: Vec<&str> = supported()
        .map(|row| row.name)
        .filter(|name| all.iter().all(|(_, reports)| !reports.contains_key(*name)))
        .collect();
    unknown.sort_unstable();
    if are_the_usual_ones() {
        assert_eq!(unknown, LATER);
    } else if version(REDIS) >= (7, 0) && version(VALKEY) >= (8, 0) {
        // Newer servers have some of them, older ones still less.
        unknown.retain(|name| !LATER.contains(name));
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}

/// What else differs with other versions.
#[rustfmt::skip]
const EXPLAINED_LATER: [(&str, &str); 3] = [
    ("blocking waitaof", "as wait of Redis 7.0: Valkey 7.2 does not flag it"),
    ("policy msetex", "with NX or XX it is all or nothing, as msetnx, and cannot be split (contract: M2)"),
    ("row clusterscan", "learnt: its cursor has a hash tag, by which it is routed as by a key"),
];

/// Where a row says something else than one of the servers, and why.
#[rustfmt::skip]
const EXPLAINED: [(&str, &str); 38] = [
    ("arity cluster|replicate", "wider since Valkey 9: NO ONE"),
    ("arity command|getkeys", "wider since 7.2: a command without arguments has no keys"),
    ("arity command|getkeysandflags", "wider since 7.2"),
    ("arity script|debug", "wider since Valkey 9"),
    ("arity zrank", "wider since 7.2: WITHSCORE"),
    ("arity zrevrank", "wider since 7.2: WITHSCORE"),
    ("keys sort_ro", "unknown to the server are only the patterns; it has no STORE"),
    ("policy acl|deluser", "users are configured in Keyway"),
    ("policy acl|save", "users are configured in Keyway"),
    ("policy acl|setuser", "users are configured in Keyway"),
    ("policy bgrewriteaof", "a client of one server means all of its data; the tips are silent"),
    ("policy bgsave", "as bgrewriteaof"),
    ("policy client|setinfo", "the client's own state"),
    ("policy client|setname", "the client's own state"),
    ("policy config|resetstat", "Redis 7.0 has no tip, Valkey has this one"),
    ("policy config|rewrite", "Redis 7.0 has no tip, Valkey has this one"),
    ("policy function|stats", "special: what runs is seen on the node asked"),
    ("policy info", "special: added up"),
    ("policy lastsave", "saved is what the last primary saved, so that a wait for BGSAVE ends right"),
    ("policy latency|doctor", "special: a text that cannot be merged"),
    ("policy latency|graph", "special: a text that cannot be merged"),
    ("policy latency|histogram", "special: added up for each command"),
    ("policy latency|history", "special: in the order of time"),
    ("policy latency|latest", "special: one entry for each event"),
    ("policy latency|reset", "the reply is a number; Redis 7.0 calls it a status"),
    ("policy memory|doctor", "special: a text that cannot be merged"),
    ("policy memory|malloc-stats", "special: a text that cannot be merged"),
    ("policy memory|stats", "special: figures of one allocator"),
    ("policy msetnx", "all or nothing cannot be split (contract: M2)"),
    ("policy ping", "answered by Keyway"),
    ("policy randomkey", "a handling of its own"),
    ("policy save", "as bgrewriteaof"),
    ("policy scan", "a handling of its own"),
    ("policy script|flush", "primaries only: replicas get no scripts from Keyway"),
    ("policy script|load", "primaries only: a missing script is loaded when it is called"),
    ("policy script|show", "a script run by EVAL is on one primary only; the tips are silent"),
    ("policy wait", "a handling of its own"),
    ("policy waitaof", "a handling of its own"),
];

/// What differs between the rows and the server's reports: `column name`, and how.
fn differences(binary: &str, reports: &BTreeMap<String, Report>) -> BTreeMap<String, String> {
    let rows: BTreeMap<&str, &Command> = supported().map(|row| (row.name, row)).collect();
    assert!(
        reports.len() > 350,
        "{binary} reports only {} commands",
        reports.len()
    );
    let mut differences = BTreeMap::new();
    for (name, report) in reports {
        let Some(row) = rows.get(name.as_str()) else {
            differences.insert(format!("row {name}"), "missing".to_string());
            continue;
        };
        let mut compare = |column: &str, own: String, reported: String| {
            if own != reported {
                let difference = format!("row: {own}; {binary}: {reported}");
                differences.insert(format!("{column} {name}"), difference);
            }
        };
        // A module counts its arguments itself.
        if !report.is_of_module {
            compare("arity", row.arity.to_string(), report.arity.to_string());
        }
        compare("access", flag_of(row.access).into(), report.access.into());
        compare(
            "keys",
            format!("{:?}", row.keys),
            format!("{:?}", report.keys),
        );
        compare("policy", policy_of(row.handling), report.policy.clone());
        // Redis 7.0 does not flag WAIT; it blocks all the same.
        let is_blocking = matches!(row.handling, Handling::Blocking | Handling::Wait);
        let reported = report.is_blocking || name == "wait";
        compare("blocking", is_blocking.to_string(), reported.to_string());
    }
    differences
}

fn flag_of(access: Access) -> &'static str {
    match access {
        Access::Read => "readonly",
        Access::Write => "write",
        Access::Harmless | Access::Effect => "",
    }
}

/// A handling in the words of the servers' tips; those that have no such words are empty.
fn policy_of(handling: Handling) -> String {
    let (request, merge) = match handling {
        Handling::Split(merge) => ("multi_shard", Some(merge)),
        Handling::Primaries(merge) => ("all_shards", Some(merge)),
        Handling::Nodes(merge) => ("all_nodes", Some(merge)),
        Handling::Script(Script::Load | Script::Flush) => ("all_shards", Some(Merge::AllSucceeded)),
        Handling::Script(Script::Exists) => ("all_shards", Some(Merge::LogicalAnd)),
        Handling::Script(Script::Kill) => ("all_shards", Some(Merge::OneSucceeded)),
        _ => ("", None),
    };
    let response = match merge {
        Some(Merge::Sum) => "agg_sum",
        Some(Merge::Min) => "agg_min",
        Some(Merge::Max) => "agg_max",
        Some(Merge::AllSucceeded) => "all_succeeded",
        Some(Merge::OneSucceeded) => "one_succeeded",
        Some(Merge::LogicalAnd) => "agg_logical_and",
        Some(Merge::LogicalOr) => "agg_logical_or",
        _ => "",
    };
    format!("{request} {response}")
}
