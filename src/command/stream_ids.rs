//! `XREAD BLOCK ... $`: from now on, whenever it is asked again.
//!
//! `$` is the last entry at the moment a node reads it. A client that is sent elsewhere while it waits would
//! miss what was added in between, so `$` is replaced before it waits: by the last entry that is there.

use super::block::{BEGIN, END};
use super::keys::key_positions;
use super::row::{Command, Keys};
use crate::resp::{Args, reply, write};

/// The IDs of `XREAD` that are `$`, with their keys, as positions in the request.
fn open_ends(command: &Command, args: &Args<'_>) -> Vec<(usize, usize)> {
    if command.keys != Keys::Streams {
        return Vec::new();
    }
    let Ok(keys) = key_positions(command, args) else {
        return Vec::new();
    };
    let count = keys.len();
    keys.iter()
        .map(|key| (key, key + count))
        .filter(|(_, id)| args.get(*id) == Some(b"$"))
        .collect()
}

/// A block that asks for the last entry of each stream that is read from its end on; `None` when none is.
pub fn ask_last_ids(command: &Command, args: &Args<'_>) -> Option<Vec<u8>> {
    let open = open_ends(command, args);
    if open.is_empty() {
        return None;
    }
    let mut block = BEGIN.to_vec();
    for (key, _) in open {
        let key = args.get(key).unwrap_or_default();
        let words: [&[u8]; 6] = [b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1"];
        write::command(&mut block, &words);
    }
    block.extend_from_slice(END);
    Some(block)
}

/// The request with each `$` replaced by what `answer`, the reply to [`ask_last_ids`], says. What it does
/// not say (the key holds no stream) stays as it is, for the node to complain about.
pub fn fill_last_ids(command: &Command, args: &Args<'_>, answer: &[u8]) -> Vec<u8> {
    let open = open_ends(command, args);
    let answers: Vec<&[u8]> = reply::elements(answer).into_iter().flatten().collect();
    let filled: Vec<(usize, &[u8])> = open
        .iter()
        .zip(answers)
        .filter_map(|((_, at), entries)| Some((*at, last_id(entries)?)))
        .collect();
    let mut out = Vec::with_capacity(args.frame().len());
    write::array(&mut out, args.len());
    for (index, argument) in args.iter().enumerate() {
        let filled = filled.iter().find(|(at, _)| *at == index);
        write::bulk(&mut out, filled.map_or(argument, |(_, id)| id));
    }
    out
}

/// The ID of the only entry; before all others when there is none.
fn last_id(entries: &[u8]) -> Option<&[u8]> {
    let mut entries = reply::elements(entries)?;
    match entries.next() {
        Some(entry) => reply::text(reply::elements(entry)?.next()?),
        None => Some(b"0-0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::tests::with_args;
    use crate::command::{Lookup, lookup};

    fn words(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let lines = text.split("\r\n").filter(|line| !line.is_empty());
        let words: Vec<_> = lines
            .filter(|line| *line == "$" || !line.starts_with(['*', '$']))
            .collect();
        words.join(" ")
    }

    /// contract: T6
    #[test]
    fn dollars_become_ids() {
        let line = "XREAD BLOCK 0 STREAMS a b c d $ 5-1 $ $";
        let request: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        with_args(&request, |args| {
            let Lookup::Found(command) = lookup(args) else {
                panic!("no row")
            };
            let asked = ask_last_ids(command, args).expect("three are open");
            assert_eq!(
                words(&asked),
                "MULTI XREVRANGE a + - COUNT 1 XREVRANGE c + - COUNT 1 XREVRANGE d + - COUNT 1 EXEC"
            );
            let answer =
                "*3\r\n*1\r\n*2\r\n$3\r\n7-0\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n*0\r\n-WRONGTYPE x\r\n";
            let filled = fill_last_ids(command, args, answer.as_bytes());
            assert_eq!(
                words(&filled),
                "XREAD BLOCK 0 STREAMS a b c d 7-0 5-1 0-0 $"
            );
        });
    }

    #[test]
    fn nothing_is_asked_without_dollars() {
        for line in [
            "XREAD BLOCK 0 STREAMS a 0",
            "BLPOP $ 0",
            "XREADGROUP GROUP $ $ STREAMS a >",
        ] {
            let request: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            with_args(&request, |args| {
                let Lookup::Found(command) = lookup(args) else {
                    panic!("no row")
                };
                assert_eq!(ask_last_ids(command, args), None, "{line}");
            });
        }
    }
}
