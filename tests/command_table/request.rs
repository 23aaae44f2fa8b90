//! Requests made up for a row.

use keyway::command::{Command, Keys};

#[rustfmt::skip]
const ODD: [&[u8]; 12] = [
    b"a", b"b", b"{t}x", b"", b"0", b"2", b"-1", b"\xff\0\r\n", b"STORE", b"streams", b"KEYS", b"get",
];
const PLAIN: [&[u8]; 5] = [b"a", b"b", b"{t}x", b"", b"\xff\0\r\n"];
const COUNTS: [&[u8]; 8] = [
    b"0",
    b"1",
    b"2",
    b"3",
    b"9",
    b"-1",
    b"x",
    b"99999999999999999999",
];

/// A request that has enough arguments, now and then with something wrong.
///
/// Words are chosen so that the server's own two ways to find keys agree: its `GETKEYS` takes the
/// first `STREAMS` or `STORE` wherever it stands, even where the command, when run, reads it as a
/// group's name or uses the second.
pub fn request_for(row: &Command, arity: i64, random: &mut fastrand::Rng) -> Vec<Vec<u8>> {
    let mut line: Vec<Vec<u8>> = row.name.split('|').map(Vec::from).collect();
    let argc_min = arity.unsigned_abs() as usize;
    let extra = if arity < 0 { random.usize(..7) } else { 0 };
    match row.keys {
        Keys::None | Keys::Range { .. } => {
            line.extend(many(random, &ODD, argc_min + extra - line.len()));
        }
        Keys::Counted { count, .. } | Keys::StoreCounted { count, .. } => {
            line.extend(many(random, &ODD, usize::from(count) - line.len()));
            line.push(any(random, &COUNTS));
            let rest = (argc_min + extra).saturating_sub(line.len());
            line.extend(many(random, &ODD, rest));
        }
        Keys::Streams => {
            if row.name == "xreadgroup" {
                line.extend([b"GROUP".to_vec(), b"g".to_vec(), b"c".to_vec()]);
            }
            for _ in 0..random.usize(..3) {
                line.push(any(random, &[b"COUNT", b"block"]));
                line.push(any(random, &[b"1", b"2"]));
            }
            line.push(any(random, &[b"STREAMS", b"streams"]));
            let rest = argc_min.saturating_sub(line.len()) + random.usize(..7);
            line.extend(many(random, &ODD, rest));
        }
        Keys::Sort => {
            line.push(any(random, &PLAIN));
            for _ in 0..random.usize(..5) {
                match random.u8(..4) {
                    0 => line.extend([b"By".to_vec(), any(random, &ODD)]),
                    1 => line.extend([b"GET".to_vec(), any(random, &ODD)]),
                    2 => line.extend([b"limit".to_vec(), any(random, &ODD), any(random, &ODD)]),
                    _ => line.extend([b"Store".to_vec(), any(random, &PLAIN)]),
                }
            }
        }
        Keys::GeoRadius => {
            line.extend(many(random, &PLAIN, argc_min - 1));
            let options = random.usize(..3);
            line.extend(many(random, &[b"desc", b"WITHDIST"], options));
            if random.bool() {
                line.push(any(random, &[b"store", b"STOREDIST"]));
                line.push(any(random, &PLAIN));
            }
        }
        Keys::Specs(_) | Keys::Asked(_) => panic!("the table has no such row"),
        Keys::Migrate => {
            line.extend([b"127.0.0.1".to_vec(), b"1".to_vec()]);
            line.push(any(random, &[b"a", b""]));
            line.extend([b"0".to_vec(), b"10".to_vec()]);
            if random.bool() {
                line.push(b"KEYS".to_vec());
                line.extend(many(random, &PLAIN, 1 + extra));
            }
        }
    }
    line
}

fn any(random: &mut fastrand::Rng, words: &[&[u8]]) -> Vec<u8> {
    words[random.usize(..words.len())].to_vec()
}

fn many(random: &mut fastrand::Rng, words: &[&[u8]], count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|_| any(random, words)).collect()
}
