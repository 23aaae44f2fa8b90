//! `CLUSTER`: the cluster's face (contract: C4).

use std::fmt::Write as _;

use super::view::{self, NodeView, ShardView};
use super::{Answered, Effect, World, shown};
use crate::client::Session;
use crate::cluster::{Health, Slot, Topology};
use crate::resp::{Args, write};

pub(super) fn slots(session: &Session, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let shards = view::shards(world);
    let mut ranges: Vec<((u16, u16), &ShardView)> = Vec::new();
    for shard in &shards {
        ranges.extend(shard.ranges.iter().map(|range| (*range, shard)));
    }
    ranges.sort_by_key(|(range, _)| *range);
    write::array(out, ranges.len());
    for ((first, last), shard) in ranges {
        // A replica that does not serve is not offered; of the primary there is no other.
        let is_offered =
            |(index, node): &(usize, &NodeView)| *index == 0 || node.health == Health::Online;
        let nodes: Vec<_> = shard.nodes.iter().enumerate().filter(is_offered).collect();
        write::array(out, 2 + nodes.len());
        write::integer(out, i64::from(first));
        write::integer(out, i64::from(last));
        for (_, node) in nodes {
            write::array(out, 4);
            write::bulk(out, node.host.as_bytes());
            write::integer(out, i64::from(node.port));
            write::bulk(out, node.id.as_bytes());
            write::map(out, session.protocol, 0);
        }
    }
    Ok(Effect::None)
}

pub(super) fn shards(session: &Session, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let shards = view::shards(world);
    let tells_id = tells_as_valkey_9(world);
    write::array(out, shards.len());
    for shard in &shards {
        write::map(out, session.protocol, 2 + usize::from(tells_id));
        write::bulk(out, b"slots");
        write::array(out, shard.ranges.len() * 2);
        for (first, last) in &shard.ranges {
            write::integer(out, i64::from(*first));
            write::integer(out, i64::from(*last));
        }
        write::bulk(out, b"nodes");
        write::array(out, shard.nodes.len());
        for (index, node) in shard.nodes.iter().enumerate() {
            shard_node(session, node, index == 0, out);
        }
        if tells_id {
            write::bulk(out, b"id");
            write::bulk(out, shard.id.as_bytes());
        }
    }
    Ok(Effect::None)
}

fn shard_node(session: &Session, node: &NodeView, is_primary: bool, out: &mut Vec<u8>) {
    let text = |out: &mut Vec<u8>, name: &str, value: &str| {
        write::bulk(out, name.as_bytes());
        write::bulk(out, value.as_bytes());
    };
    let number = |out: &mut Vec<u8>, name: &str, value: i64| {
        write::bulk(out, name.as_bytes());
        write::integer(out, value);
    };
    write::map(out, session.protocol, 7);
    text(out, "id", &node.id);
    // As servers name the port that speaks TLS.
    let port = if session.is_tls { "tls-port" } else { "port" };
    number(out, port, i64::from(node.port));
    text(out, "ip", &node.host);
    text(out, "endpoint", &node.host);
    text(out, "role", if is_primary { "master" } else { "replica" });
    number(out, "replication-offset", 0);
    let health = match node.health {
        Health::Online => "online",
        Health::Loading => "loading",
        Health::Failed => "fail",
    };
    text(out, "health", health);
}

pub(super) fn nodes(session: &Session, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let mut text = String::new();
    for (shard_index, shard) in view::shards(world).iter().enumerate() {
        for index in 0..shard.nodes.len() {
            text.push_str(&line(shard, index, shard_index == 0));
            text.push('\n');
        }
    }
    write::verbatim(out, session.protocol, text.as_bytes());
    Ok(Effect::None)
}

/// One line of `CLUSTER NODES`.
fn line(shard: &ShardView, index: usize, is_own_shard: bool) -> String {
    let mut text = String::new();
    let (Some(primary), Some(node)) = (shard.nodes.first(), shard.nodes.get(index)) else {
        return text;
    };
    let is_primary = index == 0;
    // As the servers choose the port of their own bus.
    let bus_port = u32::from(node.port) + 10_000;
    let myself = if is_own_shard && is_primary {
        "myself,"
    } else {
        ""
    };
    let role = if is_primary { "master" } else { "slave" };
    let of = if is_primary { "-" } else { &primary.id };
    let (failed, link) = match node.health {
        Health::Online | Health::Loading => ("", "connected"),
        Health::Failed => (",fail", "disconnected"),
    };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{} {}:{}@{bus_port} {myself}{role}{failed} {of} 0 0 0 {link}",
        node.id, node.host, node.port
    );
    if is_primary {
        for (first, last) in &shard.ranges {
            let _ = match first == last {
                true => write!(text, " {first}"),
                false => write!(text, " {first}-{last}"),
            };
        }
    }
    text
}

/// Whether the servers tell what Valkey 9 added.
fn tells_as_valkey_9(world: &World<'_>) -> bool {
    world.topology.is_some_and(|topology| topology.is_valkey(9))
}

/// The lines of `CLUSTER INFO` about nodes that failed; which of them are only suspected is not shown.
fn failed_nodes(shards: &[ShardView]) -> String {
    let has_failed = |node: &&NodeView| node.health == Health::Failed;
    let nodes = shards.iter().flat_map(|shard| &shard.nodes);
    let voting = shards.iter().filter(|shard| !shard.ranges.is_empty());
    let voting = voting.filter_map(|shard| shard.nodes.first());
    format!(
        "cluster_nodes_pfail:0\r\n\
         cluster_nodes_fail:{}\r\n\
         cluster_voting_nodes_pfail:0\r\n\
         cluster_voting_nodes_fail:{}\r\n",
        nodes.filter(has_failed).count(),
        voting.filter(has_failed).count()
    )
}

/// `CLUSTER INFO`
pub(super) fn state(session: &Session, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let owned = |topology: &Topology| {
        let slots = (0..Slot::COUNT as u16).filter_map(Slot::new);
        slots.filter(|slot| topology.owner(*slot).is_some()).count()
    };
    let assigned = world.topology.map_or(0, owned);
    let shards = view::shards(world);
    let nodes: usize = shards.iter().map(|shard| shard.nodes.len()).sum();
    let size = shards.iter().filter(|shard| !shard.ranges.is_empty());
    let state = if assigned == Slot::COUNT {
        "ok"
    } else {
        "fail"
    };
    let later = match tells_as_valkey_9(world) {
        true => failed_nodes(&shards),
        false => String::new(),
    };
    let text = format!(
        "cluster_state:{state}\r\n\
         cluster_slots_assigned:{assigned}\r\n\
         cluster_slots_ok:{assigned}\r\n\
         cluster_slots_pfail:0\r\n\
         cluster_slots_fail:0\r\n\
         {later}\
         cluster_known_nodes:{nodes}\r\n\
         cluster_size:{}\r\n\
         cluster_current_epoch:0\r\n\
         cluster_my_epoch:0\r\n\
         cluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n",
        size.count()
    );
    write::verbatim(out, session.protocol, text.as_bytes());
    Ok(Effect::None)
}

pub(super) fn my_id(world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let own = view::own_shard(world);
    let id = own.nodes.first().map_or("", |node| &node.id);
    write::bulk(out, id.as_bytes());
    Ok(Effect::None)
}

pub(super) fn my_shard_id(world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    write::bulk(out, view::own_shard(world).id.as_bytes());
    Ok(Effect::None)
}

pub(super) fn key_slot(args: &Args<'_>, out: &mut Vec<u8>) -> Answered {
    let slot = Slot::of_key(args.get(2).unwrap_or_default());
    write::integer(out, i64::from(slot.number()));
    Ok(Effect::None)
}

/// `CLUSTER REPLICAS`: the lines of a primary's replicas.
pub(super) fn replicas(args: &Args<'_>, world: &World<'_>, out: &mut Vec<u8>) -> Answered {
    let id = args.get(2).unwrap_or_default();
    for (shard_index, shard) in view::shards(world).iter().enumerate() {
        let found = shard.nodes.iter().position(|node| node.id.as_bytes() == id);
        match found {
            None => {}
            Some(0) => {
                write::array(out, shard.nodes.len() - 1);
                for index in 1..shard.nodes.len() {
                    write::bulk(out, line(shard, index, shard_index == 0).as_bytes());
                }
                return Ok(Effect::None);
            }
            Some(_) => return Err("ERR The specified node is not a master".to_owned()),
        }
    }
    Err(format!("ERR Unknown node {}", shown(id)))
}
