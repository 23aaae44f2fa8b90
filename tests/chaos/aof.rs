//! The nodes' own logs: every write that a node executed is in its append-only file before its reply goes
//! out, and no file is ever removed (`aof-disable-auto-gc`), so what a node acknowledged and lost later
//! can still be read there.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What of an argument is kept; more than any marker needs.
const KEPT_BYTES: usize = 64 * 1024;

/// What a node is told, so that it keeps such logs: plain commands, written before the reply is sent,
/// rewritten only when all data came anew from its primary.
pub fn node_config() -> Vec<String> {
    [
        "appendonly yes",
        "appendfsync no",
        "aof-use-rdb-preamble no",
        "aof-disable-auto-gc yes",
        "auto-aof-rewrite-percentage 0",
        "rdbcompression no",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// One file of a node's log.
pub struct LogFile {
    /// Where.
    pub path: PathBuf,
    /// Whether it is a picture of all data at one time, and not a history.
    pub is_base: bool,
    /// Its place among the node's: a base, and the history that begins with it, have the same.
    pub sequence: u64,
}

/// All files of a node's log; bases first, in their order.
pub fn files(folder: &Path) -> Vec<LogFile> {
    let entries = fs::read_dir(folder.join("appendonlydir"));
    let entries = entries.expect("a node has a log").flatten();
    let mut files: Vec<LogFile> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_base = name.ends_with(".base.aof");
            (is_base || name.contains("incr")).then(|| LogFile {
                sequence: name
                    .split('.')
                    .find_map(|part| part.parse().ok())
                    .unwrap_or(u64::MAX),
                path: entry.path(),
                is_base,
            })
        })
        .collect();
    files.sort_by_key(|file| (file.sequence, !file.is_base));
    files
}

/// Shows each command of a file; of long arguments the beginning. The file of a node that was killed
/// may end in the middle of one.
pub fn commands(path: &Path, mut each: impl FnMut(&[Vec<u8>])) {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut arguments = Vec::new();
    loop {
        match command(&mut reader, &mut arguments) {
            Ok(()) => each(&arguments),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn command(reader: &mut impl BufRead, arguments: &mut Vec<Vec<u8>>) -> io::Result<()> {
    arguments.clear();
    for _ in 0..number(reader, b'*')? {
        let length = number(reader, b'$')?;
        let mut argument = vec![0; length.min(KEPT_BYTES)];
        reader.read_exact(&mut argument)?;
        let rest = (length - argument.len()) as u64 + 2;
        let skipped = io::copy(&mut reader.take(rest), &mut io::sink())?;
        if skipped < rest {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        arguments.push(argument);
    }
    Ok(())
}

fn number(reader: &mut impl BufRead, kind: u8) -> io::Result<usize> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    let Some(digits) = line.strip_suffix(b"\r\n") else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let digits = digits.strip_prefix(&[kind]);
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let number = digits.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("'{}'", line.escape_ascii())))
}
