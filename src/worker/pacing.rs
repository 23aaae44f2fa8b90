//! Who may ask for more while much is on its way already (contract: F6, P8).
//!
//! Replies of one node come over one connection for all clients, one after another: whoever asks for much at once lets
//! all others wait for it. A client's own share is bounded by `limits.client_output_soft_bytes`, but not what a
//! thousand such clients ask for together. So:
//!
//! 1. A client is taken to ask for as much as the longest of its last replies (`pipeline/replies.rs`). One that
//!    comes while others get large replies is taken to ask for [`FIRST_REPLY_BYTES`] before its first one; any other
//!    for [`LARGE_BYTES`], since nobody knows.
//! 2. While replies of about [`REPLY_BYTES_AHEAD`] are to come over a connection, a client whose replies may be large
//!    asks for one at a time. Its own replies wake it, so it goes on by itself.
//! 3. Clients with small replies pay a comparison, and are never held up.
//!
//! So there are at most that many bytes, and one reply for each client, ahead of anybody.

use super::core::Core;
use super::nodes::ConnectionKey;
use crate::command::{Access, Command};
use crate::pipeline::{ClientKey, Ticket};
use crate::upstream::Purpose;

/// What is taken for the length of a new client's replies while others get large ones: it asks for 16 of them at
/// first, and when the first one was small for all it wants.
pub const FIRST_REPLY_BYTES: usize = 64 * 1024;
/// Smaller replies are not counted. A new client asks for 64 of these at first.
pub(super) const LARGE_BYTES: usize = 16 * 1024;
/// So long after a large reply another is not surprising, in microseconds.
const LARGE_FOR_US: u64 = 1_000_000;
/// About 10 ms of a fast network, and so much that no client is slowed down that is alone.
const REPLY_BYTES_AHEAD: usize = 8 * 1024 * 1024;

impl Core {
    /// A large reply has come.
    #[cold]
    pub(super) fn note_large_reply(&mut self) {
        self.large_until_us = self.now_us + LARGE_FOR_US;
    }

    /// What a new client's replies are taken to be long before the first one came.
    pub(super) fn first_reply_bytes(&self) -> usize {
        let guess = self.limits.first_reply_bytes;
        match self.now_us < self.large_until_us {
            true => guess,
            false => guess.min(LARGE_BYTES),
        }
    }

    /// How long the reply to a client's next request may be; 0 unless that is long.
    #[inline]
    pub(super) fn reply_bytes_of(&mut self, key: ClientKey, command: &Command) -> u32 {
        let client = self.clients.get(key);
        let len = client.map_or(0, |client| client.replies.usual_len());
        if len < LARGE_BYTES || command.access == Access::Write {
            return 0;
        }
        u32::try_from(len).unwrap_or(u32::MAX)
    }

    /// Whether a client may ask for so much more over a connection.
    #[cold]
    pub(super) fn has_reply_room(&mut self, to: ConnectionKey, key: ClientKey, bytes: u32) -> bool {
        let ahead = self.connections.get(to.0 as usize);
        let ahead = ahead.map_or(0, |to| to.reply_bytes_ahead);
        ahead + bytes as usize <= REPLY_BYTES_AHEAD
            || self
                .clients
                .get(key)
                .is_none_or(|client| client.is_settled())
    }

    /// The request that was just handed to a connection, if it was, has a reply of about so many bytes.
    #[cold]
    pub(super) fn expect_reply_bytes(&mut self, at: ConnectionKey, ticket: Ticket, bytes: u32) {
        if let Some(connection) = self.connections.get_mut(at.0 as usize)
            && let Some(entry) = connection.in_flight.back()
            && matches!(entry.purpose, Purpose::Reply(last) if last.ticket == ticket)
        {
            connection.expect_reply_bytes(bytes);
        }
    }
}
