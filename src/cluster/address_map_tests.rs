//! contract: R12

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn map(rules: &[(&str, &str)]) -> Result<AddressMap, AddressMapError> {
    let owned: Vec<_> = rules
        .iter()
        .map(|(from, to)| ((*from).to_owned(), (*to).to_owned()))
        .collect();
    AddressMap::parse(&owned)
}

#[track_caller]
fn check(rules: &[(&str, &str)], cases: &[(&str, &str)]) {
    let map = map(rules).expect("the rules are good");
    for (announced, expected) in cases {
        let endpoint: Endpoint = announced.parse().expect(announced);
        assert_eq!(map.map(&endpoint).to_string(), *expected, "{announced}");
    }
}

#[track_caller]
fn refused(rules: &[(&str, &str)], expected: &str) {
    let error = map(rules).expect_err("a rule is bad").to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn without_rules_nothing_changes() {
    check(&[], &[("172.28.0.1:6379", "172.28.0.1:6379")]);
    assert!(map(&[]).expect("no rule is no error").is_empty());
}

#[test]
fn each_kind_of_rule() {
    check(
        &[
            ("172.28.0.101:6379", "127.0.0.1:7001"),
            ("172.28.0.102:6379", "127.0.0.2"),
            ("172.28.0.103:6379", ":7003"),
            ("Redis-1", "localhost"),
            ("redis-2", "localhost:7002"),
            ("redis-3", ":7004"),
            ("[FD00::0:1]:6379", "[::1]:7001"),
            ("[fd00::2]", "[::1]"),
        ],
        &[
            ("172.28.0.101:6379", "127.0.0.1:7001"),
            ("172.28.0.101:6380", "172.28.0.101:6380"),
            ("172.28.0.102:6379", "127.0.0.2:6379"),
            ("172.28.0.103:6379", "172.28.0.103:7003"),
            ("redis-1:1", "localhost:1"),
            ("redis-2:1", "localhost:7002"),
            ("redis-3:1", "redis-3:7004"),
            ("[fd00::1]:6379", "[::1]:7001"),
            ("[fd00::2]:9", "[::1]:9"),
            ("elsewhere:9", "elsewhere:9"),
        ],
    );
    check(
        &[
            (":6379", ":7000"),
            ("*:6380", "gate:7001"),
            (":6381", "gate"),
        ],
        &[
            ("a:6379", "a:7000"),
            ("b:6380", "gate:7001"),
            ("c:6381", "gate:6381"),
            ("d:6382", "d:6382"),
        ],
    );
}

#[test]
fn networks_keep_the_host_bits() {
    check(
        &[
            ("172.28.0.0/24", "10.1.0.0/24"),
            ("172.28.4.0/22", "10.8.128.0/22"),
            ("fd00:1::/64", "fd00:2::/64"),
            ("192.168.7.0/24", "localhost"),
            ("192.168.8.0/24", ":7000"),
            ("172.30.0.9/32", "10.0.0.1/32"),
        ],
        &[
            ("172.28.0.101:6379", "10.1.0.101:6379"),
            ("172.28.7.255:1", "10.8.131.255:1"),
            ("172.28.8.0:1", "172.28.8.0:1"),
            ("[fd00:1::a:b]:6379", "[fd00:2::a:b]:6379"),
            ("[fd00:1:0:1::1]:1", "[fd00:1:0:1::1]:1"),
            ("192.168.7.3:7003", "localhost:7003"),
            ("192.168.8.3:6379", "192.168.8.3:7000"),
            ("172.30.0.9:1", "10.0.0.1:1"),
        ],
    );
}

#[test]
fn the_most_specific_rule_decides_alone() {
    let rules = [
        (":6379", ":1"),
        ("172.28.0.0/16", "10.0.0.0/16"),
        ("172.28.1.0/24", "10.9.1.0/24"),
        ("0.0.0.0/0", "fallback"),
        ("172.28.1.7", "seven"),
        ("172.28.1.7:6379", "exact:2"),
    ];
    let cases = [
        ("172.28.1.7:6379", "exact:2"),
        ("172.28.1.7:6380", "seven:6380"),
        ("172.28.1.8:6379", "10.9.1.8:6379"),
        ("172.28.2.8:6379", "10.0.2.8:6379"),
        ("8.8.8.8:6379", "fallback:6379"),
        ("name:6379", "name:1"),
    ];
    check(&rules, &cases);
    let mut reversed = rules;
    reversed.reverse();
    check(&reversed, &cases);
}

#[test]
fn rules_that_cannot_be_meant_are_refused() {
    refused(&[("172.28.0.0/24", "10.1.0.0/16")], "same prefix length");
    refused(&[("172.28.0.0/24", "fd00::/24")], "IPv4");
    refused(&[("172.28.0.5/24", "10.1.0.0/24")], "write `172.28.0.0/24`");
    refused(&[("172.28.0.0/24", "10.1.0.9/24")], "right side");
    refused(&[("172.28.0.0/24", "gate:7000")], "one endpoint");
    refused(&[("172.28.0.0/33", "10.1.0.0/33")], "no network");
    refused(&[("a:1", "10.1.0.0/24")], "only replace a network");
    refused(&[("a:1", "")], "right side: it is empty");
    refused(&[("", "a:1")], "left side: it is empty");
    refused(&[("*", "a:1")], "matches everything");
    refused(&[("a", "*")], "changes nothing");
    refused(&[("a:0", "b:1")], "1 to 65535");
    refused(&[("a:b:1", "b:1")], "needs brackets");
    refused(&[("fd00::1:6379", "b:1")], "needs brackets");
    refused(&[("b:1", "::1")], "needs brackets");
    refused(&[("[x]:1", "b:1")], "no IPv6");
    refused(&[("a b", "b:1")], "no host name has");
}

#[test]
fn two_rules_with_one_left_side_are_refused() {
    for (first, second) in [
        ("a:1", "A:1"),
        ("a", "a"),
        (":1", "*:1"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("[::1]:1", "[0:0::1]:1"),
        ("fd00::/64", "FD00:0::/64"),
        ("[fd00::1]", "[FD00:0::1]"),
    ] {
        refused(&[(first, "x"), (second, "x")], "same left side");
        refused(&[(first, "x"), (second, "y")], second);
    }
}

proptest! {
    #[test]
    fn a_network_moves_and_moves_back(address: u32, prefix in 0u8..=32, to: u32) {
        let network = |bits: u32| ipnet::Ipv4Net::new(Ipv4Addr::from(bits), prefix).expect("prefix is in range").trunc();
        let (from, to) = (network(address), network(to));
        let forth = map(&[(&from.to_string(), &to.to_string())]).expect("good rule");
        let back = map(&[(&to.to_string(), &from.to_string())]).expect("good rule");
        let announced = Endpoint { host: Ipv4Addr::from(address).to_string().into(), port: 1 };
        let dialled = forth.map(&announced);
        let there: Ipv4Addr = dialled.host.parse().expect("an address stays one");
        prop_assert!(to.contains(&there));
        prop_assert_eq!(back.map(&dialled), announced);
    }

    #[test]
    fn the_same_for_ipv6(address: u128, prefix in 0u8..=128, to: u128) {
        let network = |bits: u128| ipnet::Ipv6Net::new(Ipv6Addr::from(bits), prefix).expect("prefix is in range").trunc();
        let (from, to) = (network(address), network(to));
        let forth = map(&[(&from.to_string(), &to.to_string())]).expect("good rule");
        let back = map(&[(&to.to_string(), &from.to_string())]).expect("good rule");
        let announced = Endpoint { host: Ipv6Addr::from(address).to_string().into(), port: 1 };
        prop_assert_eq!(back.map(&forth.map(&announced)), announced);
    }

    #[test]
    fn any_text_is_read_or_refused(from in "\\PC{0,20}", to in "[a-z0-9.:/*\\[\\]]{0,20}") {
        let _ = map(&[(&from, &to)]);
        let _ = map(&[(&to, &from)]);
    }
}
