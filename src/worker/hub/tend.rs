//! What time brings to the hub: another try, a deadline, a silent node, a subscriber that does not read.

use std::sync::Arc;

use super::link;
use crate::pipeline::ClientKey;
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
        self.tend_held_publishers();
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

    /// Those whose time is over are answered, and those behind them that waited for their turn.
    fn expire_waiting(&mut self) {
        let mut left = Vec::new();
        let refusal = self.hub.refusal.take();
        for key in std::mem::take(&mut self.hub.waiting) {
            while let Some((kind, error)) = self.why_given_up(key, refusal.as_ref()) {
                self.refuse_waiting(key, 0, kind, &error);
            }
            self.confirm_waiting(key);
            let client = self.clients.get(key);
            let subscriptions = client.and_then(|client| client.subscriptions.as_ref());
            if subscriptions.is_some_and(|subscriptions| subscriptions.is_waiting()) {
                left.push(key);
            }
        }
        left.append(&mut self.hub.waiting);
        self.hub.waiting = left;
    }

    /// The error for the first `SUBSCRIBE` of a client that waits, if its deadline has passed (contract: F1), or the
    /// nodes refuse the client's user.
    fn why_given_up(
        &mut self,
        key: ClientKey,
        refusal: Option<&Arc<str>>,
    ) -> Option<(ErrorKind, Vec<u8>)> {
        let subscriptions = self.clients.get(key)?.subscriptions.as_ref()?;
        let waiting = subscriptions.waiting.front()?;
        let waited_us = self.now_us.saturating_sub(waiting.received_us);
        let mut error = Vec::new();
        if let Some(text) = refusal.filter(|_| waited_us >= REFUSED_US) {
            write::error(&mut error, &**text);
            return Some((ErrorKind::NoAuth, error));
        }
        if waited_us < self.limits.request_timeout_us {
            return None;
        }
        let why = match self.hub.last_obstacle.as_str() {
            "" => "the nodes do not answer",
            known => known,
        };
        let text = format!(
            "CLUSTERDOWN the subscription could not be made: {why}; it was tried for {:.1} s and \
             nothing was subscribed; try again when the cluster has recovered",
            waited_us as f64 / 1e6
        );
        write::error(&mut error, text);
        Some((ErrorKind::Deadline, error))
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
