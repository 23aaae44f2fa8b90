//! Clients that hold the connections for large things (`limits.bulk_connections`) and hardly use them.
//!
//! A client that takes a large reply, or sends a large value, a byte at a time has such a connection for as long as
//! that takes, and nobody is harmed while others are free. When somebody waits for one and each of a node's is taken,
//! whoever is the furthest behind gives way: of those that had more than `timeouts.large_value`, and a second more for
//! each 64 KB that they took or sent. One for each node and look, so as not to send away more than are waited for.

use tracing::warn;

use super::core::Core;
use super::nodes::ConnectionKey;
use super::uploads::State;
use crate::pipeline::ClientKey;
use crate::routing::NodeKey;
use crate::telemetry::worker_tallies::{ErrorKind, SlowClient};
use crate::upstream::{Connection, Role};

/// Whoever waits for a connection asks again at least every 100 ms.
const WANTED_US: u64 = 300_000;
/// As for a request that arrives slowly.
const BYTES_A_SECOND: u64 = 64 * 1024;

/// What a client holds a connection with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    Reply,
    Request,
}

impl Core {
    /// Somebody found no connection for large things to a node free.
    pub(super) fn want_bulk(&mut self, node: NodeKey) {
        self.bulk_wanted.retain(|(other, _)| *other != node);
        self.bulk_wanted.push((node, self.now_us));
    }

    /// Sends those away that hold up others.
    pub(super) fn close_slow_holders(&mut self) {
        let now_us = self.now_us;
        self.bulk_wanted
            .retain(|(_, at_us)| now_us.saturating_sub(*at_us) < WANTED_US);
        if self.limits.large_value_us == 0 {
            return;
        }
        for (node, _) in self.bulk_wanted.clone() {
            let keys: Vec<ConnectionKey> = self
                .connections
                .iter()
                .filter(|(_, connection)| connection.role == Role::Bulk && connection.node == node)
                .map(|(index, _)| ConnectionKey(index as u32))
                .collect();
            let overdue = keys.into_iter().filter_map(|key| self.overdue(key));
            let Some((_, client, holding, at)) = overdue.max_by_key(|(late_us, ..)| *late_us)
            else {
                continue;
            };
            self.tallies
                .slow_clients
                .count(SlowClient::LargeValue as usize);
            if let Some(client) = self.clients.get(client)
                && let Some(others) = self.told_slow_holder.tell(now_us)
            {
                warn!(
                    client = %client.session.address,
                    holding = ?holding,
                    others_since_then = others,
                    "a client that was slow with a large value gave way to others (timeouts.large_value)"
                );
            }
            match holding {
                Holding::Reply => self.cut_off(client),
                Holding::Request => self.end_slow_upload(client, at),
            }
        }
    }

    /// By how much a connection's client has had it for too long, if it is the client that is waited for.
    fn overdue(&mut self, key: ConnectionKey) -> Option<(u64, ClientKey, Holding, ConnectionKey)> {
        let now_us = self.now_us;
        let connection = self.connections.get(key.0 as usize)?;
        let (since_us, bytes, client, holding) = match taken(connection) {
            Some((since_us, bytes, client)) => (since_us, bytes, client, Holding::Reply),
            None => {
                let client = connection.upload?;
                let upload = self.upload(client)?;
                let is_here = matches!(upload.state, State::Sending(at) if at == key);
                let (since_us, before) = upload.awaited_since.filter(|_| is_here)?;
                let bytes = upload.framing.len() - before;
                (since_us, bytes, client, Holding::Request)
            }
        };
        let allowed_us = self
            .limits
            .large_value_us
            .saturating_add(bytes as u64 * 1_000_000 / BYTES_A_SECOND);
        let late_us = now_us.saturating_sub(since_us).checked_sub(allowed_us)?;
        Some((late_us, client, holding, key))
    }

    /// Without its end the request has no effect; the rest of it is read and dropped.
    fn end_slow_upload(&mut self, client: ClientKey, at: ConnectionKey) {
        if let Some(connection) = self.connections.get_mut(at.0 as usize) {
            connection.upload = None;
            connection.close_quietly();
        }
        let name = self.upload(client).map_or("", |upload| upload.command.name);
        let text = format!(
            "ERR '{name}' was not executed: its value came too slowly while others waited to send theirs \
             (timeouts.large_value, limits.bulk_connections); send it again"
        );
        self.drop_upload(client, ErrorKind::Deadline, &text);
    }
}

/// Since when a client can take a reply that is left unread for it, how much of it it took, and who that is.
fn taken(connection: &Connection) -> Option<(u64, usize, ClientKey)> {
    let passing = connection.passing.as_ref()?;
    passing.waits_since_us?;
    Some((passing.turn_us?, passing.passed, passing.to?.client))
}
