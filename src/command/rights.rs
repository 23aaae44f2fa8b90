//! What the servers' ACL asks about a command: its categories, and how it uses its keys. Columns of the
//! table that are looked at for restricted users only, so they stand apart from the row.

use super::row::{Access, Command};

/// ACL categories, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Categories(u32);

/// Every category, in the order of `ACL CAT`; its place is its bit.
const NAMES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

impl Categories {
    /// None.
    pub const NONE: Categories = Categories(0);

    /// The category with this name (without `@`), in any case.
    pub fn named(name: &[u8]) -> Option<Categories> {
        let place = NAMES
            .iter()
            .position(|own| own.as_bytes().eq_ignore_ascii_case(name))?;
        Some(Categories(1 << place))
    }

    /// The same while building; a name nobody knows stops the build.
    pub(super) const fn of_row(name: &str) -> Categories {
        let mut place = 0;
        while place < NAMES.len() {
            if equal(NAMES[place].as_bytes(), name.as_bytes()) {
                return Categories(1 << place);
            }
            place += 1;
        }
        panic!("no such category")
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Categories) -> Categories {
        Categories(self.0 | other.0)
    }

    /// Whether they have one in common.
    pub const fn meets(self, other: Categories) -> bool {
        self.0 & other.0 != 0
    }

    /// Their names, without `@`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let places = NAMES.iter().enumerate();
        places
            .filter(move |(place, _)| self.0 >> place & 1 == 1)
            .map(|(_, name)| *name)
    }
}

/// What a command does with a key, as far as the servers' ACL tells it apart. `EXISTS` does neither:
/// it needs a pattern that fits, of either kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyUse {
    /// It hands out, copies or compares what the key holds.
    pub reads: bool,
    /// It changes the key.
    pub writes: bool,
}

impl KeyUse {
    /// It does both.
    pub const BOTH: KeyUse = KeyUse {
        reads: true,
        writes: true,
    };

    /// It does what either does.
    #[must_use]
    pub fn or(self, other: KeyUse) -> KeyUse {
        KeyUse {
            reads: self.reads || other.reads,
            writes: self.writes || other.writes,
        }
    }

    /// What must be feared of a command of which nothing else is known.
    pub fn of_access(access: Access) -> KeyUse {
        match access {
            Access::Read => KeyUse {
                reads: true,
                writes: false,
            },
            Access::Write | Access::Harmless | Access::Effect => KeyUse::BOTH,
        }
    }
}

/// What the ACL asks about one command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Its categories.
    pub categories: Categories,
    /// How it uses its first key.
    pub first_key: KeyUse,
    /// How it uses the others.
    pub other_keys: KeyUse,
}

impl Rights {
    /// What must be feared of a command that nothing is known of: it is in no category that a rule could
    /// allow, and does everything with its keys.
    pub const UNKNOWN: Rights = Rights {
        categories: Categories::NONE,
        first_key: KeyUse::BOTH,
        other_keys: KeyUse::BOTH,
    };
}

impl Command {
    /// How it uses the key that is the `nth` of this request.
    pub fn key_use(
        &self,
        rights: Rights,
        nth: usize,
        words: &mut dyn Iterator<Item = &[u8]>,
    ) -> KeyUse {
        match self.name {
            // As the servers decide it, request by request.
            "set" => KeyUse {
                reads: words.skip(3).any(|word| word.eq_ignore_ascii_case(b"get")),
                writes: true,
            },
            "bitfield" => KeyUse {
                reads: true,
                writes: !only_reads_bits(words),
            },
            _ if nth == 0 => rights.first_key,
            _ => rights.other_keys,
        }
    }
}

/// Whether a `BITFIELD` has nothing but `GET`; what makes no sense counts as a write.
fn only_reads_bits(words: &mut dyn Iterator<Item = &[u8]>) -> bool {
    let mut words = words.skip(2);
    while let Some(word) = words.next() {
        let arguments = match word {
            _ if word.eq_ignore_ascii_case(b"get") => 2,
            _ if word.eq_ignore_ascii_case(b"overflow") => 1,
            _ => return false,
        };
        if (0..arguments).any(|_| words.next().is_none()) {
            return false;
        }
    }
    true
}

const fn equal(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::row_named;

    fn uses(line: &str, nth: usize) -> (bool, bool) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let name = line.split(' ').next().expect("a name");
        let row = row_named(name).expect("a row");
        let rights = row.rights().expect("a row of the table");
        let used = row.key_use(rights, nth, &mut words.into_iter());
        (used.reads, used.writes)
    }

    #[test]
    fn how_keys_are_used() {
        for (line, nth, expected) in [
            ("get k", 0, (true, false)),
            ("exists k", 0, (false, false)),
            ("del k", 0, (false, true)),
            ("incr k", 0, (true, true)),
            ("copy a b", 0, (true, false)),
            ("copy a b", 1, (false, true)),
            ("rename a b", 0, (true, true)),
            ("rename a b", 1, (false, true)),
            ("set k v", 0, (false, true)),
            ("set get v", 0, (false, true)),
            ("set k get", 0, (false, true)),
            ("set k v GeT", 0, (true, true)),
            ("set k v ex 5 get", 0, (true, true)),
            ("bitfield k get u8 0", 0, (true, false)),
            ("bitfield k overflow wrap GET u8 0", 0, (true, false)),
            ("bitfield k", 0, (true, false)),
            ("bitfield k get u8", 0, (true, true)),
            ("bitfield k get u8 0 set u8 0 1", 0, (true, true)),
            ("bitfield k nonsense", 0, (true, true)),
        ] {
            assert_eq!(uses(line, nth), expected, "{line} {nth}");
        }
    }

    #[test]
    fn categories_have_names() {
        let both = Categories::of_row("read").and(Categories::of_row("fast"));
        assert_eq!(both.names().collect::<Vec<_>>(), ["read", "fast"]);
        assert_eq!(Categories::named(b"ReaD"), Some(Categories::of_row("read")));
        assert_eq!(Categories::named(b"all"), None);
        assert!(both.meets(Categories::of_row("fast")));
        assert!(!both.meets(Categories::of_row("slow")));
    }
}
