//! What stands for a placeholder of a template: small pools, so that commands meet keys that exist,
//! of the right type mostly and of a wrong one now and then.

use fastrand::Rng;

use super::scripts;

/// All keys share this tag: one slot, so that a cluster can do whatever one server can.
pub const TAG: &str = "{t}";

/// Kinds of keys: their name, their letter, how many there are.
const KINDS: &[(&str, char, usize)] = &[
    ("string", 's', 4),
    ("number", 'n', 3),
    ("bits", 'b', 2),
    ("hash", 'h', 4),
    ("list", 'l', 4),
    ("set", 'e', 4),
    ("zset", 'z', 4),
    ("geo", 'g', 2),
    ("stream", 'x', 3),
    ("hll", 'p', 3),
];

const VALUES: &[&[u8]] = &[
    b"a",
    b"b",
    b"v1",
    b"v2",
    b"hello world",
    b"",
    b"0",
    b"1",
    b"10",
    b"-5",
    b"3.5",
    b"1e3",
    b"foobar",
    b"a\r\nb",
    b"\x00\xff\x80",
    b"9223372036854775807",
    b"-9223372036854775808",
    b" 1",
    b"nan",
    b"inf",
    b"*3\r\n$3\r\nSET\r\n",
    b"+OK\r\n",
    b"{t}s0",
    b"{",
    b"abcdefghijklmnopqrstuvwxyz0123456789abcdefgh",
];
const MEMBERS: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "1", "2", "3", "17", "-4", "100000", "x y", "",
];
const FIELDS: &[&str] = &[
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "n",
    "",
    "long field name that is over sixty-four bytes, to leave the listpack encoding",
];
const INTEGERS: &[&str] = &[
    "0",
    "1",
    "2",
    "-1",
    "10",
    "100",
    "-7",
    "9223372036854775807",
    "x",
    "1.5",
    "",
];
const FLOATS: &[&str] = &[
    "0.5", "1", "-2.25", "1e2", "inf", "-inf", "nan", "x", "3.0e0", "0",
];
const INDEXES: &[&str] = &[
    "0", "1", "2", "3", "-1", "-2", "-3", "5", "100", "-100", "x",
];
const COUNTS: &[&str] = &["1", "2", "3", "5", "10", "0", "-1", "x"];
// Dyadic: sums do not depend on the order in which a hash table is walked.
const SCORES: &[&str] = &[
    "0", "1", "1", "2", "2", "3", "-1", "0.5", "2.25", "1e3", "inf", "-inf", "x", "nan",
];
const BOUNDS: &[&str] = &[
    "0", "1", "(1", "2", "(2", "-inf", "+inf", "inf", "3", "(x", "-1",
];
const LEX: &[&str] = &["-", "+", "[a", "(a", "[c", "(c", "[g", "b", "[", "("];
const SECONDS: &[&str] = &[
    "100",
    "1000",
    "100000",
    "100000",
    "500",
    "0",
    "-1",
    "x",
    "9223372036854775807",
];
const MILLISECONDS: &[&str] = &[
    "100000",
    "1000000",
    "100000000",
    "500000",
    "0",
    "-1",
    "x",
    "9223372036854775807",
];
const FUTURE: &[&str] = &[
    "33177117420",
    "33177117421",
    "33000000000",
    "1",
    "0",
    "-1",
    "x",
];
const FUTURE_MS: &[&str] = &[
    "33177117420000",
    "33177117421000",
    "33000000000000",
    "1",
    "-1",
    "x",
];
const OFFSETS: &[&str] = &[
    "0",
    "1",
    "5",
    "7",
    "8",
    "31",
    "100",
    "1000",
    "-1",
    "x",
    "4294967296",
    "#1",
    "#3",
];
const LENGTHS: &[&str] = &["0", "1", "5", "10", "100", "30000", "-1", "536870912", "x"];
const BIT_TYPES: &[&str] = &[
    "u8", "i8", "u4", "i16", "u63", "i64", "u1", "u64", "i0", "x",
];
const PATTERNS: &[&str] = &[
    "*", "{t}*", "f*", "[a-c]", "?", "*[0-9]", "\\*", "{t}s?", "nothing",
];
const IDS: &[&str] = &[
    "0", "1", "1-1", "1-2", "2-0", "3-3", "5-1", "0-0", "-", "+", "(1-1", "x", "99999-0",
];
const GROUPS: &[&str] = &["g1", "g1", "g1", "g2", "nosuch"];
const CONSUMERS: &[&str] = &["alice", "bob", "carol"];
const PLACES: &[(&str, &str)] = &[
    ("13.361389", "38.115556"),
    ("15.087269", "37.502669"),
    ("2.349014", "48.864716"),
    ("-0.1275", "51.507222"),
    ("-180", "85"),
    ("200", "10"),
    ("x", "1"),
];
const CHANNELS: &[&str] = &["c1", "c2", "c3", "c1", "{t}k", ""];
const CHANNEL_PATTERNS: &[&str] = &["c*", "c1", "*", "c[12]", "nothing", "*1"];
const NAMES: &[&str] = &["app", "app-2", "worker:1", "", "a b", "n\n"];

/// Fills placeholders for one client.
#[derive(Debug)]
pub struct Words {
    prefix: String,
    payloads: Vec<Vec<u8>>,
    stream_entry: u64,
    message: u64,
}

impl Words {
    /// For keys that begin with this; `payloads` are what `DUMP` gave of each type. Messages are
    /// numbered from `message` on.
    pub fn new(prefix: String, payloads: Vec<Vec<u8>>, message: u64) -> Words {
        Words {
            prefix,
            payloads,
            stream_entry: 1,
            message,
        }
    }

    /// The arguments for a placeholder.
    pub fn fill(&mut self, random: &mut Rng, name: &'static str) -> Vec<Vec<u8>> {
        if let Some(kind) = name.strip_prefix("keys:") {
            return self.counted(random, kind);
        }
        if name == "key" || KINDS.iter().any(|(kind, ..)| *kind == name) {
            return vec![self.key(random, name)];
        }
        let pool = match name {
            // `LCS` needs the product of both lengths in memory: its keys never hold much.
            // Of one score: else it is chance what a range of a skip list finds.
            "lexset" => {
                return vec![format!("{}lexset{}", self.prefix, random.u8(..2)).into_bytes()];
            }
            "small" => return vec![format!("{}small{}", self.prefix, random.u8(..2)).into_bytes()],
            "value" => return vec![value(random)],
            "big" => return vec![vec![b'x'; random.usize(1_000..200_000)]],
            "member" => MEMBERS,
            "field" => FIELDS,
            "int" => INTEGERS,
            "float" => FLOATS,
            "index" => INDEXES,
            "count" => COUNTS,
            "score" => SCORES,
            "bound" => BOUNDS,
            "lex" => LEX,
            "seconds" => SECONDS,
            "ms" => MILLISECONDS,
            // `RESTORE` takes one that overflows; then it is chance when the key goes.
            "ttl" => &["0", "0", "100000", "1000000", "-1", "x"],
            "future" => FUTURE,
            "futurems" => FUTURE_MS,
            "offset" => OFFSETS,
            "length" => LENGTHS,
            "bittype" => BIT_TYPES,
            "pattern" => PATTERNS,
            "id" => IDS,
            "newid" => return vec![self.new_id(random)],
            "group" => GROUPS,
            "consumer" => CONSUMERS,
            "channel" => CHANNELS,
            "channelpattern" => CHANNEL_PATTERNS,
            "shard" => return vec![format!("{TAG}shard{}", random.u8(..3)).into_bytes()],
            "name" => NAMES,
            "unit" => &["m", "km", "mi", "ft", "parsec"],
            "place" => {
                let place = PLACES[random.usize(..PLACES.len())];
                return vec![place.0.into(), place.1.into()];
            }
            "message" => {
                self.message += 1;
                return vec![format!("message {}", self.message).into_bytes()];
            }
            "payload" => return vec![self.payload(random)],
            "script" => {
                let script = scripts::any(random);
                return self.script(random, script, scripts::body(script));
            }
            "sha" => {
                let script = scripts::any_sound(random);
                return self.script(random, script, scripts::sha(script));
            }
            "body" => return vec![scripts::body(scripts::any(random))],
            "shaonly" => return vec![scripts::sha(scripts::any_sound(random))],
            "library" => return vec![scripts::library(random)],
            "function" => return self.function(random),
            other => panic!("no such placeholder: <{other}>"),
        };
        vec![pool[random.usize(..pool.len())].into()]
    }

    /// A key, of another kind now and then.
    fn key(&self, random: &mut Rng, kind: &str) -> Vec<u8> {
        let wanted = KINDS.iter().find(|(name, ..)| *name == kind);
        let (_, letter, count) = match wanted {
            Some(kind) if random.u8(..100) < 88 => *kind,
            _ => KINDS[random.usize(..KINDS.len())],
        };
        format!("{}{letter}{}", self.prefix, random.usize(..count)).into_bytes()
    }

    /// How many keys follow, and the keys; sometimes the number is wrong.
    fn counted(&self, random: &mut Rng, kind: &str) -> Vec<Vec<u8>> {
        let count = random.usize(1..=3);
        let said = match random.u8(..100) {
            0 => "0".to_owned(),
            1 => "-1".to_owned(),
            2 => "x".to_owned(),
            3 => (count + 9).to_string(),
            _ => count.to_string(),
        };
        let mut words = vec![said.into_bytes()];
        words.extend((0..count).map(|_| self.key(random, kind)));
        words
    }

    /// Explicit, for `*` would be the time. Mostly greater than all before.
    fn new_id(&mut self, random: &mut Rng) -> Vec<u8> {
        self.stream_entry += 1;
        match random.u8(..20) {
            0 => b"1-1".to_vec(),
            1 => b"0-0".to_vec(),
            2 => format!("{}-*", self.stream_entry).into_bytes(),
            3 => b"x".to_vec(),
            _ => format!("{}-{}", self.stream_entry, random.u8(1..4)).into_bytes(),
        }
    }

    fn payload(&self, random: &mut Rng) -> Vec<u8> {
        let mut payload = self.payloads[random.usize(..self.payloads.len())].clone();
        if random.u8(..10) == 0 {
            let at = random.usize(..payload.len());
            payload[at] ^= 0xff;
        }
        payload
    }

    fn script(&self, random: &mut Rng, script: &scripts::Script, name: Vec<u8>) -> Vec<Vec<u8>> {
        let mut words = vec![name, script.keys.len().to_string().into_bytes()];
        words.extend(script.keys.iter().map(|kind| self.key(random, kind)));
        words.extend((0..script.arguments).map(|_| value(random)));
        words
    }

    fn function(&self, random: &mut Rng) -> Vec<Vec<u8>> {
        let name = ["first", "second", "reads", "nosuch"][random.usize(..4)];
        let mut words = vec![name.into()];
        if random.bool() {
            words.extend([b"0".to_vec()]);
        } else {
            words.extend([b"1".to_vec(), self.key(random, "string"), value(random)]);
        }
        words
    }
}

fn value(random: &mut Rng) -> Vec<u8> {
    match random.u8(..200) {
        0 => vec![b'y'; random.usize(100..20_000)],
        1 => (0..random.usize(1..300)).map(|_| random.u8(..)).collect(),
        _ => VALUES[random.usize(..VALUES.len())].to_vec(),
    }
}
