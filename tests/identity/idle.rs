//! Connections of users that no client is any more.

use crate::scene::{DEADLINE, client, connections_of, mapped, own};
use crate::support::{Flavor, Keyway, each_flavor, eventually};

each_flavor!(they_are_closed_and_opened_again);

fn identities(keyway: &Keyway) -> f64 {
    keyway.metric("keyway_identities")
}

fn they_are_closed_and_opened_again(flavor: Flavor) {
    let cluster = own(flavor);
    let keyway = mapped(&cluster)
        .set("upstream.identity_idle", "\"1s\"")
        .start();
    assert_eq!(identities(&keyway), 0.0);
    for round in 0..2 {
        let mut a = client(&keyway, "a");
        a.expect("MSET a:1 1 a:2 2 a:3 3", "+OK");
        a.expect("BLPOP a:nothing 0.01", "nil-array");
        assert_eq!(identities(&keyway), 1.0, "{round}");
        let mut subscriber = client(&keyway, "b");
        subscriber.expect("SUBSCRIBE b:idle", "['subscribe' 'b:idle' :1]");
        assert_eq!(identities(&keyway), 2.0);
        drop(a);
        eventually("the connections of a are closed", DEADLINE, || {
            connections_of(&cluster, "up-a").is_empty()
        });
        eventually("and it is counted no more", DEADLINE, || {
            identities(&keyway) == 1.0
        });
        // One that only listens keeps its own.
        client(&keyway, "b").expect("PUBLISH b:idle 1", ":1");
        subscriber.expect_next("['message' 'b:idle' '1']");
        drop(subscriber);
        eventually("the connections of b are closed", DEADLINE, || {
            connections_of(&cluster, "up-b").is_empty() && identities(&keyway) == 0.0
        });
    }
}
