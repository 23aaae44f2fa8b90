//! Commands that ask or change every node.

use std::collections::BTreeSet;
use std::time::Duration;

use super::support::{Client, Flavor, Value, each_flavor, eventually};
use super::{Stage, fill};

each_flavor! {
    keys_and_sizes_are_those_of_all_primaries,
    flushing_empties_every_primary,
    configuration_reaches_every_node,
    publishing_reaches_every_subscriber_once,
    logs_and_statistics_are_gathered,
    slow_logs_are_one_log,
    latencies_are_those_of_one_server,
    one_nodes_answers_are_the_servers,
}

/// contract: M4
fn keys_and_sizes_are_those_of_all_primaries(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    client.expect("DBSIZE", ":0");
    client.expect("KEYS *", "[]");
    fill(&mut client, (0..300).map(|number| format!("key:{number}")));
    fill(
        &mut client,
        (0..20).map(|number| format!("{{tag}}{number}")),
    );
    client.expect("DBSIZE", ":320");
    let keys = |client: &mut Client, pattern: &str| -> BTreeSet<String> {
        let reply = client.call(&format!("KEYS {pattern}"));
        let names: Vec<String> = reply.items().iter().map(Value::text).collect();
        let set: BTreeSet<String> = names.iter().cloned().collect();
        assert_eq!(set.len(), names.len(), "a key twice");
        set
    };
    assert_eq!(keys(&mut client, "*").len(), 320);
    assert_eq!(keys(&mut client, "key:1?").len(), 10);
    assert_eq!(keys(&mut client, "{tag}*").len(), 20);
    assert_eq!(
        keys(&mut client, "key:299"),
        BTreeSet::from(["key:299".to_owned()])
    );
    assert_eq!(keys(&mut client, "none*").len(), 0);
    client.call("HELLO 3");
    assert_eq!(keys(&mut client, "*").len(), 320);
    client.expect("DBSIZE", ":320");
}

/// contract: M4
fn flushing_empties_every_primary(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    for command in [
        "FLUSHALL",
        "FLUSHALL SYNC",
        "FLUSHALL ASYNC",
        "FLUSHDB",
        "FLUSHDB ASYNC",
        "flushdb sync",
    ] {
        fill(
            &mut client,
            (0..100).map(|number| format!("flush:{number}")),
        );
        client.expect("DBSIZE", ":100");
        client.expect(command, "+OK");
        client.expect("DBSIZE", ":0");
        for &primary in &stage.scene.cluster.primaries() {
            assert_eq!(stage.scene.cluster.node(primary).ok("DBSIZE").integer(), 0);
        }
    }
    // In a pipeline it takes effect between its neighbours.
    let commands: Vec<String> = (0..50)
        .map(|number| format!("SET between:{number} x"))
        .chain(["FLUSHALL".to_owned()])
        .chain((0..50).map(|number| format!("SETNX between:{number} y")))
        .chain(["DBSIZE".to_owned()])
        .collect();
    let replies = client.pipeline(&commands);
    for reply in &replies[51..101] {
        assert_eq!(reply.to_string(), ":1", "a SETNX behind FLUSHALL");
    }
    assert_eq!(replies[101].to_string(), ":50");
}

/// contract: M4
fn configuration_reaches_every_node(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    let everywhere = |name: &str| -> BTreeSet<String> {
        let values = cluster.nodes().iter().map(|node| {
            let reply = node.ok(&format!("CONFIG GET {name}"));
            reply.field(name).map(Value::text).unwrap_or_default()
        });
        values.collect()
    };
    let before = everywhere("slowlog-max-len");
    client.expect("CONFIG SET slowlog-max-len 77", "+OK");
    assert_eq!(
        everywhere("slowlog-max-len"),
        BTreeSet::from(["77".to_owned()])
    );
    client.expect("CONFIG SET slowlog-max-len 78 hz 20", "+OK");
    assert_eq!(
        everywhere("slowlog-max-len"),
        BTreeSet::from(["78".to_owned()])
    );
    assert_eq!(everywhere("hz"), BTreeSet::from(["20".to_owned()]));
    // Each node's own stays as it is.
    for command in [
        "CONFIG SET requirepass secret",
        "config set slowlog-max-len 79 MasterAuth secret",
        "CONFIG SET cluster-announce-port 1",
        "CONFIG SET port 1",
    ] {
        let reply = client.call(command).to_string();
        assert!(reply.contains("refused by Keyway"), "{command}: {reply}");
    }
    client.expect("MULTI", "+OK");
    let reply = client.call("CONFIG SET requirepass secret").to_string();
    assert!(reply.contains("refused by Keyway"), "{reply}");
    assert!(client.call("EXEC").to_string().starts_with("-EXECABORT"));
    let reply = client.call("CONFIG GET slowlog-max-len");
    assert_eq!(
        reply.field("slowlog-max-len").map(Value::text),
        Some("78".to_owned())
    );
    client.call("HELLO 3");
    assert!(
        matches!(client.call("CONFIG GET slowlog-max-len hz"), Value::Map(pairs) if pairs.len() == 2)
    );
    let mut plain = stage.scene.plain().client();
    plain.call("HELLO 3");
    for command in [
        "CONFIG SET nosuchthing 1",
        "CONFIG SET hz many",
        "CONFIG GET nosuchthing",
        "CONFIG SET hz 20 hz 20",
    ] {
        let (got, want) = (
            client.call(command).to_string(),
            plain.call(command).to_string(),
        );
        assert_eq!(got, want, "{command}");
    }
    client.expect(
        &format!(
            "CONFIG SET slowlog-max-len {} hz 10",
            before.iter().next().map_or("128", String::as_str)
        ),
        "+OK",
    );
    client.expect("CONFIG RESETSTAT", "+OK");
}

/// Wherever a subscriber is, it gets a message once.
///
/// contract: M4, S4
fn publishing_reaches_every_subscriber_once(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    let mut subscribers: Vec<Client> = cluster.nodes().iter().map(|node| node.client()).collect();
    for subscriber in &mut subscribers {
        subscriber.send("SUBSCRIBE news");
        subscriber.expect_next("['subscribe' 'news' :1]");
    }
    for number in 0..20 {
        let reply = client.call(&format!("PUBLISH news {number}"));
        assert!(matches!(reply, Value::Integer(_)), "{reply}");
    }
    for subscriber in &mut subscribers {
        for number in 0..20 {
            subscriber.expect_next(&format!("['message' 'news' '{number}']"));
        }
    }
    let owner = cluster
        .primary_of_key("shard-channel")
        .expect("somebody owns the slot");
    let mut subscriber = cluster.node(owner).client();
    subscriber.send("SSUBSCRIBE shard-channel");
    subscriber.expect_next("['ssubscribe' 'shard-channel' :1]");
    client.expect("SPUBLISH shard-channel hello", ":1");
    subscriber.expect_next("['smessage' 'shard-channel' 'hello']");
}

/// contract: M4, C6
fn logs_and_statistics_are_gathered(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let threshold = "CONFIG SET slowlog-log-slower-than";
    client.expect("SLOWLOG RESET", "+OK");
    client.expect(&format!("{threshold} 0"), "+OK");
    for number in 0..60 {
        client.expect(&format!("SET slow:{number} x"), "+OK");
    }
    client.expect(&format!("{threshold} -1"), "+OK");
    let count = client.call("SLOWLOG LEN").integer();
    assert!(count >= 60, "{count} entries of all nodes");
    let entries = client.call("SLOWLOG GET 1000");
    assert!(
        entries.items().len() as i64 >= 60,
        "{}",
        entries.items().len()
    );
    for entry in entries.items() {
        assert!(entry.items().len() >= 4, "{entry}");
    }
    client.expect("SLOWLOG RESET", "+OK");
    client.expect("SLOWLOG LEN", ":0");
    client.expect(&format!("{threshold} 10000"), "+OK");
    client.expect("MEMORY PURGE", "+OK");
    assert!(client.call("LATENCY RESET").integer() >= 0);
    assert!(client.call("LASTSAVE").integer() > 0);
    assert!(client.call("MEMORY STATS").items().len() > 10);
    assert!(client.call("LATENCY LATEST").items().is_empty());
    eventually(
        "a save begins on every primary",
        Duration::from_secs(20),
        || {
            let reply = client.call("BGSAVE").to_string();
            reply.starts_with('+') || !reply.contains("in progress")
        },
    );
}

/// contract: M4, C6
fn slow_logs_are_one_log(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let threshold = "CONFIG SET slowlog-log-slower-than";
    client.expect("SLOWLOG RESET", "+OK");
    client.expect(&format!("{threshold} 0"), "+OK");
    for number in 0..60 {
        client.expect(&format!("SET slow:{number} x"), "+OK");
    }
    client.expect(&format!("{threshold} -1"), "+OK");
    let mut all: Vec<i64> = Vec::new();
    for node in stage.scene.cluster.nodes() {
        let log = node.ok("SLOWLOG GET -1");
        all.extend(log.items().iter().map(|entry| entry.items()[1].integer()));
    }
    all.sort_unstable_by(|one, other| other.cmp(one));
    assert!(all.len() > 60, "{} entries of all nodes", all.len());
    for version in ["2", "3"] {
        client.call(&format!("HELLO {version}"));
        let mut times = |command: &str| -> Vec<i64> {
            let log = client.call(command);
            let times = log.items().iter().map(|entry| entry.items()[1].integer());
            times.collect()
        };
        assert_eq!(times("SLOWLOG GET"), all[..10]);
        assert_eq!(times("SLOWLOG GET 3"), all[..3]);
        assert_eq!(times("SLOWLOG GET 25"), all[..25]);
        assert_eq!(times("slowlog get -1"), all);
        assert_eq!(times("SLOWLOG GET 100000"), all);
        assert_eq!(times("SLOWLOG GET 0"), all[..0]);
    }
    let node = stage.scene.cluster.node(0);
    for command in ["SLOWLOG GET -2", "SLOWLOG GET x", "SLOWLOG GET 1 2"] {
        // Redis 6.2 gives all it has, and so do all nodes.
        if command == "SLOWLOG GET -2" && !flavor.is_since(7, 0) {
            continue;
        }
        let (got, want) = (client.call(command), node.call(command));
        assert_eq!(got.to_string(), want.to_string(), "{command}");
    }
    client.expect("SLOWLOG RESET", "+OK");
    client.expect(&format!("{threshold} 10000"), "+OK");
}

/// contract: M4, C6
fn latencies_are_those_of_one_server(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    client.expect("CONFIG SET latency-monitor-threshold 1", "+OK");
    // A script that takes its time, once at least on every primary.
    for number in 0..30 {
        let slow = "local n = 0 while n < 200000 do n = n + 1 end return n";
        let words = ["EVAL", slow, "1", &format!("latency:{number}")];
        assert_eq!(client.call_args(&words).to_string(), ":200000");
    }
    client.expect("CONFIG SET latency-monitor-threshold 0", "+OK");
    let of_event = |reply: &Value| -> Vec<Vec<i64>> {
        let is_it = |entry: &&Value| entry.items()[0].text() == "command";
        let numbers = |entry: &Value| entry.items()[1..].iter().map(Value::integer).collect();
        reply.items().iter().filter(is_it).map(numbers).collect()
    };
    let nodes = cluster.nodes().iter();
    let said: Vec<Vec<i64>> = nodes
        .flat_map(|node| of_event(&node.ok("LATENCY LATEST")))
        .collect();
    assert!(said.len() >= cluster.primaries().len(), "{said:?}");
    let merged = of_event(&client.call("LATENCY LATEST"));
    let [event] = &merged[..] else {
        panic!("one entry for one event: {merged:?}");
    };
    let newest = said.iter().map(|event| (event[0], event[1])).max();
    assert_eq!(Some((event[0], event[1])), newest, "{said:?}");
    assert_eq!(
        Some(event[2]),
        said.iter().map(|event| event[2]).max(),
        "{said:?}"
    );
    let times = |reply: &Value| -> Vec<i64> {
        let samples = reply.items().iter();
        samples.map(|sample| sample.items()[0].integer()).collect()
    };
    let nodes = cluster.nodes().iter();
    let mut all: Vec<i64> = nodes
        .flat_map(|node| times(&node.ok("LATENCY HISTORY command")))
        .collect();
    all.sort_unstable();
    assert_eq!(times(&client.call("LATENCY HISTORY command")), all);
    assert!(client.call("LATENCY RESET").integer() >= 1);
    histograms_add_up(&stage);
}

/// Each node's counts are part of the sum, in either version.
fn histograms_add_up(stage: &Stage) {
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    client.expect("CONFIG RESETSTAT", "+OK");
    for number in 0..60 {
        client.expect(&format!("GET latency:{number}"), "nil");
    }
    let calls = |reply: &Value, command: &str| -> i64 {
        let calls = |entry: &Value| entry.field("calls").map(Value::integer);
        reply.field(command).and_then(calls).unwrap_or_default()
    };
    let nodes = cluster.nodes().iter();
    let said = nodes.map(|node| calls(&node.ok("LATENCY HISTOGRAM get"), "get"));
    assert_eq!(said.sum::<i64>(), 60, "every GET is counted once");
    for version in ["2", "3"] {
        client.call(&format!("HELLO {version}"));
        let reply = client.call("LATENCY HISTOGRAM get");
        assert_eq!(calls(&reply, "get"), 60, "{reply}");
        let counts = reply
            .field("get")
            .and_then(|entry| entry.field("histogram_usec"));
        let pairs: Vec<(i64, i64)> = match counts {
            Some(Value::Map(pairs)) if version == "3" => pairs
                .iter()
                .map(|(bound, count)| (bound.integer(), count.integer()))
                .collect(),
            Some(Value::Array(items)) if version == "2" => items
                .chunks(2)
                .map(|pair| (pair[0].integer(), pair[1].integer()))
                .collect(),
            other => panic!("RESP{version}: {other:?}"),
        };
        assert!(
            pairs.is_sorted_by(|one, next| one.0 < next.0 && one.1 < next.1),
            "{pairs:?}"
        );
        assert_eq!(pairs.last().map(|pair| pair.1), Some(60), "{pairs:?}");
        let whole = client.call("LATENCY HISTOGRAM");
        assert!(calls(&whole, "config|resetstat") >= 1, "{whole}");
    }
}

/// Replies that speak of no key in particular.
///
/// contract: C6
fn one_nodes_answers_are_the_servers(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let mut plain = stage.scene.plain().client();
    for command in [
        "COMMAND COUNT",
        "COMMAND GETKEYS MSET a 1 b 2",
        "COMMAND GETKEYS GET",
        "COMMAND INFO get nosuch",
        "COMMAND DOCS lolwut",
        "OBJECT HELP",
        "MEMORY HELP",
        "ACL CAT nosuch",
        "ACL WHOAMI",
        "ACL USERS",
        "LATENCY HISTOGRAM nosuch",
        "FUNCTION LIST",
        "SCRIPT HELP",
        "ECHO x",
        "MODULE LIST",
        "CONFIG GET maxmemory",
    ] {
        let (got, want) = (
            client.call(command).to_string(),
            plain.call(command).to_string(),
        );
        assert_eq!(got, want, "{command}");
    }
    let names = |client: &mut Client| -> BTreeSet<String> {
        let reply = client.call("COMMAND LIST FILTERBY PATTERN xr*");
        reply.items().iter().map(Value::text).collect()
    };
    assert_eq!(names(&mut client), names(&mut plain));
    assert_eq!(client.call("TIME").items().len(), 2);
    assert!(client.call("LOLWUT").text().contains("ver"));
    client.expect("SET object x", "+OK");
    client.expect("OBJECT ENCODING object", "'embstr'");
    client.expect("OBJECT REFCOUNT object", ":1");
    client.expect("OBJECT ENCODING none", "nil");
    assert!(client.call("OBJECT IDLETIME object").integer() < 100);
    assert!(client.call("MEMORY USAGE object").integer() > 10);
    assert!(client.call("MEMORY USAGE object SAMPLES 5").integer() > 10);
    client.expect("MEMORY USAGE none", "nil");
    client.expect(
        "SWAPDB 0 0",
        &stage.scene.cluster.node(0).call("SWAPDB 0 0").to_string(),
    );
}
