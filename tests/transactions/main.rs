//! Transactions: what one server would say, whole blocks through redirects, lost connections, moving
//! slots and failovers, watched keys, and what happens with keys of several slots.

mod cross_slot;
mod limits;
mod lost;
mod moves;
mod one_server;
mod only_primary;
mod redirects;
mod split;
mod watch;

#[path = "../routing/place.rs"]
#[allow(dead_code)]
mod place;
#[path = "../support/mod.rs"]
mod support;

use support::Client;

/// Sends `MULTI`, these commands and `EXEC` in one write; the reply to `EXEC`.
#[track_caller]
fn exec(client: &mut Client, commands: &[&str]) -> String {
    let mut lines = vec!["MULTI"];
    lines.extend(commands);
    lines.push("EXEC");
    let replies = client.pipeline(&lines);
    assert_eq!(replies[0].to_string(), "+OK");
    for (command, reply) in commands.iter().zip(&replies[1..]) {
        assert_eq!(reply.to_string(), "+QUEUED", "{command}");
    }
    replies[replies.len() - 1].to_string()
}
