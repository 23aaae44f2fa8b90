//! Which nodes refuse Keyway's own user at the moment, over all workers, so that each is told of once.
//!
//! Open connections are not ended by a password that was changed at a node, and go on; only new ones fail. Without a word
//! in the log that is noticed by the clients that happen to need one.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::Endpoint;

/// How a refusal begins that is about who logs in.
const OF_THE_LOGIN: [&str; 4] = ["-NOAUTH", "-WRONGPASS", "-NOPERM", "-DENIED"];

/// Whether a node refused a connection because of who asked for it.
pub(super) fn is_of_the_login(why: &str) -> bool {
    OF_THE_LOGIN.iter().any(|word| why.contains(word))
}

/// The nodes that refuse Keyway's own user.
#[derive(Debug, Default)]
pub struct RefusedLogins {
    /// How many; all that is looked at when a connection was opened and none refuses.
    count: AtomicUsize,
    nodes: Mutex<HashSet<Endpoint>>,
}

impl RefusedLogins {
    /// A node refused. Returns whether that is news.
    pub fn refused(&self, node: &Endpoint) -> bool {
        self.change(|nodes| nodes.insert(node.clone()))
    }

    /// A node let Keyway in. Returns whether that is news.
    pub fn accepted(&self, node: &Endpoint) -> bool {
        self.has_any() && self.change(|nodes| nodes.remove(node))
    }

    /// Forgets nodes that are gone.
    pub fn retain(&self, is_there: impl Fn(&Endpoint) -> bool) {
        if self.has_any() {
            self.change(|nodes| nodes.retain(is_there));
        }
    }

    fn has_any(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    fn change<R>(&self, change: impl FnOnce(&mut HashSet<Endpoint>) -> R) -> R {
        let nodes = self.nodes.lock();
        let mut nodes: MutexGuard<'_, _> = nodes.unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut nodes);
        self.count.store(nodes.len(), Ordering::Relaxed);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(port: u16) -> Endpoint {
        Endpoint {
            host: "10.0.0.1".into(),
            port,
        }
    }

    #[test]
    fn each_change_is_news_once() {
        let logins = RefusedLogins::default();
        assert!(!logins.accepted(&node(1)));
        assert!(logins.refused(&node(1)));
        assert!(!logins.refused(&node(1)), "another worker");
        assert!(logins.refused(&node(2)));
        assert!(!logins.accepted(&node(3)));
        assert!(logins.accepted(&node(1)));
        assert!(!logins.accepted(&node(1)));
        logins.retain(|at| at.port != 2);
        assert!(!logins.accepted(&node(2)), "it left");
    }

    #[test]
    fn only_what_is_about_the_login() {
        for (why, expected) in [
            (
                "the node refused the handshake: -NOAUTH HELLO must be called",
                true,
            ),
            (
                "the node refused the handshake: -WRONGPASS invalid username",
                true,
            ),
            (
                "the node refused the handshake: -NOPERM User x has no",
                true,
            ),
            (
                "the node refused the handshake: -DENIED Redis is running in",
                true,
            ),
            (
                "the node refused the handshake: -ERR max number of clients reached",
                false,
            ),
        ] {
            assert_eq!(is_of_the_login(why), expected, "{why}");
        }
    }
}
