//! Nodes that join a running cluster, and leave it.

use std::time::Duration;

use super::cluster::{Cluster, SETTLE_DEADLINE};
use super::eventually::eventually;

impl Cluster {
    /// Starts one more node and waits until all know it: a primary without slots. Returns its index.
    #[track_caller]
    pub fn join(&mut self) -> usize {
        let index = self.nodes.len();
        let node = self.options.server(index);
        node.wait_until_it_answers();
        self.ids.push(node.ok("CLUSTER MYID").text());
        for other in self.nodes.iter().filter(|node| node.is_responsive()) {
            node.ok(&format!("CLUSTER MEET 127.0.0.1 {}", other.port()));
        }
        self.nodes.push(node);
        self.wait_until_settled();
        index
    }

    /// Ends a node that owns no slot and has no replicas, and has all others forget it.
    #[track_caller]
    pub fn leave(&self, index: usize) {
        self.nodes[index].terminate();
        let id = &self.ids[index];
        // One that has not forgotten it yet tells the others of it again.
        eventually("all have forgotten the node", SETTLE_DEADLINE, || {
            let mut is_known = false;
            for (other, node) in self.nodes.iter().enumerate() {
                let view = node.is_responsive().then(|| self.view(other)).flatten();
                if view.is_some_and(|view| view.0.iter().any(|line| line.id == *id)) {
                    is_known = true;
                    // Refused by a node that just lost its primary; then it is asked again.
                    let _ = node.try_call(&format!("CLUSTER FORGET {id}"));
                }
            }
            !is_known
        });
        self.wait_until_settled();
    }

    /// Ends all nodes at once by SIGKILL, starts all that were running again, and waits until they serve.
    #[track_caller]
    pub fn restart_all(&self) -> Duration {
        let running: Vec<_> = self.nodes.iter().filter(|node| node.is_running()).collect();
        running.iter().for_each(|node| node.kill());
        running.iter().for_each(|node| node.restart());
        self.wait_until_settled()
    }
}
