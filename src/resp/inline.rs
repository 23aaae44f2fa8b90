//! Inline requests: a line of words, as a person types it into `telnet`.

use super::scan::ProtocolError;

/// Splits a line into its words, with Redis' quoting: `"a\x20b\n"`, `'it\'s'`.
///
/// # Errors
/// A quote is not closed, or something other than a space follows a closing quote.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let skip = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[skip..];
        if rest.is_empty() || rest[0] == 0 {
            return Ok(words);
        }
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// What may stand before a word and behind a quoted one. Fewer bytes end a word that is not quoted.
fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] | [0, ..] => return Ok((word, &[])),
            [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok((word, rest)),
            [b'"', after @ ..] => return quoted(word, after, b'"'),
            [b'\'', after @ ..] => return quoted(word, after, b'\''),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// The rest of a word from behind its opening quote; the closing quote must end the word.
fn quoted(
    mut word: Vec<u8>,
    mut rest: &[u8],
    quote: u8,
) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    loop {
        rest = match rest {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) * 16 + hex(*low));
                after
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                after
            }
            [b'\\', b'\'', after @ ..] if quote == b'\'' => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] if *byte == quote => {
                return match after.first() {
                    Some(next) if !is_space(*next) => Err(ProtocolError::UnbalancedQuotes),
                    _ => Ok((word, after)),
                };
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expected: Option<&[&[u8]]>) {
        let expected = expected.map(|words| words.iter().map(|word| word.to_vec()).collect());
        assert_eq!(split(line).ok(), expected, "{}", line.escape_ascii());
    }

    /// contract: P3
    #[test]
    fn words_and_quotes() {
        check(b"", Some(&[]));
        check(b"  SET  k v ", Some(&[b"SET", b"k", b"v"]));
        check(b"SET \"a b\" 'c d'", Some(&[b"SET", b"a b", b"c d"]));
        check(br#"ECHO "\x41\n\"""#, Some(&[b"ECHO", b"A\n\""]));
        check(br"ECHO 'it\'s'", Some(&[b"ECHO", b"it's"]));
        check(br"ECHO 'a\n'", Some(&[b"ECHO", br"a\n"]));
        check(b"\x0bECHO a\x0bb", Some(&[b"ECHO", b"a\x0bb"]));
        check(b"SET \"\" ''", Some(&[b"SET", b"", b""]));
        check(b"\"a\"b", None);
        check(b"'a", None);
        check(b"\"a\\\"", None);
    }
}
