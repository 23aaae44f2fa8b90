//! Two listeners of one Keyway, each with its password, policy and name.

use std::net::{Ipv4Addr, SocketAddr};

use super::scene::{calls_by_role, cluster, fill, read_all, wait_for_serving};
use super::support::ports::Port;
use super::support::{Client, Flavor, Keyway, each_flavor};

each_flavor!(two_listeners);

fn two_listeners(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let port = Port::lease();
    let reads = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    let keyway = Keyway::before(&cluster.seeds())
        .set("listen.password", "\"one\"")
        .env("KEYWAY_LISTENERS_1_NAME", "reads")
        .env("KEYWAY_LISTENERS_1_ADDRESS", &reads.to_string())
        .env("KEYWAY_LISTENERS_1_PASSWORD", "two")
        .env("KEYWAY_LISTENERS_1_READ_POLICY", "prefer-replica")
        .start();
    wait_for_serving(&keyway, 1);

    let mut writer = keyway.client();
    writer.expect("GET a", "-NOAUTH Authentication required.");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    writer.expect("AUTH two", wrong);
    writer.expect("AUTH one", "+OK");
    let mut reader = Client::connect(reads);
    reader.expect("GET a", "-NOAUTH Authentication required.");
    reader.expect("AUTH one", wrong);
    reader.expect("AUTH two", "+OK");

    let keys = fill(&cluster, &mut writer, 10);
    read_all(&mut writer, &keys);
    assert_eq!(calls_by_role(&cluster, 1, "get"), (10, 0));
    read_all(&mut reader, &keys);
    assert_eq!(calls_by_role(&cluster, 1, "get"), (10, 10));
    // The second listener takes writes as well; they go to the primary.
    reader.expect("SET key:0 key:0", "+OK");

    // Each tells its own address, and both see all clients.
    let list = writer.call("CLIENT LIST").text();
    for address in [keyway.addr(), reads] {
        assert!(list.contains(&format!("laddr={address}")), "{list}");
        let mut client = Client::connect(address);
        client.call(if address == reads {
            "AUTH two"
        } else {
            "AUTH one"
        });
        let slots = client.call("CLUSTER SLOTS").to_string();
        assert!(slots.contains(&format!(":{}", address.port())), "{slots}");
        let info = client.call("INFO server").text();
        assert!(
            info.contains(&format!("tcp_port:{}", address.port())),
            "{info}"
        );
    }
    let metric = |name: &str| {
        keyway.metric(&format!(
            "keyway_listener_connections_total{{listener=\"{name}\"}}"
        ))
    };
    assert_eq!((metric("main"), metric("reads")), (2.0, 2.0));
    let log = keyway.log();
    assert!(
        log.contains(&format!("{reads} (reads, reads: prefer-replica)")),
        "{log}"
    );
    // RESET takes the listener's own rule back.
    reader.expect("RESET", "+RESET");
    reader.expect("GET a", "-NOAUTH Authentication required.");
}
