//! Moving slots between primaries with the protocol that `redis-cli --cluster reshard` speaks:
//! IMPORTING at the target, MIGRATING at the source, MIGRATE until no key is left, NODE everywhere.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::eventually::eventually;
use super::value::Value;

/// So long a refused move is tried again.
const MOVE_DEADLINE: Duration = Duration::from_secs(20);

/// How many slots go through the protocol together; a node writes its `nodes.conf` once for each
/// batch and not once for each slot.
const BATCH: usize = 128;
/// How many keys one MIGRATE carries.
const KEYS_AT_ONCE: usize = 100;

/// A slot between two primaries: the source answers ASK for keys it has not, or no longer, got.
pub struct HalfMove<'a> {
    cluster: &'a Cluster,
    /// The slot.
    pub slot: u16,
    /// The node that owns it.
    pub from: usize,
    /// The node that imports it.
    pub to: usize,
}

impl HalfMove<'_> {
    /// The keys that are still at the source.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.cluster
            .keys_in_slot(self.from, self.slot)
            .unwrap_or_else(|error| panic!("keys of slot {}: {error}", self.slot))
    }

    /// Moves these keys to the target.
    pub fn migrate<K: AsRef<[u8]>>(&self, keys: &[K]) {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.as_ref().to_vec()).collect();
        self.cluster
            .migrate(self.from, self.to, &keys)
            .unwrap_or_else(|error| panic!("slot {}: {error}", self.slot));
    }

    /// Moves all remaining keys and hands the slot over.
    pub fn finish(self) {
        let mut error = None;
        // Valkey waits for replicas here, in vain when they are late.
        let deadline = Instant::now() + MOVE_DEADLINE;
        eventually("the slot has moved, or cannot", MOVE_DEADLINE * 2, || {
            error = self
                .cluster
                .complete(self.from, self.to, &[self.slot])
                .err();
            error.is_none() || Instant::now() > deadline
        });
        if let Some(error) = error {
            panic!("slot {}: {error}", self.slot);
        }
    }

    /// Leaves the slot with the source; keys moved already are brought back.
    pub fn abandon(self) {
        let keys = self.cluster.keys_in_slot(self.to, self.slot);
        let keys = keys.unwrap_or_else(|error| panic!("slot {}: {error}", self.slot));
        // The target takes no MIGRATE towards an owner that is itself migrating away.
        for node in [self.from, self.to] {
            let command = format!("CLUSTER SETSLOT {} STABLE", self.slot);
            self.cluster.node(node).ok(&command);
        }
        self.cluster
            .migrate(self.to, self.from, &keys)
            .unwrap_or_else(|error| panic!("slot {}: {error}", self.slot));
    }
}

impl Cluster {
    /// Begins to move a slot: the target imports, the source migrates, no key has moved.
    #[track_caller]
    pub fn begin_move(&self, slot: u16, to: usize) -> HalfMove<'_> {
        let from = self.primary_of(slot).expect("somebody owns the slot");
        assert_ne!(from, to, "the slot is at the target already");
        self.mark(from, to, &[slot])
            .unwrap_or_else(|error| panic!("slot {slot}: {error}"));
        HalfMove {
            cluster: self,
            slot,
            from,
            to,
        }
    }

    /// Moves one slot with all its keys; nothing if it is there already.
    #[track_caller]
    pub fn move_slot(&self, slot: u16, to: usize) {
        self.move_slots(&[slot], to)
            .unwrap_or_else(|error| panic!("slot {slot}: {error}"));
    }

    /// Moves slots with all their keys, in batches; those at the target already are left alone. A node
    /// that was taken for dead on a busy machine means the one that took over from it. An error may
    /// leave slots half-moved.
    pub fn move_slots(&self, slots: &[u16], to: usize) -> io::Result<()> {
        let mut outcome = Ok(());
        // Valkey also waits for replicas, in vain when they are late: the next try begins where this ended.
        let deadline = Instant::now() + MOVE_DEADLINE;
        eventually("the slots have moved, or cannot", MOVE_DEADLINE * 2, || {
            outcome = self.try_move(slots, self.primary_for(to));
            outcome.is_ok() || Instant::now() > deadline
        });
        outcome
    }

    fn try_move(&self, slots: &[u16], to: usize) -> io::Result<()> {
        for batch in slots.chunks(BATCH) {
            for (from, slots) in self.by_owner(batch) {
                if from != to {
                    self.mark(from, to, &slots)?;
                    self.complete(from, to, &slots)?;
                }
            }
        }
        Ok(())
    }

    fn primary_for(&self, node: usize) -> usize {
        let view = self.view(node);
        let primary = view.and_then(|view| view.myself()?.primary.clone());
        primary.and_then(|id| self.index_of(&id)).unwrap_or(node)
    }

    fn by_owner(&self, slots: &[u16]) -> BTreeMap<usize, Vec<u16>> {
        let primaries = self.primaries();
        let mut owned = BTreeMap::<usize, Vec<u16>>::new();
        // The highest epoch last, so that it wins.
        let mut claims: Vec<_> = primaries
            .iter()
            .filter_map(|&index| Some((index, self.view(index)?.myself()?.clone())))
            .collect();
        claims.sort_by_key(|(_, line)| line.epoch);
        for &slot in slots {
            let owner = claims.iter().rev().find(|(_, line)| line.owns(slot));
            if let Some((owner, _)) = owner {
                owned.entry(*owner).or_default().push(slot);
            }
        }
        owned
    }

    fn mark(&self, from: usize, to: usize, slots: &[u16]) -> io::Result<()> {
        let set = |node: usize, state: &str, peer: usize| {
            let peer = self.id(peer);
            let line = |slot: &u16| format!("CLUSTER SETSLOT {slot} {state} {peer}");
            self.all_ok(node, &slots.iter().map(line).collect::<Vec<_>>())
        };
        set(to, "IMPORTING", from)?;
        set(from, "MIGRATING", to)
    }

    fn complete(&self, from: usize, to: usize, slots: &[u16]) -> io::Result<()> {
        let counts: Vec<_> = slots
            .iter()
            .map(|slot| format!("CLUSTER COUNTKEYSINSLOT {slot}"))
            .collect();
        let counts = self.node(from).try_pipeline(&counts)?;
        for (&slot, count) in slots.iter().zip(counts) {
            if count == Value::Integer(0) {
                continue;
            }
            loop {
                let keys = self.keys_in_slot(from, slot)?;
                if keys.is_empty() {
                    break;
                }
                self.migrate(from, to, &keys)?;
            }
        }
        let new_owner = self.id(to);
        let line = |slot: &u16| format!("CLUSTER SETSLOT {slot} NODE {new_owner}");
        let lines: Vec<_> = slots.iter().map(line).collect();
        // The target first: it takes a new epoch with the slots, and the claim is never without an
        // owner. The others would learn it by gossip; telling them is quicker, and may fail.
        self.all_ok(to, &lines)?;
        self.all_ok(from, &lines)?;
        for other in self.primaries() {
            if other != from && other != to {
                let _ = self.all_ok(other, &lines);
            }
        }
        Ok(())
    }

    fn keys_in_slot(&self, node: usize, slot: u16) -> io::Result<Vec<Vec<u8>>> {
        let command = format!("CLUSTER GETKEYSINSLOT {slot} {KEYS_AT_ONCE}");
        let reply = self.node(node).try_call(&command)?;
        fine(&reply)?;
        let keys = reply.items().iter().filter_map(Value::bytes);
        Ok(keys.map(<[u8]>::to_vec).collect())
    }

    fn migrate(&self, from: usize, to: usize, keys: &[Vec<u8>]) -> io::Result<()> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let target = self.node(to);
            let port = target.port().to_string();
            let mut command: Vec<&[u8]> = vec![
                b"MIGRATE",
                b"127.0.0.1",
                port.as_bytes(),
                b"",
                b"0",
                b"5000",
            ];
            if let Some(password) = target.password() {
                command.extend([b"AUTH", password.as_bytes()]);
            }
            command.push(b"KEYS");
            command.extend(keys.iter().map(Vec::as_slice));
            fine(&self.node(from).try_pipeline_args(&[command])?[0])?;
        }
        Ok(())
    }

    fn all_ok(&self, node: usize, commands: &[String]) -> io::Result<()> {
        let replies = self.node(node).try_pipeline(commands)?;
        replies.iter().try_for_each(fine)
    }
}

fn fine(reply: &Value) -> io::Result<()> {
    match reply.error() {
        Some(text) => Err(io::Error::other(text)),
        None => Ok(()),
    }
}
