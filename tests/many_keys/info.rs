//! INFO of all primaries is one server's INFO.

use std::collections::BTreeMap;

use super::support::{Client, Flavor, Value, each_flavor};
use super::{Stage, fill};

each_flavor! {
    it_reads_like_one_server,
    what_adds_up_is_added,
    sections_are_those_asked_for,
}

fn info(client: &mut Client, command: &str) -> BTreeMap<String, String> {
    let text = client.call(command).text();
    let mut fields = BTreeMap::new();
    for line in text
        .split("\r\n")
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let (name, value) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("{command}: {line:?}"));
        let twice = fields.insert(name.to_owned(), value.to_owned());
        assert!(twice.is_none(), "{name} twice in {command}");
    }
    fields
}

/// contract: C3, M4
fn it_reads_like_one_server(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let mut plain = stage.scene.plain().client();
    for hello in ["HELLO 2", "HELLO 3"] {
        client.call(hello);
        plain.call(hello);
        let (got, want) = (info(&mut client, "INFO"), info(&mut plain, "INFO"));
        for name in want.keys() {
            // What speaks of replication or persistence may be missing in part.
            let is_needed = [
                "redis_",
                "server_",
                "tcp_port",
                "uptime",
                "used_memory",
                "connected_clients",
                "total_",
                "keyspace_",
                "role",
                "cluster_",
                "maxmemory",
            ];
            let is_needed = is_needed
                .iter()
                .any(|beginning| name.starts_with(beginning));
            assert!(got.contains_key(name) || !is_needed, "INFO has no {name}");
        }
        for name in [
            "redis_version",
            "redis_mode",
            "server_mode",
            "cluster_enabled",
            "role",
            "os",
            "arch_bits",
            "multiplexing_api",
            "server_name",
            "valkey_version",
        ] {
            assert_eq!(got.get(name), want.get(name), "{name}");
        }
        assert_eq!(got["cluster_enabled"], "0");
        assert_eq!(got["role"], "master");
        assert_eq!(
            got["tcp_port"],
            stage.scene.keyway.addr().port().to_string()
        );
        assert_eq!(got["process_id"], stage.scene.keyway.pid().to_string());
    }
    assert!(matches!(client.call("INFO"), Value::Verbatim(format, _) if format == "txt"));
}

/// contract: M4, C6
fn what_adds_up_is_added(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    fill(&mut client, (0..200).map(|number| format!("info:{number}")));
    client.expect("EXPIRE info:0 1000", ":1");
    let fields = info(&mut client, "INFO keyspace");
    assert!(
        fields["db0"].starts_with("keys=200,expires=1"),
        "{fields:?}"
    );
    let used: u64 = cluster
        .primaries()
        .iter()
        .map(|&primary| {
            let mut direct = cluster.node(primary).client();
            info(&mut direct, "INFO memory")["used_memory"]
                .parse::<u64>()
                .expect("a number")
        })
        .sum();
    let got: u64 = info(&mut client, "INFO memory")["used_memory"]
        .parse()
        .expect("a number");
    assert!(
        got > used / 2 && got < used * 2,
        "{got} of all, {used} added by hand"
    );
    // Clients are this Keyway's.
    let clients = |client: &mut Client| -> usize {
        info(client, "INFO clients")["connected_clients"]
            .parse()
            .expect("a number")
    };
    let before = clients(&mut client);
    let more: Vec<Client> = (0..7)
        .map(|_| {
            let mut client = stage.client();
            client.expect("PING", "+PONG");
            client
        })
        .collect();
    assert_eq!(clients(&mut client), before + more.len());
}

/// contract: C6
fn sections_are_those_asked_for(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let mut plain = stage.scene.plain().client();
    client.call("SET x 1");
    plain.call("SET x 1");
    let sections = |client: &mut Client, command: &str| -> Vec<String> {
        let text = client.call(command).text();
        let heads = text.lines().filter_map(|line| line.strip_prefix("# "));
        heads.map(str::to_owned).collect()
    };
    for command in [
        "INFO server",
        "INFO SERVER",
        "INFO clients memory",
        "INFO keyspace server",
        "INFO cpu",
        "INFO stats",
        "INFO replication",
        "INFO cluster",
        "INFO errorstats",
        "INFO persistence",
        "INFO nosuchsection",
    ] {
        assert_eq!(
            sections(&mut client, command),
            sections(&mut plain, command),
            "{command}"
        );
    }
    for command in ["INFO", "INFO all", "INFO everything", "INFO default"] {
        let got = sections(&mut client, command);
        for head in sections(&mut plain, command) {
            assert!(got.contains(&head), "{command} has no {head}: {got:?}");
        }
        let rest: Vec<_> = got.iter().filter(|head| *head != "Keyway").collect();
        assert!(
            rest.len() <= sections(&mut plain, command).len(),
            "{rest:?}"
        );
    }
    let fields = info(&mut client, "INFO commandstats");
    assert!(fields.keys().any(|name| name.starts_with("cmdstat_")));
}
