//! Large replies on real nodes.

use std::io::Read;
use std::time::{Duration, Instant};

use super::bystanders::Bystanders;
use super::support::{Client, Cluster, Flavor, each_flavor, eventually};
use super::value::{
    GROWTH_MAX, LARGEST, PATIENCE, alone, any_client, cluster, patient, patient_keyway, place,
    read_body, read_value,
};

each_flavor! {
    the_largest_value_passes_in_little_memory,
    a_slow_reader_of_the_largest_value_holds_up_nobody,
    many_slow_readers_are_bounded,
}

/// Keys on the shard of `key`, and one on each other.
pub fn keys_around(cluster: &Cluster, key: &str) -> (String, Vec<String>) {
    let shard = cluster.primary_of_key(key);
    let of = |wanted: usize| {
        let mut names = (0..).map(|number: u32| format!("around:{{{number}}}"));
        names
            .find(|name| cluster.primary_of_key(name) == Some(wanted))
            .expect("some key lies there")
    };
    let others = cluster
        .primaries()
        .into_iter()
        .filter(|node| Some(*node) != shard);
    (
        of(shard.expect("the key has a primary")),
        others.map(of).collect(),
    )
}

/// Some time passes.
fn look_on() {
    let began = Instant::now();
    eventually("some time passes", Duration::from_secs(10), || {
        began.elapsed() > Duration::from_secs(2)
    });
}

fn wait_for_reply(client: &Client) {
    let stream = patient(client);
    stream.peek(&mut [0]).expect("the reply begins");
}

/// contract: P8
fn the_largest_value_passes_in_little_memory(flavor: Flavor) {
    let _alone = alone();
    let cluster = cluster(flavor);
    place(&cluster, "large", LARGEST);
    let keyway = patient_keyway(&cluster).start();
    let mut client = any_client(&keyway, flavor).with_patience(PATIENCE);
    client.call("GET none");
    let before = keyway.resident_bytes();
    let began = Instant::now();
    client.send_raw("GET large\r\nSTRLEN large\r\nGET none:{large}\r\n");
    read_value(&mut patient(&client), LARGEST);
    let took = began.elapsed();
    client.expect_next(&format!(":{LARGEST}"));
    assert!(["nil", "null"].contains(&client.read().to_string().as_str()));
    let growth = keyway.most_resident_bytes().saturating_sub(before);
    println!(
        "GET of 512 MiB: {took:.2?}; grew by at most {} KiB",
        growth >> 10
    );
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    assert_eq!(keyway.metric("keyway_streamed_replies_total"), 1.0);
}

/// contract: P8, F6
fn a_slow_reader_of_the_largest_value_holds_up_nobody(flavor: Flavor) {
    let _alone = alone();
    let cluster = cluster(flavor);
    place(&cluster, "large", LARGEST);
    let keyway = patient_keyway(&cluster).start();
    let (beside, elsewhere) = keys_around(&cluster, "large");
    let watch = |name: &str, act: &mut dyn FnMut()| {
        let same = Bystanders::start(&keyway, std::slice::from_ref(&beside));
        let others = Bystanders::start(&keyway, &elsewhere);
        act();
        let (same, others) = (same.stop(), others.stop());
        println!("{name}\n    same shard:   {same}\n    other shards: {others}");
        (same, others)
    };
    watch("nobody reads", &mut look_on);
    // What the server itself does to others when it is asked for so much.
    let mut direct = cluster.client_of_key("large");
    watch(
        "the node is asked directly, until the reply begins",
        &mut || {
            direct.send("GET large");
            wait_for_reply(&direct);
        },
    );
    watch("it does not read on", &mut look_on);
    drop(direct);
    let before = keyway.resident_bytes();
    let mut slow = keyway.client();
    // Asking again, so that nobody waits for this client, costs the node the same once more.
    let (_, others) = watch("keyway is asked, until the reply begins", &mut || {
        slow.send("GET large");
        wait_for_reply(&slow);
    });
    assert!(others.p99 < Duration::from_secs(1), "{others}");
    let (same, others) = watch("it does not read on", &mut look_on);
    for waits in [same, others] {
        assert!(waits.p99 < Duration::from_secs(1), "{waits}");
        assert!(waits.longest < Duration::from_secs(10), "{waits}");
    }
    let growth = keyway.most_resident_bytes().saturating_sub(before);
    println!("grew by at most {} KiB", growth >> 10);
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
    // It goes on after all.
    read_value(&mut patient(&slow), LARGEST);
    let mut other = keyway.client();
    other.expect("STRLEN large", &format!(":{LARGEST}"));
    let growth = keyway.most_resident_bytes().saturating_sub(before);
    assert!(growth < GROWTH_MAX, "grew by {growth} bytes");
}

/// A hundred clients ask for 2 MiB each and do not read; then they do.
///
/// contract: P8, F6
fn many_slow_readers_are_bounded(flavor: Flavor) {
    const LEN: usize = 2 << 20;
    let _alone = alone();
    let cluster = cluster(flavor);
    place(&cluster, "many", LEN);
    let keyway = patient_keyway(&cluster)
        .set("limits.bulk_connections", "100")
        .set("limits.stream_buffer_bytes", "\"8mb\"")
        .start();
    let mut other = keyway.client();
    other.expect("GET none", "nil");
    let before = keyway.resident_bytes();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = keyway.client();
            client.send("GET many");
            client
        })
        .collect();
    let mut heads = Vec::new();
    for client in &clients {
        let mut stream = patient(client);
        let mut head = [0; 10];
        stream.read_exact(&mut head).expect("every reply begins");
        assert_eq!(&head, b"$2097152\r\n");
        heads.push(stream);
        other.expect("GET none", "nil");
    }
    let growth = keyway.most_resident_bytes().saturating_sub(before);
    println!(
        "100 slow readers of 2 MiB: grew by at most {} KiB",
        growth >> 10
    );
    // 200 MiB were asked for. 256 KiB of each wait, twice while they are read; and 8 MiB of the first.
    assert!(growth < GROWTH_MAX + (32 << 20), "grew by {growth} bytes");
    for mut stream in heads {
        read_body(&mut stream, LEN);
    }
    other.expect("GET none", "nil");
}
