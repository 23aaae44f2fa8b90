//! `/topology`: the cluster as Keyway sees it, as JSON.

use serde_json::{Value, json};

use crate::cluster::{Health, Mode, NodeIndex, Role, Slot, Topology};

/// The page.
pub fn render(topology: &Topology) -> String {
    let mut ranges = slot_ranges(topology);
    let nodes: Vec<Value> = topology
        .nodes
        .iter()
        .zip(&mut ranges)
        .map(|(node, ranges)| {
            let (role, primary) = match node.role {
                Role::Primary => ("primary", None),
                Role::Replica(of) => (
                    "replica",
                    topology.node(of).map(|primary| primary.id.to_string()),
                ),
            };
            json!({
                "id": &*node.id,
                "address": node.endpoint.to_string(),
                "announced": node.announced.to_string(),
                "role": role,
                "primary": primary,
                "health": match node.health {
                    Health::Online => "online",
                    Health::Loading => "loading",
                    Health::Failed => "failed",
                },
                "config_epoch": node.config_epoch,
                "zone": node.zone.as_deref(),
                "slots": std::mem::take(ranges),
            })
        })
        .collect();
    let page = json!({
        "version": topology.version,
        "mode": match topology.mode {
            Mode::Cluster => "cluster",
            Mode::Standalone => "standalone",
        },
        "server": {
            "name": &*topology.server_name,
            "version": &*topology.server_version,
        },
        "slots_owned": slots_owned(topology),
        "nodes": nodes,
    });
    format!("{page:#}\n")
}

/// How many slots have an owner.
pub fn slots_owned(topology: &Topology) -> usize {
    slots()
        .filter(|slot| topology.owner(*slot).is_some())
        .count()
}

/// For each node the ranges of slots it owns, first and last.
fn slot_ranges(topology: &Topology) -> Vec<Vec<[u16; 2]>> {
    let mut ranges: Vec<Vec<[u16; 2]>> = vec![Vec::new(); topology.nodes.len()];
    let mut previous: Option<NodeIndex> = None;
    for slot in slots() {
        let owner = topology.owner(slot);
        if let Some(NodeIndex(index)) = owner
            && let Some(ranges) = ranges.get_mut(usize::from(index))
        {
            match ranges.last_mut() {
                Some(range) if owner == previous => range[1] = slot.number(),
                _ => ranges.push([slot.number(), slot.number()]),
            }
        }
        previous = owner;
    }
    ranges
}

fn slots() -> impl Iterator<Item = Slot> {
    (0..Slot::COUNT as u16).filter_map(Slot::new)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cluster::{Endpoint, Node};

    fn node(id: &str, port: u16, role: Role) -> Node {
        let at = |host: &str| Endpoint {
            host: Arc::from(host),
            port,
        };
        Node {
            id: Arc::from(id),
            endpoint: at("10.1.0.1"),
            announced: at("172.28.0.1"),
            role,
            health: Health::Online,
            config_epoch: 0,
            hostname: None,
            zone: None,
        }
    }

    #[test]
    fn nodes_tell_addresses_roles_and_slot_ranges() {
        let mut topology = Topology::new(
            Mode::Cluster,
            vec![
                node("a", 1, Role::Primary),
                node("b", 2, Role::Primary),
                node("c", 3, Role::Replica(NodeIndex(0))),
            ],
        );
        for (slot, owner) in [(0, 0), (1, 0), (2, 1), (3, 0), (16383, 0)] {
            let slot = Slot::new(slot).expect("below 16384");
            topology.assign(slot, NodeIndex(owner));
        }
        let page: Value = serde_json::from_str(&render(&topology)).expect("JSON");
        assert_eq!(page["slots_owned"], 5);
        assert_eq!(
            page["nodes"][0]["slots"],
            json!([[0, 1], [3, 3], [16383, 16383]])
        );
        assert_eq!(page["nodes"][1]["slots"], json!([[2, 2]]));
        assert_eq!(page["nodes"][0]["address"], "10.1.0.1:1");
        assert_eq!(page["nodes"][0]["announced"], "172.28.0.1:1");
        assert_eq!(page["nodes"][2]["primary"], "a");
        assert_eq!(page["nodes"][2]["slots"], json!([]));
        assert_eq!(page["nodes"][0]["config_epoch"], 0);
        assert_eq!(page["nodes"][0]["zone"], Value::Null);
    }
}
