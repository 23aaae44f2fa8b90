//! The bytes of requests that are passed on in pieces: from the client to the node, to their end, or to nobody.

use super::clients::{Phase, UNSETTLED};
use super::core::Core;
use super::links::not_sent_whole;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::requests::Processed;
use super::uploads::State;
use crate::pipeline::ClientKey;
use crate::resp::scan::Limits;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream;

/// So much may wait for the node's socket.
pub const UPLOAD_WINDOW_BYTES: usize = 512 * 1024;

/// So much is passed on at once, at most, or a window.
const PIECE_BYTES: usize = 64 * 1024;

impl Core {
    /// Takes bytes of a client whose request is passed on.
    pub(super) fn process_upload(&mut self, key: ClientKey, bytes: &[u8]) -> Processed {
        let mut processed = Processed {
            consumed: 0,
            wanted: 0,
            is_cut_short: false,
        };
        let (now_us, window) = (self.now_us, self.limits.upload_window_bytes);
        let (bulk_bytes_max, request_bytes_max) =
            (self.limits.argument_bytes, self.limits.request_bytes);
        if self.is_upload_paused(key) {
            return processed;
        }
        let Some(client) = self.clients.get(key) else {
            return processed;
        };
        if client.phase == Phase::Leaving {
            processed.consumed = bytes.len();
            return processed;
        }
        let limits = Limits {
            bulk_bytes_max,
            request_bytes_max,
            is_authenticated: true,
        };
        let Some(upload) = &mut client.upload else {
            return processed;
        };
        let to = match upload.state {
            State::Waiting { .. } | State::Asked(_) => None,
            State::Sending(at) => {
                let connection = self.connections.get_mut(at.0 as usize);
                let connection =
                    connection.filter(|to| to.upload == Some(key) && to.outbox.len() < window);
                connection.map(|connection| (at, connection))
            }
            State::Dropping => None,
        };
        if to.is_none() && !matches!(upload.state, State::Dropping) {
            client.is_stalled = true;
            upload.awaited_since = None;
            return processed;
        }
        upload
            .awaited_since
            .get_or_insert((now_us, upload.framing.len()));
        // Of a client that was blocked much may have been read ahead.
        let offered = &bytes[..bytes.len().min(window.max(PIECE_BYTES))];
        let count = match upload.framing.pass(offered, &limits) {
            Ok(count) => count,
            Err(error) => {
                self.abandon_upload(key);
                self.refuse_protocol(key, error);
                processed.consumed = bytes.len();
                return processed;
            }
        };
        processed.consumed = count;
        upload.moved_us = now_us;
        client.session.last_command_us = now_us;
        let is_done = upload.framing.is_done();
        processed.is_cut_short = (is_done || offered.len() < bytes.len()) && count < bytes.len();
        match to {
            Some((at, connection)) => {
                connection.outbox.push(&bytes[..count]);
                connection.wake();
                if is_done {
                    self.upload_is_whole(key, at);
                }
            }
            None if is_done => client.upload = None,
            None => {}
        }
        processed
    }

    /// Whether a request waits for the end of `CLIENT PAUSE`. Any pause holds writes, and one that has begun to come
    /// would be carried out as soon as its end is there.
    fn is_upload_paused(&mut self, key: ClientKey) -> bool {
        let is_paused = self.scrutiny.paused_until_us().is_some();
        let client = self.clients.get(key).filter(|_| is_paused);
        let Some(client) = client.filter(|client| client.phase == Phase::Open) else {
            return false;
        };
        match &mut client.upload {
            Some(upload) if matches!(upload.state, State::Sending(_)) => {
                upload.awaited_since = None;
                client.is_stalled = true;
                self.hold_back(key);
                true
            }
            Some(_) | None => false,
        }
    }

    /// The last byte of a request went to its connection: from now on it is one like any other.
    fn upload_is_whole(&mut self, key: ClientKey, to: ConnectionKey) {
        let mut dispatched = self.upload_dispatched(key);
        let plan = self.read_plan(key, dispatched.command, dispatched.target);
        dispatched.is_noted = plan.is_noted();
        dispatched.ticket.sequence = self.open_place(key, dispatched.lane);
        self.read_plan_leaves(plan, key, dispatched.ticket.sequence);
        self.tallies.in_flight.add(1);
        if let Some(client) = self.clients.get(key) {
            client.upload = None;
            // What follows goes over other connections.
            client.map_version = UNSETTLED;
        }
        if let Some(connection) = self.connections.get_mut(to.0 as usize) {
            connection.upload = None;
            connection.expect_uploaded(dispatched, self.now_us);
        }
    }

    /// A connection's socket took some of an upload.
    pub(super) fn upload_went_on(&mut self, at: ConnectionKey) {
        let (now_us, window) = (self.now_us, self.limits.upload_window_bytes);
        let Some(connection) = self.connections.get_mut(at.0 as usize) else {
            return;
        };
        let has_room = connection.outbox.len() <= window / 2;
        if let Some(key) = connection.upload
            && let Some(client) = self.clients.get(key)
        {
            if let Some(upload) = &mut client.upload {
                upload.moved_us = now_us;
            }
            if client.is_stalled && has_room {
                client.wake();
            }
        }
    }

    /// The client sends no more, or is gone: without its end the request has no effect.
    pub(super) fn abandon_upload(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let Some(upload) = client.upload.take() else {
            return;
        };
        client.is_stalled = false;
        if let State::Asked(at) | State::Sending(at) = upload.state
            && let Some(connection) = self.connections.get_mut(at.0 as usize)
            && connection.upload == Some(key)
        {
            connection.upload = None;
            connection.close_quietly();
        }
    }

    /// The connection was lost before the request was whole.
    #[cold]
    pub(super) fn lost_upload(&mut self, key: ClientKey, lost: ConnectionKey, why: &str) {
        let Some(upload) = self.upload(key) else {
            return;
        };
        match upload.state {
            State::Sending(at) if at == lost && !upload.framing.is_empty() => {
                let text = not_sent_whole(upload.command, why);
                self.drop_upload(key, ErrorKind::Deadline, &text);
            }
            State::Asked(at) | State::Sending(at) if at == lost => {
                self.upload_waits(key, Reason::Unreachable(why.to_owned()), None);
            }
            State::Waiting { .. } | State::Asked(_) | State::Sending(_) | State::Dropping => {}
        }
    }

    /// Gives up connections whose node does not take what it is sent, or does not answer.
    pub(super) fn look_after_uploads(&mut self) {
        let (now_us, timeout_us) = (self.now_us, self.limits.request_timeout_us);
        for (_, connection) in &mut self.connections {
            let Some(key) = connection.upload else {
                continue;
            };
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            let moved_us = client
                .upload
                .as_ref()
                .map_or(now_us, |upload| upload.moved_us);
            let waits_for_node =
                !connection.outbox.unwritten().is_empty() || !connection.in_flight.is_empty();
            if waits_for_node && now_us.saturating_sub(moved_us) > timeout_us {
                connection.phase = upstream::Phase::Closed;
                connection.wake();
            }
        }
    }
}
