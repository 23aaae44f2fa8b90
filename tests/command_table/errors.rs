//! The errors before a command runs are the servers', byte for byte.

use keyway::command::{Command, Handling, Lookup, errors, lookup, supported};

use crate::report::reports;
use crate::server::{Reply, Server, describes_commands};
use crate::{REDIS, VALKEY, with_args};

#[test]
fn errors_are_those_of_redis() {
    assert_errors_are_given(REDIS);
}

#[test]
fn errors_are_those_of_valkey() {
    assert_errors_are_given(VALKEY);
}

const ERRORS: usize = 500;

/// Unknown commands and sub-commands of random bytes, and too few arguments for every row.
fn assert_errors_are_given(binary: &str) {
    if !describes_commands(binary) {
        return;
    }
    let mut server = Server::start(binary);
    let reported = reports(binary);
    let mut random = fastrand::Rng::with_seed(3);
    let containers: Vec<&Command> = supported()
        .filter(|row| row.handling == Handling::Container)
        .collect();
    let mut lines: Vec<Vec<Vec<u8>>> = Vec::new();
    for _ in 0..ERRORS {
        let mut line = vec![random_word(&mut random)];
        if random.bool() {
            let container = containers[random.usize(..containers.len())];
            if reported.contains_key(container.name) {
                line.insert(0, container.name.to_uppercase().into_bytes());
            }
        }
        line.extend((0..random.usize(..60)).map(|_| random_word(&mut random)));
        lines.push(line);
    }
    // A module counts its arguments itself: vector sets of Redis 8 are named in upper case then.
    let is_checked = |row: &&Command| {
        let report = reported.get(row.name);
        row.arity.abs() > 1 && report.is_some_and(|report| !report.is_of_module)
    };
    for row in supported().filter(is_checked) {
        lines.push(
            row.name
                .split('|')
                .map(|word| word.to_uppercase().into_bytes())
                .collect(),
        );
    }
    for line in lines {
        let words: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
        let own = with_args(&words, |args| match lookup(args) {
            Lookup::Found(row) if row.accepts(args.len()) => None,
            Lookup::Found(row) => Some(errors::wrong_arity(row)),
            Lookup::Unknown => Some(errors::unknown_command(args)),
            Lookup::UnknownSubcommand(row) => Some(errors::unknown_subcommand(row, args)),
        });
        let Some(own) = own else {
            continue;
        };
        match server.ask(&words) {
            Reply::Error(error) => assert_eq!(
                own.escape_ascii().to_string(),
                error.escape_ascii().to_string(),
                "{binary}"
            ),
            other => panic!("{binary}: {words:?}: {other:?}"),
        }
    }
}

/// Not the name of anything: it begins with an `@` or a byte that is no letter.
fn random_word(random: &mut fastrand::Rng) -> Vec<u8> {
    let len = if random.u8(..8) == 0 {
        random.usize(100..300)
    } else {
        random.usize(..12)
    };
    let mut word = vec![b'@'];
    word.extend((0..len).map(|_| match random.u8(..12) {
        0 => random.u8(..),
        1 => b"\0\r\n' "[random.usize(..5)],
        _ => random.u8(b'A'..=b'z'),
    }));
    word
}
