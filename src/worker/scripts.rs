//! Scripts reach every node that needs them (contract: T4).
//!
//! A node knows the scripts that were loaded there, and no other node gets them with its slots. So
//! the bodies that pass through Keyway are kept, and a call by name carries its body along where the
//! node may lack it:
//! 1. The first `EVALSHA` of a script over a connection goes out as `EVAL`; after a failover, a move
//!    of slots or a restart there is another connection. So nothing has to be mended afterwards, and a
//!    pipeline keeps its order.
//! 2. What is sent again, for whatever reason, may meet another node: it carries its body.
//! 3. A node that says `NOSCRIPT` all the same (it was flushed by others, or drops old scripts) gets
//!    the call again with the body, as after a redirect.
//! 4. A body that passed through no Keyway can be asked for on Valkey (`SCRIPT SHOW`); otherwise
//!    the client gets the `NOSCRIPT`.

use std::sync::Arc;

use super::core::Core;
use super::finish::Finish;
use super::nodes::ConnectionKey;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use super::requests::Taken;
use crate::command::{self, Access, Command, Handling, Merge, Script, Sha};
use crate::pipeline::{ClientKey, Gather, Ticket};
use crate::resp::{Args, Protocol, reply, with_args, write};
use crate::routing::Target;
use crate::telemetry::worker_tallies::RedirectKind;
use crate::upstream::{Dispatched, Role};

/// So Redis begins it; Valkey ends there. The rest differs, and a script can say `NOSCRIPT` itself.
const NOSCRIPT: &[u8] = b"-NOSCRIPT No matching script.";
/// What `EVAL` and `SCRIPT LOAD` say of a body that is no script.
const NO_SCRIPT_AT_ALL: &[u8] = b"-ERR Error compiling script";

/// Connections that get past others, at one time.
const ONCE_MAX: usize = 256;

impl Core {
    /// A command about scripts.
    pub(super) fn plan_script(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        script: Script,
    ) -> Taken {
        match script {
            Script::Eval => {
                let taken = self.plan_keyed(key, command, args);
                if taken == Taken::Yes {
                    self.note_script(args.get(1));
                }
                taken
            }
            Script::EvalSha => self.plan_call(key, command, args),
            // Nor would one server read it while the client's own script runs.
            Script::Kill if !self.is_settled(key) => Taken::NotYet,
            Script::Load | Script::Exists | Script::Flush | Script::Kill => {
                self.plan_whole(key, command, args)
            }
        }
    }

    /// How the answers of the primaries become the reply; called as they are asked.
    pub(super) fn spread_script(
        &mut self,
        script: Script,
        args: &Args<'_>,
        protocol: Protocol,
    ) -> Finish {
        match script {
            Script::Load => self.note_script(args.get(2)),
            Script::Flush if is_flush(args) => self.scripts.clear(),
            Script::Exists => return Finish::script_exists(self.kept_scripts(args), protocol),
            Script::Kill => return Finish::merge(Merge::OneSucceeded, protocol),
            Script::Flush | Script::Eval | Script::EvalSha => {}
        }
        Finish::merge(Merge::AllSucceeded, protocol)
    }

    /// The body of the script with this name (`EVALSHA`'s argument), for calls that must not fail for
    /// want of it.
    pub fn script_body(&self, sha: &[u8]) -> Option<Arc<[u8]>> {
        self.scripts.body(sha)
    }

    /// Keeps the body of a script, in case that a node lacks it later.
    #[inline]
    pub fn note_script(&mut self, body: Option<&[u8]>) {
        let Some(body) = body else {
            return;
        };
        if !self.seen_scripts.has(body) {
            self.keep_script(body);
        }
    }

    #[cold]
    fn keep_script(&mut self, body: &[u8]) {
        if let Some(script) = self.scripts.keep(body) {
            self.seen_scripts.note(script);
        }
    }

    /// `EVALSHA`: with its body when the connection's node may lack it and the body is known.
    fn plan_call(&mut self, key: ClientKey, command: &'static Command, args: &Args<'_>) -> Taken {
        let generation = self.scripts.generation();
        // A replica gets no script but with a call, so that there it is never known.
        let may_go_to_replica = command.access == Access::Read
            && self
                .clients
                .get(key)
                .is_some_and(|client| client.reads.is_some());
        let sha = args.get(1).and_then(Sha::parse).filter(|sha| {
            may_go_to_replica || !self.is_known_there(key, command, args, *sha, generation)
        });
        let Some(sha) = sha else {
            return self.plan_keyed(key, command, args);
        };
        let Some((with_body, bytes)) = self.with_body(command, args) else {
            return self.plan_keyed(key, command, args);
        };
        let taken = with_args(&bytes, |args| self.plan_keyed(key, with_body, args));
        let taken = taken.unwrap_or(Taken::Yes);
        if taken == Taken::Yes
            && !may_go_to_replica
            && let Some(connection) = self.connection_of_call(key, command, args)
            && let Some(connection) = self.connections.get_mut(connection.0 as usize)
        {
            connection
                .scripts
                .get_or_insert_default()
                .note(sha, generation);
        }
        taken
    }

    fn is_known_there(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        sha: Sha,
        generation: u64,
    ) -> bool {
        self.connection_of_call(key, command, args)
            .and_then(|connection| self.connections.get(connection.0 as usize))
            .and_then(|connection| connection.scripts.as_deref())
            .is_some_and(|scripts| scripts.has(sha, generation))
    }

    /// The connection a call takes, if it is there.
    fn connection_of_call(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<ConnectionKey> {
        let protocol = self.protocol_of(key);
        match self.target_of(key, command, args) {
            Ok(Target::Slot(slot)) => self.nodes.connection(self.nodes.owner(slot)?, protocol),
            Ok(Target::Primary(..) | Target::Node(_) | Target::Any) | Err(_) => None,
        }
    }

    /// The same call with its body.
    pub(super) fn with_body(
        &mut self,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<(&'static Command, Vec<u8>)> {
        let with_body = command.with_body()?;
        let body = self.scripts.body(args.get(1)?)?;
        Some((with_body, write_call(with_body, &body, args)))
    }

    /// Makes a call that is sent again independent of what the next node knows.
    pub(super) fn carry_body(&mut self, dispatched: &mut Dispatched, bytes: &mut Vec<u8>) {
        if dispatched.command.handling != Handling::Script(Script::EvalSha) {
            return;
        }
        let carried = with_args(bytes, |args| self.with_body(dispatched.command, args));
        if let Some((command, with_body)) = carried.flatten() {
            dispatched.command = command;
            *bytes = with_body;
        }
    }

    /// A node answered a command about scripts with an error. Returns whether more is done than to pass
    /// it on.
    pub(super) fn mend_script(
        &mut self,
        from: ConnectionKey,
        dispatched: Dispatched,
        bytes: &[u8],
        error: &[u8],
    ) -> bool {
        match dispatched.command.handling {
            Handling::Script(Script::EvalSha) if error.starts_with(NOSCRIPT) => {
                self.forget_known(from, bytes);
                let (mut carrying, mut with_body) = (dispatched, bytes.to_vec());
                self.carry_body(&mut carrying, &mut with_body);
                if carrying.command.handling == dispatched.command.handling {
                    return self.ask_for_body(dispatched, bytes, error);
                }
                self.send_with_body(carrying, with_body);
                true
            }
            Handling::Script(script @ (Script::Eval | Script::Load))
                if error.starts_with(NO_SCRIPT_AT_ALL) =>
            {
                let at = if script == Script::Eval { 1 } else { 2 };
                with_args(bytes, |args| {
                    self.scripts.forget(args.get(at).unwrap_or_default());
                });
                false
            }
            _ => false,
        }
    }

    fn forget_known(&mut self, from: ConnectionKey, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(from.0 as usize)
            && let Some(scripts) = &mut connection.scripts
        {
            with_args(bytes, |args| {
                if let Some(sha) = args.get(1).and_then(Sha::parse) {
                    scripts.forget(sha);
                }
            });
        }
    }

    fn send_with_body(&mut self, dispatched: Dispatched, bytes: Vec<u8>) {
        self.tallies.redirected(RedirectKind::NoScript);
        match self.resolve(dispatched.target) {
            Ok(node) => self.send_elsewhere(dispatched, bytes, node, false),
            Err(reason) => self.park(dispatched, bytes, false, reason),
        }
    }

    /// Asks the primaries for a body that never came by. Only where servers can tell, and only for a
    /// client that has sent nothing after it, which would overtake it (contract: R13).
    fn ask_for_body(&mut self, dispatched: Dispatched, bytes: &[u8], error: &[u8]) -> bool {
        let can_show = self
            .nodes
            .topology()
            .is_some_and(|topology| topology.is_valkey(SCRIPT_SHOW_SINCE));
        let Some(targets) = self.nodes.primaries().filter(|_| can_show) else {
            return false;
        };
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        match self.clients.get(client) {
            Some(client) if client.replies.pending() == 1 => {
                client.map_version = super::clients::UNSETTLED;
            }
            _ => return false,
        }
        let Some(show) = command::row_named("script|show") else {
            return false;
        };
        let mut request = Vec::new();
        with_args(bytes, |args| {
            write::command(
                &mut request,
                &[&b"SCRIPT"[..], b"SHOW", args.get(1).unwrap_or_default()],
            );
        });
        let finish = Finish::ScriptBody {
            call: dispatched,
            bytes: bytes.to_vec(),
            error: error.to_vec(),
        };
        self.gather_at(client, sequence, Gather::new(finish, targets.len()));
        for (part, target) in targets.into_iter().enumerate() {
            let ticket = Ticket {
                part: part as u32,
                ..dispatched.ticket
            };
            let asking = Dispatched {
                ticket,
                command: show,
                target,
                lane: None,
                ..dispatched
            };
            self.send_or_park(asking, &request);
        }
        true
    }

    /// The primaries have answered: one of them knows the body, or none. Appends the reply to `out` if
    /// the client gets one now.
    pub(super) fn body_was_asked_for<'a>(
        &mut self,
        (mut call, bytes): (Dispatched, &[u8]),
        mut replies: impl Iterator<Item = &'a [u8]>,
    ) -> bool {
        let Some(body) = replies.find_map(reply::text) else {
            return false;
        };
        self.scripts.keep(body);
        let Some(with_body) = call.command.with_body() else {
            return false;
        };
        let Some(carrying) = with_args(bytes, |args| write_call(with_body, body, args)) else {
            return false;
        };
        call.command = with_body;
        self.send_with_body(call, carrying);
        true
    }

    /// For each name in `SCRIPT EXISTS`, whether Keyway can send the body along.
    fn kept_scripts(&self, args: &Args<'_>) -> Vec<bool> {
        let names = args.iter().skip(2);
        names
            .map(|name| self.scripts.body(name).is_some())
            .collect()
    }

    /// The connection that a request takes: a shared one, but for those that have to get past what
    /// runs there.
    ///
    /// # Errors
    /// Why nothing can be sent now.
    pub(super) fn connection_of(
        &mut self,
        dispatched: &Dispatched,
    ) -> Result<ConnectionKey, Reason> {
        if self.is_primary_gone(dispatched) {
            // Its heir was asked itself, and knows nothing of what else that primary has: who does is still to come.
            self.request_refresh(RefreshReason::Unowned);
            return Err(Reason::Unsettled(
                "a primary left the map before it was asked",
            ));
        }
        match dispatched.command.handling {
            Handling::Script(Script::Kill) => {
                // A server that runs a script reads no further on that script's connection.
                let once = self.connections.iter();
                let once = once.filter(|(_, connection)| connection.role == Role::Once);
                if once.count() >= ONCE_MAX {
                    return Err(Reason::NoLease);
                }
                let node = self.resolve(dispatched.target)?;
                self.open(node, dispatched.protocol, Role::Once)
            }
            _ => self.connection_again(dispatched),
        }
    }
}

/// The same arguments with the body in place of its name.
fn write_call(with_body: &Command, body: &[u8], args: &Args<'_>) -> Vec<u8> {
    let rest = args.raw(2, args.len().saturating_sub(2));
    let mut out = Vec::with_capacity(body.len() + rest.len() + 64);
    write::array(&mut out, args.len());
    write::bulk(&mut out, with_body.name.to_ascii_uppercase().as_bytes());
    write::bulk(&mut out, body);
    out.extend_from_slice(rest);
    out
}

/// Whether the server takes these arguments for a flush.
fn is_flush(args: &Args<'_>) -> bool {
    match args.get(2) {
        None => true,
        Some(how) => {
            args.len() == 3
                && (how.eq_ignore_ascii_case(b"async") || how.eq_ignore_ascii_case(b"sync"))
        }
    }
}

/// The version of Valkey that brought `SCRIPT SHOW`.
const SCRIPT_SHOW_SINCE: u32 = 8;
