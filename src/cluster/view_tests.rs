//! Each form of the topology replies, with the odd cases that servers of several versions send.

use proptest::prelude::*;

use super::value::Value;
use super::view::{Answered, Seen, SeenRole, View};
use super::view_listing::{parse_shards, parse_slots};
use super::view_nodes::parse_nodes;
use super::{Endpoint, Health};
use crate::resp::Protocol;

fn seed() -> Endpoint {
    "seed:7000".parse().expect("an endpoint")
}

fn nodes(text: &str) -> View {
    let by = seed();
    parse_nodes(text.as_bytes(), answered(&by)).expect(text)
}

fn answered(by: &Endpoint) -> Answered<'_> {
    Answered {
        by,
        over_tls: false,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

fn number(number: i64) -> Value {
    Value::Integer(number)
}

fn place(node: &Seen) -> String {
    node.announced
        .as_ref()
        .map_or("nowhere".into(), |place| place.endpoint.to_string())
}

fn ranges(node: &Seen) -> Vec<(u16, u16)> {
    let pair = |range: &super::view::SlotRange| (range.first.number(), range.last.number());
    node.slots.iter().map(pair).collect()
}

/// As a Redis 7.0.15 printed it, in the middle of moving slot 5.
const REAL_NODES: &str = "\
ef92 127.0.0.1:27114@37114,h27114.example slave 6580 0 1795242808414 1 connected
585e 127.0.0.1:27112@37112,h27112.example master - 0 1795242809116 2 connected 5461-10922
1775 127.0.0.1:27113@37113,h27113.example master - 0 1795242809116 3 connected 10923-16383
6580 127.0.0.1:27111@37111,h27111.example myself,master - 0 1795242808000 1 connected 0-5460 [5->-585e]
";

#[test]
fn a_real_cluster_nodes() {
    let view = nodes(REAL_NODES);
    assert_eq!(view.viewer.as_deref(), Some("6580"));
    assert_eq!(view.nodes.len(), 4);
    assert_eq!(view.epoch(), 3);
    assert!(view.sees_majority());
    let replica = &view.nodes[0];
    assert_eq!(replica.role, SeenRole::Replica(Some("6580".into())));
    assert_eq!(place(replica), "127.0.0.1:27114");
    let myself = view.myself().expect("it says who it is");
    assert_eq!(ranges(myself), [(0, 5460)]);
    assert_eq!(myself.config_epoch, 1);
}

/// contract: R3 (the same odd addresses), R12
#[test]
fn addresses_in_cluster_nodes() {
    for (address, flags, expected) in [
        ("10.0.0.1:6379@16379", "master", "10.0.0.1:6379"),
        ("10.0.0.1:6379", "master", "10.0.0.1:6379"),
        (":6379@16379", "master", "seed:6379"),
        (":0@0", "master,noaddr", "nowhere"),
        ("10.0.0.1:6379@16379", "master,noaddr", "nowhere"),
        ("10.0.0.1:0@0", "master", "nowhere"),
        ("fd00::7:6379@16379", "master", "[fd00::7]:6379"),
        ("10.0.0.1:6379@16379,", "master", "10.0.0.1:6379"),
        (
            "10.0.0.1:6379@16379,host,shard-id=ab,tls-port=0",
            "master",
            "10.0.0.1:6379",
        ),
        ("?:6379@16379,host.example", "master", "host.example:6379"),
        ("?:6379@16379", "master", "nowhere"),
        ("a/b:6379@16379", "master", "nowhere"),
    ] {
        let view = nodes(&format!("aa {address} {flags} - 0 0 7 connected 1"));
        assert_eq!(place(&view.nodes[0]), expected, "{address}");
    }
}

#[test]
fn flags_in_cluster_nodes() {
    let one = |flags: &str, primary: &str| {
        let line = format!("aa 1.1.1.1:1@2 {flags} {primary} 0 0 7 connected");
        nodes(&line).nodes.remove(0)
    };
    assert_eq!(one("master,fail", "-").health, Health::Failed);
    let suspected = one("myself,master,fail?,nofailover,later-flag", "-");
    assert_eq!(suspected.health, Health::Online);
    assert!(suspected.is_suspected);
    let replica = |primary: Option<&str>| SeenRole::Replica(primary.map(Into::into));
    assert_eq!(one("slave", "bb").role, replica(Some("bb")));
    assert_eq!(one("replica,noflags", "-").role, replica(None));
    let meeting = "aa 1.1.1.1:1@2 handshake - 0 0 0 disconnected\n\
                   bb 1.1.1.2:1@2 master - 0 0 1 connected 0 2-3 7 [9-<-aa] [10->-aa]\n";
    let view = nodes(meeting);
    assert_eq!(view.nodes.len(), 1);
    assert_eq!(ranges(&view.nodes[0]), [(0, 0), (2, 3), (7, 7)]);
    assert_eq!(view.viewer, None);
}

#[test]
fn in_a_minority_the_majority_looks_gone() {
    let view = nodes(
        "aa 1.1.1.1:1@2 myself,master - 0 0 1 connected 0-1\n\
         bb 1.1.1.2:1@2 master,fail? - 0 0 2 disconnected 2-3\n\
         cc 1.1.1.3:1@2 master,fail - 0 0 3 disconnected 4-5\n\
         dd 1.1.1.4:1@2 slave aa 0 0 1 connected\n",
    );
    assert!(!view.sees_majority());
}

/// contract: F8
#[test]
fn what_is_no_cluster_nodes_is_refused() {
    let by = seed();
    for bad in [
        "",
        "\n\n",
        "aa 1.1.1.1:1@2 master - 0 0",
        "aa nowhere master - 0 0 1 connected",
        "aa 1.1.1.1:x@2 master - 0 0 1 connected",
        "aa 1.1.1.1:1@2 master - 0 0 one connected",
        "aa 1.1.1.1:1@2 master - 0 0 1 connected 16384",
        "aa 1.1.1.1:1@2 master - 0 0 1 connected 5-4",
        "aa 1.1.1.1:1@2 master - 0 0 1 connected x",
        "aa 1.1.1.1:1@2 master - 0 0 1 connected 1-2-3",
    ] {
        assert!(
            parse_nodes(bad.as_bytes(), answered(&by)).is_err(),
            "{bad:?}"
        );
    }
    assert!(parse_nodes(b"\xff\xfe", answered(&by)).is_err());
    let many = "0 ".repeat(20_000);
    let line = format!("aa 1.1.1.1:1@2 master - 0 0 1 connected {many}");
    assert!(parse_nodes(line.as_bytes(), answered(&by)).is_err());
    let twice = "aa 1.1.1.1:1@2 master - 0 0 1 connected 1\naa 1.1.1.1:9@2 slave - 0 0 1 connected";
    assert_eq!(nodes(twice).nodes.len(), 1);
}

fn shard_node(fields: &[(&str, Value)]) -> Value {
    let mut flat = vec![text("id"), text("aa"), text("role"), text("master")];
    for (key, value) in fields {
        flat.push(text(key));
        flat.push(value.clone());
    }
    Value::List(flat)
}

fn shard(slots: &[i64], members: Vec<Value>) -> Value {
    let slots = slots.iter().map(|slot| number(*slot)).collect();
    list([
        text("slots"),
        Value::List(slots),
        text("nodes"),
        Value::List(members),
    ])
}

fn member(id: &str, role: &str, health: &str) -> Value {
    list([
        text("id"),
        text(id),
        text("port"),
        number(6379),
        text("ip"),
        text("10.0.0.1"),
        text("endpoint"),
        text("10.0.0.1"),
        text("role"),
        text(role),
        text("replication-offset"),
        number(0),
        text("health"),
        text(health),
    ])
}

#[test]
fn endpoints_in_cluster_shards() {
    let by = seed();
    let check = |fields: &[(&str, Value)], plain: &str, tls: &str| {
        for (over_tls, expected) in [(false, plain), (true, tls)] {
            let answered = Answered { by: &by, over_tls };
            let reply = list([shard(&[0, 5], vec![shard_node(fields)])]);
            let view = parse_shards(&reply, answered).expect("a good reply");
            assert_eq!(place(&view.nodes[0]), expected, "{fields:?} {over_tls}");
        }
    };
    let (port, tls) = (("port", number(1)), ("tls-port", number(2)));
    let ip = ("ip", text("10.0.0.1"));
    let at = |endpoint: Value| ("endpoint", endpoint);
    let host = ("hostname", text("h.example"));
    check(
        &[port.clone(), ip.clone(), at(text("h.example"))],
        "h.example:1",
        "h.example:1",
    );
    check(
        &[port.clone(), tls.clone(), at(text("10.0.0.1"))],
        "10.0.0.1:1",
        "10.0.0.1:2",
    );
    check(
        &[tls.clone(), at(text("fd00::1"))],
        "[fd00::1]:2",
        "[fd00::1]:2",
    );
    check(
        &[port.clone(), ip.clone(), at(text(""))],
        "seed:1",
        "seed:1",
    );
    check(
        &[port.clone(), ip.clone(), at(Value::Null)],
        "seed:1",
        "seed:1",
    );
    check(
        &[port.clone(), ip.clone(), at(text("?"))],
        "10.0.0.1:1",
        "10.0.0.1:1",
    );
    check(
        &[port.clone(), host, at(text("?"))],
        "h.example:1",
        "h.example:1",
    );
    check(&[port.clone(), at(text("?"))], "nowhere", "nowhere");
    check(&[port, ip], "10.0.0.1:1", "10.0.0.1:1");
    check(&[at(text("10.0.0.1"))], "nowhere", "nowhere");
    check(
        &[("port", number(70000)), at(text("10.0.0.1"))],
        "nowhere",
        "nowhere",
    );
}

#[test]
fn roles_and_health_in_cluster_shards() {
    let by = seed();
    let reply = list([
        shard(
            &[0, 5, 9, 9],
            vec![
                member("old", "master", "fail"),
                member("new", "master", "online"),
                member("slow", "replica", "loading"),
            ],
        ),
        shard(&[6, 8], vec![member("gone", "primary", "failed")]),
        shard(&[], vec![member("lone", "slave", "online")]),
    ]);
    let view = parse_shards(&reply, answered(&by)).expect("a good reply");
    let node = |id: &str| view.nodes.iter().find(|node| &*node.id == id).expect(id);
    assert_eq!(ranges(node("old")), []);
    assert_eq!(node("old").health, Health::Failed);
    assert_eq!(ranges(node("new")), [(0, 5), (9, 9)]);
    assert_eq!(node("slow").role, SeenRole::Replica(Some("new".into())));
    assert_eq!(node("slow").health, Health::Loading);
    assert_eq!(ranges(node("gone")), [(6, 8)]);
    assert_eq!(node("gone").health, Health::Failed);
    assert_eq!(node("lone").role, SeenRole::Replica(None));
    let zoned = shard_node(&[
        ("availability-zone", text("az1")),
        ("later-field", list([text("x")])),
    ]);
    let view = parse_shards(&list([shard(&[], vec![zoned])]), answered(&by)).expect("good");
    assert_eq!(view.nodes[0].zone.as_deref(), Some("az1"));
}

fn slots_node(host: Value, port: i64, id: &str, other: Value) -> Value {
    list([host, number(port), text(id), other])
}

#[test]
fn every_form_of_cluster_slots() {
    let by = seed();
    let none = || Value::List(Vec::new());
    let meta = |key: &str, value: &str| list([text(key), text(value)]);
    let reply = list([
        list([
            number(0),
            number(5),
            slots_node(text("h.example"), 1, "aa", meta("ip", "10.0.0.1")),
            slots_node(text("?"), 2, "bb", meta("ip", "10.0.0.2")),
        ]),
        list([
            number(6),
            number(6),
            slots_node(Value::Null, 3, "cc", meta("ip", "10.0.0.3")),
            slots_node(text("?"), 4, "dd", meta("hostname", "d.example")),
        ]),
        list([
            number(9),
            number(9),
            slots_node(text("h.example"), 1, "aa", none()),
        ]),
        list([
            number(10),
            number(10),
            list([text("fd00::5"), number(5)]),
            slots_node(text("?"), 6, "ff", none()),
        ]),
        list([number(11), number(11)]),
        list([
            number(12),
            number(12),
            slots_node(text(""), 7, "gg", none()),
        ]),
    ]);
    let view = parse_slots(&reply, answered(&by)).expect("a good reply");
    let found: Vec<_> = view
        .nodes
        .iter()
        .map(|node| (&*node.id, place(node), ranges(node)))
        .collect();
    let expected = [
        ("aa", "h.example:1".into(), vec![(0, 5), (9, 9)]),
        ("bb", "10.0.0.2:2".into(), vec![]),
        ("cc", "seed:3".into(), vec![(6, 6)]),
        ("dd", "d.example:4".into(), vec![]),
        ("[fd00::5]:5", "[fd00::5]:5".into(), vec![(10, 10)]),
        ("ff", "nowhere".into(), vec![]),
        ("gg", "seed:7".into(), vec![(12, 12)]),
    ];
    assert_eq!(found, expected);
    assert_eq!(view.nodes[1].role, SeenRole::Replica(Some("aa".into())));
}

/// contract: F8
#[test]
fn what_is_no_listing_is_refused() {
    let by = seed();
    for bad in [
        Value::Null,
        number(1),
        list([number(1)]),
        list([list([])]),
        list([shard(&[0], vec![])]),
        list([shard(&[0, 16384], vec![])]),
        list([shard(&[-1, 5], vec![])]),
        list([shard(&[5, 4], vec![])]),
        list([shard(&[], vec![list([text("id"), text("aa")])])]),
        list([shard(&[], vec![list([text("role"), text("master")])])]),
        list([list([number(0), text("x")])]),
        list([list([number(0), number(1), number(2)])]),
        list([list([number(0), number(1), list([text("a")])])]),
        list([list([number(0), number(1), list([text("a"), text("b")])])]),
    ] {
        assert!(parse_shards(&bad, answered(&by)).is_err(), "{bad:?}");
        assert!(parse_slots(&bad, answered(&by)).is_err(), "{bad:?}");
    }
}

#[test]
fn nodes_know_the_epochs_and_shards_the_endpoints() {
    let by = seed();
    let reply = list([shard(
        &[0, 5],
        vec![
            member("6580", "master", "online"),
            member("ef92", "replica", "loading"),
        ],
    )]);
    let listing = parse_shards(&reply, answered(&by)).expect("a good reply");
    let view = nodes(REAL_NODES).joined(listing);
    let node = |id: &str| view.nodes.iter().find(|node| &*node.id == id).expect(id);
    assert_eq!(place(node("6580")), "10.0.0.1:6379");
    assert_eq!(place(node("585e")), "127.0.0.1:27112");
    assert_eq!(node("ef92").health, Health::Loading);
    assert_eq!(ranges(node("6580")), [(0, 5460)]);
    assert_eq!(node("1775").config_epoch, 3);
}

#[test]
fn both_protocol_versions_give_one_view() {
    let by = seed();
    let resp2 = b"*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5\r\n$5\r\nnodes\r\n*1\r\n*8\r\n$2\r\nid\r\n$2\r\naa\r\n$4\r\nport\r\n:1\r\n$8\r\nendpoint\r\n$-1\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
    let resp3 = b"*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n:5\r\n$5\r\nnodes\r\n*1\r\n%4\r\n$2\r\nid\r\n$2\r\naa\r\n$4\r\nport\r\n:1\r\n$8\r\nendpoint\r\n_\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";
    let read = |bytes: &[u8], protocol| {
        let value = Value::decode(bytes, protocol).expect("well formed");
        parse_shards(&value, answered(&by)).expect("a good reply")
    };
    let view = read(resp2, Protocol::Resp2);
    assert_eq!(place(&view.nodes[0]), "seed:1");
    assert_eq!(view, read(resp3, Protocol::Resp3));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        (-2i64..20000).prop_map(Value::Integer),
        prop_oneof![
            Just("slots"),
            Just("nodes"),
            Just("id"),
            Just("role"),
            Just("endpoint"),
            Just("?"),
            Just("")
        ]
        .prop_map(text),
        proptest::collection::vec(any::<u8>(), 0..6).prop_map(Value::Text),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        proptest::collection::vec(inner, 0..6).prop_map(Value::List)
    })
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(value in any_value()) {
        let by = seed();
        let _ = parse_shards(&value, answered(&by));
        let _ = parse_slots(&value, answered(&by));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "([a-z0-9:@,.?\\[\\]>< -]{0,60}\n){0,4}", cut in 0usize..400) {
        let by = seed();
        let _ = parse_nodes(text.as_bytes(), answered(&by));
        let _ = parse_nodes(REAL_NODES.get(..cut).unwrap_or_default().as_bytes(), answered(&by));
    }
}
