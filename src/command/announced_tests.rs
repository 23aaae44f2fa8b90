//! What flags, tips and key specifications are made of.

use super::*;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn announced(flags: &str, range: (i32, i32, i32), tips: &str) -> Announced {
    Announced {
        name: "x.y".to_owned(),
        arity: -2,
        flags: words(flags),
        range,
        tips: words(tips),
        ..Announced::default()
    }
}

fn at(index: u32, last: i32, step: u32) -> AnnouncedSpec {
    AnnouncedSpec {
        begin: Some(AnnouncedBegin::Index(index)),
        find: Some(AnnouncedFind::Range {
            last,
            step,
            limit: 0,
        }),
        is_incomplete: false,
        key_use: None,
    }
}

/// How many there are, and whether a node is asked.
fn specs(keys: Keys) -> Option<(usize, bool)> {
    match keys {
        Keys::Specs(specs) => Some((specs.0.len(), false)),
        Keys::Asked(specs) => Some((specs.0.len(), true)),
        _ => None,
    }
}

const FIRST: Keys = Keys::Range {
    first: 1,
    last: 1,
    step: 1,
};

/// contract: R2
#[test]
fn what_is_done_follows_flags_and_tips() {
    let keys = (1, -1, 1);
    let none = (0, 0, 0);
    for (flags, range, tips, expected) in [
        ("write", (1, 1, 1), "", Handling::Keyed),
        ("write", none, "", Handling::HashArgument(1)),
        ("write admin", keys, "", Handling::Refused),
        ("pubsub", none, "", Handling::Refused),
        ("no_auth", none, "", Handling::Refused),
        ("write blocking", keys, "", Handling::Blocking),
        (
            "",
            none,
            "request_policy:all_shards",
            Handling::Primaries(Merge::Concat),
        ),
        (
            "",
            none,
            "request_policy:all_nodes response_policy:all_succeeded",
            Handling::Nodes(Merge::AllSucceeded),
        ),
        (
            "write",
            none,
            "request_policy:all_nodes response_policy:all_succeeded",
            Handling::Primaries(Merge::AllSucceeded),
        ),
        (
            "write",
            keys,
            "request_policy:multi_shard response_policy:agg_min",
            Handling::Keyed,
        ),
        (
            "",
            none,
            "request_policy:all_shards response_policy:agg_logical_or",
            Handling::Primaries(Merge::LogicalOr),
        ),
        (
            "",
            none,
            "request_policy:all_shards response_policy:special",
            Handling::Primaries(Merge::Concat),
        ),
        (
            "readonly",
            keys,
            "request_policy:multi_shard",
            Handling::Split(Merge::ByKey),
        ),
        (
            "write",
            keys,
            "nondeterministic_output request_policy:multi_shard response_policy:agg_sum",
            Handling::Split(Merge::Sum),
        ),
        (
            "write",
            keys,
            "request_policy:multi_shard response_policy:special",
            Handling::Keyed,
        ),
        (
            "",
            none,
            "request_policy:special",
            Handling::HashArgument(1),
        ),
    ] {
        let row = announced(flags, range, tips).to_row();
        assert_eq!(row.handling, expected, "{flags} {range:?} {tips}");
    }
    let mut bare = announced("readonly", none, "");
    bare.arity = 1;
    assert_eq!(bare.to_row().handling, Handling::Anywhere);
    bare.categories = words("@slow @connection");
    assert_eq!(bare.to_row().handling, Handling::Refused);
    let mut container = announced("", none, "");
    container.is_container = true;
    assert_eq!(container.to_row().handling, Handling::Container);
    let mut sub = announced("", none, "");
    sub.name = "x.y|z".to_owned();
    assert_eq!(sub.to_row().handling, Handling::HashArgument(2));
}

/// contract: R2, F2
#[test]
fn what_may_be_repeated() {
    let access = |flags| announced(flags, (1, 1, 1), "").to_row().access;
    assert_eq!(access("readonly fast"), Access::Read);
    assert_eq!(access("write denyoom"), Access::Write);
    assert_eq!(access("readonly write"), Access::Write);
    assert_eq!(access("fast"), Access::Effect);
    let flags = announced("write no_multi", (1, 1, 1), "").to_row().flags;
    assert!(flags.has(Flags::NO_MULTI) && flags.has(Flags::LEARNT));
}

/// contract: R2
#[test]
fn where_keys_are() {
    let keys = |flags: &str, range, specs: &[AnnouncedSpec]| {
        let mut announced = announced(flags, range, "");
        announced.specs = specs.to_vec();
        announced.to_row().keys
    };
    // Redis 6.2 has no specifications.
    assert_eq!(keys("write", (0, 0, 0), &[]), Keys::None);
    assert_eq!(keys("write", (1, 1, 1), &[]), FIRST);
    let pairs = keys("write", (1, -1, 2), &[]);
    assert!(specs(pairs) == Some((1, false)), "{pairs:?}");
    let nothing = keys("movablekeys", (0, 0, 0), &[]);
    assert_eq!(specs(nothing), Some((0, true)));
    let movable = keys("movablekeys", (1, 1, 1), &[]);
    assert!(specs(movable) == Some((1, true)), "{movable:?}");
    // Later ones do.
    assert_eq!(keys("write module", (1, 1, 1), &[at(1, 0, 1)]), FIRST);
    let itself = keys("module movablekeys", (1, 1, 1), &[at(1, 0, 1)]);
    assert!(specs(itself) == Some((1, true)), "{itself:?}");
    let itself = keys("module movablekeys", (1, 2, 1), &[at(1, 0, 1), at(2, 0, 1)]);
    assert!(specs(itself) == Some((2, true)), "{itself:?}");
    let apart = keys("module movablekeys", (1, 1, 1), &[at(1, 0, 1), at(4, 0, 1)]);
    assert!(specs(apart) == Some((2, false)), "{apart:?}");
    let unknown = [at(1, 0, 1), AnnouncedSpec::default()];
    let unknown = keys("movablekeys", (1, 1, 1), &unknown);
    assert!(specs(unknown) == Some((1, true)), "{unknown:?}");
    let mut incomplete = at(1, 0, 1);
    incomplete.is_incomplete = true;
    let incomplete = keys("movablekeys", (1, 1, 1), &[incomplete]);
    assert!(specs(incomplete) == Some((1, true)), "{incomplete:?}");
    let counted = AnnouncedSpec {
        begin: Some(AnnouncedBegin::Index(2)),
        find: Some(AnnouncedFind::Counted {
            count: 0,
            first: 1,
            step: 1,
        }),
        is_incomplete: false,
        key_use: None,
    };
    assert_eq!(
        keys("module movablekeys", (0, 0, 0), &[counted]),
        Keys::Counted {
            count: 2,
            first: 3,
            step: 1
        }
    );
}

/// contract: F6
#[test]
fn a_row_is_made_once_and_not_without_end() {
    let mut interner = Interner::new(2);
    let one = announced("write", (1, 1, 1), "");
    let first = interner.row(&one).expect("there is room");
    let again = interner.row(&one).expect("it is there");
    assert!(std::ptr::eq(first, again));
    let mut other = one.clone();
    other.arity = 3;
    assert!(interner.row(&other).is_some());
    other.arity = 4;
    assert!(interner.row(&other).is_none());
    assert!(interner.row(&one).is_some());
}
