//! Primaries change while clients of several users work: each user's connections follow, and nothing crosses.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use keyway::cluster::Slot;

use crate::interleaved::{check, differing, round};
use crate::scene::{DEADLINE, client, mapped, passing_through, replicated};
use crate::support::{
    Client, Cluster, Flavor, Keyway, RaiseAtEnd, Takeover, each_flavor, eventually,
};

each_flavor!(
    mapped_users_notice_nothing_of_what_is_planned,
    users_of_the_nodes_notice_nothing_of_what_is_planned,
    a_primary_dies,
);

const CLIENTS: usize = 4;

/// contract: C1 R3 R5 R8
fn mapped_users_notice_nothing_of_what_is_planned(flavor: Flavor) {
    let cluster = replicated(flavor);
    let keyway = mapped(&cluster).start();
    planned(&cluster, &keyway, client);
}

/// contract: C1 R3 R5 R8
fn users_of_the_nodes_notice_nothing_of_what_is_planned(flavor: Flavor) {
    let cluster = replicated(flavor);
    let keyway = passing_through(&cluster).start();
    planned(&cluster, &keyway, as_nodes_know_it);
}

/// A client in pass-through: by the names and passwords that the nodes know.
fn as_nodes_know_it(keyway: &Keyway, user: &str) -> Client {
    let mut client = keyway.client();
    client.expect(&format!("AUTH up-{user} p{user}"), "+OK");
    client
}

/// Failovers of all primaries and moves of all of a user's slots, under load that must hear no error.
fn planned(cluster: &Cluster, keyway: &Keyway, login: fn(&Keyway, &str) -> Client) {
    let rounds = &AtomicUsize::new(0);
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let (user, other) = users_of(number);
                let mut client = login(keyway, user);
                for done in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    check(&mut client, &round(user, other, number, done));
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = RaiseAtEnd(is_over);
        let some_rounds = || {
            let before = rounds.load(Ordering::Relaxed);
            eventually("clients go on", DEADLINE, || {
                rounds.load(Ordering::Relaxed) >= before + 10 * CLIENTS
            });
        };
        some_rounds();
        for primary in cluster.primaries() {
            cluster.failover(cluster.replicas_of(primary)[0], Takeover::Planned);
            cluster.wait_until_settled();
            some_rounds();
        }
        let slots: Vec<u16> = (0..CLIENTS).map(slot_of).collect();
        for to in cluster.primaries() {
            cluster.move_slots(&slots, to).expect("nothing disturbs it");
            some_rounds();
        }
        drop(over);
    });
}

/// Errors are heard while a shard has no primary, another user's values never; afterwards all is as before.
///
/// contract: C1 F1 R8
fn a_primary_dies(flavor: Flavor) {
    let cluster = replicated(flavor);
    let keyway = &mapped(&cluster).start();
    let slot = slot_of(0);
    let dead = cluster.primary_of(slot).expect("somebody owns the slot");
    let is_dead = &AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            scope.spawn(move || {
                let (user, other) = users_of(number);
                let mut client = client(keyway, user);
                let mut good_since = 0;
                let began = Instant::now();
                for done in 0.. {
                    let found = differing(&mut client, &round(user, other, number, done));
                    for (command, reply) in &found {
                        // What was acknowledged may be lost with its primary: then an older value, or none.
                        let is_own = !command.contains(&format!("{other}:"))
                            && (reply.contains("nil")
                                || reply.contains(&format!("'{user}-{number}-")));
                        assert!(is_own || reply.starts_with('-'), "{command}: {reply}");
                    }
                    let is_after = is_dead.load(Ordering::Relaxed);
                    good_since = if found.is_empty() && is_after {
                        good_since + 1
                    } else {
                        0
                    };
                    if good_since == 50 {
                        return;
                    }
                    assert!(began.elapsed() < 2 * DEADLINE, "{number}: {found:?}");
                }
            });
        }
        cluster.kill(dead);
        cluster.wait_for_new_primary(slot, dead);
        is_dead.store(true, Ordering::Relaxed);
    });
}

/// The slot of a client's key.
fn slot_of(number: usize) -> u16 {
    let key = format!("{}:load:{number}", users_of(number).0);
    Slot::of_key(key.as_bytes()).number()
}

/// As whom a client works, and who else does.
fn users_of(number: usize) -> (&'static str, &'static str) {
    [("a", "b"), ("b", "a")][number % 2]
}
