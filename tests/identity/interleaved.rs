//! Clients of two users, all at the same time: nothing crosses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::scene::{client, mapped, shared};
use crate::support::{Client, Flavor, Keyway, each_flavor};

each_flavor!(two_users_under_load, clients_that_switch_under_load);

const ROUNDS: usize = 150;

/// What one client asks for in one round, and what it must hear. Its own values come back, and nobody else's.
pub fn round(user: &str, other: &str, number: usize, round: usize) -> Vec<(String, String)> {
    let value = format!("{user}-{number}-{round}");
    let say = |command: String, reply: String| (command, reply);
    vec![
        say(
            format!("SET {user}:load:{number} {value}"),
            "+OK".to_owned(),
        ),
        say(format!("GET {user}:load:{number}"), format!("'{value}'")),
        say(format!("GET {other}:load:{number}"), "NOPERM".to_owned()),
        say("MULTI".to_owned(), "+OK".to_owned()),
        say(format!("GET {user}:load:{number}"), "+QUEUED".to_owned()),
        say("EXEC".to_owned(), format!("['{value}']")),
        say(
            format!("MGET {user}:load:{number} {user}:none:{number}"),
            format!("['{value}' nil]"),
        ),
        say(
            format!("BLPOP {user}:none:{number} 0.001"),
            "nil".to_owned(),
        ),
        say(
            format!("BLPOP {other}:none:{number} 0.001"),
            "NOPERM".to_owned(),
        ),
    ]
}

/// Goes through a plan; what was answered otherwise, with its command.
pub fn differing(client: &mut Client, plan: &[(String, String)]) -> Vec<(String, String)> {
    let commands: Vec<&str> = plan.iter().map(|(command, _)| command.as_str()).collect();
    let replies = client.pipeline(&commands);
    let replies = replies.iter().map(ToString::to_string);
    plan.iter()
        .zip(replies)
        .filter(|((_, expected), reply)| {
            reply != expected && !reply.trim_start_matches('-').starts_with(expected.as_str())
        })
        .map(|((command, _), reply)| (command.clone(), reply))
        .collect()
}

#[track_caller]
pub fn check(client: &mut Client, plan: &[(String, String)]) {
    assert_eq!(differing(client, plan), []);
}

fn two_workers(flavor: Flavor) -> Keyway {
    mapped(shared(flavor)).set("proxy.workers", "2").start()
}

/// contract: C1
fn two_users_under_load(flavor: Flavor) {
    let keyway = two_workers(flavor);
    let keyway = &keyway;
    thread::scope(|scope| {
        for number in 0..8 {
            scope.spawn(move || {
                let (user, other) = [("a", "b"), ("b", "a")][number % 2];
                let mut client = client(keyway, user);
                for number_of_round in 0..ROUNDS {
                    check(&mut client, &round(user, other, number, number_of_round));
                }
            });
        }
    });
}

/// contract: C1
fn clients_that_switch_under_load(flavor: Flavor) {
    let keyway = two_workers(flavor);
    let keyway = &keyway;
    let is_over = &AtomicBool::new(false);
    thread::scope(|scope| {
        let switching: Vec<_> = (8..12)
            .map(|number| {
                scope.spawn(move || {
                    let mut client = keyway.client();
                    for number_of_round in 0..ROUNDS {
                        let (user, other) = [("a", "b"), ("b", "a")][number_of_round % 2];
                        let mut plan = vec![(format!("AUTH {user} p"), "+OK".to_owned())];
                        plan.extend(round(user, other, number, number_of_round));
                        check(&mut client, &plan);
                    }
                })
            })
            .collect();
        for user in ["a", "b"] {
            scope.spawn(move || {
                // New clients come and go meanwhile.
                while !is_over.load(Ordering::Relaxed) {
                    let mut client = client(keyway, user);
                    client.expect(&format!("SET {user}:comes 1"), "+OK");
                }
            });
        }
        let ended: Vec<_> = switching.into_iter().map(|thread| thread.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for end in ended {
            end.expect("it heard what it should");
        }
    });
}
