//! One simulated server: what it believes of the cluster, what it holds, and what it answers.

use std::collections::BTreeMap;

use fastrand::Rng;
use keyway::resp::scan::{Limits, RequestScanner, Scanned};
use keyway::resp::{Args, Protocol, write};

use super::request::{slot_of, token};

/// Who owns something, as of which epoch.
pub type Claim = (usize, u64);

/// What a node believes of the slots: those in use one by one, all others by the group they began in.
#[derive(Clone, Debug)]
pub struct View {
    pub groups: Vec<Claim>,
    pub slots: BTreeMap<u16, Claim>,
}

impl View {
    /// Takes over what the other one knows better.
    pub fn learn(&mut self, other: &View) {
        for (mine, theirs) in self.groups.iter_mut().zip(&other.groups) {
            if theirs.1 > mine.1 {
                *mine = *theirs;
            }
        }
        for (slot, theirs) in &other.slots {
            if let Some(mine) = self.slots.get_mut(slot)
                && theirs.1 > mine.1
            {
                *mine = *theirs;
            }
        }
    }
}

/// A server.
#[derive(Debug)]
pub struct Node {
    pub index: usize,
    pub is_alive: bool,
    /// It takes no new connections.
    pub is_refusing: bool,
    /// It does nothing until it wakes up.
    pub is_hung: bool,
    pub is_loading: bool,
    pub sees_no_cluster: bool,
    /// The primary it follows.
    pub follows: Option<usize>,
    pub view: View,
    pub migrating: BTreeMap<u16, usize>,
    pub importing: BTreeMap<u16, usize>,
    pub store: BTreeMap<String, String>,
    /// Share of requests answered with an error that concerns the client, in percent.
    pub refusals: u8,
}

/// One request a node carried out.
#[derive(Clone, Debug)]
pub struct Execution {
    pub serial: u64,
    pub id: u64,
    pub node: usize,
    pub keys: Vec<String>,
    pub is_write: bool,
    /// Whether it was read from a replica.
    pub is_replica: bool,
}

/// One connection as the server sees it.
#[derive(Debug, Default)]
pub struct Session {
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    pub protocol: Protocol,
    pub is_asking: bool,
    /// `READONLY` was said.
    pub is_read_only: bool,
}

impl Session {
    /// Whether a whole request is there.
    pub fn has_request(&self) -> bool {
        !self.input.is_empty() && next_request(&mut self.input.clone()).is_some()
    }

    /// The next whole request, taken from the input.
    pub fn next_request(&mut self) -> Option<Vec<Vec<u8>>> {
        next_request(&mut self.input)
    }
}

/// Takes a whole request from the front.
pub fn next_request(input: &mut Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let mut scanner = RequestScanner::default();
    let limits = Limits {
        bulk_bytes_max: 1 << 20,
        request_bytes_max: 1 << 20,
        is_authenticated: true,
    };
    match scanner.scan(input, &limits) {
        Ok(Scanned::Request { len }) => {
            let args = Args::new(&input[..len], scanner.spans());
            let args = args.iter().map(<[u8]>::to_vec).collect();
            input.drain(..len);
            Some(args)
        }
        Ok(Scanned::Incomplete { .. }) => None,
        other => panic!(
            "Keyway wrote what is no request: {other:?} {}",
            input.escape_ascii()
        ),
    }
}

/// The keys of a request, by name and place.
fn keys_of(name: &str, args: &[Vec<u8>]) -> Vec<String> {
    let text = |arg: &Vec<u8>| String::from_utf8_lossy(arg).into_owned();
    let keys: Vec<String> = match name {
        "GET" | "GETRANGE" | "ZSCORE" | "SET" | "APPEND" | "INCRBY" => vec![text(&args[1])],
        "MGET" | "DEL" | "EXISTS" => args[1..].iter().map(text).collect(),
        "MSET" => args[1..].iter().step_by(2).map(text).collect(),
        "EVAL" => {
            let count: usize = text(&args[2]).parse().expect("a number of keys");
            args[3..3 + count].iter().map(text).collect()
        }
        _ => vec![],
    };
    keys
}

/// How hosts are announced.
pub fn host(node: usize) -> String {
    format!("10.0.0.{}", node + 1)
}

impl Node {
    /// Carries out one request; the reply goes to the session's output.
    pub fn execute(
        &mut self,
        rng: &mut Rng,
        session: &mut Session,
        args: &[Vec<u8>],
        serial: u64,
    ) -> Option<Execution> {
        let name = String::from_utf8_lossy(&args[0]).to_ascii_uppercase();
        if name == "ASKING" {
            session.is_asking = true;
            write::simple(&mut session.output, "OK");
            return None;
        }
        if name == "PING" {
            write::simple(&mut session.output, "PONG");
            return None;
        }
        let is_asking = std::mem::take(&mut session.is_asking);
        if session.protocol == Protocol::Resp3 && rng.u8(..50) == 0 {
            session
                .output
                .extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n_\r\n");
        }
        let keys = keys_of(&name, args);
        let is_write = matches!(
            &*name,
            "SET" | "APPEND" | "INCRBY" | "DEL" | "MSET" | "EVAL" | "PUBLISH"
        );
        let real: Vec<String> = keys
            .iter()
            .filter(|key| !key.contains('#'))
            .cloned()
            .collect();
        assert!(
            !(is_write && session.is_read_only),
            "a write on a connection for reads: {name} {keys:?}"
        );
        let asks_replica = session.is_read_only && !is_write;
        if let Err(text) = self.admit(rng, &real, is_write, is_asking, asks_replica) {
            write::error(&mut session.output, text);
            return None;
        }
        let is_wide = !matches!(&*name, "DBSIZE" | "RANDOMKEY" | "SCAN" | "KEYS" | "CONFIG");
        if is_wide && rng.u8(..100) < self.refusals {
            let text = [
                "WRONGTYPE Operation against a key",
                "OOM command not allowed",
            ];
            write::error(&mut session.output, text[rng.usize(..2)]);
            return None;
        }
        self.answer(rng, session, &name, args, serial);
        let id = args[1..].iter().find_map(|arg| token(arg))?;
        Some(Execution {
            serial,
            id,
            node: self.index,
            keys: real,
            is_write,
            is_replica: session.is_read_only,
        })
    }

    /// Whether a request may be carried out here and now, as a cluster's node decides it.
    fn admit(
        &self,
        rng: &mut Rng,
        keys: &[String],
        is_write: bool,
        is_asking: bool,
        asks_replica: bool,
    ) -> Result<(), String> {
        if self.is_loading {
            return Err("LOADING Redis is loading the dataset in memory".to_owned());
        }
        let Some(first) = keys.first() else {
            return Ok(());
        };
        let slot = slot_of(first);
        assert!(
            keys.iter().all(|key| slot_of(key) == slot),
            "Keyway sent keys of several slots: {keys:?}"
        );
        if self.sees_no_cluster {
            return Err("CLUSTERDOWN The cluster is down".to_owned());
        }
        let missing = keys
            .iter()
            .filter(|key| !self.store.contains_key(*key))
            .count();
        let try_again =
            || Err("TRYAGAIN Multiple keys request during rehashing of slot".to_owned());
        let (owner, _) = self.view.slots[&slot];
        if owner == self.index {
            return match self.migrating.get(&slot) {
                Some(_) if missing == 0 => Ok(()),
                Some(to) if missing == keys.len() => Err(format!("ASK {slot} {}:6379", host(*to))),
                Some(_) => try_again(),
                None => Ok(()),
            };
        }
        if is_asking && self.importing.contains_key(&slot) {
            return match missing > 0 && keys.len() > 1 {
                true => try_again(),
                false => Ok(()),
            };
        }
        if asks_replica && self.follows == Some(owner) {
            return match rng.u8(..40) {
                0 => Err("MASTERDOWN Link with MASTER is down".to_owned()),
                1 => try_again(),
                _ => Ok(()),
            };
        }
        if self.follows.is_some() && is_write && rng.u8(..4) == 0 {
            return Err("READONLY You can't write against a read only replica.".to_owned());
        }
        match rng.u8(..40) {
            0 => Err(format!("MOVED {slot} ?:6379")),
            _ => Err(format!("MOVED {slot} {}:6379", host(owner))),
        }
    }

    fn answer(
        &mut self,
        rng: &mut Rng,
        session: &mut Session,
        name: &str,
        args: &[Vec<u8>],
        serial: u64,
    ) {
        let text = |index: usize| String::from_utf8_lossy(&args[index]).into_owned();
        let id = args[1..].iter().find_map(|arg| token(arg)).unwrap_or(0);
        let mark = format!("#{id}@{serial}");
        let protocol = session.protocol;
        let out = &mut session.output;
        let value = |out: &mut Vec<u8>, value: Option<&String>| match value {
            Some(value) => write::bulk(out, value.as_bytes()),
            None => write::null(out, protocol),
        };
        match name {
            "GET" => value(out, self.store.get(&text(1))),
            "GETRANGE" => write::bulk(out, mark.as_bytes()),
            "ZSCORE" => {
                let score = format!("{id}.{serial}");
                match protocol {
                    Protocol::Resp2 => write::bulk(out, score.as_bytes()),
                    Protocol::Resp3 => out.extend_from_slice(format!(",{score}\r\n").as_bytes()),
                }
            }
            "MGET" => {
                write::array(out, args.len() - 1);
                for index in 1..args.len() {
                    let key = text(index);
                    match key.contains('#') {
                        true => write::bulk(out, mark.as_bytes()),
                        false => value(out, self.store.get(&key)),
                    }
                }
            }
            "EXISTS" => write::integer(out, args.len() as i64 - 1),
            "DEL" => {
                for key in keys_of(name, args) {
                    self.store.remove(&key);
                }
                write::integer(out, args.len() as i64 - 1);
            }
            "SET" | "MSET" => {
                for key in keys_of(name, args) {
                    self.store.insert(key, format!("#{id}"));
                }
                write::simple(out, "OK");
            }
            "APPEND" | "INCRBY" | "EVAL" => {
                for key in keys_of(name, args) {
                    self.store.insert(key, format!("#{id}"));
                }
                write::integer(out, id as i64);
            }
            "PUBLISH" => write::integer(out, id as i64),
            "DBSIZE" => write::integer(out, self.store.len() as i64),
            "SCAN" => {
                write::array(out, 2);
                write::bulk(out, rng.u8(..3).to_string().as_bytes());
                write::array(out, 1);
                write::bulk(out, format!("#{id}").as_bytes());
            }
            "KEYS" => {
                write::array(out, 1);
                write::bulk(out, mark.as_bytes());
            }
            "RANDOMKEY" => value(out, self.store.keys().next()),
            "CONFIG" => write::simple(out, "OK"),
            "SCRIPT" => write::bulk(out, format!("#{id}").as_bytes()),
            other => panic!("Keyway sent {other}"),
        }
    }
}
