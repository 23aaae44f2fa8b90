//! A request as `MONITOR` shows it (contract: S7).

use std::io::Write as _;

use crate::cluster::Database;
use crate::command::{Command, Handling, Local};
use crate::resp::Args;

/// What stands for a secret.
const REDACTED: &[u8] = b"(redacted)";

/// How far a client is with `MONITOR`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Monitoring {
    /// It did not ask for it.
    #[default]
    No,
    /// The workers are being told; nothing of it is looked at meanwhile.
    Starting,
    /// It is shown what passes.
    On,
}

/// Appends the line of one request, which came from this client at this time: microseconds of the wall clock.
///
/// ```text
/// +1339518083.107412 [0 127.0.0.1:60866] "keys" "*"
/// ```
pub fn show(
    command: &Command,
    args: &Args<'_>,
    (database, address): (Database, &str),
    wall_us: u64,
    out: &mut Vec<u8>,
) {
    let (seconds, micros) = (wall_us / 1_000_000, wall_us % 1_000_000);
    // A client of a Unix socket has the socket's path, and 0 for a port.
    let (kind, address) = match address.strip_suffix(":0") {
        Some(path) => ("unix:", path),
        None => ("", address),
    };
    // A vector takes whatever is written.
    let _ = write!(out, "+{seconds}.{micros:06} [{database} {kind}{address}]");
    let secrets = secrets(command, args);
    for (index, argument) in args.iter().enumerate() {
        out.push(b' ');
        let is_secret = secrets.contains(&index);
        quote(if is_secret { REDACTED } else { argument }, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Which arguments are not shown.
fn secrets(command: &Command, args: &Args<'_>) -> std::ops::Range<usize> {
    match command.handling {
        Handling::Local(Local::Auth) => 1..args.len(),
        Handling::Local(Local::Hello) => {
            let is_auth = |arg: &[u8]| arg.eq_ignore_ascii_case(b"auth");
            // A name may be AUTH too; what follows it is then hidden without need.
            let at = args.iter().skip(2).position(is_auth);
            at.map_or(0..0, |at| at + 3..at + 5)
        }
        _ if command.name == "migrate" => {
            let after = |word: &[u8]| args.iter().position(|arg| arg.eq_ignore_ascii_case(word));
            match (after(b"auth"), after(b"auth2")) {
                (_, Some(at)) => at + 1..at + 3,
                (Some(at), None) => at + 1..at + 2,
                (None, None) => 0..0,
            }
        }
        _ => 0..0,
    }
}

/// In quotes, as `sdscatrepr` of the servers writes.
fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::scan::{Limits, RequestScanner};
    use crate::resp::write;

    fn line(words: &[&[u8]], address: &str) -> String {
        line_in(Database::FIRST, words, address)
    }

    fn line_in(database: Database, words: &[&[u8]], address: &str) -> String {
        let mut frame = Vec::new();
        write::command(&mut frame, words);
        let mut scanner = RequestScanner::default();
        let limits = Limits {
            bulk_bytes_max: 1 << 20,
            request_bytes_max: usize::MAX,
            is_authenticated: true,
        };
        scanner.scan(&frame, &limits).expect("a request");
        let args = Args::new(&frame, scanner.spans());
        let Lookup::Found(row) = lookup(&args) else {
            panic!("no row");
        };
        let mut out = Vec::new();
        show(
            row,
            &args,
            (database, address),
            1_339_518_083_007_412,
            &mut out,
        );
        String::from_utf8(out).expect("printable")
    }

    /// contract: S7
    #[test]
    fn as_servers_show_it() {
        assert_eq!(
            line(&[b"keys", b"*"], "127.0.0.1:60866"),
            "+1339518083.007412 [0 127.0.0.1:60866] \"keys\" \"*\"\r\n"
        );
        assert_eq!(
            line_in(Database(3), &[b"GET", b"k"], "[::1]:5"),
            "+1339518083.007412 [3 [::1]:5] \"GET\" \"k\"\r\n"
        );
        assert_eq!(
            line(&[b"PING"], "/run/k.sock:0"),
            "+1339518083.007412 [0 unix:/run/k.sock] \"PING\"\r\n"
        );
        assert_eq!(
            line(
                &[b"SET", b"k", b"a\r\n\t\x07\x08\"\\\x00\xff\x7f \xe9"],
                "[::1]:5"
            ),
            "+1339518083.007412 [0 [::1]:5] \"SET\" \"k\" \
             \"a\\r\\n\\t\\a\\b\\\"\\\\\\x00\\xff\\x7f \\xe9\"\r\n"
        );
    }

    /// contract: S7
    #[test]
    fn secrets_are_not_shown() {
        for (words, shown) in [
            (&[&b"AUTH"[..], b"pw"][..], "\"AUTH\" \"(redacted)\""),
            (
                &[b"auth", b"me", b"pw"],
                "\"auth\" \"(redacted)\" \"(redacted)\"",
            ),
            (
                &[b"HELLO", b"3", b"AUTH", b"me", b"pw", b"SETNAME", b"x"],
                "\"HELLO\" \"3\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"x\"",
            ),
            (
                &[b"HELLO", b"3", b"SETNAME", b"x", b"auth", b"me", b"pw"],
                "\"HELLO\" \"3\" \"SETNAME\" \"x\" \"auth\" \"(redacted)\" \"(redacted)\"",
            ),
            (&[b"HELLO", b"3"], "\"HELLO\" \"3\""),
            (
                &[b"MIGRATE", b"h", b"1", b"k", b"0", b"9", b"AUTH", b"pw"],
                "\"MIGRATE\" \"h\" \"1\" \"k\" \"0\" \"9\" \"AUTH\" \"(redacted)\"",
            ),
            (
                &[
                    b"MIGRATE", b"h", b"1", b"k", b"0", b"9", b"AUTH2", b"me", b"pw",
                ],
                "\"MIGRATE\" \"h\" \"1\" \"k\" \"0\" \"9\" \"AUTH2\" \"(redacted)\" \"(redacted)\"",
            ),
        ] {
            let line = line(words, "1.1.1.1:1");
            assert!(line.ends_with(&format!("] {shown}\r\n")), "{line}");
        }
    }
}
