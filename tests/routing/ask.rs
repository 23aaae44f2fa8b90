//! ASK: `ASKING` and the command adjacent on one connection, for this request only.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::place::{asked, key_of, keys_of, scene, slot, tells_its_keys};
use super::support::Action;

/// contract: R4
#[test]
fn ask_is_followed_and_not_remembered() {
    let (fake, keyway) = scene(2, "10s");
    let key = key_of(0, 2);
    fake.node(0)
        .times(3, "GET", Action::ask(slot(&key), fake.node(1)));
    let mut client = keyway.client();
    for _ in 0..3 {
        client.expect(&format!("GET {key}"), "'node-1'");
    }
    client.expect(&format!("GET {key}"), "'node-0'");
    assert_eq!(fake.node(0).received("GET").len(), 4);
    assert_eq!(fake.node(1).received("GET").len(), 3);
    assert_eq!(asked(fake.node(1)), vec![format!("GET {key}"); 3]);
    assert_eq!(fake.node(1).received("ASKING").len(), 3);
    assert_eq!(fake.node(0).received("ASKING").len(), 0);
}

/// Between other clients' requests to the same node, in both versions of the protocol.
///
/// contract: R4, P2, C1
#[test]
fn asking_stays_adjacent_and_its_reply_is_dropped() {
    let (fake, keyway) = scene(2, "10s");
    let (migrating, others) = (keys_of(0, 2, 8), keys_of(1, 2, 8));
    let target = fake.node(1).addr();
    fake.node(0).on("GET", move |request| {
        Action::line(&format!("-ASK {} {target}", slot(&request.text(1))))
    });
    tells_its_keys(fake.node(1), "1");
    // A node answers ASKING with words of its own: they must not matter.
    fake.node(1).always("ASKING", Action::line("+OK"));
    let count = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (keyway, migrating, others, count) = (&keyway, &migrating, &others, &count);
            scope.spawn(move || {
                let mut client = match number % 2 {
                    0 => keyway.client(),
                    _ => keyway.client_resp3(),
                };
                for round in 0..20 {
                    let keys: Vec<&String> = (0..30)
                        .map(|n| match (n + round + number) % 3 {
                            0 => &migrating[n % 8],
                            _ => &others[n % 8],
                        })
                        .collect();
                    let asks = keys.iter().filter(|key| migrating.contains(key)).count();
                    count.fetch_add(asks, Ordering::Relaxed);
                    let commands: Vec<_> = keys.iter().map(|key| format!("GET {key}")).collect();
                    for (key, reply) in keys.iter().zip(client.pipeline(&commands)) {
                        assert_eq!(reply.text(), format!("{key}@1"));
                    }
                }
            });
        }
    });
    let asked = asked(fake.node(1));
    assert_eq!(asked.len(), count.into_inner());
    for request in asked {
        let key = request
            .strip_prefix("GET ")
            .expect("a GET stands behind ASKING");
        assert!(
            migrating.iter().any(|other| other == key),
            "ASKING {request}"
        );
    }
}

/// The target of the move sends the request back, or says not yet: it is not lost, and not done twice.
///
/// contract: R4, R5
#[test]
fn what_the_target_answers_is_heard() {
    let (fake, keyway) = scene(2, "10s");
    let key = key_of(0, 2);
    let mut client = keyway.client();
    for answer in [
        "-TRYAGAIN Multiple keys request during rehashing of slot".to_owned(),
        "-CLUSTERDOWN The cluster is down".to_owned(),
        "-LOADING Redis is loading the dataset in memory".to_owned(),
        format!("-MOVED {} {}", slot(&key), fake.node(0).addr()),
    ] {
        fake.node(0)
            .once("SET", Action::ask(slot(&key), fake.node(1)));
        fake.node(1).once("SET", Action::line(&answer));
        let before = fake.node(0).received("SET").len() + fake.node(1).received("SET").len();
        client.expect(&format!("SET {key} v"), "+OK");
        let after = fake.node(0).received("SET").len() + fake.node(1).received("SET").len();
        assert_eq!(after - before, 3, "ASK, then {answer}, then done");
    }
    // What says nothing about routing is the reply.
    fake.node(0)
        .once("SET", Action::ask(slot(&key), fake.node(1)));
    fake.node(1)
        .once("SET", Action::line("-OOM command not allowed"));
    client.expect(&format!("SET {key} v"), "-OOM command not allowed");
}

/// The target dies between: a read goes on, a write that was not sent as well.
///
/// contract: R4, F1
#[test]
fn ask_to_a_node_that_is_down_waits() {
    let (fake, keyway) = scene(2, "10s");
    let key = key_of(0, 2);
    fake.node(1).go_down();
    fake.node(0)
        .once("SET", Action::ask(slot(&key), fake.node(1)));
    let mut client = keyway.client();
    // The next attempt begins at the owner, which has finished the move by then.
    client.expect(&format!("SET {key} v"), "+OK");
}
