//! The help texts of commands whose sub-commands are partly Keyway's own. They name what works here.

use super::{Answered, Effect};
use crate::resp::write as wire;

/// A sub-command with its arguments, and what it does.
type Entry = (&'static str, &'static str);

/// Writes one status line for each line of the help, as servers do.
pub(super) fn write(command: &str, entries: &[Entry], out: &mut Vec<u8>) -> Answered {
    wire::array(out, 1 + entries.len() * 2);
    wire::simple(
        out,
        &format!("{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"),
    );
    for (usage, effect) in entries {
        wire::simple(out, usage);
        wire::simple(out, &format!("    {effect}"));
    }
    Ok(Effect::None)
}

pub(super) const CLIENT: &[Entry] = &[
    (
        "CAPA <option> [<option> ...]",
        "Accepted; Keyway needs no capability of its clients.",
    ),
    ("GETNAME", "The name of this connection."),
    ("GETREDIR", "The client that invalidations go to: none."),
    ("ID", "The number of this connection."),
    ("INFO", "This connection in one line."),
    ("KILL <ip:port>", "Close the connection from this address."),
    (
        "KILL <option> <value> [<option> <value> ...]",
        "Close connections by ADDR, LADDR, ID, MAXAGE, TYPE, USER; SKIPME no includes this one.",
    ),
    (
        "LIST [TYPE <type> | ID <id> ...]",
        "Connections to this Keyway, a line for each.",
    ),
    ("NO-EVICT (ON|OFF)", "Accepted; Keyway evicts no clients."),
    ("NO-TOUCH (ON|OFF)", "Accepted and shown in CLIENT LIST."),
    ("REPLY (ON|OFF|SKIP)", "Which replies this connection gets."),
    (
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "The library behind this connection.",
    ),
    ("SETNAME <name>", "Give this connection a name."),
    ("TRACKINGINFO", "Whether this connection tracks keys."),
    ("HELP", "This help."),
];

pub(super) const CLUSTER: &[Entry] = &[
    ("COUNTKEYSINSLOT <slot>", "How many keys a slot has."),
    ("GETKEYSINSLOT <slot> <count>", "Names of keys in a slot."),
    ("INFO", "State of the cluster."),
    ("KEYSLOT <key>", "The slot of a key."),
    ("LINKS", "Links between nodes: none here."),
    ("MYID", "The id of this node."),
    ("MYSHARDID", "The id of this node's shard."),
    ("NODES", "Nodes and their slots, a line for each."),
    ("REPLICAS <node-id>", "The replicas of a node."),
    ("SHARDS", "Shards with their slots and nodes."),
    ("SLOTS", "Ranges of slots with their nodes."),
    ("HELP", "This help."),
];

pub(super) const ACL: &[Entry] = &[
    (
        "CAT [<category>]",
        "The categories of commands, or the commands of one.",
    ),
    (
        "DRYRUN <username> <command> [<arg> ...]",
        "Whether the user may run the command; nothing is run.",
    ),
    ("GENPASS [<bits>]", "A random password."),
    ("GETUSER <username>", "A user's rules."),
    (
        "LIST",
        "Users as in an ACL file. They are configured in Keyway.",
    ),
    ("LOG [<count> | RESET]", "What this Keyway denied."),
    ("USERS", "The names of users."),
    ("WHOAMI", "The user of this connection."),
    ("HELP", "This help."),
];
