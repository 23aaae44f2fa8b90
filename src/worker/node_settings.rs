//! `CONFIG SET` reaches every node (contract: M4). What is each node's own, or would shut Keyway out of the cluster,
//! is an operator's command and refused like one (contract: C7).

use super::core::Core;
use super::requests::Taken;
use crate::command::Command;
use crate::pipeline::ClientKey;
use crate::resp::Args;
use crate::telemetry::worker_tallies::ErrorKind;

/// Addresses, ports and credentials: with the same for every node, or with others than Keyway has, the cluster falls
/// apart.
const OF_ONE_NODE: &[&str] = &[
    "availability-zone",
    "bind",
    "bind-source-addr",
    "masterauth",
    "masteruser",
    "port",
    "primaryauth",
    "primaryuser",
    "protected-mode",
    "requirepass",
    "tls-auth-clients",
    "tls-port",
];
/// What a node tells others about itself.
const ANNOUNCED: &[&str] = &["cluster-announce-", "replica-announce-", "slave-announce-"];

/// The first parameter of `CONFIG SET` that is not one for all nodes.
fn own_parameter<'a>(command: &Command, args: &Args<'a>) -> Option<&'a [u8]> {
    if command.name != "config|set" {
        return None;
    }
    let parameters = (2..args.len()).step_by(2).filter_map(|at| args.get(at));
    let is_own = |name: &str| {
        OF_ONE_NODE.contains(&name) || ANNOUNCED.iter().any(|prefix| name.starts_with(prefix))
    };
    parameters.into_iter().find(|parameter| {
        let name = parameter.to_ascii_lowercase();
        std::str::from_utf8(&name).is_ok_and(is_own)
    })
}

impl Core {
    /// Refuses `CONFIG SET` of what is a node's own, unless `listen.allow` has it.
    pub(super) fn refuse_own_setting(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        let parameter = own_parameter(command, args)?;
        let listener = self.clients.get(key)?.session.listener;
        let door = self.doors.of_listener(listener);
        if door.allows_operator(command, self.learnt.rights(command)) {
            return None;
        }
        let parameter = String::from_utf8_lossy(parameter).into_owned();
        Some(self.refuse_request(key, args, ErrorKind::Refused, |_| {
            format!(
                "ERR CONFIG SET of '{parameter}' is refused by Keyway: it would be set at every node and may shut \
                 Keyway out; connect to the nodes directly for it, or allow config|set (listen.allow)"
            )
            .into_bytes()
        }))
    }
}
