//! New credentials, for connections that are open: the nodes may forget the old ones, or the user with them.
//!
//! `AUTH` goes between two requests of a connection. One that is lent is told as well: behind a command that blocks
//! the node reads it when that has ended, a watch does not mind, and a transaction goes out in one piece. Where a
//! request is going out in pieces nothing can be said; that connection is closed when it is through.

use super::core::Core;
use super::nodes::ConnectionKey;
use crate::upstream::{Phase, Role};

impl Core {
    /// Says new credentials on all connections.
    pub fn authenticate_again(&mut self, requests: &[Vec<u8>]) {
        let keys = self.connections.iter().map(|(index, _)| index);
        let keys: Vec<usize> = keys.collect();
        for index in keys {
            self.authenticate_connection(ConnectionKey(index as u32), requests);
        }
    }

    /// Says them on one.
    pub(super) fn authenticate_connection(&mut self, key: ConnectionKey, requests: &[Vec<u8>]) {
        let Some(connection) = self.connections.get_mut(key.0 as usize) else {
            return;
        };
        if connection.phase != Phase::Ready {
            return;
        }
        match connection.role {
            Role::Bulk if connection.upload.is_some() => connection.is_retiring = true,
            Role::Shared | Role::Read | Role::Tracking(_) | Role::Lease(_) | Role::Bulk => {
                for request in requests {
                    connection.send_unheard(request, self.now_us);
                }
            }
            Role::Hub => self.authenticate_hub_link(key, requests),
            // It has been asked what it was opened for.
            Role::Once => {}
        }
    }
}
