//! Texts and shapes were taken from Redis 7.0 and Valkey 8.0.

mod databases;

use std::sync::Arc;

use super::*;
use crate::acl::{User, Users};
use crate::cluster::{Endpoint, Greeting, Health, Mode, Node, NodeIndex, Role, Slot};
use crate::command::{Handling, Lookup, lookup};
use crate::resp::Span;

/// Calls `look` with a request of these words.
pub(in crate::client) fn with_args<R>(words: &[&str], look: impl FnOnce(&Args<'_>) -> R) -> R {
    let mut frame = Vec::new();
    let mut spans = Vec::new();
    for word in words {
        spans.push(Span {
            start: frame.len() as u32,
            len: word.len() as u32,
        });
        frame.extend_from_slice(word.as_bytes());
    }
    look(&Args::new(&frame, &spans))
}

fn cluster() -> Topology {
    let node = |id: &str, port, role, health| Node {
        id: Arc::from(id),
        endpoint: Endpoint {
            host: Arc::from("10.0.0.1"),
            port,
        },
        announced: Endpoint {
            host: Arc::from("172.28.0.1"),
            port: 6379,
        },
        role,
        health,
        config_epoch: 0,
        hostname: None,
        zone: None,
    };
    let nodes = vec![
        node("aaa", 7001, Role::Primary, Health::Online),
        node("bbb", 7002, Role::Primary, Health::Online),
        node("ccc", 7003, Role::Replica(NodeIndex(1)), Health::Online),
        node("ddd", 7004, Role::Replica(NodeIndex(1)), Health::Failed),
        node("eee", 7005, Role::Primary, Health::Online),
    ];
    let mut topology = Topology::new(Mode::Cluster, nodes);
    for number in 0..16384 {
        let owner = NodeIndex(u16::from(number < 100 || number == 200));
        topology.assign(Slot::new(number).expect("below 16384"), owner);
    }
    topology.server_version = Arc::from("7.0.15");
    topology.greeting = Arc::new(Greeting {
        server: Arc::from("redis"),
        version: Arc::from("7.0.15"),
        modules: Vec::new(),
    });
    topology
}

/// A talk of one client: lines are words, a reply follows. `[proto]` starts with RESP3.
struct Talk {
    session: Session,
    topology: Option<Topology>,
    door: Door,
    view: ClusterView,
    bound: Option<Bound>,
    selected: Option<Selected>,
    effect: Effect,
}

impl Talk {
    fn new() -> Self {
        Talk {
            session: Session::new(7, "10.0.0.9:5", "10.0.0.2:6379", &Door::default(), 0),
            topology: Some(cluster()),
            door: Door::default(),
            view: ClusterView::Single,
            bound: None,
            selected: None,
            effect: Effect::None,
        }
    }

    fn with_password() -> Self {
        let default = Arc::new(User::unrestricted("default", Some(b"sesam")));
        let door = Door {
            users: Users::new(Vec::new(), Some(default)),
            ..Door::default()
        };
        Talk {
            session: Session::new(7, "10.0.0.9:5", "10.0.0.2:6379", &door, 0),
            door,
            ..Talk::new()
        }
    }

    /// What the client hears.
    fn ask(&mut self, line: &str) -> String {
        let words: Vec<_> = line.split(' ').collect();
        let (acl_log, learnt) = (Mutex::new(AclLog::new(10)), LearntCommands::default());
        let world = World {
            bound: self.bound,
            vouched: None,
            selected: self.selected.clone(),
            topology: self.topology.as_ref(),
            door: &self.door,
            wording: self
                .topology
                .as_ref()
                .map_or(Wording::default(), |topology| {
                    Wording::of(&topology.server_name, &topology.server_version)
                }),
            acl_log: &acl_log,
            learnt: &learnt,
            started_us: 0,
            advertised_host: "keyway.local",
            advertised_port: 6379,
            cluster_view: self.view,
            figures: Figures::default(),
        };
        let mut out = Vec::new();
        self.effect = with_args(&words, |args| {
            let Lookup::Found(row) = lookup(args) else {
                panic!("no row for {line}");
            };
            assert!(row.accepts(args.len()), "{line}");
            let Handling::Local(local) = row.handling else {
                panic!("not local: {line}");
            };
            answer(local, args, &mut self.session, &world, &mut out)
        });
        if self.session.next_is_muted() {
            out.clear();
        }
        String::from_utf8(out).expect("text")
    }

    fn hears(&mut self, line: &str, expected: &str) -> &mut Self {
        let heard = self.ask(line);
        assert_eq!(heard, expected, "{line}");
        self
    }
}

const HELLO_2: &str = "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
    $5\r\nproto\r\n:2\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
    $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const HELLO_3: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
    $5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
    $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const OK: &str = "+OK\r\n";
const WRONGPASS: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NAME: &str = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";

/// contract: C3 C5
#[test]
fn small_talk() {
    Talk::new()
        .hears("PING", "+PONG\r\n")
        .hears("PING hi", "$2\r\nhi\r\n")
        .hears(
            "PING a b",
            "-ERR wrong number of arguments for 'ping' command\r\n",
        )
        .hears("ECHO a", "$1\r\na\r\n")
        .hears("SELECT 0", OK)
        .hears(
            "SELECT abc",
            "-ERR value is not an integer or out of range\r\n",
        )
        .hears(
            "SELECT 99999999999",
            "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n",
        )
        .hears("ASKING", OK)
        .hears("READONLY", OK)
        .hears("READWRITE", OK)
        .hears("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")
        .hears("ACL WHOAMI", "$7\r\ndefault\r\n")
        .hears("CLIENT ID", ":7\r\n")
        .hears("CLIENT GETREDIR", ":-1\r\n")
        .hears("CLIENT CAPA redirect", OK);
}

/// contract: P7
#[test]
fn hello_of_every_kind() {
    Talk::new()
        .hears("HELLO", HELLO_2)
        .hears("HELLO 2", HELLO_2)
        .hears("HELLO 3", HELLO_3)
        .hears("HELLO", HELLO_3)
        .hears("CLIENT GETNAME", "_\r\n")
        .hears("HELLO 2 SETNAME me", HELLO_2)
        .hears("CLIENT GETNAME", "$2\r\nme\r\n")
        .hears("HELLO 3 auth default anything setname you", HELLO_3)
        .hears("CLIENT GETNAME", "$3\r\nyou\r\n");
    let mut nothing_changes = Talk::new();
    let option = |name: &str| format!("-ERR Syntax error in HELLO option '{name}'\r\n");
    nothing_changes
        .hears("HELLO 4", "-NOPROTO unsupported protocol version\r\n")
        .hears("HELLO 4 FOO", "-NOPROTO unsupported protocol version\r\n")
        .hears(
            "HELLO abc",
            "-ERR Protocol version is not an integer or out of range\r\n",
        )
        .hears(
            "HELLO 01",
            "-ERR Protocol version is not an integer or out of range\r\n",
        )
        .hears("HELLO 3 AUTH", &option("AUTH"))
        .hears("HELLO 3 AUTH default", &option("AUTH"))
        .hears("HELLO 3 SETNAME", &option("SETNAME"))
        .hears("HELLO 3 SETNAME ok foo", &option("foo"))
        .hears("HELLO 3 f\0oo", &option("f"))
        .hears("HELLO 3 SETNAME a\nb", NAME)
        .hears("HELLO 3 AUTH nobody x SETNAME ok", WRONGPASS)
        .hears("HELLO 3 SETNAME ok AUTH nobody x", WRONGPASS)
        .hears("CLIENT GETNAME", "$-1\r\n")
        .hears("HELLO", HELLO_2);
    let mut unknown = Talk::new();
    unknown.topology = None;
    assert!(unknown.ask("HELLO 3").contains("$5\r\n7.0.0\r\n"));
    assert_eq!(unknown.effect, Effect::ProtocolChanged);
}

/// contract: C1
#[test]
fn credentials() {
    let noauth = |text: &str| {
        format!(
            "-NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO {text}AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time\r\n"
        )
    };
    let mut talk = Talk::with_password();
    talk.hears("HELLO 3", &noauth(""))
        .hears("HELLO 3 SETNAME x", &noauth(""))
        .hears("AUTH x", WRONGPASS)
        .hears("AUTH default x", WRONGPASS)
        .hears("AUTH nobody sesam", WRONGPASS)
        .hears("AUTH a b c", "-ERR syntax error\r\n")
        .hears("HELLO 3 AUTH default x", WRONGPASS);
    assert!(!talk.session.is_authenticated());
    talk.hears("AUTH sesam", OK).hears("AUTH x", WRONGPASS);
    assert!(talk.session.is_authenticated(), "as on a server, still");
    talk.hears("RESET", "+RESET\r\n");
    assert!(!talk.session.is_authenticated());
    assert_eq!(talk.effect, Effect::Reset);
    talk.hears("HELLO 3 SETNAME x AUTH default sesam", HELLO_3)
        .hears("CLIENT GETNAME", "$1\r\nx\r\n");

    let mut valkey = Talk::with_password();
    if let Some(topology) = &mut valkey.topology {
        topology.server_name = Arc::from("valkey");
    }
    valkey.hears("HELLO", &noauth("<proto> "));

    Talk::new()
        .hears(
            "AUTH x",
            "-ERR AUTH <password> called without any password configured for the default user. \
             Are you sure your configuration is correct?\r\n",
        )
        .hears("AUTH default x", OK)
        .hears("AUTH nobody x", WRONGPASS);
}

/// contract: C1 P7
#[test]
fn reset_and_quit() {
    let mut talk = Talk::new();
    talk.hears("CLIENT SETINFO LIB-NAME lib", OK)
        .hears("READONLY", OK)
        .hears("CLIENT NO-EVICT on", OK)
        .hears("CLIENT NO-TOUCH On", OK)
        .hears("HELLO 3 SETNAME x", HELLO_3)
        .hears("RESET", "+RESET\r\n")
        .hears("CLIENT GETNAME", "$-1\r\n");
    let line = talk.ask("CLIENT INFO");
    assert!(line.contains(" flags=N "), "{line}");
    assert!(line.contains(" lib-name=lib "), "{line}");
    talk.hears("QUIT", OK);
    assert_eq!(talk.effect, Effect::Close);
}

/// contract: P7
#[test]
fn client_reply() {
    Talk::new()
        .hears("CLIENT REPLY ON", OK)
        .hears("CLIENT REPLY OFF", "")
        .hears("PING", "")
        .hears("CLIENT REPLY SKIP", "")
        .hears("CLIENT REPLY FOO", "")
        .hears("CLIENT REPLY ON", OK)
        .hears("CLIENT REPLY SKIP", "")
        .hears("PING", "")
        .hears("ECHO 2", "$1\r\n2\r\n")
        .hears("CLIENT REPLY SKIP", "")
        .hears("CLIENT REPLY SKIP", "")
        .hears("PING", "")
        .hears("PING", "+PONG\r\n")
        .hears("CLIENT REPLY SKIP", "")
        .hears("CLIENT REPLY ON", OK)
        .hears("CLIENT REPLY FOO", "-ERR syntax error\r\n")
        .hears("CLIENT REPLY OFF", "")
        .hears("RESET", "+RESET\r\n")
        .hears("CLIENT REPLY SKIP", "")
        .hears("RESET", "")
        .hears("PING", "+PONG\r\n");
}

/// contract: C2
#[test]
fn what_a_client_says_of_itself() {
    let special = "cannot contain spaces, newlines or special characters.\r\n";
    let mut talk = Talk::new();
    talk.hears("CLIENT SETNAME a\u{e9}", NAME)
        .hears("CLIENT SETNAME abc", OK)
        .hears("CLIENT GETNAME", "$3\r\nabc\r\n")
        .hears("CLIENT SETNAME ", OK)
        .hears("CLIENT GETNAME", "$-1\r\n")
        .hears(
            "CLIENT SETINFO lib-name a\tb",
            &format!("-ERR lib-name {special}"),
        )
        .hears(
            "CLIENT SETINFO LIB-VER a\tb",
            &format!("-ERR LIB-VER {special}"),
        )
        .hears("CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'\r\n")
        .hears("CLIENT SETINFO lib-ver 1.2", OK)
        .hears("CLIENT NO-EVICT foo", "-ERR syntax error\r\n")
        .hears("CLIENT NO-TOUCH foo", "-ERR syntax error\r\n")
        .hears(
            "CLIENT TRACKINGINFO",
            "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n\
             $8\r\nprefixes\r\n*0\r\n",
        )
        .hears("HELLO 3", HELLO_3)
        .hears(
            "CLIENT TRACKINGINFO",
            "%3\r\n$5\r\nflags\r\n~1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n\
             $8\r\nprefixes\r\n*0\r\n",
        );
    let line = talk.ask("CLIENT INFO");
    assert!(line.starts_with('='), "{line}");
    assert!(
        line.contains("\r\ntxt:id=7 addr=10.0.0.9:5 laddr="),
        "{line}"
    );
    assert!(
        line.ends_with(" resp=3 lib-name= lib-ver=1.2\n\r\n"),
        "{line}"
    );
    talk.hears("CLIENT LIST", "");
    assert!(matches!(talk.effect, Effect::Ask(Question::List(_))));
    talk.hears("CLIENT KILL ID 3", "");
    assert!(matches!(talk.effect, Effect::Ask(Question::Kill(_))));
    talk.hears("CLIENT KILL 1.1.1.1:1", "");
    assert!(matches!(talk.effect, Effect::Ask(Question::KillAddress(_))));
    talk.hears("CLIENT KILL FOO bar", "-ERR syntax error\r\n");
}

/// contract: C4
#[test]
fn one_node_that_owns_all_slots() {
    let mut talk = Talk::new();
    let my_id = talk.ask("CLUSTER MYID");
    let id = my_id
        .strip_prefix("$40\r\n")
        .and_then(|id| id.strip_suffix("\r\n"))
        .expect("40 bytes")
        .to_owned();
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(talk.ask("CLUSTER MYSHARDID"), my_id);
    let node = format!("*4\r\n$12\r\nkeyway.local\r\n:6379\r\n$40\r\n{id}\r\n");
    let fields = format!(
        "$2\r\nid\r\n$40\r\n{id}\r\n$4\r\nport\r\n:6379\r\n$2\r\nip\r\n$12\r\nkeyway.local\r\n\
         $8\r\nendpoint\r\n$12\r\nkeyway.local\r\n$4\r\nrole\r\n$6\r\nmaster\r\n\
         $18\r\nreplication-offset\r\n:0\r\n$6\r\nhealth\r\n$6\r\nonline\r\n"
    );
    let line = format!("{id} keyway.local:6379@16379 myself,master - 0 0 0 connected 0-16383\n");
    let len = line.len();
    talk.hears(
        "CLUSTER SLOTS",
        &format!("*1\r\n*3\r\n:0\r\n:16383\r\n{node}*0\r\n"),
    )
    .hears(
        "CLUSTER SHARDS",
        &format!(
            "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n*14\r\n{fields}"
        ),
    )
    .hears("CLUSTER NODES", &format!("${len}\r\n{line}\r\n"))
    .hears("CLUSTER KEYSLOT foo", ":12182\r\n")
    .hears(&format!("CLUSTER REPLICAS {id}"), "*0\r\n")
    .hears("CLUSTER SLAVES abc", "-ERR Unknown node abc\r\n")
    .hears("CLUSTER LINKS", "*0\r\n")
    .hears("HELLO 3", HELLO_3)
    .hears(
        "CLUSTER SLOTS",
        &format!("*1\r\n*3\r\n:0\r\n:16383\r\n{node}%0\r\n"),
    )
    .hears(
        "CLUSTER SHARDS",
        &format!(
            "*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n%7\r\n{fields}"
        ),
    )
    .hears("CLUSTER NODES", &format!("={}\r\ntxt:{line}\r\n", len + 4));
    let state = talk.ask("CLUSTER INFO");
    assert!(
        state.contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"),
        "{state}"
    );
    assert!(
        state.contains("cluster_known_nodes:1\r\ncluster_size:1\r\n"),
        "{state}"
    );
    talk.topology = None;
    talk.hears("CLUSTER MYID", &my_id);
    assert!(talk.ask("CLUSTER INFO").contains("cluster_state:fail"));
}

/// contract: C4
#[test]
fn the_real_nodes() {
    let mut talk = Talk::new();
    talk.view = ClusterView::Nodes;
    let node =
        |port: u16, id: &str| format!("*4\r\n$8\r\n10.0.0.1\r\n:{port}\r\n$3\r\n{id}\r\n*0\r\n");
    let (a, b, c) = (node(7001, "aaa"), node(7002, "bbb"), node(7003, "ccc"));
    talk.hears(
        "CLUSTER SLOTS",
        &format!(
            "*4\r\n*4\r\n:0\r\n:99\r\n{b}{c}*3\r\n:100\r\n:199\r\n{a}\
             *4\r\n:200\r\n:200\r\n{b}{c}*3\r\n:201\r\n:16383\r\n{a}"
        ),
    );
    let lines = "bbb 10.0.0.1:7002@17002 myself,master - 0 0 0 connected 0-99 200\n\
        ccc 10.0.0.1:7003@17003 slave bbb 0 0 0 connected\n\
        ddd 10.0.0.1:7004@17004 slave,fail bbb 0 0 0 disconnected\n\
        aaa 10.0.0.1:7001@17001 master - 0 0 0 connected 100-199 201-16383\n\
        eee 10.0.0.1:7005@17005 master - 0 0 0 connected\n";
    talk.hears("CLUSTER NODES", &format!("${}\r\n{lines}\r\n", lines.len()))
        .hears("CLUSTER MYID", "$3\r\nbbb\r\n")
        .hears("CLUSTER REPLICAS aaa", "*0\r\n")
        .hears(
            "CLUSTER REPLICAS ccc",
            "-ERR The specified node is not a master\r\n",
        );
    assert!(talk.ask("CLUSTER REPLICAS bbb").starts_with("*2\r\n$"));
    let shards = talk.ask("CLUSTER SHARDS");
    let head =
        "*3\r\n*4\r\n$5\r\nslots\r\n*4\r\n:0\r\n:99\r\n:200\r\n:200\r\n$5\r\nnodes\r\n*3\r\n";
    assert!(shards.starts_with(head), "{shards}");
    assert!(shards.contains("$4\r\nfail\r\n"), "{shards}");
    assert!(
        talk.ask("CLUSTER INFO")
            .contains("cluster_known_nodes:5\r\ncluster_size:2\r\n")
    );
    // What Valkey 9 added.
    let ids = |reply: &str| reply.matches("$2\r\nid\r\n").count();
    assert_eq!(ids(&shards), 5);
    let topology = talk.topology.as_mut().expect("there is one");
    topology.valkey_version = Arc::from("9.1.2");
    assert_eq!(ids(&talk.ask("CLUSTER SHARDS")), 5 + 3);
    let state = talk.ask("CLUSTER INFO");
    assert!(state.contains("cluster_nodes_fail:1\r\n"), "{state}");
    assert!(state.contains("voting_nodes_fail:0\r\n"), "{state}");
    talk.topology = None;
    talk.hears("CLUSTER SLOTS", "*0\r\n")
        .hears("CLUSTER NODES", "$0\r\n\r\n");
}

#[test]
fn help_has_two_lines_for_each() {
    for (line, entries) in [
        ("CLIENT HELP", help::CLIENT),
        ("CLUSTER HELP", help::CLUSTER),
        ("ACL HELP", help::ACL),
    ] {
        let text = Talk::new().ask(line);
        assert!(
            text.starts_with(&format!("*{}\r\n+", 1 + entries.len() * 2)),
            "{text}"
        );
        assert_eq!(text.matches("\r\n+").count(), 1 + entries.len() * 2);
    }
}
