//! A listener on `[::]` takes clients of both families; those of IPv4 are shown as what they are.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};

use super::support::ports::Port;
use super::support::{Client, FakeCluster, Keyway};
use super::{connect_from, read_line, read_to_end};

#[test]
fn a_client_of_ipv4_on_an_ipv6_socket() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return println!("no IPv6 here: not checked");
    }
    let fake = FakeCluster::start(1);
    let ports = [Port::lease(), Port::lease()];
    let [plain, behind] = ports.each_ref().map(Port::number);
    let _keyway = Keyway::before(&fake.seeds())
        .env("KEYWAY_LISTENERS_1_ADDRESS", &format!("[::]:{plain}"))
        .env("KEYWAY_LISTENERS_1_CLIENTS_FROM", "127.0.0.1")
        .env("KEYWAY_LISTENERS_2_ADDRESS", &format!("[::]:{behind}"))
        .env("KEYWAY_LISTENERS_2_PROXY_PROTOCOL_FROM", "127.0.0.9")
        .start();
    let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut client = Client::connect(at(plain));
    let info = client.call("CLIENT INFO").text();
    assert!(info.contains(" addr=127.0.0.1:"), "{info}");
    assert!(
        info.contains(&format!(" laddr=127.0.0.1:{plain} ")),
        "{info}"
    );
    let nodes = client.call("CLUSTER NODES").text();
    assert!(nodes.contains(&format!(" 127.0.0.1:{plain}@")), "{nodes}");
    // The rules knew it before.
    assert_eq!(read_to_end(&mut connect_from(2, at(plain))), "");
    let mut stream = connect_from(9, at(behind));
    stream
        .write_all(b"PROXY UNKNOWN\r\nCLIENT INFO\r\n")
        .expect("connected");
    read_line(&mut stream);
    let info = read_line(&mut stream);
    assert!(info.contains(" addr=127.0.0.9:"), "{info}");
    assert!(
        info.contains(&format!(" laddr=127.0.0.1:{behind} ")),
        "{info}"
    );
}
