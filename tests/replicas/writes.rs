//! A client's own writes: its reads do not overtake them, and may read them.

use super::scene::{before, calls_by_role, cluster, fill, start};
use super::support::{Flavor, each_flavor, eventually};
use std::time::Duration;

each_flavor!(
    a_pipeline_reads_what_it_wrote,
    what_was_written_is_read_for_a_while,
    transactions_stay_on_primaries,
);

/// Written and read in one pipeline: the reads go behind the writes; the same with a write that goes
/// to all primaries.
///
/// contract: R13
fn a_pipeline_reads_what_it_wrote(flavor: Flavor) {
    let cluster = cluster(flavor, 3, 1);
    let keyway = start(before(&cluster, "prefer-replica"), 3);
    let mut client = keyway.client();
    for round in 0..50 {
        let mut commands = Vec::new();
        for key in 0..20 {
            commands.push(format!("GET k{key}"));
            commands.push(format!("SET k{key} {round}"));
            commands.push(format!("GET k{key}"));
        }
        commands.push("MSET k1 x k2 x k3 x".to_owned());
        commands.push("MGET k1 k2 k3".to_owned());
        let replies = client.pipeline(&commands);
        for key in 0..20 {
            let read = replies[key * 3 + 2].text();
            assert_eq!(read, round.to_string(), "k{key} in round {round}");
            // Before it is an earlier value or none: never that of the write behind it.
            let earlier = replies[key * 3].to_string();
            assert_ne!(earlier, format!("'{round}'"), "k{key} in round {round}");
        }
        assert_eq!(replies[61].to_string(), "['x' 'x' 'x']");
    }
    let replies = client.pipeline(&["SET a 1", "FLUSHALL", "GET a", "EXISTS k1 k2"]);
    assert_eq!(replies[2].to_string(), "nil");
    assert_eq!(replies[3].to_string(), ":0");
    assert!(keyway.metric("keyway_primary_reads_total{kind=\"unanswered_write\"}") > 0.0);
}

/// With `read_your_writes` a client reads what it wrote although the replica is stopped from getting
/// it; other clients, and the same one later, read from the replica.
fn what_was_written_is_read_for_a_while(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let options = before(&cluster, "prefer-replica").set("listen.read_your_writes", "\"1s\"");
    let keyway = start(options, 1);
    let mut client = keyway.client();
    fill(&cluster, &mut client, 1);
    for round in 0..100 {
        client.expect(&format!("SET key:0 {round}"), "+OK");
        client.expect("GET key:0", &format!("'{round}'"));
    }
    assert_eq!(calls_by_role(&cluster, 1, "get"), (100, 0));
    assert_eq!(
        keyway.metric("keyway_primary_reads_total{kind=\"recent_write\"}"),
        100.0
    );
    keyway.client().call("GET key:0");
    assert_eq!(calls_by_role(&cluster, 1, "get"), (100, 1));
    eventually(
        "the client reads from the replica",
        Duration::from_secs(5),
        || {
            client.expect("GET key:0", "'99'");
            calls_by_role(&cluster, 1, "get").1 == 2
        },
    );
}

/// contract: T1
fn transactions_stay_on_primaries(flavor: Flavor) {
    let cluster = cluster(flavor, 1, 1);
    let keyway = start(before(&cluster, "prefer-replica"), 1);
    let mut client = keyway.client();
    fill(&cluster, &mut client, 1);
    let replies = client.pipeline(&["MULTI", "GET key:0", "EXEC"]);
    if replies[0].is_error() {
        // Not served yet.
        return;
    }
    assert_eq!(replies[2].to_string(), "['key:0']");
    assert_eq!(calls_by_role(&cluster, 1, "get"), (1, 0));
}
