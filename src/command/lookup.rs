//! From a request's name to its row.
//!
//! An open-addressing table, filled at build time, holds commands and, under their container's row,
//! sub-commands. A place carries the length and a fingerprint: the first and the last four bytes in
//! lower case. Up to eight bytes they are the whole name, so that looking up `GET` or `EXPIRE` is a
//! few instructions and one comparison of words; longer names compare their middle as well.

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
    let Some((command, place)) = find(args.name(), TOP) else {
        return Lookup::Unknown;
    };
    if !place.is_container {
        return Lookup::Found(command);
    }
    of_container(command, place, args.get(1))
}

/// The same for a name by itself (`container|sub` for a sub-command), off the path of requests.
pub fn lookup_named(name: &[u8]) -> Lookup {
    let (name, subcommand) = name.split_at(bar(name));
    match find(name, TOP) {
        None => Lookup::Unknown,
        Some((command, place)) if !place.is_container => Lookup::Found(command),
        Some((command, place)) => of_container(command, place, subcommand.get(1..)),
    }
}

#[inline]
fn of_container(command: &'static Command, place: &Place, subcommand: Option<&[u8]>) -> Lookup {
    let Some(subcommand) = subcommand else {
        return Lookup::Found(command);
    };
    match find(subcommand, place.row) {
        Some((row, _)) => Lookup::Found(row),
        None => Lookup::UnknownSubcommand(command),
    }
}

/// The row with this name.
pub fn row_named(name: &str) -> Option<&'static Command> {
    match lookup_named(name.as_bytes()) {
        Lookup::Found(row) => Some(row),
        Lookup::Unknown | Lookup::UnknownSubcommand(_) => None,
    }
}

/// The row called `name` under the container in row `of`, and its place.
#[inline]
fn find(name: &[u8], of: u16) -> Option<(&'static Command, &'static Place)> {
    let fingerprint = fingerprint(name);
    let mut at = start(fingerprint, name.len(), of);
    loop {
        let place = &PLACES[at % PLACES_COUNT];
        if place.fingerprint == fingerprint
            && usize::from(place.len) == name.len()
            && place.of == of
        {
            // An empty place has the fingerprint of the empty name, but no row.
            let row = ROWS.get(usize::from(place.row))?;
            if name.len() <= FINGERPRINTED || has_middle(row, name) {
                return Some((row, place));
            }
        }
        if place.row == EMPTY {
            return None;
        }
        at += 1;
    }
}

/// Whether the part of `name` that its fingerprint leaves out is the row's, in any case. A
/// sub-command's own name is the end of its row's.
fn has_middle(row: &Command, name: &[u8]) -> bool {
    let row = row.name.as_bytes();
    let own = row.get(row.len() - name.len()..).unwrap_or_default();
    match (own, name) {
        ([_, _, _, _, own @ .., _, _, _, _], [_, _, _, _, name @ .., _, _, _, _]) => {
            own.eq_ignore_ascii_case(name)
        }
        _ => false,
    }
}

/// One place of the table.
#[derive(Clone, Copy)]
struct Place {
    fingerprint: u64,
    /// Its row, or [`EMPTY`].
    row: u16,
    /// The row of its container, or [`TOP`].
    of: u16,
    /// Length of the name, of a sub-command's own name.
    len: u8,
    is_container: bool,
}

/// Names up to this length are wholly in their fingerprint.
const FINGERPRINTED: usize = 8;

/// A power of two, more than twice the number of rows, so that probes are short and end.
const PLACES_COUNT: usize = 1024;
/// In [`Place::row`]: nothing is here.
const EMPTY: u16 = u16::MAX;
/// In [`Place::of`]: not a sub-command.
const TOP: u16 = u16::MAX;

static PLACES: [Place; PLACES_COUNT] = build();

/// Fills the table. A name that is there twice, a sub-command without a container and a container
/// without sub-commands stop the build.
const fn build() -> [Place; PLACES_COUNT] {
    let mut places = [Place {
        fingerprint: 0,
        row: EMPTY,
        of: TOP,
        len: 0,
        is_container: false,
    }; PLACES_COUNT];
    let rows = &ROWS_AT_BUILD;
    assert!(rows.len() * 2 < PLACES_COUNT);
    let mut row = 0;
    while row < rows.len() {
        let name = rows[row].name.as_bytes();
        if bar(name) == name.len() {
            let at = seat(&places, name, name, TOP);
            assert!(places[at].row == EMPTY, "a name is in the table twice");
            places[at] = place(name, TOP, row);
        }
        row += 1;
    }
    row = 0;
    while row < rows.len() {
        let name = rows[row].name.as_bytes();
        let (container, rest) = name.split_at(bar(name));
        if let [_bar, subcommand @ ..] = rest {
            let of = seat(&places, container, container, TOP);
            assert!(places[of].row != EMPTY, "a sub-command has no container");
            places[of].is_container = true;
            let of = places[of].row;
            let at = seat(&places, name, subcommand, of);
            assert!(places[at].row == EMPTY, "a name is in the table twice");
            places[at] = place(subcommand, of, row);
        }
        row += 1;
    }
    row = 0;
    while row < rows.len() {
        let name = rows[row].name.as_bytes();
        if bar(name) == name.len() {
            let place = places[seat(&places, name, name, TOP)];
            let is_bare = matches!(rows[row].handling, Handling::Container);
            assert!(
                place.is_container || !is_bare,
                "a container has no sub-command"
            );
        }
        row += 1;
    }
    places
}

/// Where the row `full` (`container|name` for a sub-command) is, or the empty place where it goes.
const fn seat(places: &[Place; PLACES_COUNT], full: &[u8], name: &[u8], of: u16) -> usize {
    let mut at = start(fingerprint(name), name.len(), of) % PLACES_COUNT;
    while places[at].row != EMPTY
        && !equal(ROWS_AT_BUILD[places[at].row as usize].name.as_bytes(), full)
    {
        at = (at + 1) % PLACES_COUNT;
    }
    at
}

const fn place(name: &[u8], of: u16, row: usize) -> Place {
    assert!(name.len() <= u8::MAX as usize);
    Place {
        fingerprint: fingerprint(name),
        row: row as u16,
        of,
        len: name.len() as u8,
        is_container: false,
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

/// The first and the last four bytes in lower case; they overlap below eight bytes.
#[inline]
const fn fingerprint(name: &[u8]) -> u64 {
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
    to_lower((head as u64) | ((tail as u64) << 32))
}

/// Eight bytes, `A` to `Z` in lower case and every other byte as it is.
///
/// In the low seven bits of a byte, adding `0x80 - 'A'` carries into the top bit from `A` on, adding
/// `0x7f - 'Z'` from beyond `Z` on; where only the first does and the byte is ASCII, there is a
/// capital, and its top bit shifted by two is the bit to set.
#[inline]
const fn to_lower(bytes: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = bytes & (EACH * 0x7f);
    let from_a = low + EACH * (0x80 - b'A' as u64);
    let beyond_z = low + EACH * (0x7f - b'Z' as u64);
    let capital = (from_a ^ beyond_z) & !bytes & (EACH * 0x80);
    bytes | (capital >> 2)
}

/// Where probing begins.
#[inline]
const fn start(fingerprint: u64, len: usize, of: u16) -> usize {
    let mixed = fingerprint ^ ((len as u64) << 24) ^ ((of as u64) << 8);
    (mixed.wrapping_mul(MULTIPLIER) >> (u64::BITS - PLACES_COUNT.trailing_zeros())) as usize
}

/// Odd, its bits evenly spread.
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
            assert_eq!(row_named(row.name).map(|row| row.name), Some(row.name));
        }
    }

    /// The fast fold is the plain one, for every byte in every place.
    #[test]
    fn capitals_alone_are_folded() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = *b"zA@[`{\xff\x80";
                bytes[at] = byte;
                let folded = to_lower(u64::from_le_bytes(bytes));
                assert_eq!(
                    folded.to_le_bytes(),
                    bytes.map(|byte| byte.to_ascii_lowercase())
                );
            }
        }
    }

    /// Names that differ from a row's in one byte find what a plain search finds.
    #[test]
    fn near_misses_are_found_as_by_plain_search() {
        for row in supported().filter(|row| !row.name.contains('|')) {
            for at in 0..row.name.len() {
                for byte in 0..=u8::MAX {
                    let mut name = row.name.as_bytes().to_vec();
                    name[at] = byte;
                    let plain = supported()
                        .find(|row| row.name.as_bytes().eq_ignore_ascii_case(&name))
                        .filter(|row| !row.name.contains('|'));
                    let found = find(&name, TOP).map(|(row, _)| row.name);
                    assert_eq!(found, plain.map(|row| row.name), "{name:?}");
                }
            }
        }
    }

    #[test]
    fn probes_are_short() {
        let mut probes: Vec<usize> = PLACES
            .iter()
            .enumerate()
            .filter(|(_, place)| place.row != EMPTY)
            .map(|(at, place)| {
                let start = start(place.fingerprint, place.len.into(), place.of);
                (at + PLACES_COUNT - start) % PLACES_COUNT + 1
            })
            .collect();
        probes.sort_unstable();
        assert_eq!(probes.len(), ROWS.len());
        assert_eq!(
            probes[probes.len() * 3 / 4],
            1,
            "three of four names are in their first place"
        );
        assert!(probes[probes.len() - 1] <= 8, "{probes:?}");
    }
}
