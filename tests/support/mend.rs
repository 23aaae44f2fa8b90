//! What `redis-cli --cluster fix` does, for clusters to which too much happened at once.

use keyway::cluster::Slot;

use super::cluster::Cluster;
use super::view::View;

impl Cluster {
    /// Nodes may believe for ever that a slot is another one's: gossip that is older than a move can reach
    /// its target after it, and a node that died in the middle of a move wakes up with half of it. All
    /// primaries are told who owns each slot that they do not agree on: of those that claim it the one with
    /// the highest epoch, when nobody does the one that most believe in, and of nodes that have the same epoch one takes another.
    /// Nodes that do not know each other meet again: on a busy machine the first time may have been in vain.
    pub fn mend(&self) {
        self.introduce();
        let primaries = self.primaries();
        let views: Vec<_> = primaries
            .iter()
            .filter_map(|&index| Some((index, self.view(index)?)))
            .collect();
        let mut claims = self.claims();
        claims.sort_by_key(|(_, line)| std::cmp::Reverse(line.epoch));
        for slot in 0..Slot::COUNT as u16 {
            let claimed = claims.iter().find(|(_, line)| line.owns(slot));
            let claimed = claimed.map(|(owner, _)| *owner);
            let Some(owner) = claimed.or_else(|| self.believed_owner(slot, &views)) else {
                continue;
            };
            let id = self.id(owner);
            let is_agreed = views.iter().all(|(_, view)| {
                let line = view.0.iter().find(|line| line.owns(slot));
                line.is_some_and(|line| line.id == id)
            });
            if is_agreed {
                continue;
            }
            let command = format!("CLUSTER SETSLOT {slot} NODE {id}");
            for node in [owner].into_iter().chain(primaries.iter().copied()) {
                // One that has keys of the slot refuses to give it away; then it is asked again later.
                let _ = self.node(node).try_call(&command);
            }
        }
        let mut epochs = Vec::new();
        for (index, view) in &views {
            let Some(line) = view.myself() else { continue };
            if !line.slots.is_empty() && epochs.contains(&line.epoch) {
                let _ = self.node(*index).try_call("CLUSTER BUMPEPOCH");
            }
            epochs.push(line.epoch);
        }
    }

    fn introduce(&self) {
        let responsive = |index: &usize| self.node(*index).is_responsive();
        let nodes: Vec<usize> = (0..self.nodes().len()).filter(responsive).collect();
        for index in &nodes {
            let Some(view) = self.view(*index) else {
                continue;
            };
            let is_known = |other: &usize| view.0.iter().any(|line| line.id == self.id(*other));
            for other in nodes.iter().filter(|other| !is_known(other)) {
                let port = self.node(*other).port();
                let meet = format!("CLUSTER MEET 127.0.0.1 {port}");
                let _ = self.node(*index).try_call(&meet);
            }
        }
    }

    /// Of a slot that nobody claims: the primary that most primaries take for its owner.
    fn believed_owner(&self, slot: u16, views: &[(usize, View)]) -> Option<usize> {
        let believed = views.iter().filter_map(|(_, view)| {
            let line = view.0.iter().find(|line| line.owns(slot))?;
            let index = self.index_of(&line.id)?;
            self.node(index).is_responsive().then_some(index)
        });
        let believed: Vec<usize> = believed.collect();
        let votes = |index: &usize| believed.iter().filter(|other| *other == index).count();
        believed.iter().copied().max_by_key(votes)
    }
}
