//! One node cannot: the reply says so, whatever the others could.

use super::support::{Flavor, each_flavor};
use super::{Stage, fill};

each_flavor! {
    a_full_node_makes_the_whole_write_an_error,
}

/// contract: M1
fn a_full_node_makes_the_whole_write_an_error(flavor: Flavor) {
    // Redis 6.2 has not all that is asked for.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    fill(&mut client, (0..30).map(|number| format!("full:{number}")));
    let node = cluster.node(cluster.primaries()[0]);
    node.ok("CONFIG SET maxmemory-policy noeviction maxmemory 1");
    let mut mset = vec!["MSET".to_owned()];
    let mut mget = vec!["MGET".to_owned()];
    for number in 0..30 {
        mset.extend([format!("full:{number}"), "new".to_owned()]);
        mget.push(format!("full:{number}"));
    }
    let written = client.call_args(&mset).to_string();
    let read = client.call_args(&mget);
    let single: Vec<String> = (0..30)
        .map(|number| client.call(&format!("SET full:{number} newer")).to_string())
        .collect();
    node.ok("CONFIG SET maxmemory 0");
    assert!(written.starts_with("-OOM "), "{written}");
    assert_eq!(read.items().len(), 30, "{read}");
    // The other shards did not suffer.
    let refused = single
        .iter()
        .filter(|reply| reply.starts_with("-OOM"))
        .count();
    let done = single.iter().filter(|reply| *reply == "+OK").count();
    assert!(
        refused > 0 && done > 0 && refused + done == 30,
        "{single:?}"
    );
    assert_eq!(client.call_args(&mset).to_string(), "+OK");
}
