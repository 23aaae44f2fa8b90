//! RANDOMKEY is fair to keys, not to nodes.

use super::support::{Flavor, each_flavor};
use super::{Stage, fill};

each_flavor! {
    every_key_is_as_likely,
    an_empty_cluster_has_none,
    what_is_sent_after_it_comes_after_it,
}

/// contract: M4
fn every_key_is_as_likely(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    // Nine of ten keys live on one node; the others are spread.
    fill(
        &mut client,
        (0..900).map(|number| format!("{{heavy}}{number}")),
    );
    fill(
        &mut client,
        (0..100).map(|number| format!("light:{number}")),
    );
    const DRAWS: usize = 1_500;
    let draws = client.pipeline(&vec!["RANDOMKEY"; DRAWS]);
    let light = draws
        .iter()
        .filter(|name| name.text().starts_with("light:"))
        .count();
    // 150 are expected with a deviation of 12 (the servers' own choice is not quite even); a choice by
    // node alone would give 1,000.
    assert!(
        (75..260).contains(&light),
        "{light} of {DRAWS} from a tenth of the keys"
    );
    let mut names: Vec<String> = draws.iter().map(|name| name.text()).collect();
    names.sort();
    names.dedup();
    assert!(names.len() > 400, "only {} different keys", names.len());
}

/// contract: M4
fn an_empty_cluster_has_none(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    client.expect("RANDOMKEY", "nil");
    client.call("HELLO 3");
    client.expect("RANDOMKEY", "null");
    // One key on one node is found each time, though most nodes are empty.
    client.expect("SET alone x", "+OK");
    for _ in 0..20 {
        client.expect("RANDOMKEY", "'alone'");
    }
}

/// It asked for sizes first and then for a key, which the client's next request had deleted.
///
/// contract: M4, R13
fn what_is_sent_after_it_comes_after_it(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    for _ in 0..20 {
        let replies = client.pipeline(&["SET alone x", "RANDOMKEY", "FLUSHALL", "RANDOMKEY"]);
        let replies: Vec<String> = replies.iter().map(|reply| reply.to_string()).collect();
        assert_eq!(replies, ["+OK", "'alone'", "+OK", "nil"]);
    }
}
