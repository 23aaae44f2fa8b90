//! What must hold, whatever happened.

use std::collections::{BTreeMap, BTreeSet};

use super::client::Client;
use super::node::{Block, Execution};
use super::request::{Op, Outcome, slot_of};
use super::transaction::{Role, check_blocks};

/// Remembers what the nodes did and what Keyway wrote to them.
#[derive(Debug, Default)]
pub struct Oracle {
    pub executions: Vec<Execution>,
    /// Blocks that were executed.
    pub blocks: Vec<Block>,
    /// Requests of which at least one copy or part was written whole.
    written: BTreeSet<u64>,
    /// Reads may go to replicas.
    pub reads_replicas: bool,
}

impl Oracle {
    /// One that has seen nothing yet.
    pub fn new(reads_replicas: bool) -> Oracle {
        Oracle {
            reads_replicas,
            ..Oracle::default()
        }
    }

    /// Keyway wrote a whole request to a node.
    pub fn wrote(&mut self, id: u64) {
        self.written.insert(id);
    }

    /// Judges the history of one client.
    ///
    /// # Errors
    /// What does not fit together.
    pub fn judge(&self, client: &Client) -> Result<(), String> {
        let mut by_request: BTreeMap<u64, Vec<&Execution>> = BTreeMap::new();
        for execution in &self.executions {
            if execution.id / 10_000 == client.number {
                by_request.entry(execution.id).or_default().push(execution);
            }
        }
        let none = Vec::new();
        let mut effective = BTreeMap::new();
        for request in &client.requests {
            let executions = by_request.get(&request.id).unwrap_or(&none);
            let complain = |what: &str| {
                Err(format!(
                    "client {}: {} {:?} ({:?}): {what}; executed {:?}",
                    client.number,
                    request.id,
                    request.args.join(" "),
                    request.outcome,
                    executions
                        .iter()
                        .map(|execution| (execution.serial, execution.node))
                        .collect::<Vec<_>>(),
                ))
            };
            if let Role::Exec(closing) = &request.role
                && let Err(what) =
                    check_blocks(closing, &client.requests, &self.blocks, &by_request)
            {
                return complain(&what);
            }
            if request.op == Op::CrossSlot && request.slots().len() > 1 && !executions.is_empty() {
                return complain("it was refused and executed");
            }
            if !request.is_repeatable() {
                // Contract F2, invariant 7: at most once, each part.
                let mut parts = BTreeSet::new();
                for execution in executions {
                    let part = execution.keys.first().map(|key| slot_of(key));
                    if !parts.insert(part) {
                        return complain("a write was executed twice");
                    }
                }
            }
            match &request.outcome {
                Outcome::Answered(serials) => {
                    if !request.is_repeatable() {
                        let parts = request.slots().len().max(1);
                        if executions.len() != parts {
                            return complain("a write was acknowledged and not executed");
                        }
                        effective.extend(executions.iter().map(|one| (one.serial, *one)));
                    }
                    if request.op == Op::Keys {
                        let mut nodes = BTreeSet::new();
                        let mut asked = executions
                            .iter()
                            .filter(|one| serials.contains(&one.serial));
                        if !asked.all(|one| nodes.insert(one.node)) {
                            return complain("one node answered for two");
                        }
                    }
                    for serial in serials {
                        match executions.iter().find(|one| one.serial == *serial) {
                            Some(execution) => {
                                effective.insert(*serial, execution);
                            }
                            None => return complain("the reply is of another execution"),
                        }
                    }
                }
                Outcome::NotExecuted if !request.is_repeatable() && !executions.is_empty() => {
                    return complain("the client was told that it was not executed");
                }
                Outcome::Unknown
                    if !request.is_repeatable() && !self.written.contains(&request.id) =>
                {
                    return complain("its outcome is known: it was not written");
                }
                _ => {}
            }
        }
        in_order(client, &effective, self.reads_replicas)
    }
}

/// Contract R13: what a client asked of one key took effect in the order in which it asked. Where replicas
/// serve reads, a read that had to go to another node may come after a later one, but never before an
/// earlier write nor after a later one.
fn in_order(
    client: &Client,
    effective: &BTreeMap<u64, &Execution>,
    reads_replicas: bool,
) -> Result<(), String> {
    // The youngest request that took effect: of all, and of writes.
    let mut last: BTreeMap<(&str, Bound), &Execution> = BTreeMap::new();
    for execution in effective.values() {
        for key in &execution.keys {
            let (bound, raises) = match execution.is_write {
                true => (Bound::All, &[Bound::All, Bound::Writes][..]),
                false if reads_replicas => (Bound::Writes, &[Bound::All][..]),
                false => (Bound::All, &[Bound::All][..]),
            };
            match last.get(&(key.as_str(), bound)) {
                Some(earlier) if earlier.id > execution.id => {
                    return Err(format!(
                        "client {}: on key {key} request {} took effect (node {}, serial {}) after \
                         {} (node {}, serial {})",
                        client.number,
                        execution.id,
                        execution.node,
                        execution.serial,
                        earlier.id,
                        earlier.node,
                        earlier.serial,
                    ));
                }
                _ => {}
            }
            for bound in raises {
                let last = last.entry((key, *bound)).or_insert(execution);
                if last.id < execution.id {
                    *last = execution;
                }
            }
        }
    }
    Ok(())
}

/// What an execution must not be older than.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    All,
    Writes,
}
