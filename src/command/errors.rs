//! The errors a server gives before it runs a command, byte for byte.
//!
//! Texts begin with `ERR`; the caller writes the `-` before and the line break after. They carry the
//! client's bytes, so they need not be UTF-8, but they hold no line break.

use super::row::Command;
use crate::resp::Args;

/// How many bytes of a name, and of all arguments together, the servers repeat.
const SHOWN_BYTES_MAX: usize = 128;

/// `ERR unknown command 'foo', with args beginning with: 'a' 'b' `
pub fn unknown_command(args: &Args<'_>) -> Vec<u8> {
    let mut text = b"ERR unknown command '".to_vec();
    push_shown(&mut text, args.name(), SHOWN_BYTES_MAX);
    text.extend_from_slice(b"', with args beginning with: ");
    let start = text.len();
    for argument in args.iter().skip(1) {
        // The quotes and spaces count as well; the last argument may end beyond the limit by them.
        let Some(room @ 1..) = SHOWN_BYTES_MAX.checked_sub(text.len() - start) else {
            break;
        };
        text.push(b'\'');
        push_shown(&mut text, argument, room);
        text.extend_from_slice(b"' ");
    }
    text
}

/// `ERR unknown subcommand 'x'. Try CLIENT HELP.`
pub fn unknown_subcommand(container: &Command, args: &Args<'_>) -> Vec<u8> {
    let mut text = b"ERR unknown subcommand '".to_vec();
    push_shown(&mut text, args.get(1).unwrap_or_default(), SHOWN_BYTES_MAX);
    text.extend_from_slice(b"'. Try ");
    text.extend_from_slice(container.name.to_ascii_uppercase().as_bytes());
    text.extend_from_slice(b" HELP.");
    text
}

/// `ERR wrong number of arguments for 'get' command`; sub-commands are named `client|kill`.
///
/// `EXEC x` ends the transaction as well, and says so.
pub fn wrong_arity(command: &Command) -> Vec<u8> {
    if command.is_block() {
        return b"EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command"
            .to_vec();
    }
    format!(
        "ERR wrong number of arguments for '{}' command",
        command.name
    )
    .into_bytes()
}

/// The servers print arguments as C strings: they end at a NUL. Line breaks become spaces.
fn push_shown(text: &mut Vec<u8>, argument: &[u8], bytes_max: usize) {
    let shown = &argument[..argument.len().min(bytes_max)];
    let end = memchr::memchr(0, shown).unwrap_or(shown.len());
    text.extend(shown[..end].iter().map(|byte| match byte {
        b'\r' | b'\n' => b' ',
        other => *other,
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::keys::tests::with_args;
    use crate::command::{Lookup, lookup};

    fn check(words: &[&[u8]], expected: &[u8]) {
        let text = with_args(words, |args| match lookup(args) {
            Lookup::Found(row) => {
                assert!(!row.accepts(args.len()));
                wrong_arity(row)
            }
            Lookup::Unknown => unknown_command(args),
            Lookup::UnknownSubcommand(row) => unknown_subcommand(row, args),
        });
        assert_eq!(
            text.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    /// Each text was given by a server; `tests/command_table` compares many more.
    #[test]
    fn texts_are_the_servers() {
        for (words, expected) in [
            (
                &[&b"foo"[..]][..],
                &b"ERR unknown command 'foo', with args beginning with: "[..],
            ),
            (
                &[b"Foo", b"a", b""],
                b"ERR unknown command 'Foo', with args beginning with: 'a' '' ",
            ),
            (
                &[b"F\0o", b"a\r\nb", b"\xff\0"],
                b"ERR unknown command 'F', with args beginning with: 'a  b' '\xff' ",
            ),
            (
                &[b"GeT"],
                b"ERR wrong number of arguments for 'get' command",
            ),
            (
                &[b"client"],
                b"ERR wrong number of arguments for 'client' command",
            ),
            (
                &[b"CLIENT", b"Kill"],
                b"ERR wrong number of arguments for 'client|kill' command",
            ),
            (
                &[b"client", b"FoO", b"x"],
                b"ERR unknown subcommand 'FoO'. Try CLIENT HELP.",
            ),
        ] {
            check(words, expected);
        }
    }
}
