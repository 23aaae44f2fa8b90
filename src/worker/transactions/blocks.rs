//! A block on its way, and what the node's replies to it mean.
//!
//! A node answers `MULTI`, each command, and `EXEC`. As long as none of them is an error, the reply to
//! `EXEC` is the block's. If one is, `EXEC` says `EXECABORT`, and the first error is the reason: a
//! redirect or "come again" is obeyed for the block as a whole, as for any request (contract: T1).

use std::borrow::Cow;

use crate::cluster::redirect::{Verdict, verdict};
use crate::command::{self, Command};
use crate::pipeline::Ticket;
use crate::upstream::{Dispatched, Refusal};
use crate::worker::core::Core;
use crate::worker::nodes::ConnectionKey;

/// How a server that refuses `EXEC` itself begins; the reason follows, without its `-`.
const BECAUSE: &[u8] = b"-EXECABORT Transaction discarded because of: ";

impl Core {
    /// Hands a request or a block to a connection that is open, once more.
    pub(in crate::worker) fn send_again(
        &mut self,
        key: ConnectionKey,
        dispatched: Dispatched,
        bytes: &[u8],
    ) {
        if dispatched.command.is_block() {
            self.send_block(key, dispatched, bytes, command::block_len(bytes));
        } else {
            self.send(key, dispatched, bytes);
        }
    }

    /// Hands a block of so many commands to a connection that is open.
    pub(super) fn send_block(
        &mut self,
        key: ConnectionKey,
        dispatched: Dispatched,
        bytes: &[u8],
        commands: u32,
    ) {
        if let Some(connection) = self.connections.get_mut(key.0 as usize) {
            connection.send_block(dispatched, bytes, commands, self.now_us);
            self.tallies.in_flight.add(1);
        }
    }

    /// What a node said to a request; of a block, to the whole of it.
    pub(in crate::worker) fn reply_to_block<'a>(
        &mut self,
        from: ConnectionKey,
        command: &Command,
        reply: &'a [u8],
    ) -> Cow<'a, [u8]> {
        if !command.is_block() {
            return Cow::Borrowed(reply);
        }
        let connection = self.connections.get_mut(from.0 as usize);
        let refusal = connection.and_then(|connection| connection.refusal.take());
        if reply.first() != Some(&b'-') {
            return Cow::Borrowed(reply);
        }
        match refusal {
            Some(refusal) => Cow::Owned(explain(&refusal)),
            None => unwrap_reason(reply),
        }
    }

    /// Replies to a request, or goes on with the transaction whose step it was.
    pub(in crate::worker) fn reply_or_go_on(&mut self, ticket: Ticket, reply: &[u8]) {
        if self.is_step(ticket) {
            self.step_answered(ticket.client, reply);
        } else {
            self.reply(ticket, reply);
        }
    }
}

/// The error for a block of which the node refused a command.
fn explain(refusal: &Refusal) -> Vec<u8> {
    let error = &*refusal.error;
    let text = error.strip_prefix(b"-").unwrap_or(error);
    if refusal.is_of_multi {
        let text = text.trim_ascii_end();
        let start =
            b"-ERR outcome unknown: the node refused MULTI and took the commands one by one: ";
        return [start, text, b"\r\n"].concat();
    }
    match verdict(error) {
        Verdict::Pass => [BECAUSE, text].concat(),
        _ => error.to_vec(),
    }
}

/// A reason for which `EXEC` itself was refused, if it says that the block may go elsewhere or come
/// again.
fn unwrap_reason(reply: &[u8]) -> Cow<'_, [u8]> {
    let Some(reason) = reply.strip_prefix(BECAUSE) else {
        return Cow::Borrowed(reply);
    };
    let error = [b"-", reason].concat();
    match verdict(&error) {
        Verdict::Pass => Cow::Borrowed(reply),
        _ => Cow::Owned(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str, is_of_multi: bool) -> String {
        let error = format!("{error}\r\n");
        let refusal = Refusal {
            error: error.as_bytes().into(),
            is_of_multi,
        };
        String::from_utf8_lossy(explain(&refusal).trim_ascii_end()).into_owned()
    }

    /// contract: T1
    #[test]
    fn the_first_error_is_the_reason() {
        for redirect in [
            "-MOVED 5 127.0.0.1:7001",
            "-ASK 5 127.0.0.1:7001",
            "-TRYAGAIN Multiple keys request during rehashing of slot",
            "-CLUSTERDOWN Hash slot not served",
            "-READONLY You can't write against a read only replica.",
        ] {
            assert_eq!(refused(redirect, false), redirect);
        }
        assert_eq!(
            refused(
                "-OOM command not allowed when used memory > 'maxmemory'.",
                false
            ),
            "-EXECABORT Transaction discarded because of: OOM command not allowed when used memory > \
             'maxmemory'."
        );
        let text = refused("-NOPERM this user has no permissions", true);
        assert!(text.starts_with("-ERR outcome unknown"), "{text}");
    }

    /// contract: T1
    #[test]
    fn exec_itself_may_be_refused() {
        let check = |reply: &str, expected: &str| {
            assert_eq!(&*unwrap_reason(reply.as_bytes()), expected.as_bytes());
        };
        check(
            "-EXECABORT Transaction discarded because of: LOADING Redis is loading\r\n",
            "-LOADING Redis is loading\r\n",
        );
        for passed in [
            "-EXECABORT Transaction discarded because of: OOM x\r\n",
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
            "-MOVED 5 127.0.0.1:7001\r\n",
        ] {
            check(passed, passed);
        }
    }
}
