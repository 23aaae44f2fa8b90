//! Which connection a request takes: the shared one of its node, or its client's own.

use std::sync::Arc;

use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::routing::{NodeKey, Target};
use crate::upstream::{Connection, Role};

impl Core {
    /// The connection for a client's request: the shared one, unless the client has its own; opened if
    /// there is none.
    ///
    /// # Errors
    /// Why nothing can be sent there now.
    #[inline]
    pub fn connection_for(
        &mut self,
        client: ClientKey,
        target: Target,
        protocol: Protocol,
    ) -> Result<ConnectionKey, Reason> {
        let node = self.resolve(target)?;
        self.clients_connection(client, node, protocol)
    }

    /// The connection over which a client's requests go to a node, opened if there is none.
    ///
    /// # Errors
    /// The node could not be reached a moment ago.
    #[inline]
    pub fn clients_connection(
        &mut self,
        client: ClientKey,
        node: NodeKey,
        protocol: Protocol,
    ) -> Result<ConnectionKey, Reason> {
        if !self.trackers.is_empty()
            && let Some(own) = self.private_connection(client, node, protocol)
        {
            return own;
        }
        self.connection_to(node, protocol)
    }

    /// The shared connection to a node, opened if there is none.
    ///
    /// # Errors
    /// The node could not be reached a moment ago.
    #[inline]
    pub fn connection_to(
        &mut self,
        node: NodeKey,
        protocol: Protocol,
    ) -> Result<ConnectionKey, Reason> {
        match self.nodes.connection(node, protocol) {
            Some(connection) => Ok(connection),
            None => self.open_shared(node, protocol),
        }
    }

    #[cold]
    fn open_shared(&mut self, node: NodeKey, protocol: Protocol) -> Result<ConnectionKey, Reason> {
        let connection = self.open(node, protocol, Role::Shared)?;
        self.nodes.set_connection(node, protocol, Some(connection));
        Ok(connection)
    }

    /// Opens one more connection to a node.
    ///
    /// # Errors
    /// The node could not be reached a moment ago.
    pub(super) fn open(
        &mut self,
        key: NodeKey,
        protocol: Protocol,
        role: Role,
    ) -> Result<ConnectionKey, Reason> {
        let Some(node) = self.nodes.get(key) else {
            return Err(Reason::Unreachable("it left the cluster".to_owned()));
        };
        if node.retry_at_us > self.now_us {
            if let Some(text) = &node.refusal {
                return Err(Reason::Refused(Arc::clone(text)));
            }
            let why = node
                .last_failure
                .as_deref()
                .unwrap_or("it cannot be reached")
                .to_owned();
            return Err(Reason::Unreachable(why));
        }
        let connection = Connection::new(key, protocol, role);
        let connection = ConnectionKey(self.connections.insert(connection) as u32);
        self.to_open.push(connection);
        Ok(connection)
    }
}
