//! The commands that servers know and the table does not: one immutable snapshot, looked at only when
//! the table has no row.

use std::collections::HashMap;

use super::announced::{Announced, Interner};
use super::lookup::{Lookup, lookup_named};
use super::rights::Rights;
use super::row::Command;
use crate::resp::Args;

/// Longer names are not learnt.
pub const NAME_MAX: usize = 128;

/// Commands learnt from the servers.
#[derive(Debug, Default)]
pub struct LearntCommands {
    /// By name in lower case; a sub-command's is `container|sub`.
    rows: HashMap<Box<[u8]>, Learnt>,
    /// What the ACL asks about each, by the place of its row: rows live as long as the process.
    rights: HashMap<usize, Rights>,
}

#[derive(Clone, Copy, Debug)]
struct Learnt {
    row: &'static Command,
    is_container: bool,
}

impl LearntCommands {
    /// Joins what several servers announce; where two differ, the first holds. Returns as well
    /// whether some were left out because there are too many.
    pub fn new<'a>(
        announced: impl Iterator<Item = &'a Announced>,
        interner: &mut Interner,
    ) -> (LearntCommands, bool) {
        let mut rows = HashMap::new();
        let mut rights = HashMap::new();
        let mut is_short = false;
        for announced in announced.filter(|announced| is_news(&announced.name)) {
            let name = announced.name.to_ascii_lowercase().into_bytes();
            let name = name.into_boxed_slice();
            if rows.contains_key(&name) {
                continue;
            }
            match interner.row(announced) {
                Some(row) => {
                    let is_container = announced.is_container;
                    rights.insert(std::ptr::from_ref(row).addr(), announced.rights());
                    rows.insert(name, Learnt { row, is_container });
                }
                None => is_short = true,
            }
        }
        (LearntCommands { rows, rights }, is_short)
    }

    /// Looks on where the table found nothing.
    #[cold]
    pub fn look_up(&self, missed: Lookup, args: &Args<'_>) -> Lookup {
        if self.rows.is_empty() {
            return missed;
        }
        match missed {
            Lookup::Found(_) => missed,
            Lookup::Unknown => {
                let Some(found) = self.find(args.name(), None) else {
                    return missed;
                };
                let Some(subcommand) = args.get(1).filter(|_| found.is_container) else {
                    return Lookup::Found(found.row);
                };
                match self.find(args.name(), Some(subcommand)) {
                    Some(found) => Lookup::Found(found.row),
                    None => Lookup::UnknownSubcommand(found.row),
                }
            }
            Lookup::UnknownSubcommand(container) => {
                match self.find(container.name.as_bytes(), args.get(1)) {
                    Some(found) => Lookup::Found(found.row),
                    None => missed,
                }
            }
        }
    }

    fn find(&self, name: &[u8], subcommand: Option<&[u8]>) -> Option<Learnt> {
        let mut lower = [0; 2 * NAME_MAX + 1];
        let mut len = 0;
        let bar: &[u8] = if subcommand.is_some() { b"|" } else { b"" };
        for piece in [name, bar, subcommand.unwrap_or_default()] {
            let place = lower.get_mut(len..len + piece.len())?;
            place.copy_from_slice(piece);
            place.make_ascii_lowercase();
            len += piece.len();
        }
        let is_plain = subcommand.is_some() || memchr::memchr(b'|', name).is_none();
        self.rows.get(&lower[..len]).copied().filter(|_| is_plain)
    }

    /// What the ACL asks about a command, of the table or learnt.
    pub fn rights(&self, command: &Command) -> Rights {
        let learnt = || {
            self.rights
                .get(&std::ptr::from_ref(command).addr())
                .copied()
        };
        command.rights().or_else(learnt).unwrap_or(Rights::UNKNOWN)
    }

    /// The rows, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &'static Command> + '_ {
        self.rows.values().map(|learnt| learnt.row)
    }

    /// Whether the other has the same rows.
    pub fn same(&self, other: &LearntCommands) -> bool {
        let mut rows = self.rows.iter();
        self.rows.len() == other.rows.len()
            && rows.all(|(name, learnt)| {
                other.rows.get(name).is_some_and(|other| {
                    let is_same_row = std::ptr::eq(learnt.row, other.row);
                    is_same_row && learnt.is_container == other.is_container
                })
            })
    }
}

/// The first words of an HTTP request's lines that Redis looks out for, to close the connection. Redis 6.2 announces
/// them as commands; passed on, each would cost a connection that other clients share.
pub fn is_http(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// Whether a name can be learnt: the table has no row for it, nor one for its container that says
/// that there are no sub-commands.
pub fn is_news(name: &str) -> bool {
    let is_name = name.len() <= NAME_MAX && name.bytes().all(|byte| byte.is_ascii_graphic());
    let is_command = !name.is_empty() && is_name && !is_http(name.as_bytes());
    is_command && !matches!(lookup_named(name.as_bytes()), Lookup::Found(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::tests::with_args;

    fn learnt(names: &[&str]) -> LearntCommands {
        let announced: Vec<Announced> = names
            .iter()
            .map(|name| Announced {
                name: name.trim_end_matches('*').to_owned(),
                arity: -1,
                is_container: name.ends_with('*'),
                ..Announced::default()
            })
            .collect();
        let (learnt, is_short) = LearntCommands::new(announced.iter(), &mut Interner::new(100));
        assert!(!is_short);
        learnt
    }

    /// contract: R2
    #[test]
    fn what_the_table_lacks_is_found() {
        let learnt = learnt(&[
            "JSON.SET",
            "FT.CONFIG*",
            "ft.config|get",
            "client|later",
            "get",
            "get|x",
            "client|id",
            "a b",
            "host:",
            "post",
            "",
            &"x".repeat(NAME_MAX + 1),
        ]);
        let found = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            with_args(&words, |args| {
                match learnt.look_up(crate::command::lookup(args), args) {
                    Lookup::Found(row) => row.name.to_owned(),
                    Lookup::Unknown => "unknown".to_owned(),
                    Lookup::UnknownSubcommand(row) => format!("unknown of {}", row.name),
                }
            })
        };
        for (line, expected) in [
            ("json.set k", "JSON.SET"),
            ("Json.Set", "JSON.SET"),
            ("json.get", "unknown"),
            ("FT.CONFIG", "FT.CONFIG"),
            ("FT.CONFIG GET", "ft.config|get"),
            ("FT.CONFIG SET", "unknown of FT.CONFIG"),
            ("FT.CONFIG|GET", "unknown"),
            ("client LATER", "client|later"),
            ("client never", "unknown of client"),
            ("client id", "client|id"),
            ("get x", "get"),
            ("host: localhost", "unknown"),
            ("POST /", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(found(line), expected, "{line}");
        }
        assert_eq!(found(&"y".repeat(10_000)), "unknown");
        assert_eq!(learnt.rows().count(), 4);
    }

    /// contract: R2, F6
    #[test]
    fn nodes_are_joined_and_limits_hold() {
        let named = |name: &str, arity| Announced {
            name: name.to_owned(),
            arity,
            ..Announced::default()
        };
        let mut interner = Interner::new(2);
        let nodes = [named("A.B", 1), named("a.b", 2), named("C.D", 1)];
        let (learnt, is_short) = LearntCommands::new(nodes.iter(), &mut interner);
        assert!(!is_short);
        let mut rows: Vec<_> = learnt.rows().map(|row| (row.name, row.arity)).collect();
        rows.sort_unstable();
        assert_eq!(rows, [("A.B", 1), ("C.D", 1)], "the first holds");
        // Another `a.b` comes first, for which there is no room: the one that is known stays.
        let (again, is_short) = LearntCommands::new(nodes.iter().rev(), &mut interner);
        assert!(is_short && again.same(&learnt));
        let (again, _) = LearntCommands::new(nodes.iter(), &mut interner);
        assert!(again.same(&learnt));
        let more = [named("E.F", 1)];
        let (learnt, is_short) = LearntCommands::new(more.iter(), &mut interner);
        assert!(is_short && learnt.rows().count() == 0);
    }
}
