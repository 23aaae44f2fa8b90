//! Databases: one server has several, and so have clusters of newer Valkeys. They are told apart by an index.

use std::fmt;

/// The index of a database, as `SELECT` takes it. Only a node knows whether there is one with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Database(pub i32);

impl Database {
    /// Where every connection begins, and the only one that every server has.
    pub const FIRST: Database = Database(0);

    /// Whether it is the one in which every connection begins.
    pub fn is_first(self) -> bool {
        self == Database::FIRST
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
