//! One simulated server: what it believes of the cluster, what it holds, and what it answers.

use std::collections::BTreeMap;

use fastrand::Rng;
use keyway::resp::{Protocol, write};

use super::received::{id_of, is_write, keys_of, name_of, next_request, real_keys};
use super::request::slot_of;

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
    /// How often each key was changed.
    pub changes: BTreeMap<String, u64>,
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
    /// The serial of the `EXEC` it was carried out by.
    pub block: Option<u64>,
    pub is_write: bool,
    /// Whether it was read from a replica.
    pub is_replica: bool,
}

/// One block that a node carried out.
#[derive(Clone, Debug)]
pub struct Block {
    pub serial: u64,
    /// Its commands in order, those included that failed.
    pub ids: Vec<u64>,
    /// The `WATCH` commands whose keys its connection watched.
    pub watches: Vec<u64>,
}

/// What a node did with a request, or with all of a block.
#[derive(Debug, Default)]
pub struct Done {
    pub executions: Vec<Execution>,
    pub block: Option<Block>,
}

/// One connection as the server sees it.
#[derive(Debug, Default)]
pub struct Session {
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    pub protocol: Protocol,
    pub is_asking: bool,
    /// What was queued since `MULTI`.
    pub multi: Option<Vec<Vec<Vec<u8>>>>,
    /// A queued command was refused.
    pub is_dirty: bool,
    /// Watched keys, each as it was changed last, and the requests that asked for it.
    pub watched: Vec<(String, u64)>,
    pub watches: Vec<u64>,
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
        serial: &mut u64,
    ) -> Done {
        *serial += 1;
        let name = name_of(args);
        match &*name {
            "ASKING" => {
                session.is_asking = true;
                write::simple(&mut session.output, "OK");
                return Done::default();
            }
            "MULTI" => {
                assert!(session.multi.is_none(), "Keyway nested MULTI");
                session.multi = Some(Vec::new());
                write::simple(&mut session.output, "OK");
                return Done::default();
            }
            "EXEC" => return self.execute_block(rng, session, serial),
            "HELLO" => {
                session.protocol = match &*args[1] {
                    b"3" => Protocol::Resp3,
                    _ => Protocol::Resp2,
                };
                write::simple(&mut session.output, "OK");
                return Done::default();
            }
            "PING" if session.multi.is_none() => {
                write::simple(&mut session.output, "PONG");
                return Done::default();
            }
            "UNWATCH" => {
                session.watched.clear();
                session.watches.clear();
                write::simple(&mut session.output, "OK");
                return Done::default();
            }
            _ => {}
        }
        let is_queued = session.multi.is_some();
        let is_asking = match is_queued {
            true => session.is_asking,
            false => std::mem::take(&mut session.is_asking),
        };
        if !is_queued && session.protocol == Protocol::Resp3 && rng.u8(..50) == 0 {
            session
                .output
                .extend_from_slice(b">2\r\n$10\r\ninvalidate\r\n_\r\n");
        }
        let real = real_keys(&name, args);
        assert!(
            !session.is_read_only || !is_write(&name) && !is_queued && name != "WATCH",
            "{name} {real:?} on a connection for reads"
        );
        let refused = match self.serves_as_replica(rng, session, &real) {
            Some(refused) => refused,
            None => self.admit(rng, &real, is_write(&name), is_asking),
        };
        if let Some(queued) = &mut session.multi {
            let refused = refused.and_then(|()| match rng.u8(..100) < self.refusals {
                true => Err("OOM command not allowed".to_owned()),
                false => Ok(()),
            });
            match refused {
                Ok(()) => {
                    queued.push(args.to_vec());
                    write::simple(&mut session.output, "QUEUED");
                }
                Err(text) => {
                    session.is_dirty = true;
                    write::error(&mut session.output, text);
                }
            }
            return Done::default();
        }
        if let Err(text) = refused {
            write::error(&mut session.output, text);
            return Done::default();
        }
        if name == "WATCH" {
            for key in real {
                let changes = self.changes.get(&key).copied().unwrap_or(0);
                session.watched.push((key, changes));
            }
            session.watches.extend(id_of(args));
            write::simple(&mut session.output, "OK");
            return Done::default();
        }
        Done {
            executions: self
                .carry_out(rng, session, args, *serial, None)
                .into_iter()
                .collect(),
            block: None,
        }
    }

    /// `EXEC`: all that was queued, or nothing.
    fn execute_block(&mut self, rng: &mut Rng, session: &mut Session, serial: &mut u64) -> Done {
        let queued = session
            .multi
            .take()
            .expect("Keyway sent EXEC without MULTI");
        let is_asking = std::mem::take(&mut session.is_asking);
        let watched = std::mem::take(&mut session.watched);
        let watches = std::mem::take(&mut session.watches);
        if std::mem::take(&mut session.is_dirty) {
            let text = "EXECABORT Transaction discarded because of previous errors.";
            write::error(&mut session.output, text);
            return Done::default();
        }
        let mut keys: Vec<String> = Vec::new();
        let mut has_write = false;
        for args in &queued {
            let name = name_of(args);
            has_write |= is_write(&name);
            keys.extend(real_keys(&name, args));
        }
        if let Err(text) = self.admit(rng, &keys, has_write, is_asking) {
            let is_direct = ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"];
            let text = match is_direct.iter().any(|word| text.starts_with(word)) {
                true => text,
                false => format!("EXECABORT Transaction discarded because of: {text}"),
            };
            write::error(&mut session.output, text);
            return Done::default();
        }
        let is_touched = watched
            .iter()
            .any(|(key, changes)| self.changes.get(key).copied().unwrap_or(0) != *changes);
        if is_touched {
            write::null_array(&mut session.output, session.protocol);
            return Done::default();
        }
        let block = *serial;
        let mut done = Done {
            executions: Vec::new(),
            block: Some(Block {
                serial: block,
                ids: queued.iter().filter_map(|args| id_of(args)).collect(),
                watches,
            }),
        };
        write::array(&mut session.output, queued.len());
        for args in &queued {
            *serial += 1;
            let execution = self.carry_out(rng, session, args, *serial, Some(block));
            done.executions.extend(execution);
        }
        done
    }

    /// A key is not what it was for those who watch it.
    pub fn change(&mut self, key: &str) {
        *self.changes.entry(key.to_owned()).or_insert(0) += 1;
    }

    /// Carries out a request that was let in.
    fn carry_out(
        &mut self,
        rng: &mut Rng,
        session: &mut Session,
        args: &[Vec<u8>],
        serial: u64,
        block: Option<u64>,
    ) -> Option<Execution> {
        let name = name_of(args);
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
        let keys = real_keys(&name, args);
        if is_write(&name) {
            for key in &keys {
                self.change(key);
            }
        }
        Some(Execution {
            serial,
            id: id_of(args)?,
            node: self.index,
            keys,
            block,
            is_write: is_write(&name),
            is_replica: session.is_read_only,
        })
    }

    /// What a replica says to a read of its primary's slots; `None` when it decides as any other node.
    fn serves_as_replica(
        &self,
        rng: &mut Rng,
        session: &Session,
        keys: &[String],
    ) -> Option<Result<(), String>> {
        let (owner, _) = self.view.slots[&slot_of(keys.first()?)];
        let is_well = !self.is_loading && !self.sees_no_cluster;
        let is_served = session.is_read_only && is_well && self.follows == Some(owner);
        is_served.then(|| match rng.u8(..40) {
            0 => Err("MASTERDOWN Link with MASTER is down".to_owned()),
            1 => Err("TRYAGAIN Multiple keys request during rehashing of slot".to_owned()),
            _ => Ok(()),
        })
    }

    /// Whether a request may be carried out here and now, as a cluster's node decides it.
    fn admit(
        &self,
        rng: &mut Rng,
        keys: &[String],
        is_write: bool,
        is_asking: bool,
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
        let id = id_of(args).unwrap_or(0);
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
                // Most nodes are soon walked, and some have nothing.
                write::bulk(out, rng.u8(..8).saturating_sub(5).to_string().as_bytes());
                let found = rng.usize(..2);
                write::array(out, found);
                (0..found).for_each(|_| write::bulk(out, mark.as_bytes()));
            }
            "KEYS" => {
                write::array(out, 1);
                write::bulk(out, mark.as_bytes());
            }
            "RANDOMKEY" => value(out, self.store.keys().next()),
            "CONFIG" => write::simple(out, "OK"),
            "PING" | "ECHO" => write::bulk(out, &args[1]),
            "SCRIPT" => write::bulk(out, format!("#{id}").as_bytes()),
            other => panic!("Keyway sent {other}"),
        }
    }
}
