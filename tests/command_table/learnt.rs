//! What Keyway would make of the known commands if it had to learn them: the same keys.

use std::collections::BTreeMap;

use keyway::cluster::command_listing::parse_commands;
use keyway::cluster::value::Value;
use keyway::command::announced::Interner;
use keyway::command::{Access, Command, Handling, Keys, KeysError, key_positions, supported};

use crate::report::reports;
use crate::request::request_for;
use crate::server::{Reply, Server, describes_commands};
use crate::{REDIS, VALKEY, with_args};

// contract: R2
#[test]
fn redis_teaches_what_the_table_says() {
    assert_learnt(REDIS);
}

// contract: R2
#[test]
fn valkey_teaches_what_the_table_says() {
    assert_learnt(VALKEY);
}

fn value(reply: &Reply) -> Value {
    match reply {
        Reply::Text(bytes) => Value::Text(bytes.clone()),
        Reply::Error(text) => Value::Error(String::from_utf8_lossy(text).into_owned()),
        Reply::Integer(number) => Value::Integer(*number),
        Reply::Null => Value::Null,
        Reply::Array(items) => Value::List(items.iter().map(value).collect()),
    }
}

fn learnt(binary: &str) -> BTreeMap<String, &'static Command> {
    let reply = value(&Server::start(binary).ask(&[b"COMMAND"]));
    let announced = parse_commands(&reply, |_| true).expect("a list");
    let mut interner = Interner::new(10_000);
    let rows = announced.iter().filter_map(|one| interner.row(one));
    // Vector sets of Redis 8 are told in upper case.
    rows.map(|row| (row.name.to_lowercase(), row)).collect()
}

const LINES_FOR_EACH_ROW: usize = 50;

/// The servers do not specify these in full; a node would be asked.
const ASKED: [&str; 3] = ["migrate", "sort", "sort_ro"];

fn assert_learnt(binary: &str) {
    if !describes_commands(binary) {
        return;
    }
    let learnt = learnt(binary);
    let reported = reports(binary);
    assert!(learnt.len() > 350, "{binary}: {}", learnt.len());
    let mut random = fastrand::Rng::with_seed(7);
    let mut same = 0;
    for row in supported() {
        let Some(learnt) = learnt.get(row.name) else {
            continue;
        };
        let report = &reported[row.name];
        assert_eq!(
            i64::from(learnt.arity),
            report.arity,
            "{binary}: {}",
            row.name
        );
        let is_same_access = match learnt.access {
            Access::Effect => matches!(row.access, Access::Effect | Access::Harmless),
            access => access == row.access,
        };
        assert!(
            is_same_access,
            "{binary}: {}: {:?}",
            row.name, learnt.access
        );
        let is_asked = matches!(learnt.keys, Keys::Asked(_));
        // Some patch levels call these incomplete as well: Redis 8.0.2, but not 8.0.6.
        let may_be_asked = row.name.starts_with("georadius");
        assert_eq!(
            is_asked,
            ASKED.contains(&row.name) || is_asked && may_be_asked,
            "{binary}: {}",
            row.name
        );
        if row.keys == Keys::None && !is_asked {
            // Shard channels are routed like keys, and the servers say so.
            assert_eq!(learnt.keys, Keys::None, "{binary}: {}", row.name);
            continue;
        }
        for _ in 0..LINES_FOR_EACH_ROW {
            let line = request_for(row, report.arity, &mut random);
            let words: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
            let positions = |row: &Command| {
                with_args(&words, |args| {
                    key_positions(row, args).map(|found| found.iter().collect::<Vec<_>>())
                })
            };
            let (own, taught) = (positions(row), positions(learnt));
            let shown = words.join(&b' ').escape_ascii().to_string();
            match (own, taught) {
                (_, Err(KeysError::Asked)) => assert!(is_asked, "{binary}: {shown}"),
                (Ok(mut own), Ok(mut taught)) => {
                    own.sort_unstable();
                    taught.sort_unstable();
                    assert_eq!(own, taught, "{binary}: {shown}");
                    same += 1;
                }
                // A request that is wrong: any node says so.
                (own, taught) => assert!(
                    own.is_err() || taught.is_err(),
                    "{binary}: {shown}: {own:?}, {taught:?}"
                ),
            }
        }
    }
    assert!(same > 5_000, "{binary}: {same} lines with the same keys");
}

/// What the tips make of the known commands is what the table says, where it follows them.
/// contract: R2, M4
#[test]
fn tips_are_followed_as_in_the_table() {
    for binary in [REDIS, VALKEY]
        .into_iter()
        .filter(|binary| describes_commands(binary))
    {
        let learnt = learnt(binary);
        let mut same = 0;
        for row in supported() {
            let Some(learnt) = learnt.get(row.name) else {
                continue;
            };
            let is_by_tips = matches!(
                row.handling,
                Handling::Split(_) | Handling::Primaries(_) | Handling::Nodes(_)
            );
            if is_by_tips && learnt.handling == row.handling {
                same += 1;
            }
            if matches!(learnt.handling, Handling::Split(_)) {
                assert_eq!(learnt.handling, row.handling, "{binary}: {}", row.name);
            }
        }
        assert!(same >= 15, "{binary}: {same}");
    }
}
