//! Which elements were taken from a queue, by the nodes' logs: these say `LPOP queue`, so the queue is
//! followed from the picture at the beginning of each log.

use std::collections::{HashMap, HashSet, VecDeque};

use super::aof;
use super::load::queues;
use super::marker::Marker;
use super::support::Cluster;

/// Elements that some node took out of their queue.
pub type Pops = HashSet<Marker>;

/// Reads all logs of a cluster.
pub fn of(cluster: &Cluster, queues: &[u32]) -> Pops {
    let names: HashSet<Vec<u8>> = queues
        .iter()
        .map(|&queue| queues::name(queue).into_bytes())
        .collect();
    let mut pops = Pops::new();
    for node in cluster.nodes() {
        // A history goes on from the base before it.
        let mut lists = Lists::default();
        for file in aof::files(node.folder()) {
            if file.is_base {
                lists = Lists::default();
            }
            aof::commands(&file.path, |arguments| {
                if arguments.len() > 1 && arguments.iter().any(|one| names.contains(one)) {
                    lists.follow(arguments, &mut pops);
                }
            });
        }
    }
    pops
}

#[derive(Default)]
struct Lists(HashMap<Vec<u8>, VecDeque<Marker>>);

impl Lists {
    fn follow(&mut self, arguments: &[Vec<u8>], pops: &mut Pops) {
        let name = arguments[0].to_ascii_uppercase();
        let list = self.0.entry(arguments[1].clone()).or_default();
        match name.as_slice() {
            b"RPUSH" => list.extend(arguments.iter().filter_map(|one| Marker::parse(one))),
            b"LPOP" | b"RPOP" => {
                let count = arguments
                    .get(2)
                    .and_then(|one| std::str::from_utf8(one).ok());
                let count = count.and_then(|one| one.parse().ok()).unwrap_or(1);
                for _ in 0..count {
                    let taken = if name == b"LPOP" {
                        list.pop_front()
                    } else {
                        list.pop_back()
                    };
                    pops.extend(taken);
                }
            }
            b"RESTORE" => *list = Marker::all_in(&arguments[3]).into(),
            // A key that went to another node, or that was emptied.
            b"DEL" | b"UNLINK" => {
                for key in &arguments[1..] {
                    self.0.remove(key);
                }
            }
            _ => {}
        }
    }
}
