//! Databases that are not there: what the nodes said, remembered for a moment.
//!
//! A program with a wrong number in its URL that connects again and again would cost a node a connection each time.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::Database;

/// How long it is believed. A server gets databases by a restart, or a cluster by an upgrade.
const BELIEVED: Duration = Duration::from_secs(1);

/// The lowest database that nodes said not to have, and their words.
#[derive(Debug, Default)]
pub(super) struct Absent {
    lowest: RefCell<Option<(u32, String, Instant)>>,
}

impl Absent {
    /// What nodes would say of a database; `None` when they have to be asked.
    pub(super) fn said_of(&self, database: Database, now: Instant) -> Option<String> {
        let lowest = self.lowest.borrow();
        let (from, text, until) = lowest.as_ref()?;
        // They count from 0 without gaps.
        (place(database) >= *from && now < *until).then(|| text.clone())
    }

    /// A node said this of a database. What it says of a user is not for others.
    pub(super) fn note(&self, database: Database, text: &str, now: Instant) {
        if text.starts_with("ERR") && self.said_of(database, now).is_none() {
            *self.lowest.borrow_mut() = Some((place(database), text.to_owned(), now + BELIEVED));
        }
    }
}

/// Below 0 there is none, as above the highest.
fn place(database: Database) -> u32 {
    database.0.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT_OF_RANGE: &str = "ERR DB index is out of range";

    #[test]
    fn what_is_above_the_lowest_is_not_asked_for() {
        let (absent, now) = (Absent::default(), Instant::now());
        let is_known = |number, at| absent.said_of(Database(number), at).is_some();
        absent.note(Database(-1), OUT_OF_RANGE, now);
        assert!(is_known(-1, now) && !is_known(99, now) && !is_known(1, now));
        absent.note(Database(20), OUT_OF_RANGE, now);
        assert!(is_known(20, now) && is_known(21, now) && is_known(-1, now));
        assert!(!is_known(19, now));
        absent.note(Database(16), OUT_OF_RANGE, now);
        assert!(is_known(19, now) && !is_known(15, now));
        let later = now + BELIEVED;
        assert!(!is_known(99, later));
        absent.note(Database(18), OUT_OF_RANGE, later);
        assert!(!is_known(17, later), "it may be there by now");
    }

    #[test]
    fn what_a_user_may_not_is_not_remembered() {
        let (absent, now) = (Absent::default(), Instant::now());
        absent.note(Database(1), "NOPERM no permissions", now);
        assert_eq!(absent.said_of(Database(1), now), None);
    }
}
