//! Scripted nodes: they describe a cluster as real ones do, and answer everything else as the test
//! says: a redirect once, half a reply and a cut, silence, a delay until told, odd bytes.
//!
//! ```ignore
//! let fake = FakeCluster::start(2);
//! fake.node(0).once("GET", Action::moved(12182, fake.node(1)));
//! client.expect("GET foo", "'node-1'");
//! assert_eq!(fake.node(0).received("GET"), ["GET foo"]);
//! ```

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use keyway::cluster::Slot;

use super::eventually::{eventually, eventually_some};
use super::fake_multi::Multi;
use super::fake_script::{Action, Request, Rules, Script};
use super::fake_view::{Layout, NodeFacts, array, bulk, integer};
use super::ports::Port;
use super::servers::lock;
use super::value::Value;

/// Several fake nodes that describe one cluster.
pub struct FakeCluster {
    nodes: Vec<FakeNode>,
    layout: Arc<Mutex<Layout>>,
}

impl FakeCluster {
    /// Primaries that share all slots evenly, in the order of their indexes.
    pub fn start(primaries: usize) -> FakeCluster {
        FakeCluster::start_with_replicas(primaries, 0)
    }

    /// Primaries, and `replicas` for each; replica `r` of primary `p` is node
    /// `primaries + r * primaries + p`.
    pub fn start_with_replicas(primaries: usize, replicas: usize) -> FakeCluster {
        let ports: Vec<_> = (0..primaries * (1 + replicas))
            .map(|_| Port::lease())
            .collect();
        let facts = ports.iter().enumerate().map(|(index, port)| {
            let share = |index: usize| (index * Slot::COUNT / primaries) as u16;
            let is_primary = index < primaries;
            NodeFacts {
                id: format!("{:040x}", 0xfa4e_0000 + index),
                host: Ipv4Addr::LOCALHOST.to_string(),
                port: port.number(),
                hostname: None,
                primary: (!is_primary).then(|| index % primaries),
                health: "online".to_owned(),
                epoch: index as u64 + 1,
                slots: if is_primary {
                    vec![(share(index), share(index + 1) - 1)]
                } else {
                    Vec::new()
                },
            }
        });
        let layout = Arc::new(Mutex::new(Layout {
            nodes: facts.collect(),
            is_ok: true,
            cluster_enabled: true,
            version: "7.0.15".to_owned(),
            databases: 1,
        }));
        let ports = ports.into_iter().enumerate();
        let nodes = ports.map(|(index, port)| FakeNode::start(index, port, &layout));
        FakeCluster {
            nodes: nodes.collect(),
            layout,
        }
    }

    /// One server with cluster support off.
    pub fn standalone() -> FakeCluster {
        let fake = FakeCluster::start(1);
        fake.change(|layout| {
            layout.cluster_enabled = false;
            layout.databases = 16;
        });
        fake
    }

    /// One node.
    pub fn node(&self, index: usize) -> &FakeNode {
        &self.nodes[index]
    }

    /// Every node.
    pub fn nodes(&self) -> &[FakeNode] {
        &self.nodes
    }

    /// Every node's address, as seeds for Keyway.
    pub fn seeds(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(FakeNode::addr).collect()
    }

    /// Changes what all nodes (but those with a view of their own) say of the cluster.
    pub fn change(&self, change: impl FnOnce(&mut Layout)) {
        change(&mut lock(&self.layout));
    }
}

/// One fake node. It listens from the start; when it is dropped, its connections are closed.
pub struct FakeNode {
    port: Port,
    state: Arc<State>,
}

struct State {
    index: usize,
    addr: SocketAddr,
    layout: Arc<Mutex<Layout>>,
    own_view: Mutex<Option<Layout>>,
    rules: Mutex<Rules>,
    received: Mutex<Vec<Request>>,
    connections: Mutex<Vec<TcpStream>>,
    connection_count: AtomicU64,
    /// Tells the accepting thread of this number that its time is over.
    generation: AtomicU64,
    is_listening: AtomicBool,
}

impl FakeNode {
    fn start(index: usize, port: Port, layout: &Arc<Mutex<Layout>>) -> FakeNode {
        let state = Arc::new(State {
            index,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port.number())),
            layout: Arc::clone(layout),
            own_view: Mutex::default(),
            rules: Mutex::default(),
            received: Mutex::default(),
            connections: Mutex::default(),
            connection_count: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            is_listening: AtomicBool::new(false),
        });
        let node = FakeNode { port, state };
        node.listen();
        node
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.state.addr
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Does this with each command that begins with these words (case does not count). The rule
    /// made first wins.
    pub fn on(&self, words: &str, script: impl FnMut(&Request) -> Action + Send + 'static) {
        self.rule(words, None, Box::new(script));
    }

    /// Does this with the next command that begins so.
    pub fn once(&self, words: &str, action: Action) {
        self.times(1, words, action);
    }

    /// Does this with the next `times` commands that begin so.
    pub fn times(&self, times: usize, words: &str, action: Action) {
        self.rule(words, Some(times), Box::new(move |_| action.clone()));
    }

    /// Does this with each command that begins so.
    pub fn always(&self, words: &str, action: Action) {
        self.rule(words, None, Box::new(move |_| action.clone()));
    }

    /// Forgets all rules.
    pub fn forget_rules(&self) {
        lock(&self.state.rules).clear();
    }

    fn rule(&self, words: &str, times: Option<usize>, script: Script) {
        lock(&self.state.rules).add(words, times, script);
    }

    /// From now on this node has its own view of the cluster: a copy of the common one, changed so.
    pub fn sees(&self, change: impl FnOnce(&mut Layout)) {
        let mut view = self.state.view();
        change(&mut view);
        *lock(&self.state.own_view) = Some(view);
    }

    /// The node sees again what all see.
    pub fn sees_what_all_see(&self) {
        *lock(&self.state.own_view) = None;
    }

    /// The commands received so far that begin with these words, each as a line.
    pub fn received(&self, words: &str) -> Vec<String> {
        let matching = self.requests(words);
        matching.iter().map(Request::line).collect()
    }

    /// As [`FakeNode::received`], with connection and protocol.
    pub fn requests(&self, words: &str) -> Vec<Request> {
        let all = lock(&self.state.received);
        let matching = all.iter().filter(|request| request.begins_with(words));
        matching.cloned().collect()
    }

    /// Waits until that many commands that begin so have been received.
    #[track_caller]
    pub fn wait_for(&self, count: usize, words: &str) {
        let what = format!("fake node receives {count} x {words}");
        eventually(&what, Duration::from_secs(10), || {
            self.received(words).len() >= count
        });
    }

    /// How many connections it has accepted so far.
    pub fn accepted(&self) -> u64 {
        self.state.connection_count.load(Ordering::Relaxed)
    }

    /// Cuts all its connections; it goes on listening.
    pub fn cut_connections(&self) {
        for stream in lock(&self.state.connections).drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Dies: cuts its connections, and new ones are refused.
    pub fn go_down(&self) {
        self.state.generation.fetch_add(1, Ordering::SeqCst);
        // Wakes the accepting thread, which sees that its time is over.
        let _ = TcpStream::connect(self.addr());
        eventually("a fake node stops", Duration::from_secs(5), || {
            !self.state.is_listening.load(Ordering::SeqCst)
        });
        self.cut_connections();
    }

    /// Listens again after [`FakeNode::go_down`].
    pub fn come_back(&self) {
        self.listen();
    }

    fn listen(&self) {
        // Somebody may be looking whether it is free.
        let listener = eventually_some("the leased port is free", Duration::from_secs(5), || {
            TcpListener::bind(self.addr()).ok()
        });
        let state = Arc::clone(&self.state);
        let generation = state.generation.load(Ordering::SeqCst);
        state.is_listening.store(true, Ordering::SeqCst);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if state.generation.load(Ordering::SeqCst) != generation {
                    break;
                }
                if let Ok(stream) = stream {
                    accept(&state, stream);
                }
            }
            // Closing alone is not enough: a child that another test is just starting may still hold
            // a copy of the socket, between its fork and its exec.
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
            drop(listener);
            state.is_listening.store(false, Ordering::SeqCst);
        });
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.go_down();
    }
}

/// A thread that reads and decides, and one that writes, so that a reply held back does not hide
/// what comes meanwhile.
fn accept(state: &Arc<State>, stream: TcpStream) {
    let connection = state.connection_count.fetch_add(1, Ordering::Relaxed);
    let (Ok(reading), Ok(kept)) = (stream.try_clone(), stream.try_clone()) else {
        return;
    };
    // Without it a small reply after another would wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    lock(&state.connections).push(kept);
    let (actions, inbox) = mpsc::channel();
    std::thread::spawn(move || write_replies(stream, inbox));
    let state = Arc::clone(state);
    std::thread::spawn(move || read_requests(&state, connection, reading, &actions));
}

fn write_replies(mut stream: TcpStream, inbox: mpsc::Receiver<Action>) {
    for mut action in inbox {
        while let Action::After(gate, then) = action {
            gate.wait();
            action = *then;
        }
        let goes_on = match action {
            Action::Reply(bytes) => stream.write_all(&bytes).is_ok(),
            Action::ReplyAndClose(bytes) => {
                // The peer may have gone first; the connection ends either way.
                let _ = stream.write_all(&bytes);
                false
            }
            Action::Default | Action::Silence | Action::After(..) => true,
        };
        if !goes_on {
            break;
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_requests(
    state: &State,
    connection: u64,
    mut stream: TcpStream,
    actions: &mpsc::Sender<Action>,
) {
    let mut unread = Vec::new();
    let mut protocol = 2;
    let mut multi = Multi::default();
    let mut piece = vec![0; 64 << 10];
    loop {
        while let Ok(Some((value, length))) = Value::parse(&unread) {
            unread.drain(..length);
            let Value::Array(items) = value else {
                return;
            };
            let arguments = items.iter().filter_map(Value::bytes).map(<[u8]>::to_vec);
            let mut request = Request {
                connection,
                protocol,
                arguments: arguments.collect(),
            };
            if request.begins_with("HELLO") && request.arguments.len() > 1 {
                request.protocol = if request.text(1) == "3" { 3 } else { 2 };
            }
            protocol = request.protocol;
            lock(&state.received).push(request.clone());
            if actions.send(state.decide(&request, &mut multi)).is_err() {
                return;
            }
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => unread.extend(&piece[..count]),
            _ => return,
        }
    }
}

impl State {
    fn view(&self) -> Layout {
        let own = lock(&self.own_view).clone();
        own.unwrap_or_else(|| lock(&self.layout).clone())
    }

    fn decide(&self, request: &Request, multi: &mut Multi) -> Action {
        let rule = lock(&self.rules).decide(request);
        match multi.decide(request, rule, |request| self.default_reply(request)) {
            Action::Default => Action::Reply(self.default_reply(request)),
            Action::After(gate, then) if matches!(*then, Action::Default) => {
                Action::After(gate, Box::new(Action::Reply(self.default_reply(request))))
            }
            other => other,
        }
    }

    fn default_reply(&self, request: &Request) -> Vec<u8> {
        let view = self.view();
        let name = request.text(0).to_ascii_uppercase();
        let keys = request.arguments.len() as i64 - 1;
        let myself = format!("node-{}", self.index);
        match name.as_str() {
            "PING" => b"+PONG\r\n".to_vec(),
            "HELLO" => view.hello(self.index, request.protocol),
            "INFO" => view.info(self.index),
            "COMMAND" => array(&[]),
            "SELECT" => view.select(&request.text(1)),
            "CLUSTER" if !view.cluster_enabled => {
                b"-ERR This instance has cluster support disabled\r\n".to_vec()
            }
            "CLUSTER" => match request.text(1).to_ascii_uppercase().as_str() {
                "SHARDS" => view.cluster_shards(request.protocol),
                "SLOTS" => view.cluster_slots(),
                "NODES" => view.cluster_nodes(self.index),
                "INFO" => view.cluster_info(self.index),
                "MYID" => bulk(&view.nodes[self.index].id),
                _ => b"-ERR unknown subcommand\r\n".to_vec(),
            },
            "GET" | "HGET" | "LPOP" | "ECHO" => bulk(&myself),
            "MGET" => array(&vec![bulk(&myself); keys as usize]),
            "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => integer(keys),
            "INCR" | "DBSIZE" | "PUBLISH" | "SPUBLISH" => integer(1u8),
            _ => b"+OK\r\n".to_vec(),
        }
    }
}
