//! A whole worker between clients and nodes that say anything at all.
//!
//! The input is a story: clients speak, nodes answer well, wrongly or with garbage, connections open and
//! break, slots move, time passes. Whatever happens nothing panics, the worker's books agree, and what
//! a client hears is made of whole replies.

#[allow(dead_code)]
#[path = "../../tests/simulation/tasks.rs"]
mod tasks;
#[allow(dead_code)]
#[path = "../../tests/simulation/wire.rs"]
mod wire;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use keyway::client::NotSelected;
use keyway::cluster::{AddressMap, Endpoint, Health, Mode, Node, NodeIndex, Role, Slot, Topology};
use keyway::pipeline::ClientKey;
use keyway::resp::reply::ReplyScanner;
use keyway::telemetry::WorkerTallies;
use keyway::upstream::Purpose;
use keyway::worker::client_task::{End, poll_client};
use keyway::worker::core::{Core, WorkerLimits};
use keyway::worker::links::Loss;
use keyway::worker::nodes::ConnectionKey;
use keyway::worker::upstream_task::poll_connection;
use keyway::worker::{LocalFacts, RefreshRequests};
use tasks::Flag;
use wire::{Shared, Socket, Wire};

/// More turns than any wake-up needs: tasks that wake each other for ever are a defect.
const TURNS_MAX: usize = 10_000;

/// What clients say; a line is made of these.
const WORDS: &[&str] = &[
    "GET",
    "SET",
    "MGET",
    "DEL",
    "MSET",
    "a",
    "{a}b",
    "b",
    "c",
    "{b}x",
    "1",
    "0",
    "-1",
    "MULTI",
    "EXEC",
    "DISCARD",
    "WATCH",
    "UNWATCH",
    "BLPOP",
    "XREAD",
    "BLOCK",
    "STREAMS",
    "$",
    "WAIT",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "PUBLISH",
    "__keyspace@0__:a",
    "*",
    "HELLO",
    "3",
    "2",
    "RESET",
    "QUIT",
    "CLIENT",
    "REPLY",
    "ON",
    "OFF",
    "SKIP",
    "TRACKING",
    "BCAST",
    "LIST",
    "ID",
    "KILL",
    "PAUSE",
    "UNPAUSE",
    "SCAN",
    "KEYS",
    "DBSIZE",
    "RANDOMKEY",
    "FLUSHALL",
    "EVAL",
    "return 1",
    "EVALSHA",
    "e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
    "SCRIPT",
    "LOAD",
    "EXISTS",
    "FLUSH",
    "PUBSUB",
    "CHANNELS",
    "NUMSUB",
    "MONITOR",
    "PING",
    "ECHO",
    "INFO",
    "COMMAND",
    "GETKEYS",
    "CLUSTER",
    "SLOTS",
    "NODES",
    "SELECT",
    "AUTH",
    "SINTER",
    "SUNION",
    "ZUNION",
    "WITHSCORES",
    "PFCOUNT",
    "INCR",
    "NOSUCH",
    "JSON.GET",
    "CONFIG",
    "MAXMEMORY",
    "ASKING",
];

/// What nodes say.
const REPLIES: &[&str] = &[
    "+OK\r\n",
    ":1\r\n",
    ":0\r\n",
    "$-1\r\n",
    "$3\r\nabc\r\n",
    "*-1\r\n",
    "*0\r\n",
    "*2\r\n$1\r\na\r\n$-1\r\n",
    "_\r\n",
    "+QUEUED\r\n",
    "-MOVED 15495 10.0.0.1:6379\r\n",
    "-MOVED 3300 10.0.0.2:6379\r\n",
    "-MOVED 15495 10.0.0.9:6379\r\n",
    "-ASK 15495 10.0.0.1:6379\r\n",
    "-ASK 3300 :6379\r\n",
    "-TRYAGAIN x\r\n",
    "-CLUSTERDOWN x\r\n",
    "-LOADING x\r\n",
    "-READONLY x\r\n",
    "-NOSCRIPT x\r\n",
    "-NOAUTH x\r\n",
    "-EXECABORT x\r\n",
    "-UNBLOCKED x\r\n",
    "-ERR x\r\n",
    "*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n",
    "%1\r\n+a\r\n:1\r\n",
    "~1\r\n+a\r\n",
    ",1.5\r\n",
    "#t\r\n",
    "(123\r\n",
    "=7\r\ntxt:abc\r\n",
    "|1\r\n+a\r\n:1\r\n+OK\r\n",
    ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n",
    ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
    ">3\r\n$10\r\npsubscribe\r\n$1\r\n*\r\n:1\r\n",
    ">3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:0\r\n",
    ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n",
    ">2\r\n$10\r\ninvalidate\r\n_\r\n",
    ">3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n",
];

struct Client {
    key: ClientKey,
    wire: Shared,
    socket: Option<Socket>,
    flag: Arc<Flag>,
    heard: Vec<u8>,
}

struct Link {
    key: ConnectionKey,
    wire: Shared,
    socket: Option<Socket>,
    flag: Arc<Flag>,
}

struct World {
    core: Core,
    tallies: Arc<WorkerTallies>,
    clients: Vec<Client>,
    links: Vec<Link>,
    dialled: Vec<ConnectionKey>,
    version: u64,
    tick: Arc<Flag>,
}

struct Story<'a>(&'a [u8]);

impl<'a> Story<'a> {
    fn byte(&mut self) -> Option<usize> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(usize::from(*first))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.byte()?.min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(taken)
    }
}

impl World {
    fn new() -> World {
        let tallies = Arc::new(WorkerTallies::default());
        let limits = WorkerLimits {
            request_timeout_us: 1_000_000,
            argument_bytes: 1 << 16,
            request_bytes: 1 << 16,
            requests_in_flight_per_client: 20,
            client_output_soft_bytes: 1 << 12,
            client_output_hard_bytes: 1 << 20,
            outbox_bytes: 1 << 10,
            ..WorkerLimits::default()
        };
        let facts = LocalFacts {
            clients_max: 10,
            workers: vec![tallies.clone()],
            ..LocalFacts::default()
        };
        let mut core = Core::new(
            0,
            limits,
            tallies.clone(),
            Arc::new(AddressMap::default()),
            Arc::new(RefreshRequests::default()),
            Arc::new(facts),
        );
        core.now_us = 10_000_000;
        let mut world = World {
            core,
            tallies,
            clients: Vec::new(),
            links: Vec::new(),
            dialled: Vec::new(),
            version: 0,
            tick: Flag::raised(),
        };
        world.publish(0);
        for number in 1..4 {
            let key = world
                .core
                .client_joins(number, &format!("127.0.0.1:{number}"), None);
            let wire = Wire::wide();
            let socket = Some(Socket(wire.clone()));
            let client = Client {
                key,
                wire,
                socket,
                flag: Flag::raised(),
                heard: Vec::new(),
            };
            world.clients.push(client);
        }
        world
    }

    /// A snapshot with the halves of the slots at these two of three primaries.
    fn publish(&mut self, how: usize) {
        let nodes = (1..4).map(|number| {
            let endpoint = Endpoint {
                host: format!("10.0.0.{number}").into(),
                port: 6379,
            };
            Node {
                id: format!("node-{number}").into(),
                endpoint: endpoint.clone(),
                announced: endpoint,
                role: Role::Primary,
                health: Health::Online,
                config_epoch: 0,
                zone: None,
                hostname: None,
            }
        });
        let mut topology = Topology::new(Mode::Cluster, nodes.collect());
        for slot in (0..Slot::COUNT as u16).filter_map(Slot::new) {
            let owner = how + usize::from(slot.number() >= 8192);
            topology.assign(slot, NodeIndex((owner % 3) as u16));
        }
        self.version += 1;
        topology.version = self.version;
        topology.as_of_us = self.core.now_us;
        self.core.apply_topology(Arc::new(topology));
    }

    fn act(&mut self, story: &mut Story) -> Option<()> {
        let (act, who) = (story.byte()?, story.byte()?);
        let client = who % self.clients.len();
        let link = who.checked_rem(self.links.len());
        match (act % 10, link) {
            (0, _) => self.clients[client].wire.borrow_mut().send(story.bytes()?),
            (1 | 2, _) => {
                let words = story
                    .bytes()?
                    .iter()
                    .map(|at| WORDS[usize::from(*at) % WORDS.len()]);
                let words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
                let line = words.join(" ") + "\r\n";
                self.clients[client].wire.borrow_mut().send(line.as_bytes());
            }
            (3 | 4, Some(link)) => {
                for at in story.bytes()? {
                    let reply = REPLIES[usize::from(*at) % REPLIES.len()];
                    self.links[link].wire.borrow_mut().send(reply.as_bytes());
                }
            }
            (5, Some(link)) => self.links[link].wire.borrow_mut().send(story.bytes()?),
            (6, _) => {
                for key in std::mem::take(&mut self.dialled) {
                    if who % 8 == 7 {
                        self.core.connection_lost(key, Loss::NotOpened, "refused");
                        continue;
                    }
                    let wire = Wire::wide();
                    let socket = Some(Socket(wire.clone()));
                    self.links.push(Link {
                        key,
                        wire,
                        socket,
                        flag: Flag::raised(),
                    });
                    self.core.connection_ready(key);
                }
            }
            (7, _) => self.core.now_us += who as u64 * 10_000,
            (8, Some(link)) if who & 128 == 0 => self.links[link].wire.borrow_mut().break_off(),
            (8, _) if who & 64 == 0 => self.clients[client].wire.borrow_mut().end(),
            (8, _) => self.clients[client].wire.borrow_mut().break_off(),
            (9, _) => self.publish(who),
            _ => {}
        }
        Some(())
    }

    /// All tasks that were woken, until none is.
    fn run(&mut self) {
        self.core.tick_waker = Some(self.tick.waker());
        self.core.tick();
        for _ in 0..TURNS_MAX {
            self.run_errands();
            let clients = self.clients.iter().filter(|client| client.socket.is_some());
            let links = self.links.iter().filter(|link| link.socket.is_some());
            let is_quiet = !clients
                .map(|client| &client.flag)
                .any(|flag| flag.is_raised())
                && !links.map(|link| &link.flag).any(|flag| flag.is_raised());
            if is_quiet {
                return;
            }
            (0..self.clients.len()).for_each(|index| self.run_client(index));
            (0..self.links.len()).for_each(|index| self.run_link(index));
        }
        panic!("tasks wake each other for ever");
    }

    fn run_errands(&mut self) {
        self.dialled.append(&mut self.core.to_open);
        let core = &self.core;
        self.dialled.retain(|key| core.endpoint_of(*key).is_some());
        for asked in std::mem::take(&mut self.core.questions) {
            let asked = asked.for_part(0);
            let answer = self.core.answer_asked(&asked);
            self.core.reply(asked.ticket, &answer);
        }
    }

    fn run_client(&mut self, index: usize) {
        let client = &mut self.clients[index];
        let Some(socket) = &mut client.socket else {
            return;
        };
        if !client.flag.lower() {
            return;
        }
        let waker = client.flag.waker();
        let mut context = Context::from_waker(&waker);
        let end = poll_client(&mut self.core, client.key, Pin::new(socket), &mut context);
        client
            .heard
            .extend(client.wire.borrow_mut().take(usize::MAX));
        match end {
            Poll::Ready(End::Finished | End::Gone) => {
                client.socket = None;
                self.core.client_left(client.key);
            }
            Poll::Ready(End::Selects) => {
                let none = NotSelected::ByNode("ERR DB index is out of range".to_owned());
                self.core.selecting_ends(client.key, Err(none));
            }
            Poll::Ready(End::Moves | End::Asks) | Poll::Pending => {}
        }
        let mut scanner = ReplyScanner::default();
        while !client.heard.is_empty() {
            match scanner
                .scan(&client.heard)
                .expect("a client hears whole replies")
            {
                Some(len) => drop(client.heard.drain(..len)),
                None => break,
            }
            scanner = ReplyScanner::default();
        }
    }

    fn run_link(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(socket) = &mut link.socket else {
            return;
        };
        if !link.flag.lower() {
            return;
        }
        let waker = link.flag.waker();
        let mut context = Context::from_waker(&waker);
        let end = poll_connection(&mut self.core, link.key, Pin::new(socket), &mut context);
        link.wire.borrow_mut().take(usize::MAX);
        if let Poll::Ready(why) = end {
            link.socket = None;
            self.core.connection_lost(link.key, Loss::Lost, &why);
        }
    }

    fn check(&mut self) {
        let connections = self.core.connections.iter();
        let in_flight = connections
            .flat_map(|(_, connection)| &connection.in_flight)
            .filter(|entry| matches!(entry.purpose, Purpose::Reply(_)))
            .count();
        assert_eq!(self.tallies.in_flight.value(), in_flight as u64);
        for (_, connection) in &self.core.connections {
            let lens = connection.in_flight.iter().map(|entry| entry.len as usize);
            assert_eq!(lens.sum::<usize>(), connection.outbox.len());
        }
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let mut world = World::new();
    let mut story = Story(data);
    world.run();
    while world.act(&mut story).is_some() {
        world.run();
        world.check();
    }
}
