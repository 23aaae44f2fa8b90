//! What time brings to the hub: another try, a deadline, a silent node, a subscriber that does not read.

use super::link;
use crate::resp::write;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Phase;
use crate::worker::core::Core;

/// A node that said nothing for this long is asked whether it is there.
const ASK_US: u64 = 1_000_000;
/// One that does not answer for this long is given up. Long, because a node that is merely busy keeps
/// its messages for us, and leaving it would lose them; of one that is dead the cluster says so earlier.
const SILENT_US: u64 = 10_000_000;
/// A connection that no channel needs is closed after this long.
const IDLE_US: u64 = 5_000_000;

/// A `SUBSCRIBE` waits so long for a node that accepts the user's credentials, while others do not.
const REFUSED_US: u64 = 500_000;

impl Core {
    /// Called at least every 100 ms.
    pub fn tend_hub(&mut self) {
        if !self.hub.is_idle() {
            self.place_again();
            self.tend_links();
            self.flush_hub();
        }
        self.expire_waiting();
        self.look_after_held_publishers();
        self.close_slow_subscribers();
    }

    fn place_again(&mut self) {
        let now_us = self.now_us;
        let mut due = Vec::new();
        self.hub.unplaced.retain(|(key, at_us)| {
            let is_due = *at_us <= now_us;
            if is_due {
                due.push(*key);
            }
            !is_due
        });
        due.sort_unstable_by_key(|key| key.index());
        due.dedup();
        for key in due {
            self.place(key);
        }
    }

    /// A `SUBSCRIBE` whose deadline has passed is answered (contract: F1).
    fn expire_waiting(&mut self) {
        let mut left = Vec::new();
        let refusal = self.hub.refusal.take();
        for key in std::mem::take(&mut self.hub.waiting) {
            let client = self.clients.get(key);
            let subscriptions = client.and_then(|client| client.subscriptions.as_ref());
            let Some(waiting) = subscriptions.and_then(|of| of.waiting.as_ref()) else {
                continue;
            };
            let waited_us = self.now_us.saturating_sub(waiting.received_us);
            if let Some(text) = refusal.as_ref().filter(|_| waited_us >= REFUSED_US) {
                let mut error = Vec::new();
                write::error(&mut error, &**text);
                self.refuse_waiting(key, ErrorKind::NoAuth, &error);
                continue;
            }
            if waited_us < self.limits.request_timeout_us {
                left.push(key);
                continue;
            }
            let why = match self.hub.last_obstacle.as_str() {
                "" => "the nodes do not answer",
                known => known,
            };
            let mut error = Vec::new();
            let text = format!(
                "CLUSTERDOWN the subscription could not be made: {why}; it was tried for {:.1} s and \
                 nothing was subscribed; try again when the cluster has recovered",
                waited_us as f64 / 1e6
            );
            write::error(&mut error, text);
            self.refuse_waiting(key, ErrorKind::Deadline, &error);
        }
        left.append(&mut self.hub.waiting);
        self.hub.waiting = left;
    }

    fn tend_links(&mut self) {
        let now_us = self.now_us;
        let mut closing = Vec::new();
        for index in 0..self.hub.links.len() {
            let Some(link) = self.hub.links.get(index) else {
                break;
            };
            let (node, key) = (link.node, link.connection);
            let is_idle = link.spots == 0 && now_us.saturating_sub(link.idle_since_us) > IDLE_US;
            let Some(connection) = self.connections.get(key.0 as usize) else {
                continue;
            };
            if connection.phase != Phase::Ready {
                continue;
            }
            let quiet_us = now_us.saturating_sub(connection.heard_us);
            let is_asked = !connection.in_flight.is_empty();
            let asked_us = now_us.saturating_sub(connection.waiting_since_us);
            if is_idle && !is_asked {
                closing.push((key, None));
            } else if is_asked && quiet_us.min(asked_us) > SILENT_US {
                closing.push((key, Some(node)));
            } else if !is_asked && quiet_us > ASK_US {
                let mut ping = Vec::new();
                let nothing = link::write_batch(&[], &mut ping);
                self.send_to_link(index, nothing, &ping);
            }
        }
        for (key, silent) in closing {
            self.close_link(key);
            if let Some(node) = silent {
                self.lose_node(node, "the node does not answer");
            }
        }
    }

    fn close_slow_subscribers(&mut self) {
        let slow = std::mem::take(&mut self.hub.slow);
        let mut left = Vec::new();
        for key in slow {
            let client = self.clients.get(key);
            let unread = client.map_or(0, |client| client.replies.buffered_bytes());
            if self.note_slow_subscriber(key, unread) {
                left.push(key);
            }
        }
        left.append(&mut self.hub.slow);
        self.hub.slow = left;
    }
}
