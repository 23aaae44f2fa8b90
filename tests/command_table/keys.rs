//! The keys of a request are those the servers find.

use keyway::command::{Keys, key_positions, supported};

use crate::report::reports;
use crate::request::request_for;
use crate::server::{Reply, Server, describes_commands};
use crate::{REDIS, VALKEY, with_args};

// contract: R2
#[test]
fn keys_are_those_redis_finds() {
    assert_keys_are_found(REDIS);
}

// contract: R2
#[test]
fn keys_are_those_valkey_finds() {
    assert_keys_are_found(VALKEY);
}

const LINES_FOR_EACH_ROW: usize = 25;

/// Makes requests for every row with keys. Where Keyway names keys, `COMMAND GETKEYS` must name the
/// same; where it cannot, the server must refuse to name them or to run the request.
fn assert_keys_are_found(binary: &str) {
    if !describes_commands(binary) {
        return;
    }
    let mut server = Server::start(binary);
    let reported = reports(binary);
    let mut random = fastrand::Rng::with_seed(2);
    let (mut found, mut refused) = (0, 0);
    // Shard channels are routed like keys, but the servers do not call them so.
    const CHANNELS: [&str; 3] = ["spublish", "ssubscribe", "sunsubscribe"];
    for row in supported().filter(|row| row.keys != Keys::None && !CHANNELS.contains(&row.name)) {
        let Some(report) = reported.get(row.name) else {
            continue;
        };
        for _ in 0..LINES_FOR_EACH_ROW {
            let line = request_for(row, report.arity, &mut random);
            let words: Vec<&[u8]> = line.iter().map(Vec::as_slice).collect();
            let shown = words.join(&b' ').escape_ascii().to_string();
            let own = with_args(&words, |args| {
                let positions = key_positions(row, args).ok()?;
                let keys = positions.iter().filter_map(|index| args.get(index));
                Some(keys.map(<[u8]>::to_vec).collect::<Vec<_>>())
            });
            let mut asked: Vec<&[u8]> = vec![b"COMMAND", b"GETKEYS"];
            asked.extend(&words);
            match (own, server.ask(&asked)) {
                (Some(own), Reply::Array(keys)) => {
                    let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.bytes().to_vec()).collect();
                    assert_eq!(own, keys, "{binary}: {shown}");
                    found += 1;
                }
                // Redis finds no key where the sources are left out, though PFMERGE allows that.
                (Some(own), Reply::Error(_)) if row.name == "pfmerge" && own.len() == 1 => {}
                (Some(own), Reply::Error(error)) => {
                    assert!(
                        own.is_empty(),
                        "{binary}: {shown}: {}",
                        error.escape_ascii()
                    );
                    refused += 1;
                }
                (None, Reply::Error(_)) => refused += 1,
                (None, Reply::Array(_)) => {
                    let reply = server.ask(&words);
                    assert!(
                        matches!(reply, Reply::Error(_)),
                        "{binary}: {shown}: {reply:?}"
                    );
                    refused += 1;
                }
                (own, reply) => panic!("{binary}: {shown}: {own:?}, {reply:?}"),
            }
        }
    }
    assert!(
        found > 3000 && refused > 100,
        "{found} lines with keys, {refused} refused"
    );
}
