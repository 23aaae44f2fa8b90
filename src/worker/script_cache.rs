//! The bodies of scripts that passed through this Keyway, shared by all workers (contract: T4).
//!
//! A lock stands around it, so it is kept off the usual path: a worker remembers the bodies it has
//! seen ([`SeenScripts`]) and hashes and locks only for those it has not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::command::Sha;

/// Bodies by their name, those least recently used first to leave.
#[derive(Debug, Default)]
pub struct ScriptCache {
    bytes_max: usize,
    /// How often all were dropped.
    generation: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    scripts: HashMap<Sha, (Arc<KeptScript>, u64)>,
    /// From the time of the last use to the script.
    by_use: BTreeMap<u64, Sha>,
    uses: u64,
    bytes: usize,
}

/// A body in the cache. Workers that have seen it hold it as well, and say so and hear of its end
/// without a lock.
#[derive(Debug)]
pub struct KeptScript {
    body: Arc<[u8]>,
    /// A worker met it again since it was last looked at.
    is_used: AtomicBool,
    /// The cache has it no more.
    is_dropped: AtomicBool,
}

/// What a body costs beside its own bytes, about.
const BODY_OVERHEAD: usize = 200;

impl ScriptCache {
    /// An empty one that keeps at most so many bytes.
    pub fn new(bytes_max: usize) -> ScriptCache {
        ScriptCache {
            bytes_max,
            ..ScriptCache::default()
        }
    }

    /// The body with this name (`EVALSHA`'s argument, in any case).
    pub fn body(&self, sha: &[u8]) -> Option<Arc<[u8]>> {
        self.body_of(Sha::parse(sha)?)
    }

    /// The body with this name.
    pub fn body_of(&self, sha: Sha) -> Option<Arc<[u8]>> {
        let mut kept = self.lock();
        kept.touch(sha).map(|script| Arc::clone(&script.body))
    }

    /// Keeps a body. `None` when it is too long to be kept.
    pub fn keep(&self, body: &[u8]) -> Option<Arc<KeptScript>> {
        let bytes = body.len() + BODY_OVERHEAD;
        if bytes > self.bytes_max {
            return None;
        }
        let sha = Sha::of(body);
        let mut kept = self.lock();
        if let Some(script) = kept.touch(sha) {
            return Some(script);
        }
        kept.shrink(self.bytes_max - bytes);
        Some(kept.insert(sha, body))
    }

    /// Drops a body that is no script.
    pub fn forget(&self, body: &[u8]) {
        self.lock().remove(Sha::of(body));
    }

    /// Drops all of them (`SCRIPT FLUSH`).
    pub fn clear(&self) {
        let mut kept = self.lock();
        self.generation.fetch_add(1, Ordering::Release);
        for (script, _) in kept.scripts.values() {
            script.is_dropped.store(true, Ordering::Release);
        }
        *kept = Kept::default();
    }

    /// Differs from an earlier answer when all were dropped since.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here panics half way; if something does the process aborts anyway.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn touch(&mut self, sha: Sha) -> Option<Arc<KeptScript>> {
        let (script, used) = self.scripts.get_mut(&sha)?;
        self.uses += 1;
        self.by_use.remove(used);
        *used = self.uses;
        self.by_use.insert(self.uses, sha);
        Some(Arc::clone(script))
    }

    fn insert(&mut self, sha: Sha, body: &[u8]) -> Arc<KeptScript> {
        self.uses += 1;
        self.bytes += body.len() + BODY_OVERHEAD;
        self.by_use.insert(self.uses, sha);
        let script = Arc::new(KeptScript {
            body: body.into(),
            is_used: AtomicBool::new(false),
            is_dropped: AtomicBool::new(false),
        });
        self.scripts.insert(sha, (Arc::clone(&script), self.uses));
        script
    }

    fn remove(&mut self, sha: Sha) {
        if let Some((script, used)) = self.scripts.remove(&sha) {
            script.is_dropped.store(true, Ordering::Release);
            self.by_use.remove(&used);
            self.bytes -= script.body.len() + BODY_OVERHEAD;
        }
    }

    /// Drops what was not used for longest.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.by_use.values().next().copied() else {
                break;
            };
            let was_used = self
                .scripts
                .get(&oldest)
                .is_some_and(|(script, _)| script.is_used.swap(false, Ordering::Relaxed));
            match was_used {
                true => drop(self.touch(oldest)),
                false => self.remove(oldest),
            }
        }
    }
}

/// The bodies one worker has seen lately, found without hashing them whole and without a lock.
#[derive(Debug, Default)]
pub struct SeenScripts {
    /// Empty until the first one; then one place for each fingerprint.
    places: Vec<Option<Arc<KeptScript>>>,
}

const PLACES: usize = 256;
/// Longer ones are hashed each time, so that what is held here, dropped or not, stays below 16 MB.
const SEEN_BYTES_MAX: usize = 64 * 1024;

impl SeenScripts {
    /// Whether this body was noted and the cache still has it.
    pub fn has(&self, body: &[u8]) -> bool {
        let Some(Some(script)) = self.places.get(place(body)) else {
            return false;
        };
        if *script.body != *body || script.is_dropped.load(Ordering::Acquire) {
            return false;
        }
        // Mostly a read of what no other worker writes.
        if !script.is_used.load(Ordering::Relaxed) {
            script.is_used.store(true, Ordering::Relaxed);
        }
        true
    }

    /// Notes a body that the cache keeps.
    pub fn note(&mut self, script: Arc<KeptScript>) {
        if script.body.len() > SEEN_BYTES_MAX {
            return;
        }
        if self.places.is_empty() {
            self.places.resize(PLACES, None);
        }
        let at = place(&script.body);
        if let Some(place) = self.places.get_mut(at) {
            *place = Some(script);
        }
    }
}

/// From the length and a few bytes of the beginning, the middle and the end.
fn place(body: &[u8]) -> usize {
    let word = |at: usize| {
        let mut bytes = [0; 8];
        let piece = body.get(at..).unwrap_or_default();
        let len = piece.len().min(8);
        bytes[..len].copy_from_slice(&piece[..len]);
        u64::from_le_bytes(bytes)
    };
    let mut mixed = body.len() as u64;
    for at in [
        0,
        body.len() / 3,
        body.len() / 2,
        body.len().saturating_sub(8),
    ] {
        mixed = (mixed.rotate_left(23) ^ word(at)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
    (mixed >> 32) as usize % PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keep(cache: &ScriptCache, body: &str) -> Option<Arc<KeptScript>> {
        cache.keep(body.as_bytes())
    }

    fn has(cache: &ScriptCache, body: &str) -> bool {
        cache.body_of(Sha::of(body.as_bytes())).is_some()
    }

    /// contract: T4, F6
    #[test]
    fn least_recently_used_leave() {
        let cache = ScriptCache::new(3 * (BODY_OVERHEAD + 1));
        for body in ["a", "b", "c"] {
            keep(&cache, body);
        }
        assert!(has(&cache, "a"), "used now");
        keep(&cache, "d");
        assert!(!has(&cache, "b"));
        assert!(has(&cache, "a") && has(&cache, "c") && has(&cache, "d"));
        assert!(keep(&cache, &"x".repeat(1000)).is_none(), "too long");
        assert!(has(&cache, "a"), "what is too long drives nobody out");
        cache.forget(b"a");
        assert!(!has(&cache, "a"));
        let generation = cache.generation();
        cache.clear();
        assert!(!has(&cache, "c"));
        assert_ne!(cache.generation(), generation);
        let name = Sha::of(b"e").to_string();
        keep(&cache, "e");
        assert_eq!(cache.body(name.as_bytes()).as_deref(), Some(&b"e"[..]));
        assert_eq!(cache.body(b"nonsense"), None);
    }

    /// contract: F6
    #[test]
    fn what_a_worker_works_with_stays() {
        let cache = ScriptCache::new(3 * (BODY_OVERHEAD + 4));
        let mut seen = SeenScripts::default();
        seen.note(keep(&cache, "hot").expect("it is short"));
        seen.note(keep(&cache, "cold").expect("it is short"));
        for number in 0..20 {
            assert!(seen.has(b"hot"));
            keep(&cache, &number.to_string());
            assert!(cache.lock().bytes <= cache.bytes_max);
        }
        assert!(has(&cache, "hot"));
        assert!(
            !seen.has(b"cold"),
            "it was dropped, and has to be kept anew"
        );
    }

    #[test]
    fn a_seen_body_is_compared_whole() {
        let cache = ScriptCache::new(1 << 20);
        let mut seen = SeenScripts::default();
        let body = "return redis.call('GET', KEYS[1]) -- ".repeat(50);
        assert!(!seen.has(body.as_bytes()));
        seen.note(keep(&cache, &body).expect("it is short"));
        assert!(seen.has(body.as_bytes()));
        for at in 0..body.len() {
            let mut other = body.clone().into_bytes();
            other[at] ^= 1;
            assert!(!seen.has(&other), "byte {at}");
        }
        cache.clear();
        assert!(!seen.has(body.as_bytes()));
    }
}
