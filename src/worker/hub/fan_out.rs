//! Messages to their subscribers.
//!
//! A message is copied to each subscriber's output, which is what it costs on a server as well; that is
//! done for a bounded number of subscribers in one turn. What is left lies in a queue, one copy for all
//! its subscribers, and a task of the worker's goes on with it while clients write in between. So ten
//! thousand subscribers of one channel neither hold up others nor need the memory of ten thousand copies
//! before the first is written. Messages leave the queue in the order they came.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tracing::warn;

use super::Kind;
use super::channel::ChannelKey;
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::routing::NodeKey;
use crate::worker::core::Core;
use crate::worker::nodes::ConnectionKey;

/// One more copy for each of these in a message's length.
const COPY_BYTES: usize = 4096;
/// With so many bytes of messages in the queue the nodes are not read, until half of it is left. A node
/// that is not read for long closes the connection, which is then a gap (`client-output-buffer-limit`).
const QUEUE_BYTES: usize = 32 << 20;

/// Messages on their way to clients.
#[derive(Debug, Default)]
pub(super) struct FanOut {
    queue: VecDeque<Message>,
    queue_bytes: usize,
    /// Copies that may still be made in this turn.
    budget: usize,
    /// Messages that came so far.
    count: u64,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Message {
    number: u64,
    channel: ChannelKey,
    /// The channel's own number: its place may be another one's by now.
    channel_id: u64,
    frame: Rc<[u8]>,
    /// Subscribers from the first on who may not have it yet; all, if it was not begun.
    left: Option<usize>,
}

impl FanOut {
    pub(super) fn begin_turn(&mut self, copies: usize) {
        self.budget = copies;
    }

    /// The number of the last message that came.
    pub(super) fn last_message(&self) -> u64 {
        self.count
    }

    fn push(&mut self, message: Message) {
        self.queue_bytes += message.frame.len();
        self.queue.push_back(message);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Core {
    /// A node sent a message to one of its subscriptions.
    pub(super) fn hand_out(
        &mut self,
        node: NodeKey,
        kind: Kind,
        name: &[u8],
        channel: &[u8],
        frame: &[u8],
    ) {
        let Some(key) = self.hub.find(kind, name) else {
            return;
        };
        let Some(found) = self.hub.channel(key) else {
            return;
        };
        if !found.listens_to(node, channel) || found.subscribers.is_empty() {
            return;
        }
        let channel_id = found.id;
        let fan_out = &mut self.hub.fan_out;
        fan_out.count += 1;
        let number = fan_out.count;
        let left = match fan_out.queue.is_empty() {
            true => Some(self.copy_out(key, number, frame, None)),
            false => None,
        };
        if left != Some(0) {
            self.hub.fan_out.push(Message {
                number,
                channel: key,
                channel_id,
                frame: frame.into(),
                left,
            });
        }
    }

    /// Copies a message to subscribers, as many as this turn allows. Returns how many, from the first
    /// on, are left. From the last to the first, because one who leaves is replaced by the last: who
    /// comes to stand before the others then has seen the message.
    fn copy_out(
        &mut self,
        key: ChannelKey,
        number: u64,
        frame: &[u8],
        left: Option<usize>,
    ) -> usize {
        let cost = 1 + frame.len() / COPY_BYTES;
        let mut left = left.unwrap_or(usize::MAX);
        loop {
            let Some(channel) = self.hub.channels.get_mut(key.index()) else {
                return 0;
            };
            left = left.min(channel.subscribers.len());
            let fan_out = &mut self.hub.fan_out;
            if left == 0 || fan_out.budget == 0 {
                return left;
            }
            left -= 1;
            if let Some(subscriber) = channel.subscribers.get_mut(left)
                && subscriber.seen < number
            {
                subscriber.seen = number;
                fan_out.budget = fan_out.budget.saturating_sub(cost);
                let client = subscriber.client;
                self.push_message(client, frame);
            }
        }
    }

    /// Appends a message to a client's output (contract: P6), and closes a client that does not read
    /// (contract: S5).
    fn push_message(&mut self, key: ClientKey, frame: &[u8]) {
        let spare_buffers = &mut self.spare_buffers;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if !client.hears_messages() {
            return;
        }
        client
            .replies
            .lend(|| spare_buffers.pop().unwrap_or_default());
        let kind = match client.session.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => b'>',
        };
        client.replies.push_message(|out| {
            out.push(kind);
            out.extend_from_slice(frame.get(1..).unwrap_or_default());
        });
        client.wake();
        self.tallies.messages.increment();
        let unread = client.replies.buffered_bytes();
        if unread > self.limits.subscriber_output_soft_bytes {
            self.note_slow_subscriber(key, unread);
        }
    }

    /// A subscriber left more unread than the soft limit: it is closed above the hard limit, or after
    /// some time. Returns whether it is still above.
    pub(super) fn note_slow_subscriber(&mut self, key: ClientKey, unread: usize) -> bool {
        let now_us = self.now_us;
        let limits = &self.limits;
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let Some(subscriptions) = client.subscriptions.as_mut() else {
            return false;
        };
        if unread <= limits.subscriber_output_soft_bytes {
            subscriptions.over_limit_since_us = 0;
            return false;
        }
        if subscriptions.over_limit_since_us == 0 {
            subscriptions.over_limit_since_us = now_us.max(1);
            self.hub.slow.push(key);
        }
        let over_us = now_us.saturating_sub(subscriptions.over_limit_since_us);
        if unread > limits.subscriber_output_hard_bytes
            || over_us >= limits.subscriber_output_soft_us
        {
            warn!(
                client = %client.session.address,
                unread_bytes = unread,
                over_the_soft_limit_ms = over_us / 1000,
                "closed a subscriber that does not read (limits.subscriber_output_hard_bytes, \
                 subscriber_output_soft_bytes, subscriber_output_soft_time)"
            );
            self.tallies.slow_subscribers.increment();
            self.cut_off(key);
            return false;
        }
        true
    }

    /// Goes on with the messages in the queue; wakes itself while there are any.
    pub fn poll_fan_out(&mut self, waker: &Waker) -> Poll<()> {
        let copies = self.limits.message_copies_per_turn;
        self.hub.fan_out.begin_turn(copies);
        while self.hub.fan_out.budget > 0
            && let Some(message) = self.hub.fan_out.queue.pop_front()
        {
            let channel = self.hub.channel(message.channel);
            let left = match channel.is_some_and(|channel| channel.id == message.channel_id) {
                true => {
                    let Message {
                        channel, number, ..
                    } = message;
                    self.copy_out(channel, number, &message.frame, message.left)
                }
                false => 0,
            };
            if left > 0 {
                let left = Some(left);
                self.hub
                    .fan_out
                    .queue
                    .push_front(Message { left, ..message });
            } else {
                let was_full = self.are_nodes_held_back();
                self.hub.fan_out.queue_bytes -= message.frame.len();
                if was_full && self.hub.fan_out.queue_bytes <= QUEUE_BYTES / 2 {
                    self.hub.is_held_back = false;
                    self.read_nodes_again();
                }
            }
        }
        if self.hub.fan_out.queue.is_empty() {
            self.hub.fan_out.waker = Some(waker.clone());
        } else {
            waker.wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether this connection must not be read now: its messages have not been handed out.
    pub fn is_held_back(&mut self, key: ConnectionKey) -> bool {
        if self.hub.fan_out.queue_bytes > QUEUE_BYTES {
            self.hub.is_held_back = true;
        }
        self.are_nodes_held_back() && self.hub.links.iter().any(|link| link.connection == key)
    }

    fn are_nodes_held_back(&self) -> bool {
        self.hub.is_held_back
    }

    fn read_nodes_again(&mut self) {
        for link in &self.hub.links {
            if let Some(connection) = self.connections.get_mut(link.connection.0 as usize) {
                connection.wake();
            }
        }
    }
}
