//! A worker between clients and two nodes, to be told what each says.

use std::sync::Arc;

use keyway::acl::CommandList;
use keyway::cluster::{AddressMap, Endpoint, Health, Mode, Node, NodeIndex, Role, Slot, Topology};
use keyway::pipeline::ClientKey;
use keyway::resp::Protocol;
use keyway::telemetry::WorkerTallies;
use keyway::worker::core::{Core, WorkerLimits};
use keyway::worker::nodes::ConnectionKey;
use keyway::worker::{LocalFacts, RefreshRequests};

pub const TIMEOUT_US: u64 = 1_000_000;

/// A worker between clients and two nodes: slots below 8192 (`{b}`) are the first one's, the others
/// (`{a}`) the second one's.
pub struct Scene {
    pub core: Core,
    pub tallies: Arc<WorkerTallies>,
    version: u64,
}

impl Scene {
    pub fn new() -> Scene {
        Scene::resending(CommandList::default())
    }

    /// With writes that are sent again although they may have been executed.
    pub fn resending(resend_lost_writes: CommandList) -> Scene {
        let tallies = Arc::new(WorkerTallies::default());
        let limits = WorkerLimits {
            request_timeout_us: TIMEOUT_US,
            argument_bytes: 1 << 20,
            request_bytes: 1 << 20,
            requests_in_flight_per_client: 100,
            client_output_soft_bytes: 1 << 20,
            client_output_hard_bytes: 1 << 30,
            outbox_bytes: 1 << 20,
            ..WorkerLimits::default()
        };
        let facts = LocalFacts {
            clients_max: 100,
            resend_lost_writes,
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
        let mut scene = Scene {
            core,
            tallies,
            version: 0,
        };
        scene.map(|slot| Some(usize::from(slot.number() >= 8192)));
        scene
    }

    /// A new snapshot: who owns each slot.
    pub fn map(&mut self, owner: impl Fn(Slot) -> Option<usize>) {
        self.cluster(&[1, 2], owner);
    }

    /// A new snapshot of these nodes, each a number of an address: who owns each slot.
    pub fn cluster(&mut self, numbers: &[u8], owner: impl Fn(Slot) -> Option<usize>) {
        let nodes = numbers.iter().map(|number| {
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
                hostname: None,
                zone: None,
            }
        });
        let mut topology = Topology::new(Mode::Cluster, nodes.collect());
        for slot in (0..Slot::COUNT as u16).filter_map(Slot::new) {
            if let Some(owner) = owner(slot) {
                topology.assign(slot, NodeIndex(owner as u16));
            }
        }
        self.version += 1;
        topology.version = self.version;
        topology.as_of_us = self.core.now_us;
        self.core.apply_topology(Arc::new(topology));
    }

    pub fn client(&mut self) -> ClientKey {
        self.core.client_joins(1, "127.0.0.1:1", None)
    }

    pub fn says(&mut self, client: ClientKey, line: &str) {
        self.core.process(client, format!("{line}\r\n").as_bytes());
    }

    pub fn hears(&mut self, client: ClientKey) -> String {
        let client = self.core.clients.get(client).expect("it is here");
        let output = String::from_utf8_lossy(client.replies.output()).into_owned();
        client.replies.written(output.len());
        output.replace("\r\n", " ").trim_end().to_owned()
    }

    #[track_caller]
    pub fn expect_output(&mut self, client: ClientKey, words: &[&str]) {
        let heard = self.hears(client);
        for word in words {
            assert!(heard.contains(word), "`{word}` is not in `{heard}`");
        }
        assert_eq!(heard.is_empty(), words.is_empty(), "{heard}");
    }

    /// The connections that Keyway wants, with their host and version.
    pub fn dialled(&mut self) -> Vec<(ConnectionKey, String, Protocol)> {
        std::mem::take(&mut self.core.to_open)
            .into_iter()
            .map(|key| {
                let (endpoint, protocol) = self.core.endpoint_of(key).expect("it is new");
                (key, endpoint.host.to_string(), protocol)
            })
            .collect()
    }

    /// The only connection that Keyway wants, open.
    #[track_caller]
    pub fn open(&mut self) -> ConnectionKey {
        let dialled = self.dialled();
        assert_eq!(dialled.len(), 1, "{dialled:?}");
        self.core.connection_ready(dialled[0].0);
        dialled[0].0
    }

    /// What Keyway writes to a node, as the words of its requests.
    pub fn wrote(&mut self, key: ConnectionKey) -> String {
        let connection = self.core.connections.get_mut(key.0 as usize);
        let connection = connection.expect("it is open");
        let unwritten = connection.outbox.unwritten();
        let (len, bytes) = (
            unwritten.len(),
            String::from_utf8_lossy(unwritten).into_owned(),
        );
        connection.outbox.mark_written(len);
        let words = bytes.split("\r\n");
        let words = words.filter(|word| !word.starts_with(['*', '$']));
        words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
    }

    pub fn node_says(&mut self, key: ConnectionKey, reply: &str) {
        let connection = self.core.connections.get_mut(key.0 as usize);
        let connection = connection.expect("it is open");
        connection.input.extend(format!("{reply}\r\n").as_bytes());
        self.core.receive_replies(key).expect("a reply");
    }

    pub fn pass(&mut self, us: u64) {
        self.core.now_us += us;
        self.core.tick();
        self.core.tick();
    }
}
