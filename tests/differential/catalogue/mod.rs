//! The commands, as lines; see [`Template`](super::template::Template) and, for the marks,
//! [`Rule`](super::compare::Rule). A new command is a new line. A line may stand more than once.
//!
//! What is left out, or only its shape compared, is named in [`differences`](super::differences).

mod connection;
mod data;
mod keyspace;
mod streams;

use std::sync::OnceLock;

use super::template::Template;

/// Lines that belong together, and how often one of them is chosen.
#[derive(Debug)]
pub struct Family {
    /// What the sequences call it.
    pub kind: Kind,
    /// Out of the sum of all.
    pub weight: u32,
    lines: &'static [&'static str],
    parsed: OnceLock<Vec<Template>>,
}

/// What a family needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Keys of its own only: clients may send it at the same time, each with its own keys.
    Data,
    /// Speaks of the whole server, or of all keys.
    Global,
    /// Runs scripts or functions.
    Scripts,
    /// Runs scripts by their digest.
    Digests,
    /// The connection's own state.
    Connection,
    /// `MULTI` and its kin.
    Transactions,
    /// Waits, if there is nothing to take.
    Blocking,
    /// Takes subscriptions on or off.
    Subscriptions,
    /// Publishes.
    Publish,
}

impl Family {
    const fn new(kind: Kind, weight: u32, lines: &'static [&'static str]) -> Family {
        Family {
            kind,
            weight,
            lines,
            parsed: OnceLock::new(),
        }
    }

    /// Its templates.
    pub fn templates(&self) -> &[Template] {
        self.parsed
            .get_or_init(|| self.lines.iter().copied().map(Template::parse).collect())
    }
}

/// All families.
pub static FAMILIES: [Family; 18] = [
    Family::new(Kind::Data, 12, data::STRINGS),
    Family::new(Kind::Data, 5, data::BITS),
    Family::new(Kind::Data, 9, data::HASHES),
    Family::new(Kind::Data, 9, data::LISTS),
    Family::new(Kind::Data, 9, data::SETS),
    Family::new(Kind::Data, 12, data::SORTED_SETS),
    Family::new(Kind::Data, 4, data::GEO),
    Family::new(Kind::Data, 9, streams::STREAMS),
    Family::new(Kind::Data, 3, data::HYPERLOGLOG),
    Family::new(Kind::Data, 12, keyspace::KEYS),
    Family::new(Kind::Global, 2, keyspace::WHOLE),
    Family::new(Kind::Scripts, 7, keyspace::SCRIPTS),
    Family::new(Kind::Digests, 3, keyspace::DIGESTS),
    Family::new(Kind::Connection, 7, connection::CONNECTION),
    Family::new(Kind::Transactions, 8, connection::TRANSACTIONS),
    Family::new(Kind::Blocking, 3, connection::BLOCKING),
    Family::new(Kind::Subscriptions, 4, connection::SUBSCRIPTIONS),
    Family::new(Kind::Publish, 3, connection::PUBLISH),
];
