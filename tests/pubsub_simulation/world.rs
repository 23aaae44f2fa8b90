//! The worker, its nodes and its clients, and what happens to them.

use std::sync::Arc;
use std::task::Waker;

use fastrand::Rng;
use keyway::cluster::AddressMap;
use keyway::resp::{Protocol, write};
use keyway::telemetry::WorkerTallies;
use keyway::upstream::Phase;
use keyway::worker::core::{Core, WorkerLimits};
use keyway::worker::nodes::ConnectionKey;
use keyway::worker::{ListenerFacts, LocalFacts, RefreshRequests};

use crate::client::Client;
use crate::node::{Session, group_of};

pub const NODES: usize = 3;
pub const GROUPS: usize = 6;
const CHANNELS: [&str; 6] = ["a", "b", "c", "ab", "__keyspace@0__:a", "__keyevent@0__:b"];
const PATTERNS: [&str; 5] = ["a*", "*", "?", "__key*", "[ab]"];
pub const SHARDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What happened, to see that anything did.
#[derive(Debug, Default)]
pub struct Summary {
    pub messages_published: u64,
    pub messages_heard: u64,
    pub nodes_lost: u64,
    pub slots_moved: u64,
    pub requests: u64,
    pub gaps: u64,
}

impl Summary {
    pub fn add(&mut self, other: &Summary) {
        self.messages_published += other.messages_published;
        self.messages_heard += other.messages_heard;
        self.nodes_lost += other.nodes_lost;
        self.slots_moved += other.slots_moved;
        self.requests += other.requests;
        self.gaps += other.gaps;
    }
}

/// A connection that Keyway wants or has.
pub struct Link {
    pub connection: ConnectionKey,
    pub node: usize,
    pub is_open: bool,
    pub session: Session,
}

/// A message on its way to one node.
pub struct Flying {
    pub to: usize,
    pub is_shard: bool,
    pub channel: String,
    pub number: u64,
}

pub struct World {
    pub rng: Rng,
    pub core: Core,
    pub tallies: Arc<WorkerTallies>,
    pub facts: Arc<LocalFacts>,
    pub clients: Vec<Client>,
    pub links: Vec<Link>,
    pub is_alive: [bool; NODES],
    pub owners: [usize; GROUPS],
    /// Between any two nodes in the order they were sent.
    pub flying: Vec<Flying>,
    pub published: Vec<(bool, String)>,
    pub version: u64,
    pub next_client: u64,
    pub wants_trace: bool,
    pub summary: Summary,
}

impl World {
    pub fn new(seed: u64, wants_trace: bool) -> World {
        let mut rng = Rng::with_seed(seed);
        let tallies = Arc::new(WorkerTallies::default());
        let facts = Arc::new(LocalFacts {
            listeners: vec![ListenerFacts::default()],
            clients_max: 100,
            workers: vec![tallies.clone()],
            ..LocalFacts::default()
        });
        let limits = WorkerLimits {
            request_timeout_us: if rng.bool() { 500_000 } else { 20_000_000 },
            message_copies_per_turn: [1, 3, 512][rng.usize(..3)],
            ..WorkerLimits::default()
        };
        let mut core = Core::new(
            0,
            limits,
            tallies.clone(),
            Arc::new(AddressMap::default()),
            Arc::new(RefreshRequests::default()),
            facts.clone(),
        );
        core.now_us = 1_000_000;
        let mut world = World {
            rng,
            core,
            tallies,
            facts,
            clients: Vec::new(),
            links: Vec::new(),
            is_alive: [true; NODES],
            owners: [0, 0, 1, 1, 2, 2],
            flying: Vec::new(),
            published: Vec::new(),
            version: 0,
            next_client: 0,
            wants_trace,
            summary: Summary::default(),
        };
        world.publish_map();
        world
    }

    pub fn trace(&self, what: impl FnOnce() -> String) {
        if self.wants_trace {
            eprintln!("{:9} us  {}", self.core.now_us, what());
        }
    }

    /// One whole history.
    pub fn live(&mut self) {
        for _ in 0..4 {
            self.clients
                .iter_mut()
                .for_each(|client| client.is_strict = false);
            let steps = self.rng.usize(20..300);
            for _ in 0..steps {
                match self.rng.u32(..100) {
                    0 => self.lose_node(),
                    1 => self.cut_link(),
                    2..=3 => self.move_group(),
                    4..=6 => self.publish_map(),
                    7..=8 => self.revive(),
                    _ => self.peaceful_step(),
                }
            }
            self.make_peace();
            self.forget_what_was_heard();
            let steps = self.rng.usize(50..300);
            for _ in 0..steps {
                self.peaceful_step();
            }
            self.come_to_rest();
            self.check_all_was_heard();
            self.check_nodes();
        }
        while !self.clients.is_empty() {
            self.leave(0);
        }
        self.come_to_rest();
        self.check_nodes();
        assert!(self.facts.audience.is_empty(), "somebody is left");
        assert_eq!(self.tallies.subscribers.value(), 0);
        assert_eq!(self.tallies.hub_subscriptions.value(), 0);
        assert_eq!(self.tallies.hub_changes.value(), 0);
        self.summary.gaps = self.tallies.subscription_gaps.value();
    }

    fn peaceful_step(&mut self) {
        match self.rng.u32(..100) {
            0..=3 => self.join(),
            4..=5 if !self.clients.is_empty() => {
                let index = self.rng.usize(..self.clients.len());
                self.leave(index);
            }
            6..=24 => self.request(),
            25..=44 => self.publish(),
            45..=60 => self.fly(),
            61..=90 => self.move_bytes(),
            91..=96 => self.deliver_all(),
            _ => self.pass(20_000),
        }
    }

    fn join(&mut self) {
        if self.clients.len() >= 6 {
            return;
        }
        self.next_client += 1;
        let key = self
            .core
            .client_joins(self.next_client, "127.0.0.1:1", None);
        let protocol = match self.rng.bool() {
            true => Protocol::Resp2,
            false => Protocol::Resp3,
        };
        if protocol == Protocol::Resp3 {
            self.core.process(key, b"HELLO 3\r\n");
            let client = self.core.clients.get(key).expect("it joined");
            let greeting = client.replies.output().len();
            client.replies.written(greeting);
        }
        self.clients.push(Client::new(key, protocol));
    }

    fn leave(&mut self, index: usize) {
        let client = self.clients.swap_remove(index);
        self.trace(|| format!("{:?} leaves", client.key));
        self.summary.messages_heard += client.heard;
        if self.rng.bool() {
            self.core.cut_off(client.key);
        }
        self.core.client_left(client.key);
    }

    fn request(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.clients.len());
        let (word, names): (&str, &[&str]) = match self.rng.u32(..6) {
            0 => ("SUBSCRIBE", &CHANNELS),
            1 => ("PSUBSCRIBE", &PATTERNS),
            2 => ("SSUBSCRIBE", &SHARDS),
            3 => ("UNSUBSCRIBE", &CHANNELS),
            4 => ("PUNSUBSCRIBE", &PATTERNS),
            _ => ("SUNSUBSCRIBE", &SHARDS),
        };
        let count = self.rng.usize(1..4);
        let mut words = vec![word];
        words.extend((0..count).map(|_| names[self.rng.usize(..names.len())]));
        let client = &mut self.clients[index];
        let mut bytes = Vec::new();
        write::command(&mut bytes, &words);
        let processed = self.core.process(client.key, &bytes);
        if processed.consumed == 0 {
            // It waits for an earlier one; a client's task would come again.
            return;
        }
        assert_eq!(processed.consumed, bytes.len());
        self.summary.requests += 1;
        for name in &words[1..] {
            let expected = (word.to_lowercase(), (*name).to_owned());
            client.expected.push(expected);
        }
        client.expected.push((String::new(), String::new()));
        let key = client.key;
        self.trace(|| format!("{key:?} says {words:?}"));
        self.clients_read();
    }

    /// A message goes to every node that lives, a shard's to the owner's only; a notification is what one
    /// node says to its own subscribers.
    fn publish(&mut self) {
        let number = self.published.len() as u64 + 1;
        let is_shard = self.rng.u32(..4) == 0;
        let names: &[&str] = if is_shard { &SHARDS } else { &CHANNELS };
        let channel = names[self.rng.usize(..names.len())].to_owned();
        let alive: Vec<usize> = (0..NODES).filter(|node| self.is_alive[*node]).collect();
        let owner = self.owners[group_of(&channel, GROUPS)];
        let targets: Vec<usize> = if is_shard {
            alive
                .iter()
                .copied()
                .filter(|node| *node == owner)
                .collect()
        } else if channel.starts_with("__key") {
            // Who has no slot has no key to speak of.
            let owner = self.owners[self.rng.usize(..GROUPS)];
            alive
                .iter()
                .copied()
                .filter(|node| *node == owner)
                .collect()
        } else {
            alive
        };
        if targets.is_empty() {
            return;
        }
        self.trace(|| {
            format!("{number} is published to {channel} (shard: {is_shard}) at {targets:?}")
        });
        self.published.push((is_shard, channel.clone()));
        self.summary.messages_published += 1;
        for to in targets {
            // A shard's message is there at once, as is what a node says of its own keys; so that what comes
            // of two nodes in turn keeps its order here as well.
            let flying = Flying {
                to,
                is_shard,
                channel: channel.clone(),
                number,
            };
            match is_shard || channel.starts_with("__key") {
                true => self.land(&flying),
                false => self.flying.push(flying),
            }
        }
        if is_shard || channel.starts_with("__key") {
            // The order of several nodes' messages is theirs alone.
            self.deliver_all();
        }
    }

    /// The oldest message to some node arrives there.
    fn fly(&mut self) {
        let node = self.rng.usize(..NODES);
        if let Some(index) = self.flying.iter().position(|flying| flying.to == node) {
            let flying = self.flying.remove(index);
            self.land(&flying);
        }
    }

    fn land(&mut self, flying: &Flying) {
        if !self.is_alive[flying.to] {
            return;
        }
        let text = flying.number.to_string();
        for link in self
            .links
            .iter_mut()
            .filter(|link| link.node == flying.to && link.is_open)
        {
            link.session.hears(flying.is_shard, &flying.channel, &text);
        }
    }

    /// Takes up the connections that Keyway wants.
    pub fn dial(&mut self) {
        for connection in std::mem::take(&mut self.core.to_open) {
            let (endpoint, _) = self.core.endpoint_of(connection).expect("it is new");
            let number = endpoint.host.rsplit('.').next().expect("an address");
            self.links.push(Link {
                connection,
                node: number.parse::<usize>().expect("a number") - 1,
                is_open: false,
                session: Session::default(),
            });
        }
    }

    /// Something happens on one connection.
    fn move_bytes(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.links.len());
        let link = &mut self.links[index];
        let (key, node) = (link.connection, link.node);
        let phase = self.core.connections.get(key.0 as usize).map(|of| of.phase);
        if phase.is_none_or(|phase| phase == Phase::Closed) {
            return self.lose_link(index);
        }
        if !link.is_open {
            if !self.is_alive[node] {
                return self.lose_link(index);
            }
            link.is_open = true;
            self.core.connection_ready(key);
        }
        let link = &mut self.links[index];
        if let Some(connection) = self.core.connections.get_mut(key.0 as usize) {
            let unwritten = connection.outbox.unwritten();
            let count = self.rng.usize(..=unwritten.len());
            link.session.input.extend_from_slice(&unwritten[..count]);
            connection.outbox.mark_written(count);
        }
        let owners = self.owners;
        let owner = |name: &str| {
            let owner = owners[group_of(name, GROUPS)];
            (owner != node).then_some(owner)
        };
        if self.rng.bool() {
            link.session.step(owner);
        }
        let count = self.rng.usize(..=link.session.output.len());
        let bytes: Vec<u8> = link.session.output.drain(..count).collect();
        if let Some(connection) = self.core.connections.get_mut(key.0 as usize) {
            connection.input.extend_from_slice(&bytes);
        }
        self.core.receive_replies(key).expect("a server's words");
        self.dial();
        self.clients_read();
    }

    /// All that is on its way between nodes and Keyway arrives.
    fn deliver_all(&mut self) {
        loop {
            let mut is_quiet = true;
            for index in (0..self.links.len()).rev() {
                for _ in 0..8 {
                    if index < self.links.len() {
                        self.rush(index, &mut is_quiet);
                    }
                }
            }
            self.clients_read();
            if is_quiet {
                return;
            }
        }
    }

    fn rush(&mut self, index: usize, is_quiet: &mut bool) {
        let link = &mut self.links[index];
        let (key, node) = (link.connection, link.node);
        let phase = self.core.connections.get(key.0 as usize).map(|of| of.phase);
        if phase.is_none_or(|phase| phase == Phase::Closed) || !self.is_alive[node] {
            *is_quiet = false;
            return self.lose_link(index);
        }
        if !link.is_open {
            *is_quiet = false;
            link.is_open = true;
            self.core.connection_ready(key);
        }
        let link = &mut self.links[index];
        if let Some(connection) = self.core.connections.get_mut(key.0 as usize) {
            let unwritten = connection.outbox.unwritten().to_vec();
            link.session.input.extend_from_slice(&unwritten);
            connection.outbox.mark_written(unwritten.len());
            *is_quiet &= unwritten.is_empty();
        }
        let owners = self.owners;
        while link.session.step(|name: &str| {
            let owner = owners[group_of(name, GROUPS)];
            (owner != node).then_some(owner)
        }) {
            *is_quiet = false;
        }
        let bytes = std::mem::take(&mut link.session.output);
        *is_quiet &= bytes.is_empty();
        if let Some(connection) = self.core.connections.get_mut(key.0 as usize) {
            connection.input.extend_from_slice(&bytes);
        }
        self.core.receive_replies(key).expect("a server's words");
        self.dial();
    }

    fn clients_read(&mut self) {
        if self.rng.u32(..3) == 0 {
            // Always pending: it goes on as long as the worker lives.
            let _ = self.core.poll_fan_out(Waker::noop());
        }
        let published = self.published.len() as u64;
        for client in &mut self.clients {
            if let Some(state) = self.core.clients.get(client.key) {
                let bytes = state.replies.output().to_vec();
                state.replies.written(bytes.len());
                client.receive(&bytes, published);
            }
        }
    }

    fn pass(&mut self, us: u64) {
        self.core.now_us += us;
        self.core.tick();
        self.dial();
        self.clients_read();
    }

    /// Trouble ends, and everybody knows it.
    fn make_peace(&mut self) {
        self.revive();
        self.publish_map();
        self.come_to_rest();
    }

    fn hand_out_all(&mut self) {
        for _ in 0..200 {
            let _ = self.core.poll_fan_out(Waker::noop());
        }
        self.clients_read();
    }

    fn come_to_rest(&mut self) {
        for _ in 0..40 {
            while !self.flying.is_empty() {
                let flying = self.flying.remove(0);
                self.land(&flying);
            }
            self.deliver_all();
            self.hand_out_all();
            self.pass(100_000);
        }
        self.deliver_all();
        for client in &self.clients {
            assert!(client.expected.is_empty(), "{client:?} was not answered");
        }
        assert_eq!(self.tallies.hub_changes.value(), 0);
    }
}
