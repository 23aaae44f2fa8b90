//! Requests with a value too large to be held: they are passed on in pieces, as their client sends them
//! (contract: P8).
//!
//! ```text
//! Waiting --> Asked --> Sending --> (whole: it is in flight like any other)
//!    ^----------/  \______ \_____> Dropping --> (the client is told, the rest is for nobody)
//! ```
//!
//! 1. Begun for a command that writes to one key, which is its first argument, as soon as that key is there
//!    and the rest is long; when the client waits for nothing else, so its order is kept (contract: R13).
//! 2. It goes over a connection for large things, so that nobody waits behind a slow sender.
//! 3. A node looks at a request only once it is whole, and what was passed on cannot be sent elsewhere. So the node is
//!    asked first whether it serves the key (`EXISTS`), and its redirects and "not now" are followed as always.
//!    Should the slot move while the value is under way, the client is told that nothing was executed: by the node, or
//!    by the map, since a node that was replaced and has not heard of it would confirm what is lost with it.
//! 4. While the node takes no more than it is given, the client is not read.
//! 5. Without its end a request has no effect: when the client or the node is lost before, nothing was executed.

use super::clients::Phase;
use super::core::Core;
use super::nodes::ConnectionKey;
use super::park::Reason;
use crate::client::monitor::Monitoring;
use crate::cluster::Slot;
use crate::command::{self, Access, Command, Handling, Keys, Lookup};
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::request_passing::RequestPassing;
use crate::resp::scan::RequestScanner;
use crate::resp::{Args, write};
use crate::routing::{NodeKey, Target};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::connection::ASKING;
use crate::upstream::{Dispatched, Purpose};

/// The first pause before a node is asked again; doubled up to the longest.
const PAUSE_FIRST_US: u64 = 5_000;
/// The longest.
const PAUSE_MAX_US: u64 = 100_000;
/// So many redirects in a row are followed at once (contract: R7).
const HOPS_AT_ONCE: u8 = 4;

/// A request of which the client is sending the value.
#[derive(Debug)]
pub struct Upload {
    pub(super) command: &'static Command,
    pub(super) key: Vec<u8>,
    pub(super) slot: Slot,
    pub(super) framing: RequestPassing,
    pub(super) state: State,
    /// When it began, and when it came on last, in microseconds.
    pub(super) since_us: u64,
    pub(super) moved_us: u64,
    /// Since when its client alone is waited for, and how far it had come by then; `None` while Keyway or the
    /// node is.
    pub(super) awaited_since: Option<(u64, usize)>,
    pub(super) attempts: u8,
    /// It goes to a node that `ASK` named, whoever owns the slot.
    pub(super) is_asking: bool,
}

#[derive(Debug)]
pub(super) enum State {
    /// It has no connection yet.
    Waiting {
        not_before_us: u64,
        reason: Reason,
        /// The node that `ASK` named.
        asked: Option<NodeKey>,
    },
    /// The node was asked whether it serves the key.
    Asked(ConnectionKey),
    /// It is under way.
    Sending(ConnectionKey),
    /// The client was told that it failed.
    Dropping,
}

impl Upload {
    /// The node that `ASK` named and that is still to be asked.
    pub(super) fn asked(&self) -> Option<NodeKey> {
        match self.state {
            State::Waiting { asked, .. } => asked,
            State::Asked(_) | State::Sending(_) | State::Dropping => None,
        }
    }
}

/// Whether a request is passed on in pieces.
pub(super) enum Begun {
    /// No: it has to come whole.
    No,
    /// Later, when the client waits for nothing else.
    NotYet,
    /// Yes.
    Yes,
}

impl Core {
    /// A request is not whole, and much of it is missing.
    #[cold]
    pub(super) fn begin_upload(
        &mut self,
        key: ClientKey,
        bytes: &[u8],
        scanner: &RequestScanner,
    ) -> Begun {
        let args = Args::new(bytes, scanner.spans());
        let Some(command) = self.streams_to_node(key, &args, scanner.arguments()) else {
            return Begun::No;
        };
        let now_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return Begun::No;
        };
        if client.phase != Phase::Open {
            // What is missing will not come.
            return Begun::No;
        }
        client.is_stalled = true;
        if !client.is_settled() {
            return Begun::NotYet;
        }
        let name = args.get(1).unwrap_or_default().to_vec();
        client.session.last_command_us = now_us;
        client.session.last_command = Some(command);
        client.upload = Some(Box::new(Upload {
            command,
            slot: Slot::of_key(&name),
            key: name,
            framing: RequestPassing::default(),
            state: State::Waiting {
                not_before_us: now_us,
                reason: Reason::NoTopology,
                asked: None,
            },
            since_us: now_us,
            moved_us: now_us,
            awaited_since: None,
            attempts: 0,
            is_asking: false,
        }));
        self.tallies.requests.increment();
        self.tallies.streamed_requests.increment();
        self.route_upload(key);
        Begun::Yes
    }

    /// The row of a request that can be passed on in pieces, of which these arguments of `argc` are there.
    fn streams_to_node(
        &mut self,
        key: ClientKey,
        args: &Args<'_>,
        argc: usize,
    ) -> Option<&'static Command> {
        if args.len() < 2 || self.scrutiny.is_on() {
            return None;
        }
        let command = match command::lookup(args) {
            Lookup::Found(command) => command,
            missed => match self.learnt.look_up(missed, args) {
                Lookup::Found(command) => command,
                Lookup::Unknown | Lookup::UnknownSubcommand(_) => return None,
            },
        };
        let client = self.clients.get(key)?;
        let is_in_mode = client.blocked.is_some()
            || client.transaction.is_some()
            || client.subscriptions.is_some()
            || client.tracking.is_some()
            || client.monitoring != Monitoring::No;
        let fits = command.handling == Handling::Keyed
            && command.access == Access::Write
            && matches!(
                command.keys,
                Keys::Range {
                    first: 1,
                    last: 1,
                    ..
                }
            )
            && command.accepts(argc)
            // What others may do may depend on all arguments.
            && client.session.is_free();
        (fits && !is_in_mode).then_some(command)
    }

    /// Finds a connection for an upload that has none, and asks its node.
    fn route_upload(&mut self, key: ClientKey) {
        let (now_us, protocol) = (self.now_us, self.protocol_of(key));
        let Some(upload) = self.upload(key) else {
            return;
        };
        let State::Waiting { asked, .. } = upload.state else {
            return;
        };
        let slot = upload.slot;
        let route = match asked {
            Some(node) => Ok(node),
            None => self.resolve(Target::Slot(slot)),
        };
        let route = route.and_then(|node| self.bulk_connection(node, protocol));
        let at = match route {
            Ok(at) => at,
            Err(reason) => return self.upload_waits(key, reason, None),
        };
        let Some(connection) = self.connections.get_mut(at.0 as usize) else {
            return;
        };
        let Some(upload) = self
            .clients
            .get(key)
            .and_then(|client| client.upload.as_mut())
        else {
            return;
        };
        connection.upload = Some(key);
        upload.is_asking = asked.is_some();
        if asked.is_some() {
            // It told where the key is: the value follows at once.
            connection.send_unkept(Purpose::Discard, ASKING, now_us);
            upload.state = State::Sending(at);
            self.wake_uploader(key);
        } else {
            let mut question = Vec::new();
            write::command(&mut question, &[&b"EXISTS"[..], &upload.key]);
            connection.send_unkept(Purpose::Preflight(key), &question, now_us);
            upload.state = State::Asked(at);
        }
    }

    /// The map changed: nodes that lost the slot get no more of a value. What is whole is left to them, as any request.
    pub(super) fn uploads_follow_map(&mut self) {
        let mut lost = Vec::new();
        for (index, connection) in &self.connections {
            let Some(key) = connection.upload else {
                continue;
            };
            let client = self.clients.get(key);
            if let Some(upload) = client.and_then(|client| client.upload.as_ref())
                && !upload.is_asking
                && self.nodes.owner(upload.slot) != Some(connection.node)
            {
                lost.push((key, ConnectionKey(index as u32)));
            }
        }
        for (key, at) in lost {
            let upload = self.upload(key);
            let has_begun = upload.is_some_and(|upload| {
                matches!(upload.state, State::Sending(_)) && !upload.framing.is_empty()
            });
            if has_begun {
                self.end_upload(key, "its slot got another owner");
                continue;
            }
            if let Some(connection) = self.connections.get_mut(at.0 as usize) {
                connection.upload = None;
                connection.close_quietly();
            }
            self.upload_waits(key, Reason::Redirected, None);
        }
    }

    pub(super) fn upload(&mut self, key: ClientKey) -> Option<&mut Upload> {
        self.clients.get(key)?.upload.as_deref_mut()
    }

    pub(super) fn wake_uploader(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key) {
            client.wake();
        }
    }

    /// An upload waits for a node, longer each time; until its deadline.
    pub(super) fn upload_waits(&mut self, key: ClientKey, reason: Reason, asked: Option<NodeKey>) {
        let now_us = self.now_us;
        let Some(upload) = self.upload(key) else {
            return;
        };
        let is_redirect = matches!(reason, Reason::Redirected) && upload.attempts < HOPS_AT_ONCE;
        let pause_us = match is_redirect {
            true => 0,
            false => (PAUSE_FIRST_US << upload.attempts.min(8)).min(PAUSE_MAX_US),
        };
        upload.attempts = upload.attempts.saturating_add(1);
        upload.state = State::Waiting {
            not_before_us: now_us + pause_us,
            reason,
            asked,
        };
        if is_redirect {
            return self.route_upload(key);
        }
        self.uploads_waiting.push(key);
        if let Some(waker) = &self.tick_waker {
            waker.wake_by_ref();
        }
    }

    /// Tries those again that wait for a node. Called with every tick.
    pub(super) fn retry_uploads(&mut self) {
        for key in std::mem::take(&mut self.uploads_waiting) {
            let (now_us, timeout_us) = (self.now_us, self.limits.request_timeout_us);
            let Some(upload) = self.upload(key) else {
                continue;
            };
            let State::Waiting {
                not_before_us,
                reason,
                ..
            } = &upload.state
            else {
                continue;
            };
            let is_refused = matches!(reason, Reason::Refused(_));
            if is_refused || now_us.saturating_sub(upload.since_us) >= timeout_us {
                let (reason, received_us) = (reason.clone(), upload.since_us);
                let dispatched = Dispatched {
                    received_us,
                    ..self.upload_dispatched(key)
                };
                let text = reason.text(&dispatched, now_us);
                self.drop_upload(key, ErrorKind::Deadline, &text);
            } else if *not_before_us <= now_us {
                self.tallies.retries.increment();
                self.route_upload(key);
            } else {
                self.uploads_waiting.push(key);
            }
        }
    }

    /// What its request is when it is in flight.
    pub(super) fn upload_dispatched(&mut self, key: ClientKey) -> Dispatched {
        let protocol = self.protocol_of(key);
        let row = self.upload(key).map(|upload| (upload.command, upload.slot));
        let target = row.map_or(Target::Any, |(_, slot)| Target::Slot(slot));
        let command = row.map_or_else(|| command::block_row(true), |(command, _)| command);
        let ticket = Ticket {
            client: key,
            sequence: Default::default(),
            part: 0,
        };
        let lane = self.lane_of(target);
        self.dispatched(ticket, command, target, lane, protocol)
    }

    /// A request is not executed, however far it has come: its connection is closed before its end.
    pub(super) fn end_upload(&mut self, key: ClientKey, why: &str) {
        let Some(upload) = self.upload(key) else {
            return;
        };
        let at = match upload.state {
            State::Waiting { .. } => None,
            State::Asked(at) | State::Sending(at) => Some(at),
            // It was told already.
            State::Dropping => return,
        };
        let text = format!(
            "TRYAGAIN '{}' was not executed: {why} while the value was being sent; send it again",
            upload.command.name
        );
        if let Some(connection) = at.and_then(|at| self.connections.get_mut(at.0 as usize)) {
            connection.upload = None;
            connection.close_quietly();
        }
        self.drop_upload(key, ErrorKind::Deadline, &text);
    }

    /// The client is told that its request failed; the rest of it is read and dropped.
    pub(super) fn drop_upload(&mut self, key: ClientKey, kind: ErrorKind, text: &str) {
        self.tallies.failed(kind);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if let Some(upload) = &mut client.upload {
            upload.state = State::Dropping;
        }
        let is_muted = client.session.next_is_muted();
        client
            .replies
            .answer(is_muted, |out| write::error(out, text));
        client.wake();
    }
}
