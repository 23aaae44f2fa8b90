//! The computation against a slow model of what one server does, and the requests that nodes get.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::double::DoubleFormat;
use super::*;
use crate::command::{Lookup, key_positions, lookup};
use crate::resp::scan::{Limits, RequestScanner};

/// What a key holds.
#[derive(Clone, Debug)]
enum Held {
    Set(BTreeSet<String>),
    Sorted(BTreeMap<String, f64>),
}

impl Held {
    /// Its members, as the servers see a set among sorted ones.
    fn scores(&self) -> BTreeMap<String, f64> {
        match self {
            Held::Set(members) => members.iter().map(|name| (name.clone(), 1.0)).collect(),
            Held::Sorted(members) => members.clone(),
        }
    }
}

type Contents = BTreeMap<String, Held>;

fn with_args<R>(words: &[&str], work: impl FnOnce(&Args<'_>) -> R) -> R {
    let mut frame = Vec::new();
    write::command(&mut frame, words);
    with_frame(&frame, work)
}

fn with_frame<R>(frame: &[u8], work: impl FnOnce(&Args<'_>) -> R) -> R {
    let mut scanner = RequestScanner::default();
    let limits = Limits {
        bulk_bytes_max: 1 << 20,
        request_bytes_max: usize::MAX,
        is_authenticated: true,
    };
    scanner.scan(frame, &limits).expect("a request");
    work(&Args::new(frame, scanner.spans()))
}

fn plan(words: &[&str], protocol: Protocol) -> Result<(Computation, Vec<Part>), &'static str> {
    with_args(words, |args| {
        let Lookup::Found(row) = lookup(args) else {
            panic!("no row for {words:?}");
        };
        let positions: Vec<usize> = key_positions(row, args).expect("keys").iter().collect();
        let across = row.across.expect("a read over several slots");
        Computation::plan(across, args, &positions, protocol, DoubleFormat::Short)
    })
}

/// The slow model: one server's answer to the request of a part or to a client's whole request.
fn serve(contents: &Contents, args: &Args<'_>, protocol: Protocol) -> Vec<u8> {
    let words: Vec<String> = args
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let name = words[0].to_uppercase();
    let (keys, rest) = if name.starts_with('Z') || name == "SINTERCARD" {
        let count: usize = words[1].parse().expect("a number of keys");
        words[2..].split_at(count)
    } else {
        words[1..].split_at(words.len() - 1)
    };
    let mut out = Vec::new();
    let mut held = Vec::new();
    for key in keys {
        match contents.get(key) {
            Some(Held::Sorted(_)) if name.starts_with('S') => {
                write::error(&mut out, "WRONGTYPE no set");
                return out;
            }
            Some(found) => held.push(found.scores()),
            None => held.push(BTreeMap::new()),
        }
    }
    let mut weights = vec![1.0; keys.len()];
    let (mut aggregate, mut with_scores, mut limit) = ("sum".to_owned(), false, 0);
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let mut value = || rest.next().expect("a value").clone();
        match &*word.to_lowercase() {
            "withscores" => with_scores = true,
            "aggregate" => aggregate = value().to_lowercase(),
            "limit" => limit = value().parse().expect("a number"),
            _ => {
                weights = keys
                    .iter()
                    .map(|_| value().parse().expect("a weight"))
                    .collect()
            }
        }
    }
    // Smallest first, and in the order of the keys among equals.
    let mut order: Vec<usize> = (0..held.len()).collect();
    order.sort_by_key(|key| held[*key].len());
    let members: BTreeSet<&String> = held.iter().flat_map(BTreeMap::keys).collect();
    let is_in = |key: usize, member: &String| held[key].contains_key(member);
    let mut found: Vec<(&String, f64)> = Vec::new();
    for member in members {
        let counts = if name.ends_with("DIFF") {
            is_in(0, member) && !(1..held.len()).any(|key| is_in(key, member))
        } else if name.contains("INTER") {
            (0..held.len()).all(|key| is_in(key, member))
        } else {
            true
        };
        if !counts {
            continue;
        }
        let mut score = None;
        for key in &order {
            let Some(own) = held[*key].get(member) else {
                continue;
            };
            let mut own = own * weights[*key];
            if own.is_nan() && (score.is_none() || name == "ZUNION") {
                own = 0.0;
            }
            score = Some(match (score, &*aggregate) {
                (None, _) => own,
                (Some(before), "min") => {
                    if own < before {
                        own
                    } else {
                        before
                    }
                }
                (Some(before), "max") => {
                    if own > before {
                        own
                    } else {
                        before
                    }
                }
                (Some(before), _) => {
                    if (before + own).is_nan() {
                        0.0
                    } else {
                        before + own
                    }
                }
            });
        }
        if name == "ZDIFF" {
            score = held[0].get(member).copied();
        }
        found.push((member, score.expect("it is in one")));
    }
    if name.ends_with("CARD") {
        let count = found.len() as i64;
        write::integer(&mut out, if limit > 0 { count.min(limit) } else { count });
        return out;
    }
    if name.starts_with('S') {
        write::set(&mut out, protocol, found.len());
        for (member, _) in found {
            write::bulk(&mut out, member.as_bytes());
        }
        return out;
    }
    found.sort_by(|one, other| {
        one.1
            .partial_cmp(&other.1)
            .expect("numbers")
            .then(one.0.cmp(other.0))
    });
    let is_flat = with_scores && protocol == Protocol::Resp2;
    write::array(&mut out, found.len() * if is_flat { 2 } else { 1 });
    for (member, score) in found {
        if with_scores && !is_flat {
            write::array(&mut out, 2);
        }
        write::bulk(&mut out, member.as_bytes());
        if with_scores {
            DoubleFormat::Short.write(score, protocol, &mut out);
        }
    }
    out
}

/// The order of a set's elements is no promise: it is compared without.
fn in_order(name: &str, reply: Vec<u8>) -> Vec<u8> {
    if !name.starts_with('S') || !matches!(reply.first(), Some(b'*' | b'~')) {
        return reply;
    }
    let mut elements: Vec<&[u8]> = crate::resp::reply::elements(&reply)
        .expect("a set")
        .collect();
    elements.sort_unstable();
    let head = reply
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    [&reply[..head], &elements.concat()].concat()
}

fn computed(contents: &Contents, words: &[&str], protocol: Protocol) -> Vec<u8> {
    let mut out = Vec::new();
    match plan(words, protocol) {
        Ok((computation, parts)) => {
            let replies: Vec<Vec<u8>> = parts
                .iter()
                .map(|part| with_frame(&part.bytes, |args| serve(contents, args, protocol)))
                .collect();
            computation.finish(replies.iter().map(Vec::as_slice), &mut out);
        }
        Err(text) => write::error(&mut out, text),
    }
    out
}

/// Keys of three slots; two share one.
const KEYS: [&str; 4] = ["a", "b", "{b}2", "c"];

fn held() -> impl Strategy<Value = Option<Held>> {
    let member = prop::sample::select(vec!["m", "n", "o", "p", "mm", "", "10"]);
    let score = prop::sample::select(vec![
        0.0,
        -0.0,
        1.0,
        2.0,
        -3.5,
        0.1,
        0.2,
        0.7,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ]);
    let set = prop::collection::btree_set(member.clone().prop_map(str::to_owned), 1..6);
    let sorted = prop::collection::btree_map(member.prop_map(str::to_owned), score, 1..6);
    prop_oneof![
        1 => Just(None),
        3 => set.prop_map(|set| Some(Held::Set(set))),
        4 => sorted.prop_map(|sorted| Some(Held::Sorted(sorted))),
    ]
}

proptest! {
    /// contract: M3
    #[test]
    fn the_same_as_one_server(
        held in prop::collection::vec(held(), KEYS.len()),
        name in prop::sample::select(vec![
            "SUNION", "SINTER", "SDIFF", "SINTERCARD", "ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD",
        ]),
        keys in prop::collection::vec(prop::sample::select(KEYS.to_vec()), 2..6),
        weights in prop::option::of(prop::sample::select(vec!["0", "1", "-2", "0.5", "inf", "1e300"])),
        aggregate in prop::option::of(prop::sample::select(vec!["sum", "MIN", "Max"])),
        with_scores: bool,
        limit in prop::option::of(0..4),
        is_resp3: bool,
    ) {
        let contents: Contents = KEYS
            .iter()
            .zip(held)
            .filter_map(|(key, held)| Some(((*key).to_owned(), held?)))
            .collect();
        let (count, limit) = (keys.len().to_string(), limit.map(|limit: i32| limit.to_string()));
        let is_counted = name.starts_with('Z') || name == "SINTERCARD";
        let mut words = vec![name];
        words.extend(is_counted.then_some(&*count));
        words.extend(&keys);
        if let Some(limit) = limit.as_deref().filter(|_| name.ends_with("CARD")) {
            words.extend(["LIMIT", limit]);
        }
        if matches!(name, "ZUNION" | "ZINTER") {
            if let Some(weight) = weights {
                words.push("WEIGHTS");
                words.extend(keys.iter().enumerate().map(|(at, _)| if at % 2 == 0 { weight } else { "3" }));
            }
            if let Some(aggregate) = aggregate {
                words.extend(["AGGREGATE", aggregate]);
            }
        }
        if name.starts_with('Z') && !name.ends_with("CARD") && with_scores {
            words.push("WITHSCORES");
        }
        let protocol = if is_resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let mut frame = Vec::new();
        write::command(&mut frame, &words);
        let expected = with_frame(&frame, |args| serve(&contents, args, protocol));
        let found = computed(&contents, &words, protocol);
        let (expected, found) = (in_order(name, expected), in_order(name, found));
        prop_assert_eq!(
            String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected), "{:?}", words
        );
    }
}

fn requests(words: &[&str]) -> Vec<String> {
    let (_, parts) = plan(words, Protocol::Resp2).expect("a plan");
    let shown = |part: &Part| {
        with_frame(&part.bytes, |args| {
            let words: Vec<_> = args.iter().map(String::from_utf8_lossy).collect();
            assert_eq!(part.command.name, words[0].to_lowercase());
            words.join(" ")
        })
    };
    parts.iter().map(shown).collect()
}

#[test]
fn what_nodes_are_asked() {
    assert_eq!(
        requests(&["SUNION", "a", "b", "{a}2"]),
        ["SUNION a {a}2", "SUNION b"]
    );
    assert_eq!(
        requests(&["sinter", "a", "b", "{b}2"]),
        ["SINTER a", "SINTER b {b}2"]
    );
    // The first key's slot is the first part, whatever its number.
    for (one, other) in [("a", "b"), ("b", "a")] {
        assert_eq!(
            requests(&["SDIFF", one, other, &format!("{{{one}}}2")]),
            [format!("SDIFF {one} {{{one}}}2"), format!("SUNION {other}")]
        );
    }
    assert_eq!(
        requests(&["ZDIFF", "3", "a", "b", "{b}2", "WITHSCORES"]),
        ["ZDIFF 1 a WITHSCORES", "ZUNION 2 b {b}2"]
    );
    assert_eq!(
        requests(&["ZUNION", "3", "a", "b", "a", "WEIGHTS", "1", "2", "3"]),
        [
            "ZUNION 1 a WITHSCORES",
            "ZUNION 1 b WITHSCORES",
            "ZUNION 1 a WITHSCORES"
        ]
    );
    assert_eq!(
        requests(&["ZINTERCARD", "2", "a", "b", "LIMIT", "1"]),
        ["ZINTER 1 a", "ZINTER 1 b"]
    );
    assert_eq!(requests(&["PFCOUNT", "a", "b"]), ["GET a", "GET b"]);
}

#[test]
fn a_mistake_in_the_options_comes_after_a_wrong_type() {
    let contents = Contents::from([("a".to_owned(), Held::Sorted(BTreeMap::new()))]);
    let none = Contents::new();
    let check = |contents: &Contents, line: &str, expected: &str| {
        let words: Vec<_> = line.split(' ').collect();
        let found = computed(contents, &words, Protocol::Resp2);
        assert_eq!(
            String::from_utf8_lossy(&found),
            format!("-{expected}\r\n"),
            "{line}"
        );
    };
    check(&none, "ZUNION 2 a b WEIGHTS 1", "ERR syntax error");
    check(
        &none,
        "ZUNION 2 a b WEIGHTS 1 x",
        "ERR weight value is not a float",
    );
    check(&none, "ZUNION 2 a b AGGREGATE avg", "ERR syntax error");
    check(&none, "ZUNION 2 a b FOO", "ERR syntax error");
    check(&none, "ZDIFF 2 a b WEIGHTS 1 1", "ERR syntax error");
    check(
        &none,
        "ZINTERCARD 2 a b LIMIT -1",
        "ERR LIMIT can't be negative",
    );
    check(&none, "ZINTERCARD 2 a b WITHSCORES", "ERR syntax error");
    check(
        &none,
        "SINTERCARD 2 a b LIMIT x",
        "ERR LIMIT can't be negative",
    );
    check(&contents, "SUNION a b", "WRONGTYPE no set");
    // This one is read before the keys are looked at.
    check(&contents, "SINTERCARD 2 a b LIMIT", "ERR syntax error");
    check(&contents, "SINTERCARD 2 a b", "WRONGTYPE no set");
}

#[test]
fn a_reply_of_another_shape_is_an_error() {
    for (words, reply) in [
        (&["SUNION", "a", "b"][..], "+OK\r\n"),
        (&["ZUNION", "2", "a", "b"], "*1\r\n$1\r\na\r\n"),
        (&["ZUNION", "2", "a", "b"], "*2\r\n$1\r\na\r\n$1\r\nx\r\n"),
        (&["PFCOUNT", "a", "b"], ":1\r\n"),
    ] {
        let (computation, parts) = plan(words, Protocol::Resp2).expect("a plan");
        let mut out = Vec::new();
        computation.finish(parts.iter().map(|_| reply.as_bytes()), &mut out);
        let out = String::from_utf8_lossy(&out);
        assert!(
            out.starts_with("-ERR Keyway cannot compute"),
            "{words:?} {out}"
        );
    }
}

#[test]
fn what_is_no_hyperloglog() {
    let check = |values: &[&[u8]], expected: &str| {
        let (computation, _) = plan(&["PFCOUNT", "a", "b"], Protocol::Resp2).expect("a plan");
        let replies: Vec<Vec<u8>> = values
            .iter()
            .map(|value| {
                let mut reply = Vec::new();
                match value.first() {
                    Some(b'-' | b'_' | b'$') => reply.extend_from_slice(value),
                    _ => write::bulk(&mut reply, value),
                }
                reply
            })
            .collect();
        let mut out = Vec::new();
        computation.finish(replies.iter().map(Vec::as_slice), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    };
    let not_valid = "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n";
    let corrupted = "-INVALIDOBJ Corrupted HLL object detected\r\n";
    let hll = |encoding: u8, body: &[u8]| [b"HYLL", &[encoding][..], &[0; 11], body].concat();
    let empty = hll(1, &[0x7f, 0xff]);
    check(&[&empty, b"_\r\n"], ":0\r\n");
    check(&[&empty, b"$-1\r\n"], ":0\r\n");
    check(&[b"HYLL", &empty], not_valid);
    check(&[&empty, &hll(2, &[0x7f, 0xff])], not_valid);
    check(&[&hll(0, &[0; 12287]), &empty], not_valid);
    check(&[&hll(0, &[0; 12288]), &empty], ":0\r\n");
    check(&[&hll(1, &[0x7f, 0xfe]), &empty], corrupted);
    check(&[&hll(1, &[0x7f, 0xff, 0x00]), &empty], corrupted);
    check(&[&hll(1, &[0x7f, 0xff, 0x80]), b"bad"], corrupted);
    check(&[b"bad", &hll(1, &[0x7f, 0xff, 0x80])], not_valid);
    check(&[b"-WRONGTYPE x\r\n", b"bad"], "-WRONGTYPE x\r\n");
}
