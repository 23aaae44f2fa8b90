//! Keys of several slots, and commands for all primaries, without the opt-in.

use super::exec;
use super::support::{Flavor, Scene, each_flavor};

each_flavor!(
    the_second_slot_is_refused,
    commands_over_several_slots_are_refused,
    what_goes_to_all_primaries_is_refused,
    keyless_commands_go_along,
);

const WORDS: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// contract: T2
fn the_second_slot_is_refused(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    client.call("DEL x:a x:b");
    client.expect("MULTI", "+OK");
    client.expect("SET x:a 1", "+QUEUED");
    client.expect_error("SET x:b 1", WORDS);
    client.expect("SET x:a 2", "+QUEUED");
    client.expect_error(
        "EXEC",
        "EXECABORT Transaction discarded because of previous errors.",
    );
    client.expect("EXISTS x:a x:b", ":0");
    // It is over: the next one is clean.
    assert_eq!(exec(&mut client, &["SET x:b 1", "GET x:b"]), "[+OK '1']");
}

/// contract: T2 M2
fn commands_over_several_slots_are_refused(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    for line in [
        "MGET x:a x:b",
        "MSET x:a 1 x:b 2",
        "DEL x:a x:b",
        "RENAME x:a x:b",
        "SUNION x:a x:b",
        "BLPOP x:a x:b 0",
        "EVAL x 2 x:a x:b",
    ] {
        client.expect("MULTI", "+OK");
        // Byte for byte what a node says.
        client.expect(line, &format!("-{WORDS}"));
        client.expect_error("EXEC", "EXECABORT");
    }
}

/// contract: T2 M4
fn what_goes_to_all_primaries_is_refused(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    for line in [
        "DBSIZE",
        "FLUSHALL",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "INFO",
        "SCRIPT LOAD x",
        "CONFIG SET maxmemory 0",
    ] {
        client.expect("MULTI", "+OK");
        client.expect_error(line, WORDS);
        client.expect_error("EXEC", "EXECABORT");
    }
}

/// contract: T1
fn keyless_commands_go_along(flavor: Flavor) {
    let scene = Scene::shared(flavor);
    let mut client = scene.keyway.client();
    client.call("DEL x:n");
    let reply = exec(
        &mut client,
        &[
            "PING",
            "EVAL 'return 7' 0",
            "INCR x:n",
            "ECHO e",
            "PUBLISH x:c m",
            // How many replicas have it already is theirs to say.
            "WAIT 0 0",
        ],
    );
    assert!(reply.starts_with("[+PONG :7 :1 'e' :0 :"), "{reply}");
    let time = {
        client.call("MULTI");
        client.call("TIME");
        client.call("LASTSAVE");
        client.call("EXEC").to_string()
    };
    assert!(time.starts_with("-EXECABORT"), "LASTSAVE asks all: {time}");
    client.call("MULTI");
    client.call("TIME");
    client.call("COMMAND COUNT");
    let reply = client.call("EXEC");
    assert_eq!(reply.items()[0].items().len(), 2, "{reply}");
    assert!(reply.items()[1].integer() > 200, "{reply}");
}
