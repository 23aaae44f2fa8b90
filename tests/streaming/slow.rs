//! Slow and large commands of one client beside small ones of others.

use std::time::Duration;

use super::bystanders::{Bystanders, Waits};
use super::replies::keys_around;
use super::support::{Client, Cluster, Flavor, Keyway, each_flavor};
use super::value::{PATIENCE, alone, cluster, patient_keyway};

each_flavor! {
    slow_commands_delay_others_no_more_than_the_node_does,
}

/// A long script, a hash of 100 MiB, all of 200,000 keys: asked of the node itself, and through Keyway.
/// Others on its shard wait for the node; through Keyway once more where a large reply is fetched again.
/// Others on other shards do not notice.
///
/// contract: P8, F4
fn slow_commands_delay_others_no_more_than_the_node_does(flavor: Flavor) {
    let _alone = alone();
    let cluster = cluster(flavor);
    let keyway = patient_keyway(&cluster).start();
    let fill = "for i = 1, 100 do redis.call('HSET', KEYS[1], i, string.rep('v', 1048576)) end";
    let many = "for i = 1, 200000 do redis.call('SET', KEYS[1] .. i, 'v') end";
    // Counts, because in Valkey time stands still in a script.
    let spin = "local n = 0 for i = 1, 50000000 do n = n + 1 end return n";
    let mut direct = cluster.client_of_key("{slow}").with_patience(PATIENCE);
    // On a busy machine a second takes longer, and BUSY is not what is looked for.
    for primary in cluster.primaries() {
        let node = cluster.node(primary);
        node.ok("CONFIG SET busy-reply-threshold 120000");
    }
    for script in [fill, many] {
        let reply = direct.call_args(&["EVAL", script, "1", "{slow}"]);
        assert!(!reply.is_error(), "{reply}");
    }
    let (beside, elsewhere) = keys_around(&cluster, "{slow}");
    let around = (&beside, &elsewhere[..]);
    for (name, words) in [
        ("a long EVAL", &["EVAL", spin, "1", "{slow}"][..]),
        ("HGETALL of 100 MiB", &["HGETALL", "{slow}"]),
        ("KEYS with 200,000", &["KEYS", "{slow}*"]),
    ] {
        let mut through = keyway.client().with_patience(PATIENCE);
        let at_node = beside_of(&keyway, &cluster, around, &mut direct, words);
        let at_keyway = beside_of(&keyway, &cluster, around, &mut through, words);
        println!("{name}");
        for (place, (same, others)) in [("the node", at_node), ("keyway", at_keyway)] {
            println!(
                "    asked of {place}\n        same shard:   {same}\n        other shards: {others}"
            );
        }
        let (same, others) = at_keyway;
        let allowed = at_node.0.longest * 4 + Duration::from_secs(5);
        assert!(same.longest < allowed, "{name}: {same}");
        assert!(others.p99 < Duration::from_millis(500), "{name}: {others}");
    }
}

/// How long others wait, on the same shard and on other ones, while a client asks.
fn beside_of(
    keyway: &Keyway,
    cluster: &Cluster,
    (beside, elsewhere): (&String, &[String]),
    client: &mut Client,
    words: &[&str],
) -> (Waits, Waits) {
    assert_eq!(cluster.primaries().len(), elsewhere.len() + 1);
    let same = Bystanders::start(keyway, std::slice::from_ref(beside));
    let others = Bystanders::start(keyway, elsewhere);
    client.send_args(words);
    let reply = client.read_raw();
    assert_ne!(reply.first(), Some(&b'-'));
    (same.stop(), others.stop())
}
