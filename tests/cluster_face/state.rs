//! What a client sets stays with that client: none of it reaches a connection that others share.

use super::support::{Client, FakeCluster, Flavor, Keyway, Request, Scene, each_flavor};

each_flavor! {
    select_answers_as_a_node_does,
    the_nodes_see_none_of_it,
}

/// The commands that a node may ever see of a Keyway whose clients only read and write. (`WATCH` and what
/// blocks go over private connections: tests/blocking.)
const ALLOWED: &[&str] = &[
    "HELLO", "AUTH", "CLUSTER", "INFO", "PING", "GET", "SET", "COMMAND", "ROLE",
];

/// contract: C1
#[test]
fn state_never_reaches_a_shared_connection() {
    let fake = FakeCluster::start(2);
    let keyway = Keyway::start(&fake.seeds());
    let mut loud = keyway.client();
    let mut quiet = keyway.client();
    for command in [
        "CLIENT SETNAME loud",
        "CLIENT SETINFO LIB-NAME loud",
        "CLIENT SETINFO LIB-VER 1",
        "CLIENT NO-EVICT on",
        "CLIENT NO-TOUCH on",
        "CLIENT CAPA redirect",
        "CLIENT REPLY ON",
        "SELECT 0",
        "SELECT 1",
        "READONLY",
        "READWRITE",
        "ASKING",
        "HELLO 3 SETNAME louder",
        "AUTH wrong",
        "AUTH default wrong",
        "MULTI",
        "UNWATCH",
        "EXEC",
        "DISCARD",
        // What subscriptions send is in tests/pubsub.
        "UNSUBSCRIBE",
        "MONITOR",
        "RESET",
    ] {
        loud.call(command);
        loud.call("SET a 1");
        quiet.expect("GET a", "'node-1'");
    }
    for node in fake.nodes() {
        let mut is_inside = false;
        for request in node.requests("") {
            let name = request.text(0).to_ascii_uppercase();
            // A transaction comes in one piece: nobody else's command gets into it.
            is_inside |= name == "MULTI";
            if is_inside {
                is_inside = name != "EXEC";
                let is_loud = ["MULTI", "SET", "UNWATCH", "EXEC"].contains(&name.as_str());
                assert!(is_loud, "in a transaction: {}", request.line());
                continue;
            }
            if name == "SELECT" {
                // Only on a connection over which nothing else is said, and it is refused.
                let alone = |other: &&Request| {
                    other.connection == request.connection && other.text(0) != "HELLO"
                };
                let said = node.requests("");
                assert_eq!(said.iter().filter(alone).count(), 1, "{}", request.line());
                continue;
            }
            assert!(
                ALLOWED.contains(&name.as_str()),
                "a node got: {}",
                request.line()
            );
            let has_option = name == "HELLO" && request.line().contains("loud");
            assert!(!has_option, "a node got: {}", request.line());
        }
    }
}

/// contract: C5
fn select_answers_as_a_node_does(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut ours = scene.keyway.client();
    let mut theirs = scene.cluster.node(scene.cluster.primaries()[0]).client();
    for command in [
        "SELECT 0",
        "SELECT 1",
        "SELECT 15",
        "SELECT 16",
        "SELECT 99999999999",
        "SELECT -1",
        "SELECT x",
        r#"SELECT """#,
        "SELECT 0",
    ] {
        let (got, want) = (
            ours.call(command).to_string(),
            theirs.call(command).to_string(),
        );
        assert_eq!(got, want, "{command}");
    }
    ours.expect("SET select:k v", "+OK");
    ours.expect("DEL select:k", ":1");
}

/// contract: C1, P1
fn the_nodes_see_none_of_it(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut clients: Vec<Client> = (0..60).map(|_| scene.keyway.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.call(&format!(
            "HELLO {} SETNAME secret-name-{number}",
            2 + number % 2
        ));
        client.expect(&format!("SET state:{number} v"), "+OK");
        client.expect("READONLY", "+OK");
        // Another test of this program may empty the cluster in between.
        client.call(&format!("GET state:{number}"));
        client.call(&format!("DEL state:{number}"));
    }
    for &primary in &scene.cluster.primaries() {
        let list = scene.cluster.node(primary).ok("CLIENT LIST").text();
        assert!(!list.contains("secret-name"), "{list}");
        assert!(!list.contains("flags=r"), "READONLY leaked: {list}");
        // Sixty clients share a connection for each version, whatever they are called; the rest belongs to
        // tests that run beside this one.
        let keyways = list
            .lines()
            .filter(|line| !line.contains("flags=S") && !line.contains("flags=M"));
        let count = keyways.count();
        assert!(count <= 18, "{count} connections:\n{list}");
    }
}
