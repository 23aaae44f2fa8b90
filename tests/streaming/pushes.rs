//! Messages to a client that is taking a large reply.

use super::DEADLINE;
use super::support::client::encode;
use super::support::{Flavor, each_flavor, eventually};
use super::value::{PATIENCE, patient, pieces, read_value, shared};

each_flavor! {
    a_push_waits_for_the_end_of_a_large_reply,
}

/// An invalidation and a message, of which the node spoke long before the client took the end.
///
/// contract: P6, P8, S6
fn a_push_waits_for_the_end_of_a_large_reply(flavor: Flavor) {
    // More than sockets hold.
    const LEN: usize = 20 << 20;
    let (_, keyway) = shared(flavor);
    let mut other = keyway.client().with_patience(PATIENCE);
    let value = pieces(LEN).collect::<Vec<_>>().concat();
    other.expect_raw(encode(&[&b"SET"[..], b"pushes:large", &value]), "+OK\r\n");
    let mut client = keyway.client_resp3().with_patience(PATIENCE);
    client.expect("CLIENT TRACKING ON BCAST PREFIX pushes:", "+OK");
    let mut subscriber = keyway.client_resp3().with_patience(PATIENCE);
    assert!(
        subscriber
            .call("SUBSCRIBE pushes")
            .to_string()
            .contains("subscribe")
    );
    for client in [&mut client, &mut subscriber] {
        client.send("GET pushes:large");
        let head = || client.stream().peek(&mut [0]).is_ok_and(|count| count == 1);
        eventually("the reply begins", DEADLINE, head);
    }
    other.expect("SET pushes:small x", "+OK");
    other.expect("PUBLISH pushes hello", ":1");
    for (client, said) in [(&mut client, "pushes:small"), (&mut subscriber, "hello")] {
        read_value(&mut patient(client), LEN);
        let push = client.read().to_string();
        assert!(push.contains(said), "{push}");
    }
    // The large values of a client that tracks come whole.
    client.send_args(&[&b"SET"[..], b"pushes:large", &value]);
    let mut replies = [client.read().to_string(), client.read().to_string()];
    replies.sort();
    assert!(
        replies[0] == "+OK" && replies[1].contains("pushes:large"),
        "{replies:?}"
    );
    other.expect("DEL pushes:large", ":1");
    other.expect("DEL pushes:small", ":1");
}
