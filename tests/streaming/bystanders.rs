//! Clients that want nothing but small replies, and how long they wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::support::{Client, Keyway};

/// Clients that ask without pause, on these keys.
pub struct Bystanders {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Duration>>>,
}

/// How long they waited.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    pub count: usize,
    pub p50: Duration,
    pub p99: Duration,
    pub longest: Duration,
}

impl fmt::Display for Waits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waits {
            count,
            p50,
            p99,
            longest,
        } = self;
        write!(
            out,
            "{count} asked, p50 {p50:.1?}, p99 {p99:.1?}, longest {longest:.1?}"
        )
    }
}

impl Bystanders {
    /// For each key a client that reads and one that writes.
    pub fn start(keyway: &Keyway, keys: &[String]) -> Bystanders {
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = keys.iter().flat_map(|key| {
            ["GET", "SET"].map(|verb| {
                let mut client = keyway.client();
                let (is_over, key) = (Arc::clone(&is_over), key.clone());
                thread::spawn(move || {
                    let mut waits = vec![ask(&mut client, verb, &key)];
                    while !is_over.load(Ordering::Relaxed) {
                        waits.push(ask(&mut client, verb, &key));
                    }
                    waits
                })
            })
        });
        Bystanders {
            clients: clients.collect(),
            is_over,
        }
    }

    /// Ends them; every one of their replies was right.
    pub fn stop(self) -> Waits {
        self.is_over.store(true, Ordering::Relaxed);
        let mut waits = Vec::new();
        for client in self.clients {
            waits.extend(client.join().expect("every reply is right"));
        }
        waits.sort_unstable();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
        Waits {
            count: waits.len(),
            p50: at(50),
            p99: at(99),
            longest: at(100),
        }
    }
}

/// A few commands at once, so that something is in flight at any moment.
fn ask(client: &mut Client, verb: &str, key: &str) -> Duration {
    let (command, reply) = match verb {
        "GET" => (format!("GET {key}:none\r\n"), "$-1\r\n"),
        _ => (format!("SET {key} small\r\n"), "+OK\r\n"),
    };
    let began = Instant::now();
    client.expect_raw(command.repeat(3), reply.repeat(3));
    began.elapsed()
}
