//! Which scripts the node at the other end of a connection has for certain.

use std::collections::HashSet;

use crate::command::Sha;

/// Scripts whose body went over one connection. Whatever takes a node's scripts away (a restart, a
/// failover, a slot that moves) also brings another connection; what does not (`SCRIPT FLUSH`, a
/// server that drops old scripts) is noticed by its `NOSCRIPT`.
#[derive(Debug, Default)]
pub struct KnownScripts {
    /// Of the cache of bodies, when the first of `shas` was noted.
    generation: u64,
    shas: HashSet<Sha>,
}

/// When so many are known all are forgotten: each costs sending its body once more.
const KNOWN_MAX: usize = 1024;

impl KnownScripts {
    /// Whether the node has this script, as far as one that was noted under this generation says.
    pub fn has(&self, sha: Sha, generation: u64) -> bool {
        self.generation == generation && self.shas.contains(&sha)
    }

    /// Its body is on its way to the node.
    pub fn note(&mut self, sha: Sha, generation: u64) {
        if self.generation != generation || self.shas.len() >= KNOWN_MAX {
            self.shas.clear();
            self.generation = generation;
        }
        self.shas.insert(sha);
    }

    /// The node says that it has not.
    pub fn forget(&mut self, sha: Sha) {
        self.shas.remove(&sha);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_bounded_and_forgotten_with_the_cache() {
        let sha = |number: usize| Sha::of(&number.to_le_bytes());
        let mut known = KnownScripts::default();
        known.note(sha(1), 0);
        assert!(known.has(sha(1), 0));
        assert!(!known.has(sha(2), 0));
        assert!(!known.has(sha(1), 1), "SCRIPT FLUSH");
        known.note(sha(2), 1);
        assert!(!known.has(sha(1), 1));
        known.forget(sha(2));
        assert!(!known.has(sha(2), 1));
        for number in 0..5 * KNOWN_MAX {
            known.note(sha(number), 1);
            assert!(known.has(sha(number), 1));
            assert!(known.shas.len() <= KNOWN_MAX);
        }
    }
}
