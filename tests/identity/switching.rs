//! A client becomes somebody else, in the middle of what it says.

use std::fmt::Write as _;

use crate::scene::{client, client_resp3, mapped, shared};
use crate::support::{Flavor, each_flavor};

each_flavor!(
    in_the_middle_of_a_pipeline,
    a_wrong_password_changes_nothing,
    who_holds_a_connection_ends_that_first,
    what_a_client_set_goes_with_it,
    byte_by_byte,
    and_then_it_ends_its_input,
);

/// contract: P2 P7 C1
fn in_the_middle_of_a_pipeline(flavor: Flavor) {
    let keyway = mapped(shared(flavor)).start();
    let mut client = keyway.client();
    let mut commands = Vec::new();
    let mut expected = Vec::new();
    let mut say = |command: &str, reply: &str| {
        commands.push(command.to_owned());
        expected.push(reply.to_owned());
    };
    for round in 0..20 {
        say("SET service:switch x", "+OK");
        say("AUTH a p", "+OK");
        say(&format!("SET a:switch:{round} a"), "+OK");
        say(&format!("GET a:switch:{round}"), "'a'");
        say("AUTH b wrong", "WRONGPASS");
        say("ACL WHOAMI", "'a'");
        say("AUTH b p", "+OK");
        say(&format!("SET b:switch:{round} b"), "+OK");
        say(&format!("GET a:switch:{round}"), "NOPERM");
        say("AUTH b p", "+OK");
        say(&format!("GET b:switch:{round}"), "'b'");
        say("RESET", "+RESET");
        say("ACL WHOAMI", "'default'");
        say("GET service:switch", "'x'");
        say(&format!("GET b:switch:{round}"), "NOPERM");
    }
    let replies = client.pipeline(&commands);
    for ((command, reply), expected) in commands.iter().zip(&replies).zip(&expected) {
        let reply = reply.to_string();
        let is_right =
            reply == *expected || reply.trim_start_matches('-').starts_with(expected.as_str());
        assert!(is_right, "{command}: {reply} and not {expected}");
    }
}

/// contract: P7
fn a_wrong_password_changes_nothing(flavor: Flavor) {
    let keyway = mapped(shared(flavor)).set("acl.auth_failures", "0").start();
    let mut a = client(&keyway, "a");
    a.expect_error("HELLO 3 AUTH b wrong SETNAME x", "WRONGPASS");
    a.expect("CLIENT GETNAME", "nil");
    a.expect("ACL WHOAMI", "'a'");
    a.expect("SET a:wrong 1", "+OK");
    assert!(!a.call("HELLO 3 AUTH b p SETNAME x").is_error());
    a.expect("CLIENT GETNAME", "'x'");
    a.expect("SET b:right 1", "+OK");
    a.expect_error("SET a:right 1", "NOPERM");
}

/// contract: C1
fn who_holds_a_connection_ends_that_first(flavor: Flavor) {
    let keyway = mapped(shared(flavor)).start();
    let mut a = client_resp3(&keyway, "a");
    for (begin, end, words) in [
        ("WATCH a:bound", "UNWATCH", "watches keys"),
        ("CLIENT TRACKING on", "CLIENT TRACKING off", "tracks keys"),
        ("SUBSCRIBE a:bound", "UNSUBSCRIBE a:bound", "is subscribed"),
    ] {
        assert!(!a.call(begin).is_error(), "{begin}");
        let refusal = a.call("AUTH b p").to_string();
        assert!(refusal.contains(words), "{begin}: {refusal}");
        a.expect("ACL WHOAMI", "'a'");
        // The same user again is none of that.
        a.expect("AUTH a p", "+OK");
        assert!(!a.call(end).is_error(), "{end}");
    }
    a.expect("MULTI", "+OK");
    a.expect("AUTH b p", "+QUEUED");
    a.expect("SET a:bound 1", "+QUEUED");
    let reply = a.call("EXEC").to_string();
    assert!(
        reply.contains("is inside MULTI") && reply.contains("+OK"),
        "{reply}"
    );
    a.expect("AUTH b p", "+OK");
    a.expect("SET b:bound 1", "+OK");
    // `RESET` ends all of it.
    for begin in [
        "WATCH b:bound",
        "CLIENT TRACKING on",
        "SUBSCRIBE b:bound",
        "MULTI",
        "MONITOR",
    ] {
        assert!(!a.call("HELLO 3 AUTH b p").is_error());
        assert!(!a.call(begin).is_error(), "{begin}");
        // What a monitor is shown comes in between.
        a.send("RESET");
        while a.read().to_string() != "+RESET" {}
        a.expect("ACL WHOAMI", "'default'");
        a.expect("SET service:bound 1", "+OK");
    }
}

/// contract: C2 P7
fn what_a_client_set_goes_with_it(flavor: Flavor) {
    let keyway = mapped(shared(flavor)).start();
    let mut client = keyway.client();
    let id = client.call("CLIENT ID").to_string();
    client.expect("CLIENT SETNAME moved", "+OK");
    client.expect("AUTH a p", "+OK");
    client.expect("CLIENT ID", &id);
    client.expect("CLIENT GETNAME", "'moved'");
    let info = client.call("CLIENT INFO").text();
    assert!(
        info.contains(" name=moved ") && info.contains(" user=a "),
        "{info}"
    );
    // A reply that is withheld, on the way.
    client.send("CLIENT REPLY OFF");
    client.send("AUTH b p");
    client.send("SET b:muted 1");
    client.expect("CLIENT REPLY ON", "+OK");
    client.expect("GET b:muted", "'1'");
}

/// contract: P4
fn byte_by_byte(flavor: Flavor) {
    let keyway = mapped(shared(flavor)).start();
    let mut client = keyway.client();
    let bytes =
        b"AUTH a p\r\nSET a:bytes 1\r\n*3\r\n$4\r\nAUTH\r\n$1\r\nb\r\n$1\r\np\r\nSET b:bytes 2\r\n";
    for byte in bytes {
        client.send_raw([*byte]);
    }
    for _ in 0..4 {
        client.expect_next("+OK");
    }
}

/// contract: P3
fn and_then_it_ends_its_input(flavor: Flavor) {
    let keyway = mapped(shared(flavor)).start();
    let mut client = keyway.client();
    let mut text = String::new();
    for round in 0..5 {
        for user in ["a", "b"] {
            write!(text, "AUTH {user} p\r\nSET {user}:end:{round} 1\r\n")
                .expect("a string takes text");
        }
    }
    client.send_raw(&text);
    client.finish_sending();
    let replies = client.read_to_end();
    assert_eq!(String::from_utf8_lossy(&replies), "+OK\r\n".repeat(20));
}
