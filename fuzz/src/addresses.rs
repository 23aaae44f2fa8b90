//! Rules of the address map, one a line, `announced > dialled`; after an empty line, addresses that
//! nodes announce. What is mapped once is what is mapped again.

use keyway::cluster::{AddressMap, Endpoint};

/// One input.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (rules, announced) = text.split_once("\n\n").unwrap_or((text, ""));
    let rules = rules.lines().filter_map(|line| line.split_once('>'));
    let rules: Vec<(String, String)> = rules
        .map(|(from, to)| (from.to_owned(), to.to_owned()))
        .collect();
    let Ok(map) = AddressMap::parse(&rules) else {
        return;
    };
    for (index, host) in announced.lines().enumerate() {
        let endpoint = Endpoint {
            host: host.into(),
            port: (index * 4096 + 6379) as u16,
        };
        assert_eq!(map.map(&endpoint), map.map(&endpoint));
        assert!(!map.is_empty() || map.map(&endpoint) == endpoint);
    }
}
