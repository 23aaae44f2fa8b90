//! Every way that a command can take is its own user's.

use crate::scene::{DEADLINE, client, client_resp3, connections_of, mapped, service, shared};
use crate::support::{Flavor, Keyway, each_flavor, eventually};

each_flavor!(
    each_command_goes_as_its_user,
    private_connections_are_the_users,
    subscriptions_are_the_users,
    tracking_is_the_users,
    large_values_are_the_users,
    reads_from_replicas_are_the_users,
    those_without_a_mapping_are_the_service_user,
    who_names_no_user_may_have_a_mapping,
);

fn keyway(flavor: Flavor) -> Keyway {
    mapped(shared(flavor)).start()
}

/// contract: C1
fn each_command_goes_as_its_user(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    for (client, own, other) in [(&mut a, "a", "b"), (&mut b, "b", "a")] {
        client.expect("ACL WHOAMI", &format!("'{own}'"));
        client.expect(&format!("SET {own}:plain 1"), "+OK");
        client.expect(&format!("GET {own}:plain"), "'1'");
        client.expect_error(&format!("SET {other}:plain 1"), "NOPERM");
        client.expect_error(&format!("GET {other}:plain"), "NOPERM");
        // Split by slot.
        client.expect(
            &format!("MSET {own}:split:1 x {own}:split:2 y {own}:split:3 z"),
            "+OK",
        );
        client.expect(
            &format!("MGET {own}:split:1 {own}:split:2 {own}:split:3"),
            "['x' 'y' 'z']",
        );
        client.expect_error(&format!("MGET {own}:split:1 {other}:split:2"), "NOPERM");
        client.expect(
            &format!("DEL {own}:split:1 {own}:split:2 {own}:split:3 {own}:none"),
            ":3",
        );
        // Scripts.
        let script = "return redis.call('get', KEYS[1])";
        client.call_args(&["SET", &format!("{own}:script"), "s"]);
        let reply = client.call_args(&["EVAL", script, "1", &format!("{own}:script")]);
        assert_eq!(reply.to_string(), "'s'");
        let reply = client.call_args(&["EVAL", script, "1", &format!("{other}:script")]);
        assert!(
            reply.to_string().contains("NOPERM") || reply.is_error(),
            "{reply}"
        );
        // Every node.
        assert!(!client.call("DBSIZE").is_error());
        // A transaction, and one that the node refuses.
        client.expect("MULTI", "+OK");
        client.expect(&format!("SET {own}:multi 1"), "+QUEUED");
        client.expect(&format!("INCR {own}:multi"), "+QUEUED");
        client.expect("EXEC", "[+OK :2]");
        client.expect("MULTI", "+OK");
        client.expect(&format!("SET {other}:multi 1"), "+QUEUED");
        assert!(client.call("EXEC").is_error());
    }
    // Pipelined.
    let commands: Vec<String> = (0..200)
        .map(|n| format!("INCR a:count:{}", n % 10))
        .collect();
    let replies = a.pipeline(&commands);
    assert!(replies.iter().all(|reply| !reply.is_error()), "{replies:?}");
    let cluster = shared(flavor);
    assert!(!connections_of(cluster, "up-a").is_empty());
    assert!(!connections_of(cluster, "up-b").is_empty());
}

/// contract: C1 T3 T5 T8
fn private_connections_are_the_users(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    for (client, own, other) in [(&mut a, "a", "b"), (&mut b, "b", "a")] {
        let mut pusher = self::client(&keyway, own);
        client.send(&format!("BLPOP {own}:list 0"));
        pusher.expect(&format!("RPUSH {own}:list x"), ":1");
        client.expect_next(&format!("['{own}:list' 'x']"));
        client.expect_error(&format!("BLPOP {other}:list 0"), "NOPERM");
        client.expect(&format!("WATCH {own}:watched"), "+OK");
        pusher.expect(&format!("SET {own}:watched 1"), "+OK");
        client.expect("MULTI", "+OK");
        client.expect(&format!("SET {own}:watched 2"), "+QUEUED");
        client.expect("EXEC", "nil-array");
        client.expect_error(&format!("WATCH {other}:watched"), "NOPERM");
        client.expect(&format!("SET {own}:wait 1"), "+OK");
        let reply = client.call("WAIT 0 100");
        assert!(!reply.is_error(), "{reply}");
    }
    // Where one was lent and came back, the other finds none.
    a.expect("BLPOP a:nothing 0.01", "nil-array");
    b.expect("BLPOP b:nothing 0.01", "nil-array");
    b.expect_error("BLPOP a:nothing 0.01", "NOPERM");
}

/// contract: C1 S1
fn subscriptions_are_the_users(flavor: Flavor) {
    let keyway = keyway(flavor);
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    a.expect("SUBSCRIBE a:news", "['subscribe' 'a:news' :1]");
    b.expect("PSUBSCRIBE b:*", "['psubscribe' 'b:*' :1]");
    a.expect_error("SUBSCRIBE b:news", "NOPERM");
    b.expect_error("SUBSCRIBE a:news", "NOPERM");
    let (mut of_a, mut of_b) = (client(&keyway, "a"), client(&keyway, "b"));
    of_a.expect("PUBLISH a:news 1", ":1");
    a.expect_next("['message' 'a:news' '1']");
    of_b.expect_error("PUBLISH a:news 2", "NOPERM");
    of_b.expect("PUBLISH b:news 3", ":1");
    b.expect_next("['pmessage' 'b:*' 'b:news' '3']");
    let mut shard = client_resp3(&keyway, "a");
    shard.expect("SSUBSCRIBE a:shard", ">['ssubscribe' 'a:shard' :1]");
    of_a.expect("SPUBLISH a:shard 4", ":1");
    shard.expect_next(">['smessage' 'a:shard' '4']");
}

/// contract: C1 S6
fn tracking_is_the_users(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut a = client_resp3(&keyway, "a");
    let mut writer = client(&keyway, "a");
    writer.expect("SET a:tracked 1", "+OK");
    a.expect("CLIENT TRACKING on", "+OK");
    a.expect("GET a:tracked", "'1'");
    a.expect_error("GET b:tracked", "NOPERM");
    writer.expect("SET a:tracked 2", "+OK");
    let push = a.read().to_string();
    assert!(
        push.contains("invalidate") && push.contains("a:tracked"),
        "{push}"
    );
}

/// contract: C1 P8
fn large_values_are_the_users(flavor: Flavor) {
    let keyway = keyway(flavor);
    let value = "x".repeat(3 << 20);
    for (own, other) in [("a", "b"), ("b", "a")] {
        let mut client = client(&keyway, own);
        client.expect("ACL WHOAMI", &format!("'{own}'"));
        let reply = client.call_args(&["SET", &format!("{own}:large"), &value]);
        assert_eq!(reply.to_string(), "+OK");
        for _ in 0..2 {
            let reply = client.call_args(&["GET", &format!("{own}:large")]);
            assert_eq!(reply.bytes().map(<[u8]>::len), Some(value.len()));
        }
        let reply = client.call_args(&["SET", &format!("{other}:large"), &value]);
        assert!(reply.to_string().contains("NOPERM"), "{reply}");
    }
}

/// contract: C1
fn reads_from_replicas_are_the_users(flavor: Flavor) {
    let cluster = shared(flavor);
    let keyway = mapped(cluster)
        .set("listen.read_policy", "\"prefer-replica\"")
        .start();
    let (mut a, mut b) = (client(&keyway, "a"), client(&keyway, "b"));
    a.expect("SET a:replica 1", "+OK");
    b.expect("SET b:replica 1", "+OK");
    eventually("a replica is read from", DEADLINE, || {
        a.expect("GET a:replica", "'1'");
        b.expect("GET b:replica", "'1'");
        a.expect_error("GET b:replica", "NOPERM");
        b.expect_error("GET a:replica", "NOPERM");
        keyway.metric("keyway_replica_reads_total") > 10.0
    });
}

fn those_without_a_mapping_are_the_service_user(flavor: Flavor) {
    let keyway = keyway(flavor);
    let mut nobody = keyway.client();
    nobody.expect("SET service:mapping 1", "+OK");
    nobody.expect_error("SET a:mapping 1", "NOPERM");
    nobody.expect("AUTH a p", "+OK");
    nobody.expect("SET a:mapping 1", "+OK");
    nobody.expect_error("SET service:mapping 1", "NOPERM");
    nobody.expect("RESET", "+RESET");
    nobody.expect("GET service:mapping", "'1'");
}

/// contract: C1
fn who_names_no_user_may_have_a_mapping(flavor: Flavor) {
    let keyway = service(shared(flavor))
        .env("KEYWAY_USERS_1_NAME", "default")
        .env("KEYWAY_USERS_1_RULES", "on nopass ~* &* +@all")
        .env("KEYWAY_USERS_1_UPSTREAM_USERNAME", "up-a")
        .env("KEYWAY_USERS_1_UPSTREAM_PASSWORD", "pa")
        .start();
    let mut nobody = keyway.client();
    nobody.expect("SET a:nobody 1", "+OK");
    nobody.expect_error("SET service:nobody 1", "NOPERM");
    nobody.expect("RESET", "+RESET");
    nobody.expect("GET a:nobody", "'1'");
    assert_eq!(keyway.metric("keyway_clients"), 1.0);
}
