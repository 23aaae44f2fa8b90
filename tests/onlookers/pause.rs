//! Which commands a pause holds back, and how it ends.

use std::time::{Duration, Instant};

use super::support::eventually::eventually_some;
use super::support::{Client, Flavor, Scene, each_flavor, eventually};
use super::{SOON, clients, keyway};

each_flavor!(
    the_same_commands_wait_as_on_one_server,
    all_workers_pause_and_go_on,
    the_time_of_a_pause_is_kept,
    later_pauses_only_add,
    a_script_that_promises_not_to_write_goes_on,
    transactions_wait_as_on_one_server,
);

/// Whether the command is held back by a pause for writes. `pauser` and `client` are of one server.
#[track_caller]
fn waits(pauser: &mut Client, client: &mut Client, line: &str) -> bool {
    pauser.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    client.send(line);
    let held = format!(" addr={} ", client.local_addr());
    let is_held = eventually_some(line, SOON, || {
        if client.read_within(Duration::from_millis(5)).is_some() {
            return Some(false);
        }
        let list = pauser.call("CLIENT LIST").text();
        let own = list.lines().find(|line| line.contains(&held))?;
        let flags = own.split(" flags=").nth(1)?.split(' ').next()?;
        flags.contains('b').then_some(true)
    });
    pauser.expect("CLIENT UNPAUSE", "+OK");
    if is_held {
        let late = client.read_within(SOON);
        assert!(late.is_some(), "{line} is never answered");
    }
    is_held
}

/// contract: C2
fn the_same_commands_wait_as_on_one_server(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let plain = Scene::shared(flavor).plain();
    let mut lines = vec![
        "GET k",
        "SET k v",
        "DEL k",
        "PFCOUNT h",
        "PUBLISH c m",
        "SPUBLISH c m",
        "EVAL return(1) 0",
        "EVAL_RO return(1) 0",
        "EVALSHA x 0",
        "FCALL f 0",
        "FCALL_RO f 0",
        "SCRIPT LOAD return(1)",
        "FUNCTION FLUSH",
        "FUNCTION LIST",
        "PING",
        "ECHO x",
        "HELLO",
        "CLIENT ID",
        "CLIENT LIST",
        "INFO server",
        "WAIT 0 0",
        "FLUSHALL",
        "COMMAND COUNT",
        "SORT nothing",
        "SORT_RO nothing",
        "GETEX nothing",
        "TOUCH k",
        "BITFIELD nothing GET u8 0",
        "BITFIELD_RO nothing GET u8 0",
        "EXPIRE nothing 1",
        "GEORADIUS nothing 0 0 1 m",
        "XREAD STREAMS s 0",
        "MSET a 1",
        "UNLINK a",
        "SCAN 0",
        "DBSIZE",
        "RANDOMKEY",
        "OBJECT ENCODING nothing",
        "ACL WHOAMI",
        "ROLE",
        "WATCH nothing",
        "NOSUCH x",
        "GET",
        "CLIENT PAUSE 1 WRITE",
    ];
    // In turn, so that a pause holds back one request at a time.
    for line in lines.drain(..) {
        let [mut theirs, mut their_pauser] = [plain.client(), plain.client()];
        let [mut ours, mut our_pauser] = clients(&keyway);
        let wanted = waits(&mut their_pauser, &mut theirs, line);
        let got = waits(&mut our_pauser, &mut ours, line);
        assert_eq!(got, wanted, "{line}");
    }
    // Valkey 8.0 answers these never again once a pause has held them back; Redis does.
    for line in ["BLPOP nothing 0.01", "BRPOPLPUSH nothing b 0.01"] {
        let [mut ours, mut pauser] = clients(&keyway);
        assert!(waits(&mut pauser, &mut ours, line), "{line}");
    }
}

/// contract: C2 T1
fn transactions_wait_as_on_one_server(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let plain = Scene::shared(flavor).plain();
    for (before, line) in [
        (&["MULTI"][..], "GET {t}k"),
        (&["MULTI"], "SET {t}k v"),
        (&["MULTI", "SET {t}k v"], "EXEC"),
        (&["MULTI", "GET {t}k", "PFCOUNT {t}h"], "EXEC"),
        (&["MULTI", "GET {t}k"], "EXEC"),
        (&["MULTI"], "EXEC"),
        (&["MULTI", "SET {t}k v"], "DISCARD"),
        (&["WATCH {t}k", "MULTI", "SET {t}k v"], "EXEC"),
        (&["MULTI", "SET {t}k v"], "RESET"),
    ] {
        let [mut theirs, mut their_pauser] = [plain.client(), plain.client()];
        let [mut ours, mut our_pauser] = clients(&keyway);
        for client in [&mut theirs, &mut ours] {
            for line in before {
                client.call(line);
            }
        }
        let wanted = waits(&mut their_pauser, &mut theirs, line);
        let got = waits(&mut our_pauser, &mut ours, line);
        assert_eq!(got, wanted, "{before:?} {line}");
    }
}

/// contract: C2
fn all_workers_pause_and_go_on(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let mut writers: [Client; 6] = clients(&keyway);
    let [mut pauser] = clients(&keyway);
    pauser.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    for (number, writer) in writers.iter_mut().enumerate() {
        writer.send(&format!("SET paused:{number} new"));
        writer.send(&format!("GET paused:{number}"));
    }
    eventually("they wait", SOON, || {
        keyway.metric("keyway_paused_clients") == 6.0
    });
    for number in 0..6 {
        // Nothing of it has reached a node.
        pauser.expect(&format!("GET paused:{number}"), "nil");
    }
    let info = pauser.call("INFO clients").text();
    assert!(info.contains("\r\nblocked_clients:6\r\n"), "{info}");
    let list = pauser.call("CLIENT LIST").text();
    assert_eq!(list.matches(" flags=b ").count(), 6, "{list}");
    pauser.expect("CLIENT UNPAUSE", "+OK");
    for writer in &mut writers {
        writer.expect_next("+OK");
        writer.expect_next("'new'");
    }
    pauser.expect(
        "DEL paused:0 paused:1 paused:2 paused:3 paused:4 paused:5",
        ":6",
    );
    assert_eq!(keyway.metric("keyway_paused_clients"), 0.0);
}

/// The one who pauses is paused too, and behind in its own pipeline. contract: C2
fn the_time_of_a_pause_is_kept(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let [mut pauser, mut other] = clients(&keyway);
    for mode in ["", " ALL", " all", " WRITE"] {
        let begun = Instant::now();
        let replies = pauser.pipeline(&[
            "SET timed before",
            &format!("CLIENT PAUSE 400{mode}"),
            "SET timed after",
        ]);
        let shown: Vec<_> = replies.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["+OK", "+OK", "+OK"], "{mode}");
        assert!(begun.elapsed() >= Duration::from_millis(400), "{mode}");
        pauser.expect(&format!("CLIENT PAUSE 300{mode}"), "+OK");
        let begun = Instant::now();
        other.expect("SET timed other", "+OK");
        assert!(begun.elapsed() >= Duration::from_millis(250), "{mode}");
    }
}

/// contract: C2
fn later_pauses_only_add(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let [mut pauser, mut other, mut third] = clients(&keyway);
    pauser.expect("CLIENT PAUSE 700 WRITE", "+OK");
    let begun = Instant::now();
    // The stricter mode, and the later end.
    pauser.expect("CLIENT PAUSE 10 ALL", "+OK");
    other.send("PING");
    // What is no command is refused all the same.
    third.expect_error("NOSUCH x", "ERR unknown command");
    assert!(other.read_within(Duration::from_millis(1)).is_none());
    other.expect_next("+PONG");
    assert!(begun.elapsed() >= Duration::from_millis(650));
    pauser.expect("CLIENT PAUSE 600 WRITE", "+OK");
    let begun = Instant::now();
    pauser.expect("CLIENT PAUSE 1 WRITE", "+OK");
    other.expect("PING", "+PONG");
    other.expect("SET timed later", "+OK");
    assert!(begun.elapsed() >= Duration::from_millis(550));
}

/// contract: C2
fn a_script_that_promises_not_to_write_goes_on(flavor: Flavor) {
    let keyway = keyway(flavor, 1);
    let [mut pauser, mut other] = clients(&keyway);
    let loaded = pauser.call(r##"SCRIPT LOAD "#!lua flags=no-writes\nreturn 6""##);
    let sha = loaded.text();
    pauser.expect("CLIENT PAUSE 60000 WRITE", "+OK");
    other.expect(r##"EVAL "#!lua flags=no-writes\nreturn 7" 0"##, ":7");
    other.expect(&format!("EVALSHA {sha} 0"), ":6");
    other.expect(&format!("EVALSHA {} 0", sha.to_uppercase()), ":6");
    other.send(r##"EVAL "#!lua\nreturn 8" 0"##);
    eventually("it waits", SOON, || {
        keyway.metric("keyway_paused_clients") == 1.0
    });
    pauser.expect("CLIENT UNPAUSE", "+OK");
    other.expect_next(":8");
}
