//! CLUSTER, as cluster clients ask it.

use std::collections::BTreeSet;

use keyway::cluster::Slot;

use super::support::{Client, Cluster, ClusterOptions, Flavor, Keyway, Scene, Value, each_flavor};

each_flavor! {
    a_cluster_of_one_owns_all_slots,
    it_answers_in_the_shape_of_a_real_one,
    questions_about_slots_reach_their_owner,
    the_real_nodes_are_shown_on_demand,
    nothing_changes_for_readonly_and_asking,
}

/// contract: C4
fn a_cluster_of_one_owns_all_slots(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let (host, port) = ("127.0.0.1", i64::from(scene.keyway.addr().port()));
    for mut client in [scene.keyway.client(), scene.keyway.client_resp3()] {
        let id = client.call("CLUSTER MYID").text();
        assert!(
            id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        let slots = client.call("CLUSTER SLOTS");
        let [row] = slots.items() else {
            panic!("{slots}")
        };
        let [first, last, node, ..] = row.items() else {
            panic!("{slots}")
        };
        assert_eq!((first.integer(), last.integer()), (0, 16_383));
        assert_eq!(
            (node.items()[0].text().as_str(), node.items()[1].integer()),
            (host, port)
        );
        assert_eq!(node.items()[2].text(), id);

        let shards = client.call("CLUSTER SHARDS");
        let [shard] = shards.items() else {
            panic!("{shards}")
        };
        let ranges: Vec<i64> = shard
            .field("slots")
            .expect("slots")
            .items()
            .iter()
            .map(Value::integer)
            .collect();
        assert_eq!(ranges, [0, 16_383]);
        let [node] = shard.field("nodes").expect("nodes").items() else {
            panic!("{shards}")
        };
        let field = |name: &str| node.field(name).map(Value::to_string).unwrap_or_default();
        assert_eq!(field("id"), format!("'{id}'"));
        assert_eq!(
            (field("port"), field("endpoint")),
            (format!(":{port}"), format!("'{host}'"))
        );
        assert_eq!(
            (field("role"), field("health")),
            ("'master'".to_owned(), "'online'".to_owned())
        );

        let nodes = client.call("CLUSTER NODES").text();
        let lines: Vec<&str> = nodes.lines().collect();
        let [line] = lines[..] else { panic!("{nodes}") };
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields[0], id);
        assert!(fields[1].starts_with(&format!("{host}:{port}@")), "{line}");
        assert_eq!(fields[2], "myself,master");
        assert_eq!((fields[7], fields[8]), ("connected", "0-16383"), "{line}");

        let info = client.call("CLUSTER INFO").text();
        for line in [
            "cluster_state:ok",
            "cluster_slots_assigned:16384",
            "cluster_slots_ok:16384",
            "cluster_slots_fail:0",
            "cluster_known_nodes:1",
            "cluster_size:1",
        ] {
            assert!(info.lines().any(|has| has == line), "{line} in {info}");
        }
        let empty = client.call(&format!("CLUSTER REPLICAS {id}"));
        assert!(empty.items().is_empty(), "{empty}");
    }
    // The id stays the same, for every client.
    let ids: BTreeSet<String> = (0..5)
        .map(|_| scene.keyway.client().call("CLUSTER MYID").text())
        .collect();
    assert_eq!(ids.len(), 1);
}

/// Behind address translation, clients are told what the operator says.
///
/// contract: C4
#[test]
fn the_advertised_address_is_the_operators() {
    let cluster = &Scene::shared(Flavor::Redis).cluster;
    let keyway = Keyway::before(&cluster.seeds())
        .set("listen.advertise", "\"cache.example:7777\"")
        .start();
    let mut client = keyway.client();
    let slots = client.call("CLUSTER SLOTS").to_string();
    assert!(slots.contains("'cache.example' :7777"), "{slots}");
    let shards = client.call("CLUSTER SHARDS").to_string();
    assert!(
        shards.contains("cache.example") && shards.contains(":7777"),
        "{shards}"
    );
    let nodes = client.call("CLUSTER NODES").text();
    assert!(
        nodes.contains(":7777@") && nodes.contains("cache.example"),
        "{nodes}"
    );
}

/// The types, lengths and field names of a real cluster of one node; numbers and texts differ.
///
/// contract: C4, P1
fn it_answers_in_the_shape_of_a_real_one(flavor: Flavor) {
    // Redis 6.2 tells less of its nodes, in other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let real = Cluster::start_with(ClusterOptions {
        primaries: 1,
        replicas: 0,
        ..ClusterOptions::of(flavor)
    });
    let scene = Scene::shared(flavor);
    for hello in ["HELLO 2", "HELLO 3"] {
        let (mut ours, mut theirs) = (scene.keyway.client(), real.node(0).client());
        ours.call(hello);
        theirs.call(hello);
        for command in [
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
            "CLUSTER MYID",
            "CLUSTER KEYSLOT foo",
            "CLUSTER COUNTKEYSINSLOT 1",
            "CLUSTER GETKEYSINSLOT 1 1",
            "CLUSTER LINKS",
            "READONLY",
            "READWRITE",
        ] {
            let (got, want) = (ours.call(command), theirs.call(command));
            assert_eq!(
                shape(&got),
                shape(&want),
                "{command} {hello}\n{got}\n{want}"
            );
        }
        let names = |client: &mut Client| -> BTreeSet<String> {
            let text = client.call("CLUSTER INFO").text();
            text.lines()
                .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
                .collect()
        };
        let needed: BTreeSet<String> = names(&mut theirs)
            .into_iter()
            .filter(|name| {
                !["message", "links", "bytes"]
                    .iter()
                    .any(|of| name.contains(of))
            })
            .collect();
        let missing: Vec<_> = needed.difference(&names(&mut ours)).cloned().collect();
        assert!(missing.is_empty(), "CLUSTER INFO lacks {missing:?}");
        let words = |client: &mut Client| {
            client
                .call("CLUSTER NODES")
                .text()
                .trim()
                .split(' ')
                .count()
        };
        assert_eq!(words(&mut ours), words(&mut theirs));
        // Mistakes get the servers' words.
        for command in [
            "CLUSTER",
            "CLUSTER NOSUCH",
            "CLUSTER KEYSLOT",
            "CLUSTER KEYSLOT a b",
            "CLUSTER COUNTKEYSINSLOT",
            "CLUSTER COUNTKEYSINSLOT x",
            "CLUSTER COUNTKEYSINSLOT 16384",
            "CLUSTER COUNTKEYSINSLOT -1",
            "CLUSTER GETKEYSINSLOT 1 x",
            "CLUSTER GETKEYSINSLOT 1 -1",
            "CLUSTER GETKEYSINSLOT 99999 1",
            "CLUSTER SLOTS x",
            "CLUSTER REPLICAS nosuchnode",
        ] {
            let (got, want) = (
                ours.call(command).to_string(),
                theirs.call(command).to_string(),
            );
            assert_eq!(got, want, "{command}");
        }
    }
}

/// What a value is made of; maps with their keys, without the host name's metadata.
fn shape(value: &Value) -> String {
    let list = |items: &[Value]| items.iter().map(shape).collect::<Vec<_>>().join(" ");
    match value {
        Value::Array(items) => format!("[{}]", list(items)),
        Value::Set(items) => format!("~[{}]", list(items)),
        Value::Map(pairs) => {
            let mut fields: Vec<String> = pairs
                .iter()
                .map(|(key, value)| format!("{key}={}", shape(value)))
                .collect();
            fields.sort();
            format!("{{{}}}", fields.join(" "))
        }
        Value::Bulk(bytes)
            if matches!(
                bytes.as_slice(),
                b"slots"
                    | b"nodes"
                    | b"id"
                    | b"port"
                    | b"ip"
                    | b"endpoint"
                    | b"role"
                    | b"health"
                    | b"replication-offset"
            ) =>
        {
            value.to_string()
        }
        Value::Bulk(_) => "bulk".to_owned(),
        Value::Integer(_) => "integer".to_owned(),
        other => other.to_string(),
    }
}

/// contract: C4, R1
fn questions_about_slots_reach_their_owner(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    for key in ["foo", "", "{a}b", "a{b}", "{}x", "a{b}{c}", "{{b}}", "a{b"] {
        let slot = client.call_args(&["CLUSTER", "KEYSLOT", key]).integer();
        assert_eq!(
            slot,
            i64::from(Slot::of_key(key.as_bytes()).number()),
            "{key:?}"
        );
    }
    for number in 0..20 {
        let key = format!("{{slot-{number}}}");
        client.expect(&format!("MSET {key}a 1 {key}b 2 {key}c 3"), "+OK");
        let slot = Slot::of_key(key.as_bytes()).number();
        client.expect(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), ":3");
        let names = client.call(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
        let mut names: Vec<String> = names.items().iter().map(Value::text).collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c"].map(|end| format!("{key}{end}")));
        assert_eq!(
            client
                .call(&format!("CLUSTER GETKEYSINSLOT {slot} 2"))
                .items()
                .len(),
            2
        );
        client.expect(&format!("DEL {key}a {key}b {key}c"), ":3");
    }
}

/// contract: C4
fn the_real_nodes_are_shown_on_demand(flavor: Flavor) {
    let cluster = &Scene::shared(flavor).cluster;
    let keyway = Keyway::before(&cluster.seeds())
        .set("listen.cluster_view", "\"nodes\"")
        .start();
    let mut client = keyway.client();
    // A client that follows it reaches each key's real owner.
    let slots = client.call("CLUSTER SLOTS");
    let mut covered = 0;
    for row in slots.items() {
        let [first, last, node, ..] = row.items() else {
            panic!("{slots}")
        };
        let (first, last) = (first.integer() as u16, last.integer() as u16);
        covered += usize::from(last - first) + 1;
        let owner = cluster.primary_of(first).expect("somebody owns it");
        assert_eq!(
            node.items()[1].integer(),
            i64::from(cluster.node(owner).port())
        );
        assert_eq!(node.items()[2].text(), cluster.id(owner));
    }
    assert_eq!(covered, Slot::COUNT);
    let nodes = client.call("CLUSTER NODES").text();
    for index in 0..3 {
        assert!(nodes.contains(cluster.id(index)), "{nodes}");
    }
    // It still serves those that stay.
    client.expect("SET nodes:a 1", "+OK");
    client.expect("SET nodes:b 2", "+OK");
    client.expect("DEL nodes:a nodes:b", ":2");
}

/// contract: C4, C1
fn nothing_changes_for_readonly_and_asking(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    for command in ["READONLY", "ASKING", "READWRITE", "ASKING"] {
        client.expect(command, "+OK");
        client.expect(&format!("SET face:{command} x"), "+OK");
        client.expect(&format!("GET face:{command}"), "'x'");
        client.expect(&format!("DEL face:{command} face:none"), ":1");
    }
}
