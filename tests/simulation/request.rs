//! What simulated clients ask, and what they must hear.
//!
//! Each request carries its number in an argument that holds `#number`, so that the nodes can tell
//! whose it is and the replies can tell whether they are somebody else's. Replies to reads also name
//! the execution they come from (`#number@serial`), which is how the order of reads is checked.

use std::collections::BTreeSet;

use fastrand::Rng;
use keyway::cluster::Slot;
use keyway::resp::{Protocol, reply, write};

use super::transaction::Role;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Get,
    GetRange,
    ZScore,
    MGet,
    Exists,
    Set,
    Append,
    IncrBy,
    Del,
    MSet,
    /// A script over keys of one slot.
    Eval,
    /// A script without keys.
    EvalAnywhere,
    Publish,
    DbSize,
    Scan,
    Keys,
    RandomKey,
    ConfigSet,
    ScriptLoad,
    Ping,
    Echo,
    ClientId,
    ClientList,
    Hello,
    Reset,
    ReplyOff,
    ReplyOn,
    ReplySkip,
    WrongArity,
    Unknown,
    CrossSlot,
    Quit,
    Garbage,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
}

/// A longer line is refused.
const INLINE_BYTES: usize = 60_000;

/// Weighted choice of what an ordinary client sends next.
const COMMON: &[(Op, usize)] = &[
    (Op::Get, 4),
    (Op::GetRange, 12),
    (Op::ZScore, 10),
    (Op::MGet, 8),
    (Op::Exists, 2),
    (Op::Set, 10),
    (Op::Append, 14),
    (Op::IncrBy, 10),
    (Op::Del, 6),
    (Op::MSet, 8),
    (Op::Eval, 8),
    (Op::EvalAnywhere, 1),
    (Op::Publish, 2),
    (Op::DbSize, 1),
    (Op::Scan, 2),
    (Op::Keys, 4),
    (Op::RandomKey, 1),
    (Op::ConfigSet, 1),
    (Op::ScriptLoad, 1),
    (Op::Ping, 2),
    (Op::Echo, 1),
    (Op::ClientId, 1),
    (Op::ClientList, 1),
    (Op::Hello, 2),
    (Op::Reset, 1),
    (Op::ReplyOff, 1),
    (Op::ReplySkip, 1),
    (Op::WrongArity, 1),
    (Op::Unknown, 1),
    (Op::CrossSlot, 1),
];

/// One request of one client.
#[derive(Clone, Debug)]
pub struct Request {
    pub id: u64,
    pub op: Op,
    /// The version its reply must have.
    pub protocol: Protocol,
    pub args: Vec<String>,
    pub keys: Vec<String>,
    pub is_muted: bool,
    /// What it is to a transaction.
    pub role: Role,
    /// When Keyway took it on.
    pub taken_us: Option<u64>,
    pub outcome: Outcome,
}

/// What became of a request, as its client heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was heard, or nothing will be.
    Open,
    /// It succeeded; reads name the executions the reply comes from.
    Answered(Vec<u64>),
    /// An error that promises that nothing was executed.
    NotExecuted,
    /// An error that promises nothing.
    Unknown,
    /// An error of which only a part of the request speaks.
    Partly,
}

/// `tag` in braces decides the slot.
pub fn slot_of(key: &str) -> u16 {
    Slot::of_key(key.as_bytes()).number()
}

/// The number of the request an argument belongs to.
pub fn token(argument: &[u8]) -> Option<u64> {
    let start = argument.iter().position(|byte| *byte == b'#')? + 1;
    let digits = argument[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(None, |number, digit| {
        Some(number.unwrap_or(0) * 10 + u64::from(digit - b'0'))
    })
}

impl Request {
    /// An ordinary request over keys with these tags.
    pub fn draw(rng: &mut Rng, id: u64, protocol: Protocol, tags: &[char]) -> Request {
        let total: usize = COMMON.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.usize(..total);
        let op = COMMON.iter().find(|(_, weight)| {
            let is_it = left < *weight;
            left = left.saturating_sub(*weight);
            is_it
        });
        let op = op.expect("the weights add up").0;
        Request::of(rng, op, id, protocol, tags)
    }

    /// A request of this kind.
    pub fn of(rng: &mut Rng, op: Op, id: u64, protocol: Protocol, tags: &[char]) -> Request {
        let me = format!("#{id}");
        let mut protocol = protocol;
        let tag = tags[rng.usize(..tags.len())];
        let one = |rng: &mut Rng, tag: char| format!("{{{tag}}}{}", rng.u8(1..4));
        let key = one(rng, tag);
        let several = |rng: &mut Rng| -> Vec<String> {
            let across = rng.bool();
            let count = rng.usize(2..5);
            let tags: Vec<char> = (0..count)
                .map(|_| {
                    if across {
                        tags[rng.usize(..tags.len())]
                    } else {
                        tag
                    }
                })
                .collect();
            tags.into_iter().map(|tag| one(rng, tag)).collect()
        };
        let mut keys = Vec::new();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let args: Vec<String> = match op {
            Op::Get => words(&["GET", &key]),
            Op::GetRange => words(&["getrange", &key, &me, "-1"]),
            Op::ZScore => words(&["ZSCORE", &key, &me]),
            Op::Set => words(&["SET", &key, &me]),
            Op::Append => words(&["APPEND", &key, &me]),
            Op::IncrBy => words(&["INCRBY", &key, &me]),
            Op::MGet | Op::Exists | Op::Del => {
                keys = several(rng);
                let name = match op {
                    Op::MGet => "MGET",
                    Op::Del => "DEL",
                    _ => "EXISTS",
                };
                // One more key for each slot, that carries the number.
                let tags: BTreeSet<&str> = keys.iter().map(|key| &key[..3]).collect();
                let marks = tags.into_iter().map(|tag| format!("{tag}{me}"));
                [name.to_owned()]
                    .into_iter()
                    .chain(keys.iter().cloned())
                    .chain(marks)
                    .collect()
            }
            Op::MSet => {
                keys = several(rng);
                let pairs = keys.iter().flat_map(|key| [key.clone(), me.clone()]);
                ["MSET".to_owned()].into_iter().chain(pairs).collect()
            }
            Op::Eval => {
                keys = (0..rng.usize(1..3)).map(|_| one(rng, tag)).collect();
                ["EVAL".to_owned(), "s".to_owned(), keys.len().to_string()]
                    .into_iter()
                    .chain(keys.iter().cloned())
                    .chain([me])
                    .collect()
            }
            Op::EvalAnywhere => words(&["EVAL", "s", "0", &me]),
            Op::Publish => words(&["PUBLISH", "channel", &me]),
            Op::DbSize => words(&["DBSIZE"]),
            Op::Scan => {
                let count = rng.usize(1..4).to_string();
                words(&["SCAN", "0", "MATCH", &format!("*{me}"), "COUNT", &count])
            }
            Op::Keys => words(&["KEYS", &me]),
            Op::RandomKey => words(&["RANDOMKEY"]),
            Op::ConfigSet => words(&["CONFIG", "SET", "parameter", &me]),
            Op::ScriptLoad => words(&["SCRIPT", "LOAD", &me]),
            Op::Ping => words(&["PING", &me]),
            Op::Echo => words(&["ECHO", &me]),
            Op::ClientId => words(&["CLIENT", "ID"]),
            Op::ClientList => words(&["CLIENT", "LIST"]),
            Op::Hello => {
                protocol = [Protocol::Resp2, Protocol::Resp3][rng.usize(..2)];
                let version = ["2", "3"][protocol as usize];
                words(&["HELLO", version])
            }
            Op::Reset => {
                protocol = Protocol::Resp2;
                words(&["RESET"])
            }
            Op::ReplyOff => words(&["CLIENT", "REPLY", "OFF"]),
            Op::ReplyOn => words(&["CLIENT", "REPLY", "ON"]),
            Op::ReplySkip => words(&["CLIENT", "REPLY", "SKIP"]),
            Op::WrongArity => words(&["GET"]),
            Op::Unknown => words(&["NONSENSE", &me]),
            Op::CrossSlot => {
                keys = vec![one(rng, 'a'), one(rng, 'b')];
                words(&["EVAL", "s", "2", &keys[0], &keys[1], &me])
            }
            Op::Quit => words(&["QUIT"]),
            Op::Garbage => vec![],
            Op::Multi => words(&["MULTI"]),
            Op::Exec => words(&["EXEC"]),
            Op::Discard => words(&["DISCARD"]),
            Op::Unwatch => words(&["UNWATCH"]),
            Op::Watch => {
                keys = vec![one(rng, tag), one(rng, tag)];
                words(&["WATCH", &keys[0], &keys[1], &format!("{{{tag}}}{me}")])
            }
        };
        if matches!(
            op,
            Op::Get | Op::GetRange | Op::ZScore | Op::Set | Op::Append | Op::IncrBy
        ) {
            keys = vec![key];
        }
        Request {
            id,
            op,
            protocol,
            args,
            keys,
            is_muted: false,
            role: Role::Plain,
            taken_us: None,
            outcome: Outcome::Open,
        }
    }

    /// As it goes over the wire.
    pub fn bytes(&self, rng: &mut Rng) -> Vec<u8> {
        let mut out = Vec::new();
        if self.op == Op::Garbage {
            out.extend_from_slice(b"*1\r\nnonsense\r\n");
        } else if rng.u8(..10) == 0 && self.args.iter().all(|arg| arg.len() < INLINE_BYTES) {
            out.extend_from_slice(self.args.join(" ").as_bytes());
            out.extend_from_slice(b"\r\n");
        } else {
            write::command(&mut out, &self.args);
        }
        out
    }

    /// Whether it may be done twice.
    pub fn is_repeatable(&self) -> bool {
        !matches!(
            self.op,
            Op::Set
                | Op::Append
                | Op::IncrBy
                | Op::Del
                | Op::MSet
                | Op::Eval
                | Op::EvalAnywhere
                | Op::Publish
        )
    }

    /// The slots of its parts; empty when it has no keys.
    pub fn slots(&self) -> BTreeSet<u16> {
        self.keys.iter().map(|key| slot_of(key)).collect()
    }

    /// Judges a reply: what became of the request, or why the reply is wrong.
    pub fn judge(&self, bytes: &[u8]) -> Result<Outcome, String> {
        let text = String::from_utf8_lossy(bytes);
        let answered = Ok(Outcome::Answered(Vec::new()));
        let exactly = |expected: String| {
            if text == expected {
                Ok(Outcome::Answered(Vec::new()))
            } else {
                Err(format!("expected {expected:?}"))
            }
        };
        let begins = |expected: &str| {
            if text.starts_with(expected) {
                Ok(Outcome::Answered(Vec::new()))
            } else {
                Err(format!("expected {expected:?}..."))
            }
        };
        let me = format!("#{}", self.id);
        match self.op {
            Op::WrongArity => return begins("-ERR wrong number of arguments"),
            Op::Unknown => return begins("-ERR unknown command 'NONSENSE'"),
            Op::CrossSlot => return begins("-CROSSSLOT "),
            Op::Garbage => return begins("-ERR Protocol error"),
            _ if text.starts_with('-') => return self.judge_error(&text),
            _ => {}
        }
        match self.op {
            Op::Get => self.judge_value(bytes).map(|()| Outcome::Answered(vec![])),
            Op::GetRange => Ok(Outcome::Answered(vec![self.serial(bytes)?])),
            Op::ZScore => {
                let kind = [b'$', b','][self.protocol as usize];
                let value = match bytes.first() {
                    Some(b'$') => reply::text(bytes).unwrap_or_default(),
                    _ => bytes[1..].trim_ascii_end(),
                };
                let value = String::from_utf8_lossy(value);
                match value.split_once('.') {
                    Some((id, serial)) if id == self.id.to_string() && bytes[0] == kind => {
                        let serial = serial.parse().map_err(|_| "no serial")?;
                        Ok(Outcome::Answered(vec![serial]))
                    }
                    _ => Err(format!("expected {}{}.serial", char::from(kind), self.id)),
                }
            }
            Op::MGet => self.judge_values(bytes),
            Op::Exists | Op::Del => exactly(format!(":{}\r\n", self.args.len() - 1)),
            Op::Set | Op::MSet | Op::ConfigSet => exactly("+OK\r\n".to_owned()),
            Op::Append | Op::IncrBy | Op::Eval | Op::EvalAnywhere | Op::Publish => {
                exactly(format!(":{}\r\n", self.id))
            }
            Op::DbSize => begins(":"),
            Op::Scan => {
                begins("*2\r\n$")?;
                let page = reply::elements(bytes).and_then(|mut parts| parts.nth(1));
                let elements = page.and_then(reply::elements).ok_or("no page")?;
                let serials = elements.map(|element| self.serial(element));
                let serials = serials.collect::<Result<Vec<_>, _>>()?;
                let distinct: BTreeSet<_> = serials.iter().collect();
                match distinct.len() == serials.len() {
                    true => Ok(Outcome::Answered(serials)),
                    false => Err("one node's answer twice".to_owned()),
                }
            }
            Op::Keys => {
                let elements = reply::elements(bytes).ok_or("no array")?;
                let serials = elements.map(|element| self.serial(element));
                Ok(Outcome::Answered(serials.collect::<Result<_, _>>()?))
            }
            Op::RandomKey => self.judge_value(bytes).map(|()| Outcome::Answered(vec![])),
            Op::ScriptLoad | Op::Ping | Op::Echo => exactly(format!("${}\r\n{me}\r\n", me.len())),
            Op::ClientId => begins(":"),
            Op::ClientList => begins(["$", "="][self.protocol as usize]),
            Op::Hello => begins(["*14\r\n", "%7\r\n"][self.protocol as usize]),
            Op::Reset => exactly("+RESET\r\n".to_owned()),
            Op::ReplyOff | Op::ReplyOn | Op::ReplySkip | Op::Quit => exactly("+OK\r\n".to_owned()),
            Op::Multi | Op::Discard | Op::Watch | Op::Unwatch => exactly("+OK\r\n".to_owned()),
            Op::WrongArity | Op::Unknown | Op::CrossSlot | Op::Garbage | Op::Exec => answered,
        }
    }

    fn judge_error(&self, text: &str) -> Result<Outcome, String> {
        let is_split = self.slots().len() > 1;
        if text.contains("outcome unknown") {
            if self.is_repeatable() {
                return Err("outcome unknown for what may be repeated".to_owned());
            }
            return Ok(Outcome::Unknown);
        }
        if text.contains("a part of") {
            if !is_split {
                return Err("it has no parts".to_owned());
            }
            return Ok(Outcome::Partly);
        }
        let is_data = ["-WRONGTYPE", "-OOM"]
            .iter()
            .any(|word| text.starts_with(word));
        if text.contains("not executed") || text.contains("was tried for") {
            return Ok(Outcome::NotExecuted);
        }
        if is_data {
            return Ok(match is_split {
                true => Outcome::Partly,
                false => Outcome::NotExecuted,
            });
        }
        if text.contains("did not answer") && self.is_repeatable() {
            return Ok(Outcome::Unknown);
        }
        Err("an error the client must not see".to_owned())
    }

    /// A value or the null of its version.
    fn judge_value(&self, bytes: &[u8]) -> Result<(), String> {
        let null: &[u8] = [&b"$-1\r\n"[..], b"_\r\n"][self.protocol as usize];
        if bytes == null || (bytes.starts_with(b"$") && !bytes.starts_with(b"$-")) {
            return Ok(());
        }
        Err(format!("neither a value nor {}", null.escape_ascii()))
    }

    /// Reads `#number@serial`.
    fn serial(&self, bytes: &[u8]) -> Result<u64, String> {
        let text = reply::text(bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        match text.split_once('@') {
            Some((id, serial)) if id == format!("#{}", self.id) => {
                serial.parse().map_err(|_| "no serial".to_owned())
            }
            _ => Err(format!("expected #{}@serial", self.id)),
        }
    }

    fn judge_values(&self, bytes: &[u8]) -> Result<Outcome, String> {
        let elements: Vec<&[u8]> = reply::elements(bytes).ok_or("no array")?.collect();
        if elements.len() != self.args.len() - 1 {
            return Err(format!("expected {} elements", self.args.len() - 1));
        }
        let mut serials = Vec::new();
        for (key, element) in self.args[1..].iter().zip(elements) {
            if key.contains('#') {
                serials.push(self.serial(element)?);
            } else {
                self.judge_value(element)?;
            }
        }
        Ok(Outcome::Answered(serials))
    }
}
