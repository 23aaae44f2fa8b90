//! From a request's name to its row.
//!
//! Two open-addressing tables, one for commands and one for sub-commands, are filled at build time.
//! The hash folds case with `| 0x20`, which also folds bytes that are not letters; that only makes
//! two unlike names meet in one place. Equality is decided by comparing, letters only, as the servers
//! do.

use super::row::{Command, Handling};
use super::table::{ROWS, ROWS_AT_BUILD};
use crate::resp::Args;

/// What looking up a request found.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// The row. A container named alone (`CLIENT`) finds its own row, whose arity it then fails.
    Found(&'static Command),
    /// No such command.
    Unknown,
    /// The container exists, its sub-command does not.
    UnknownSubcommand(&'static Command),
}

/// Finds the row of a request, without allocating; names are of any case.
#[inline]
pub fn lookup(args: &Args<'_>) -> Lookup {
    let Some(place) = find(args.name()) else {
        return Lookup::Unknown;
    };
    let Some(command) = ROWS.get(usize::from(place & !CONTAINER)) else {
        return Lookup::Unknown;
    };
    if place & CONTAINER == 0 {
        return Lookup::Found(command);
    }
    let Some(subcommand) = args.get(1) else {
        return Lookup::Found(command);
    };
    match find_subcommand(command, subcommand) {
        Some(row) => Lookup::Found(row),
        None => Lookup::UnknownSubcommand(command),
    }
}

/// The top-level command of this name.
#[inline]
fn find(name: &[u8]) -> Option<u16> {
    let mut at = hash(name, 0);
    loop {
        let place = COMMANDS[at];
        if place == EMPTY {
            return None;
        }
        let row = ROWS.get(usize::from(place & !CONTAINER))?;
        if row.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(place);
        }
        at = (at + 1) % PLACES;
    }
}

fn find_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    let seed = seed(container.name.as_bytes());
    let mut at = hash(name, seed);
    loop {
        let place = SUBCOMMANDS[at];
        if place == EMPTY {
            return None;
        }
        let row = ROWS.get(usize::from(place))?;
        if let Some((of, rest)) = row.name.split_once('|')
            && of == container.name
            && rest.as_bytes().eq_ignore_ascii_case(name)
        {
            return Some(row);
        }
        at = (at + 1) % PLACES;
    }
}

/// A power of two, four times the rows of one table and more, so that most names are found in the
/// first place they may be in, and every probe ends at an empty one.
const PLACES: usize = 1024;
const EMPTY: u16 = u16::MAX;
/// Set in the place of a command that has sub-commands, so that the others need not ask.
const CONTAINER: u16 = 1 << 15;

static COMMANDS: [u16; PLACES] = INDEX.0;
static SUBCOMMANDS: [u16; PLACES] = INDEX.1;

const INDEX: ([u16; PLACES], [u16; PLACES]) = build();

/// Fills both tables; a name that is there twice, and a sub-command without a container, stop the
/// build.
const fn build() -> ([u16; PLACES], [u16; PLACES]) {
    let mut commands = [EMPTY; PLACES];
    let mut subcommands = [EMPTY; PLACES];
    let rows = &ROWS_AT_BUILD;
    assert!(rows.len() < CONTAINER as usize);
    let mut row = 0;
    while row < rows.len() {
        let name = rows[row].name.as_bytes();
        if bar(name) == name.len() {
            let at = vacant(&commands, name, hash(name, 0));
            commands[at] = row as u16;
        }
        row += 1;
    }
    row = 0;
    while row < rows.len() {
        let name = rows[row].name.as_bytes();
        let (container, subcommand) = name.split_at(bar(name));
        if let [_bar, subcommand @ ..] = subcommand {
            let at = vacant(&subcommands, name, hash(subcommand, seed(container)));
            subcommands[at] = row as u16;
            let at = occupied(&commands, container);
            commands[at] |= CONTAINER;
        }
        row += 1;
    }
    row = 0;
    while row < rows.len() {
        if matches!(rows[row].handling, Handling::Container) {
            let place = commands[occupied(&commands, rows[row].name.as_bytes())];
            assert!(place & CONTAINER != 0, "a container has no sub-command");
        }
        row += 1;
    }
    (commands, subcommands)
}

/// Where `name` may be put, probing from `at`.
const fn vacant(places: &[u16; PLACES], name: &[u8], mut at: usize) -> usize {
    while places[at] != EMPTY {
        let other = ROWS_AT_BUILD[places[at] as usize].name.as_bytes();
        assert!(!equal(other, name), "a name is in the table twice");
        at = (at + 1) % PLACES;
    }
    at
}

/// Where the command `name` is.
const fn occupied(places: &[u16; PLACES], name: &[u8]) -> usize {
    let mut at = hash(name, 0);
    loop {
        assert!(places[at] != EMPTY, "a sub-command has no container");
        let row = (places[at] & !CONTAINER) as usize;
        if equal(ROWS_AT_BUILD[row].name.as_bytes(), name) {
            return at;
        }
        at = (at + 1) % PLACES;
    }
}

const fn equal(left: &[u8], right: &[u8]) -> bool {
    let mut at = 0;
    while at < left.len() && at < right.len() && left[at] == right[at] {
        at += 1;
    }
    at == left.len() && at == right.len()
}

/// Where the bar of `container|sub` is, or the length when there is none.
const fn bar(name: &[u8]) -> usize {
    let mut at = 0;
    while at < name.len() && name[at] != b'|' {
        at += 1;
    }
    at
}

/// Spreads equal sub-commands of different containers (`HELP`).
const fn seed(container: &[u8]) -> usize {
    hash(container, 0) + 1
}

/// A place from the first and last four bytes, case folded, and the length.
#[inline]
const fn hash(name: &[u8], seed: usize) -> usize {
    let len = name.len();
    let (head, tail) = match *name {
        [a, b, c, d, ..] => {
            let head = u32::from_le_bytes([a, b, c, d]);
            let [.., a, b, c, d] = *name else { return 0 };
            (head, u32::from_le_bytes([a, b, c, d]))
        }
        [a, b, c] => (u32::from_le_bytes([a, b, c, 0]), 0),
        [a, b] => (u32::from_le_bytes([a, b, 0, 0]), 0),
        [a] => (a as u32, 0),
        [] => (0, 0),
    };
    let folded = (head as u64 | (tail as u64) << 32) | 0x2020_2020_2020_2020;
    let mixed = (folded ^ (len as u64) << 56 ^ (seed as u64) << 24).wrapping_mul(MULTIPLIER);
    (mixed >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

/// An odd number whose bits are spread evenly; this one puts most names into places of their own.
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::tests::with_args;
    use crate::command::supported;

    fn found(words: &[&[u8]]) -> String {
        with_args(words, |args| match lookup(args) {
            Lookup::Found(row) => row.name.to_string(),
            Lookup::Unknown => "unknown".to_string(),
            Lookup::UnknownSubcommand(row) => format!("unknown sub-command of {}", row.name),
        })
    }

    #[test]
    fn names_find_their_rows() {
        for (words, expected) in [
            (&[&b"get"[..]][..], "get"),
            (&[b"GeT", b"k"], "get"),
            (&[b"EVAL_RO"], "eval_ro"),
            // `_` and DEL differ in the bit that folds case
            (&[b"EVAL\x7fRO"], "unknown"),
            (&[b"RESTORE-ASKING"], "restore-asking"),
            (&[b"RESTORE\rASKING"], "unknown"),
            (&[b""], "unknown"),
            (&[], "unknown"),
            (&[b"g"], "unknown"),
            (&[b"ge\0"], "unknown"),
            (&[b"get\0"], "unknown"),
            (&[b"\xff\xfe\xfd\xfc\xfb"], "unknown"),
            (&[&[b'x'; 10_000]], "unknown"),
            (&[b"client"], "client"),
            (&[b"CLIENT", b"Kill"], "client|kill"),
            (&[b"CLIENT", b"id|x"], "unknown sub-command of client"),
            (&[b"CLIENT", b""], "unknown sub-command of client"),
            (&[b"CLIENT", b"slots"], "unknown sub-command of client"),
            (&[b"client|id"], "unknown"),
            (&[b"config", b"HELP"], "config|help"),
            (&[b"COMMAND"], "command"),
            (&[b"COMMAND", b"DOCS"], "command|docs"),
            (&[b"COMMAND", b"nope"], "unknown sub-command of command"),
            (&[b"get", b"help"], "get"),
        ] {
            assert_eq!(found(words), expected, "{words:?}");
        }
    }

    #[test]
    fn every_row_is_found_in_every_case() {
        for row in supported() {
            for name in [row.name.to_string(), row.name.to_uppercase()] {
                let words: Vec<&[u8]> = name.split('|').map(str::as_bytes).collect();
                assert_eq!(found(&words), row.name);
            }
        }
    }

    /// The figure the multiplier was chosen for: few probes.
    #[test]
    fn most_names_are_in_their_own_place() {
        let displaced = |places: &[u16], start: &dyn Fn(&str) -> usize| {
            places
                .iter()
                .enumerate()
                .filter(|(_, place)| **place != EMPTY)
                .map(|(at, place)| {
                    let name = ROWS[usize::from(place & !CONTAINER)].name;
                    (at + PLACES - start(name)) % PLACES
                })
                .max()
        };
        let commands = displaced(&COMMANDS, &|name| hash(name.as_bytes(), 0));
        let subcommands = displaced(&SUBCOMMANDS, &|name| {
            let (container, name) = name.split_once('|').expect("sub-commands have a bar");
            hash(name.as_bytes(), seed(container.as_bytes()))
        });
        assert!(commands <= Some(4) && subcommands <= Some(4));
    }
}
