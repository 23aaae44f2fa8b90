//! Where a reply ends.
//!
//! A reply is framed without being decoded, whatever its RESP3 type (contract: P6). Nested values
//! need no stack: an aggregate only adds to the number of values still to come.

use super::scan::parse_integer;

/// The longest bulk string a server may announce; Redis' own limit is 512 MB, modules may send more.
pub(super) const BULK_BYTES_MAX: i64 = 1 << 32;
/// The most values one reply may announce; keeps hostile counts from wrapping the counter.
pub(super) const VALUES_MAX: u64 = 1 << 40;

/// The bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server sent something that is no reply (byte {byte:#04x} where a type was expected)")]
pub struct ReplyError {
    /// The first byte that does not fit.
    pub byte: u8,
}

/// Finds the end of one reply after another. Resumes where it stopped.
#[derive(Debug)]
pub struct ReplyScanner {
    position: usize,
    /// Values still to come before the reply is whole.
    pending: u64,
    /// How far the current line was searched for its end in vain.
    searched: usize,
}

impl Default for ReplyScanner {
    fn default() -> Self {
        ReplyScanner {
            position: 0,
            pending: 1,
            searched: 0,
        }
    }
}

impl ReplyScanner {
    /// Looks at `bytes`, which start where the reply starts, and returns its length once it is
    /// whole. After that the next call starts at the first byte of another reply.
    ///
    /// # Errors
    /// The bytes are no reply: the connection cannot go on.
    #[inline]
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
        while self.pending > 0 {
            let Some(&kind) = bytes.get(self.position) else {
                return Ok(None);
            };
            let Some((line, next)) = self.line(bytes) else {
                return Ok(None);
            };
            match kind {
                b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => self.position = next,
                b'$' | b'=' | b'!' => {
                    let end = match number(line, kind)? {
                        -1 => next,
                        len if (0..=BULK_BYTES_MAX).contains(&len) => next + len as usize + 2,
                        _ => return Err(ReplyError { byte: kind }),
                    };
                    if end > bytes.len() {
                        return Ok(None);
                    }
                    // A string that is longer than it says would be taken for further replies.
                    if end > next && !bytes[..end].ends_with(b"\r\n") {
                        return Err(ReplyError {
                            byte: bytes[end - 1],
                        });
                    }
                    self.position = end;
                }
                b'*' | b'~' | b'>' | b'%' | b'|' => {
                    let count = match number(line, kind)? {
                        -1 => 0,
                        count => u64::try_from(count).map_err(|_| ReplyError { byte: kind })?,
                    };
                    let values = if matches!(kind, b'%' | b'|') {
                        count.saturating_mul(2)
                    } else {
                        count
                    };
                    self.pending = self.pending.saturating_add(values);
                    if self.pending > VALUES_MAX {
                        return Err(ReplyError { byte: kind });
                    }
                    self.position = next;
                    if kind == b'|' {
                        // Attributes stand before the value they belong to.
                        continue;
                    }
                }
                other => return Err(ReplyError { byte: other }),
            }
            self.pending -= 1;
        }
        let len = self.position;
        *self = ReplyScanner::default();
        Ok(Some(len))
    }

    /// How many bytes of the current reply were read, and how many values of it are still to come.
    pub fn progress(&self) -> (usize, u64) {
        (self.position, self.pending)
    }

    /// Forgets the current reply, which somebody else goes on with.
    pub fn reset(&mut self) {
        *self = ReplyScanner::default();
    }

    /// How many bytes are known to be needed before the reply can be whole; a hint for reading.
    pub fn wanted(&self, bytes: &[u8]) -> usize {
        let at_least = bytes.len() + 1;
        let Some(rest) = bytes.get(self.position..) else {
            return at_least;
        };
        match rest.first() {
            Some(b'$' | b'=' | b'!') => {
                let Some(end) = memchr::memchr(b'\r', rest) else {
                    return at_least;
                };
                match parse_integer(&rest[1..end]) {
                    Some(len @ 0..=BULK_BYTES_MAX) => {
                        (self.position + end + 2 + len as usize + 2).max(at_least)
                    }
                    _ => at_least,
                }
            }
            _ => at_least,
        }
    }

    /// The text of the line that starts at the current position, without its type byte, and the
    /// position behind it.
    #[inline]
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Option<(&'a [u8], usize)> {
        let start = self.position + 1;
        // Most lines are short: a plain loop beats a call.
        let from = self.searched.max(start);
        let rest = bytes.get(from..)?;
        let near = rest.iter().take(16).position(|byte| *byte == b'\r');
        let found = match near {
            Some(found) => Some(found),
            None => memchr::memchr(b'\r', rest),
        };
        match found {
            Some(found) if bytes.len() > from + found + 1 => {
                self.searched = 0;
                Some((&bytes[start..from + found], from + found + 2))
            }
            Some(found) => {
                self.searched = from + found;
                None
            }
            None => {
                self.searched = bytes.len();
                None
            }
        }
    }
}

#[inline]
pub(super) fn number(line: &[u8], kind: u8) -> Result<i64, ReplyError> {
    match line {
        [digit @ b'0'..=b'9'] => Ok(i64::from(digit - b'0')),
        [tens @ b'1'..=b'9', ones @ b'0'..=b'9'] => {
            Ok(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
        }
        _ => parse_integer(line).ok_or(ReplyError { byte: kind }),
    }
}

/// The elements of an aggregate reply, each as its own bytes; `None` when `reply` is no whole
/// aggregate. Maps yield keys and values in turn.
pub fn elements(reply: &[u8]) -> Option<Elements<'_>> {
    let kind = *reply.first()?;
    let end = memchr::memchr(b'\r', reply)?;
    let count = parse_integer(reply.get(1..end)?)?;
    let left = match kind {
        b'*' | b'~' | b'>' => count.max(0),
        b'%' => count.max(0).checked_mul(2)?,
        _ => return None,
    };
    Some(Elements {
        rest: reply.get(end + 2..)?,
        left: left as usize,
    })
}

/// Iterator over the elements of an aggregate. See [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Elements<'a> {
    /// How many elements are left.
    pub fn left(&self) -> usize {
        self.left
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        let len = ReplyScanner::default().scan(self.rest).ok()??;
        let (element, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(element)
    }
}

/// The value of an integer reply.
pub fn integer(reply: &[u8]) -> Option<i64> {
    match reply {
        [b':', text @ .., b'\r', b'\n'] => {
            // RESP3 allows a plus sign.
            parse_integer(text.strip_prefix(b"+").unwrap_or(text))
        }
        _ => None,
    }
}

/// The bytes of a bulk, simple or verbatim string reply; `None` for nulls and other types.
pub fn text(reply: &[u8]) -> Option<&[u8]> {
    let kind = *reply.first()?;
    let end = memchr::memchr(b'\r', reply)?;
    let line = reply.get(1..end)?;
    let body = |skip: usize| {
        let len = usize::try_from(parse_integer(line)?).ok()?;
        reply.get(end + 2 + skip..end + 2 + len)
    };
    match kind {
        b'+' => Some(line),
        b'$' => body(0),
        b'=' => body(4),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&str] = &[
        "+OK\r\n",
        "-ERR no\r\n",
        ":12\r\n",
        "$3\r\nfoo\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*2\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n#t\r\n,1.5\r\n",
        "|1\r\n+ttl\r\n:3600\r\n*1\r\n(123456789012345678901234567890\r\n",
        "=8\r\ntxt:Some\r\n",
        "!5\r\nERR x\r\n",
        ">2\r\n$10\r\ninvalidate\r\n_\r\n",
    ];

    /// contract: P4 P6
    #[test]
    fn every_type_at_every_cut() {
        for reply in REPLIES {
            let bytes = reply.as_bytes();
            let followed = [bytes, b"+next\r\n"].concat();
            assert_eq!(
                ReplyScanner::default().scan(&followed),
                Ok(Some(bytes.len())),
                "{reply:?}"
            );
            let mut scanner = ReplyScanner::default();
            for cut in 0..bytes.len() {
                assert_eq!(
                    scanner.scan(&bytes[..cut]),
                    Ok(None),
                    "{reply:?} cut at {cut}"
                );
                assert!(
                    scanner.wanted(&bytes[..cut]) <= bytes.len(),
                    "{reply:?} cut at {cut}"
                );
            }
            assert_eq!(scanner.scan(bytes), Ok(Some(bytes.len())), "{reply:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for reply in [
            "x\r\n",
            "$x\r\n",
            "*-2\r\n",
            "$-2\r\n",
            "*99999999999999\r\n",
            "$?\r\n",
            "$3\r\nabcXY",
        ] {
            assert!(
                ReplyScanner::default().scan(reply.as_bytes()).is_err(),
                "{reply:?}"
            );
        }
    }

    #[test]
    fn deep_nesting_needs_no_stack() {
        let deep = "*1\r\n".repeat(200_000);
        assert_eq!(ReplyScanner::default().scan(deep.as_bytes()), Ok(None));
    }

    #[test]
    fn parts_of_replies() {
        let parts: Vec<_> = elements(b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n")
            .expect("an array")
            .collect();
        assert_eq!(parts, [&b"$1\r\na\r\n"[..], b"*1\r\n:1\r\n"]);
        assert_eq!(integer(b":-5\r\n"), Some(-5));
        assert_eq!(text(b"$3\r\nfoo\r\n"), Some(&b"foo"[..]));
        assert_eq!(text(b"=7\r\ntxt:foo\r\n"), Some(&b"foo"[..]));
        assert_eq!(text(b"$-1\r\n"), None);
    }
}
