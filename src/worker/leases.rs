//! Private connections, lent to one client at a time: for commands that block, and for `WATCH`
//! (contract: T3, T5).
//!
//! A lease that comes back clean is kept for the next client. Their number is limited; whoever finds
//! none waits as if blocked until one comes back, and gets an error when that takes too long
//! (contract: F6). A lease that may hold something of its last client is closed, never lent again
//! (contract: C1).

use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::routing::NodeKey;
use crate::upstream::{Phase, Role, SendingEnd};

/// A lease that nobody used for this long is closed.
const IDLE_US: u64 = 60_000_000;

/// The private connections that nobody has. How many there are in all stands in
/// [`Used`](super::limits::Used).
#[derive(Debug, Default)]
pub struct Leases {
    /// Not lent, the one that came back last at the end.
    idle: Vec<Idle>,
}

#[derive(Clone, Copy, Debug)]
struct Idle {
    connection: ConnectionKey,
    node: NodeKey,
    protocol: Protocol,
    since_us: u64,
}

/// Why there is no lease.
#[derive(Debug)]
pub enum NoLease {
    /// All are lent.
    Busy,
    /// The node cannot be reached.
    Unreachable(Reason),
}

impl Core {
    /// Lends a client a private connection to a node.
    pub(super) fn lease(
        &mut self,
        node: NodeKey,
        protocol: Protocol,
        client: ClientKey,
    ) -> Result<ConnectionKey, NoLease> {
        let idle = &mut self.leases.idle;
        let fitting = idle
            .iter()
            .rposition(|idle| idle.node == node && idle.protocol == protocol);
        if let Some(place) = fitting {
            let key = idle.remove(place).connection;
            if let Some(connection) = self.connections.get_mut(key.0 as usize)
                && connection.phase != Phase::Closed
            {
                connection.role = Role::Lease(Some(client));
                return Ok(key);
            }
        }
        if self.used.leases.get() >= self.limits.leases {
            if self.leases.idle.is_empty() {
                return Err(NoLease::Busy);
            }
            // One of another node makes room; it counts until its task has ended.
            let other = self.leases.idle.remove(0).connection;
            self.close_lease(other);
            return Err(NoLease::Busy);
        }
        let key = self
            .open(node, protocol, Role::Lease(Some(client)))
            .map_err(NoLease::Unreachable)?;
        self.used.leases.add(1);
        self.tallies.leases.add(1);
        Ok(key)
    }

    /// Whether as many as allowed are there, and all are lent.
    pub(super) fn are_leases_exhausted(&self) -> bool {
        self.used.leases.get() >= self.limits.leases && self.leases.idle.is_empty()
    }

    /// Takes back a lease that holds nothing of its client.
    pub(super) fn release_lease(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        let is_of_use = connection.phase == Phase::Ready && connection.end == SendingEnd::Open;
        if !is_of_use || connection.is_retiring {
            return self.close_lease(key);
        }
        connection.role = Role::Lease(None);
        self.leases.idle.push(Idle {
            connection: key,
            node: connection.node,
            protocol: connection.protocol,
            since_us: self.now_us,
        });
    }

    /// Closes a lease: whatever its node does with it is for nobody. A client that watches on it does so no
    /// more: its number will be another connection's.
    pub(super) fn close_lease(&mut self, key: ConnectionKey) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        let lessee = connection.lessee();
        connection.role = Role::Lease(None);
        connection.phase = Phase::Closed;
        connection.wake();
        if let Some(client) = lessee {
            self.lost_watch(client, key);
        }
    }

    /// Makes `count` private connections count that are not lent but belong to one client
    /// (`CLIENT TRACKING`). Returns false when that would be too many.
    pub(super) fn reserve_leases(&mut self, count: usize) -> bool {
        let wanted = self.used.leases.get() + count;
        let excess = wanted.saturating_sub(self.limits.leases);
        if excess > self.leases.idle.len() {
            return false;
        }
        // Those that make room count until their tasks have ended.
        for idle in self.leases.idle.drain(..excess).collect::<Vec<_>>() {
            self.close_lease(idle.connection);
        }
        self.used.leases.add(count);
        true
    }

    /// So many private connections count no more.
    pub(super) fn give_back_leases(&mut self, count: usize) {
        self.used.leases.subtract(count);
    }

    /// A lease's connection has ended.
    pub(super) fn lease_ended(&mut self, key: ConnectionKey) {
        self.used.leases.subtract(1);
        self.tallies.leases.subtract(1);
        self.leases.idle.retain(|idle| idle.connection != key);
    }

    /// Closes leases that nobody needed for a while.
    pub(super) fn close_idle_leases(&mut self) {
        let now_us = self.now_us;
        let is_old = |idle: &Idle| now_us.saturating_sub(idle.since_us) > IDLE_US;
        // The oldest stand first.
        let old = self.leases.idle.iter().take_while(|idle| is_old(idle));
        let count = old.count();
        // Those that are not needed here may be what another core of the thread waits for.
        let has_others = self.tallies.identities.value() > 0 || self.tallies.databases.value() > 0;
        let is_short = has_others && self.used.leases.get() >= self.limits.leases;
        let count = match is_short {
            true => count.max(1).min(self.leases.idle.len()),
            false => count,
        };
        let old: Vec<Idle> = self.leases.idle.drain(..count).collect();
        for idle in old {
            self.close_lease(idle.connection);
        }
    }
}
