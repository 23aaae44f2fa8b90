//! `CLUSTER NODES`: one line of text for each node.
//!
//! `<id> <ip:port@bus[,hostname[,name=value ...]]> <flags> <primary> <ping> <pong> <epoch> <link> <slots ...>`

use std::sync::Arc;

use super::Health;
use super::endpoint::announced_host;
use super::view::{Announced, Answered, Seen, SeenRole, SlotRange, View, ViewError};

/// Reads the reply to `CLUSTER NODES`. Nodes that are only being met (`handshake`) are left out:
/// their id is not yet theirs.
///
/// # Errors
/// A line that is none of this command.
pub fn parse_nodes(text: &[u8], answered: Answered<'_>) -> Result<View, ViewError> {
    read(text, answered).map_err(|problem| ViewError {
        command: "CLUSTER NODES",
        problem,
    })
}

fn read(text: &[u8], answered: Answered<'_>) -> Result<View, &'static str> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text")?;
    let mut view = View::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (node, flags) = read_line(line, answered)?;
        if flags.is_handshake {
            continue;
        }
        if flags.is_myself {
            view.viewer = Some(node.id.clone());
        }
        view.add(node)?;
    }
    if view.nodes.is_empty() {
        return Err("it names no node");
    }
    view.checked()
}

#[derive(Default)]
struct Flags {
    is_myself: bool,
    is_handshake: bool,
    is_replica: bool,
    is_failed: bool,
    is_suspected: bool,
    has_no_address: bool,
}

fn read_line(line: &str, answered: Answered<'_>) -> Result<(Seen, Flags), &'static str> {
    let mut words = line.split_ascii_whitespace();
    let mut word = || words.next().ok_or("a line is too short");
    let (id, address, flags, primary) = (word()?, word()?, word()?, word()?);
    let (_ping, _pong, epoch, _link) = (word()?, word()?, word()?, word()?);
    let flags = read_flags(flags);
    let mut node = Seen::new(id);
    if !flags.has_no_address {
        node.announced = read_address(address, answered)?;
    }
    node.hostname = address.split(',').nth(1).and_then(announced_host);
    if flags.is_replica {
        let primary = (primary != "-").then(|| Arc::from(primary));
        node.role = SeenRole::Replica(primary);
    }
    if flags.is_failed {
        node.health = Health::Failed;
    }
    node.is_suspected = flags.is_suspected;
    node.config_epoch = epoch.parse().map_err(|_| "a config epoch is no number")?;
    for slots in words {
        // `[5->-id]` and `[5-<-id]` tell of moves under way, which MOVED and ASK handle.
        if !slots.starts_with('[') {
            node.slots.push(read_range(slots)?);
        }
    }
    Ok((node, flags))
}

fn read_flags(text: &str) -> Flags {
    let mut flags = Flags::default();
    for flag in text.split(',') {
        match flag {
            "myself" => flags.is_myself = true,
            "handshake" => flags.is_handshake = true,
            "slave" | "replica" => flags.is_replica = true,
            "fail" => flags.is_failed = true,
            "fail?" => flags.is_suspected = true,
            "noaddr" => flags.has_no_address = true,
            // `master`, `nofailover`, `noflags`, and what a later server adds.
            _ => {}
        }
    }
    flags
}

/// `ip:port@bus,hostname,...`; the ip may be empty, or IPv6 without brackets.
fn read_address(text: &str, answered: Answered<'_>) -> Result<Option<Announced>, &'static str> {
    const WRONG: &str = "an address is not `ip:port@bus`";
    let mut fields = text.split(',');
    let address = fields.next().unwrap_or_default();
    let (address, _bus) = address.split_once('@').unwrap_or((address, ""));
    let (ip, port) = address.rsplit_once(':').ok_or(WRONG)?;
    let port: u16 = port.parse().map_err(|_| WRONG)?;
    Ok(match ip {
        "?" => fields
            .next()
            .filter(|hostname| !hostname.is_empty())
            .and_then(|hostname| answered.announced(hostname, port)),
        ip => answered.announced(ip, port),
    })
}

/// `17` or `17-42`.
fn read_range(text: &str) -> Result<SlotRange, &'static str> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => SlotRange::new(first, last),
        _ => None,
    }
    .ok_or("a slot range is none")
}
