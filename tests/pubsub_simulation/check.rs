//! What must hold once everything is at rest.

use std::collections::{BTreeMap, BTreeSet};

use keyway::routing::glob;

use crate::node::{Subscribed, group_of};
use crate::world::{GROUPS, World};

impl World {
    pub fn forget_what_was_heard(&mut self) {
        let next = self.published.len() as u64 + 1;
        for client in &mut self.clients {
            client.is_strict = true;
            for held in client.held.values_mut() {
                held.since = next;
                held.heard.clear();
            }
        }
    }

    /// Who is subscribed has heard everything that was published since.
    pub fn check_all_was_heard(&mut self) {
        for client in &self.clients {
            for ((kind, name), held) in &client.held {
                let mut expected: BTreeMap<String, Vec<u64>> = BTreeMap::new();
                for (number, (is_shard, channel)) in (1..).zip(&self.published) {
                    let fits = match kind {
                        'c' => !is_shard && channel == name,
                        's' => *is_shard && channel == name,
                        _ => !is_shard && glob::matches(name.as_bytes(), channel.as_bytes()),
                    };
                    if fits && number >= held.since {
                        expected.entry(channel.clone()).or_default().push(number);
                    }
                }
                let mut heard = held.heard.clone();
                // Those that were on their way when it was confirmed may come as well.
                for numbers in heard.values_mut() {
                    numbers.retain(|number| *number >= held.since);
                }
                heard.retain(|_, numbers| !numbers.is_empty());
                assert_eq!(heard, expected, "{:?} of {kind} {name}", client.key);
            }
        }
    }

    /// The nodes have what is wanted, where it has to be, once.
    pub fn check_nodes(&self) {
        let wanted: BTreeSet<&Subscribed> = self
            .clients
            .iter()
            .flat_map(|client| client.held.keys())
            .collect();
        let mut found: BTreeMap<&Subscribed, Vec<usize>> = BTreeMap::new();
        for link in &self.links {
            for of in &link.session.subscriptions {
                found.entry(of).or_default().push(link.node);
            }
        }
        let names: BTreeSet<&Subscribed> = found.keys().copied().collect();
        assert_eq!(names, wanted);
        for ((kind, name), mut nodes) in found {
            nodes.sort_unstable();
            let is_everywhere = match kind {
                'c' => name.starts_with("__key"),
                'p' => ["*", "__key*"].contains(&name.as_str()),
                _ => false,
            };
            let mut owners: Vec<usize> = self.owners.to_vec();
            owners.sort_unstable();
            owners.dedup();
            if is_everywhere {
                assert_eq!(nodes, owners, "{kind} {name}");
            } else if *kind == 's' {
                assert_eq!(
                    nodes,
                    [self.owners[group_of(name, GROUPS)]],
                    "{kind} {name}"
                );
            } else {
                assert_eq!(nodes.len(), 1, "{kind} {name}: {nodes:?}");
            }
        }
    }
}
