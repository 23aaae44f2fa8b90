//! The cluster inside, and the forwarders that lead to it.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::support::namespace::{Entrance, Namespace};
use super::support::process::{Folder, Process};
use super::support::view::{NodeLine, View};
use super::support::{Client, Value, eventually};

/// The address that a node announces.
pub fn announced(node: u16) -> String {
    format!("172.28.0.{}", 101 + node)
}

/// The port that it announces: each its own, so that a rule may speak of ports alone.
pub fn inner_port(node: u16) -> u16 {
    6379 + node
}

/// Both.
pub fn inner_addr(node: u16) -> String {
    format!("{}:{}", announced(node), inner_port(node))
}

/// Six nodes at inner addresses, and a network outside from which forwarded ports lead to them.
pub struct Inside {
    network: Namespace,
    /// Where Keyway and its clients are.
    pub outside: Namespace,
    nodes: Vec<Mutex<Process>>,
    ids: Vec<String>,
    _folders: Vec<Folder>,
}

impl Inside {
    /// Three primaries, three replicas.
    pub fn start() -> Inside {
        let network = Namespace::new("inside");
        for node in 0..6 {
            let address = format!("{}/32", announced(node));
            network.run(&["ip", "address", "add", &address, "dev", "lo"]);
        }
        let mut inside = Inside {
            outside: Namespace::new("outside"),
            nodes: Vec::new(),
            ids: Vec::new(),
            _folders: Vec::new(),
            network,
        };
        for node in 0..6 {
            inside.start_node(node);
        }
        inside.form();
        for node in 0..6 {
            let port = inner_port(node);
            for from in [
                format!("127.0.0.1:{}", super::PORTS + node),
                format!("127.2.0.{}:{port}", 101 + node),
                format!("127.3.0.{}:{port}", 101 + node),
                format!("127.4.0.1:{port}"),
            ] {
                inside.forward(&from, &inner_addr(node));
            }
        }
        inside
    }

    fn start_node(&mut self, node: u16) {
        let folder = Folder::new("inner-node");
        let (host, port) = (announced(node), inner_port(node));
        let mut program = self.network.wrapper();
        let options = format!(
            "redis-server --port {port} --bind {host} --cluster-announce-ip {host} --cluster-enabled yes \
             --cluster-node-timeout 1500 --cluster-replica-validity-factor 0 --save \
             --cluster-require-full-coverage no --protected-mode no --repl-diskless-sync-delay 0"
        );
        program.extend(options.split_whitespace().map(str::to_owned));
        let save = program.iter().position(|word| word == "--save");
        program.insert(save.expect("it is there") + 1, String::new());
        let dir = folder.path().display().to_string();
        program.extend(["--dir".to_owned(), dir]);
        let log = folder.path().join("node.log");
        let process = Process::start(&program, &log).expect("redis-server is installed");
        self.nodes.push(Mutex::new(process));
        self._folders.push(folder);
    }

    fn form(&mut self) {
        let hosts: Vec<String> = (0..6).map(inner_addr).collect();
        for node in 0..6 {
            eventually("an inner node answers", Duration::from_secs(10), || {
                self.try_call(node, "PING").is_some()
            });
        }
        let mut create = vec!["redis-cli", "--cluster", "create"];
        create.extend(hosts.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        self.network.run(&create);
        eventually(
            "the inner cluster is settled",
            Duration::from_secs(20),
            || {
                (0..6).all(|node| {
                    let state = self
                        .try_call(node, "CLUSTER INFO")
                        .map(|reply| reply.text());
                    let role = self
                        .try_call(node, "INFO replication")
                        .map(|reply| reply.text());
                    let is_ok = state.is_some_and(|text| text.contains("cluster_state:ok"));
                    let view = self.view(node);
                    let replicas = view.0.iter().filter(|line| line.is("slave")).count();
                    let is_in_sync = role.is_some_and(|text| {
                        text.contains("role:master") || text.contains("master_link_status:up")
                    });
                    is_ok && is_in_sync && replicas == 3
                })
            },
        );
        self.ids = (0..6)
            .map(|node| self.ok(node, "CLUSTER MYID").text())
            .collect();
    }

    /// Listens outside and connects inside; ends with the test program.
    fn forward(&self, from: &str, to: &str) {
        let to: SocketAddr = to.parse().expect("an address");
        let listener = self
            .outside
            .within(|| TcpListener::bind(from))
            .unwrap_or_else(|error| panic!("forwarder at {from}: {error}"));
        let inside = Arc::new(self.network.entrance());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let inside = Arc::clone(&inside);
                std::thread::spawn(move || carry(client, &inside, to));
            }
        });
    }

    /// Sends a command to a node, from inside; `None` when it is not there.
    pub fn try_call(&self, node: u16, command: &str) -> Option<Value> {
        let addr = inner_addr(node).parse().expect("an address");
        self.network.within(|| {
            let mut client = Client::try_connect(addr).ok()?;
            let words = super::support::client::words(command);
            client.try_call(&words).ok()
        })
    }

    /// The same; panics when it fails.
    #[track_caller]
    pub fn ok(&self, node: usize, command: &str) -> Value {
        let reply = self.try_call(node as u16, command);
        let reply = reply.unwrap_or_else(|| panic!("inner node {node} does not answer"));
        assert!(!reply.is_error(), "{command}: {reply}");
        reply
    }

    fn view(&self, node: u16) -> View {
        let reply = self.try_call(node, "CLUSTER NODES");
        View::parse(&reply.map(|reply| reply.text()).unwrap_or_default())
    }

    fn claims(&self) -> Vec<(usize, NodeLine)> {
        let claim = |node: usize| Some((node, self.view(node as u16).myself()?.clone()));
        (0..6).filter_map(claim).collect()
    }

    /// The node that owns a slot, by its own word.
    pub fn owner(&self, slot: u16) -> usize {
        let claims = self.claims().into_iter();
        let owners = claims.filter(|(_, line)| line.is("master") && line.owns(slot));
        let owner = owners.max_by_key(|(_, line)| line.epoch);
        owner.map_or(usize::MAX, |(node, _)| node)
    }

    /// Whether a node is a primary.
    pub fn is_primary(&self, node: usize) -> bool {
        self.claims()
            .iter()
            .any(|(other, line)| *other == node && line.is("master"))
    }

    /// A replica of a node.
    pub fn replica_of(&self, primary: usize) -> usize {
        let claims = self.claims();
        let id = self.ids[primary].as_str();
        let replica = claims
            .iter()
            .find(|(_, line)| line.primary.as_deref() == Some(id));
        replica.expect("it has a replica").0
    }

    /// Waits until a primary has a replica that is in sync.
    pub fn wait_until_replicated(&self, primary: usize) {
        eventually("the old primary follows", Duration::from_secs(20), || {
            let text = self.ok(primary, "INFO replication").text();
            text.contains("state=online")
        });
    }

    /// Every node's id.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// SIGKILL.
    pub fn kill(&self, node: usize) {
        self.nodes[node]
            .lock()
            .expect("nobody panics holding it")
            .kill();
    }
}

fn carry(client: TcpStream, inside: &Entrance, to: SocketAddr) {
    inside.enter();
    // A node that is down: the client sees its connection closed.
    let Ok(node) = TcpStream::connect_timeout(&to, Duration::from_secs(2)) else {
        return;
    };
    let (Ok(client_too), Ok(node_too)) = (client.try_clone(), node.try_clone()) else {
        return;
    };
    for stream in [&client, &node] {
        // It only costs time without.
        let _ = stream.set_nodelay(true);
    }
    let back = std::thread::spawn(move || copy(node_too, client_too));
    copy(client, node);
    // It ends when either side has.
    let _ = back.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    for stream in [from, to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
