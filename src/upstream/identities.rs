//! Every identity of the process, and the credentials that its connections are opened with.
//!
//! An identity is kept alive by the users that travel as it and by the workers that have connections of it;
//! here it is only known. Looked at when a client says who it is and when settings are read, never for a
//! request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::handshake::{Credentials, SharedCredentials};
use crate::acl::{Identity, IdentityNumber};
use crate::config::Secret;

/// So many passwords of one identity that the nodes say who is are kept: the last, and the one before it
/// while passwords are being changed.
const PASSWORDS_MAX: usize = 2;

/// As many identities as allowed are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} users are connected through this Keyway, as many as may be (limits.identities)")]
pub struct TooMany(pub usize);

/// The identities of the process.
#[derive(Debug)]
pub struct Identities {
    max: usize,
    /// Somebody was turned away.
    is_crowded: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: u32,
    by_name: HashMap<Box<str>, Entry>,
}

#[derive(Debug)]
struct Entry {
    identity: Weak<Identity>,
    credentials: SharedCredentials,
}

impl Default for Identities {
    fn default() -> Self {
        Identities::new(usize::MAX)
    }
}

impl Identities {
    /// None yet; so many that nodes vouch for may be alive at the same time.
    pub fn new(max: usize) -> Identities {
        Identities {
            max,
            is_crowded: AtomicBool::new(false),
            known: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The identity that the configuration gives these credentials. If it had others, connections that are
    /// opened from now on have these, and those that are open are told.
    pub fn configured(&self, credentials: Credentials) -> Arc<Identity> {
        let name = credentials.name().to_owned();
        let mut known = self.lock();
        known.forget_dead();
        if let Some((identity, current)) = known.find(&name) {
            if !current.load().same(&credentials) {
                current.store(credentials);
            }
            return identity;
        }
        known.add(&name, credentials)
    }

    /// The identity for which a node has just accepted this password.
    ///
    /// # Errors
    /// It would be one too many.
    pub fn vouched_for(&self, name: &str, password: &Secret) -> Result<Arc<Identity>, TooMany> {
        let mut known = self.lock();
        known.forget_dead();
        if let Some((identity, current)) = known.find(name) {
            let before = current.load();
            if before.passwords.first() != Some(password) {
                let others = before.passwords.iter().filter(|own| *own != password);
                let passwords = std::iter::once(password).chain(others);
                current.store_unsaid(Credentials {
                    username: before.username.clone(),
                    passwords: passwords.take(PASSWORDS_MAX).cloned().collect(),
                });
            }
            return Ok(identity);
        }
        if known.by_name.len() >= self.max {
            self.is_crowded.store(true, Ordering::Relaxed);
            return Err(TooMany(self.max));
        }
        let credentials = Credentials {
            username: Some(name.to_owned()),
            passwords: vec![password.clone()],
        };
        self.is_crowded.store(false, Ordering::Relaxed);
        Ok(known.add(name, credentials))
    }

    /// Whether somebody was turned away since the last one was taken in: those that nobody uses make room at once.
    pub fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    /// The credentials of an identity.
    pub fn credentials(&self, identity: &Identity) -> Option<SharedCredentials> {
        let known = self.lock();
        let (found, credentials) = known.find(identity.name())?;
        (found.number() == identity.number()).then_some(credentials)
    }

    /// How many are alive.
    pub fn alive(&self) -> usize {
        let mut known = self.lock();
        known.forget_dead();
        known.by_name.len()
    }
}

impl Known {
    fn find(&self, name: &str) -> Option<(Arc<Identity>, SharedCredentials)> {
        let entry = self.by_name.get(name)?;
        Some((entry.identity.upgrade()?, entry.credentials.clone()))
    }

    fn forget_dead(&mut self) {
        self.by_name
            .retain(|_, entry| entry.identity.strong_count() > 0);
    }

    fn add(&mut self, name: &str, credentials: Credentials) -> Arc<Identity> {
        self.last = self
            .last
            .checked_add(1)
            .expect("not so many live in one process");
        let identity = Arc::new(Identity::new(IdentityNumber(self.last), name));
        let entry = Entry {
            identity: Arc::downgrade(&identity),
            credentials: SharedCredentials::new(credentials),
        };
        self.by_name.insert(name.into(), entry);
        identity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(name: &str, passwords: &[&str]) -> Credentials {
        Credentials {
            username: Some(name.to_owned()),
            passwords: passwords.iter().map(|text| Secret::new(*text)).collect(),
        }
    }

    #[test]
    fn one_for_each_user_of_the_nodes() {
        let identities = Identities::default();
        let a = identities.configured(credentials("a", &["one"]));
        let b = identities.configured(credentials("b", &["one"]));
        assert_ne!(a.number(), b.number());
        assert_ne!(a.number(), IdentityNumber::SERVICE);
        let current = identities.credentials(&a).expect("it is alive");
        let mut changes = current.subscribe();
        assert_eq!(identities.configured(credentials("a", &["one"])), a);
        assert!(!changes.has_changed().expect("it is there"));
        assert_eq!(identities.configured(credentials("a", &["two"])), a);
        assert!(changes.has_changed().expect("it is there"));
        changes.mark_unchanged();
        assert!(current.load().same(&credentials("a", &["two"])));
    }

    #[test]
    fn a_number_never_comes_back() {
        let identities = Identities::default();
        let first = identities.configured(credentials("a", &["one"])).number();
        assert_eq!(identities.alive(), 0);
        let second = identities.configured(credentials("a", &["one"]));
        assert_ne!(first, second.number());
        let stale = Identity::new(first, "a");
        assert!(identities.credentials(&stale).is_none());
    }

    #[test]
    fn those_that_nodes_vouch_for_are_limited() {
        let identities = Identities::new(2);
        let password = |text: &str| Secret::new(text);
        let a = identities.vouched_for("a", &password("1")).expect("room");
        let b = identities.vouched_for("b", &password("1")).expect("room");
        assert_eq!(identities.vouched_for("c", &password("1")), Err(TooMany(2)));
        for text in ["2", "2", "3", "2"] {
            let again = identities.vouched_for("a", &password(text));
            assert_eq!(again.as_ref(), Ok(&a), "another password is no other user");
        }
        let current = identities.credentials(&a).expect("alive").load();
        assert!(current.same(&credentials("a", &["2", "3"])));
        assert!(identities.is_crowded());
        drop(b);
        assert!(identities.vouched_for("c", &password("1")).is_ok());
        assert!(!identities.is_crowded());
    }
}
