//! Where a request ends: the frame scanner of the hot path.
//!
//! It finds the end of one request and the place of each argument, without copying and without
//! decoding. The caller hands in the bytes from the start of a request; when they are not enough,
//! the scanner remembers how far it came, so that the total work is linear in the bytes received
//! however they are cut (contract: P4). Limits and error texts are Redis' own (contract: P5).
//!
//! As in Redis, the two bytes that follow a bulk string are skipped without a look, and `\r` ends a
//! length line whatever follows it. The raw bytes are forwarded, so both ends must read them alike.

use super::Span;

/// The longest inline request, and the longest length line (Redis: `PROTO_INLINE_MAX_SIZE`).
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most arguments of one request (Redis: 1 Mi).
const ARGUMENTS_MAX: i64 = 1024 * 1024;
/// The most arguments before authentication.
const UNAUTHENTICATED_ARGUMENTS_MAX: i64 = 10;
/// The longest argument before authentication.
const UNAUTHENTICATED_BULK_MAX: i64 = 16 * 1024;
/// A decimal number of a length line is at most this long; longer lines take the slow path.
const NUMBER_DIGITS_MAX: usize = 20;

/// What a client may send at this moment (contract: P5).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: i64,
    /// Largest request as a whole in bytes (`client-query-buffer-limit`); at most 1 GiB, which keeps
    /// offsets within 32 bits.
    pub request_bytes_max: usize,
    /// Whether the client has authenticated; before that the limits are much smaller.
    pub is_authenticated: bool,
}

/// What [`RequestScanner::scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scanned {
    /// The request is not whole yet; call again with more bytes from the same start. At least
    /// `wanted` bytes are needed in all.
    Incomplete {
        /// Bytes from the start of the request that are known to be needed.
        wanted: usize,
    },
    /// A whole request of this many bytes; its arguments are in [`RequestScanner::spans`].
    Request {
        /// Bytes to consume.
        len: usize,
    },
    /// A line of text, without a leading `*`: an inline request. The text is `bytes[..text]`.
    Inline {
        /// Length of the line without its end.
        text: usize,
        /// Bytes to consume.
        len: usize,
    },
    /// Nothing to execute and nothing to answer (`*0`, `*-1`).
    Empty {
        /// Bytes to consume.
        len: usize,
    },
}

/// Why the bytes are not a request. The text is what Redis answers after `-ERR Protocol error: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // each text is the documentation
pub enum ProtocolError {
    #[error("too big inline request")]
    InlineTooBig,
    #[error("unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("too big mbulk count string")]
    CountLineTooBig,
    #[error("invalid multibulk length")]
    InvalidCount,
    #[error("unauthenticated multibulk length")]
    UnauthenticatedCount,
    #[error("too big bulk count string")]
    LengthLineTooBig,
    #[error("expected '$', got '{}'", .0.escape_ascii())]
    ExpectedBulk(u8),
    #[error("invalid bulk length")]
    InvalidLength,
    #[error("unauthenticated bulk length")]
    UnauthenticatedLength,
    #[error("too big request (limits.query_buffer_bytes)")]
    RequestTooBig,
}

impl ProtocolError {
    /// The reply's text, as Redis writes it: an offending byte stands as it is.
    pub fn reply(&self) -> Vec<u8> {
        match self {
            ProtocolError::ExpectedBulk(byte) => [
                b"ERR Protocol error: expected '$', got '",
                &[*byte][..],
                b"'",
            ]
            .concat(),
            other => format!("ERR Protocol error: {other}").into_bytes(),
        }
    }
}

/// Finds the end of one request after another.
#[derive(Debug, Default)]
pub struct RequestScanner {
    spans: Vec<Span>,
    /// Where to go on; 0 before the first line is read.
    position: usize,
    /// Arguments still to come.
    remaining: u32,
    /// How far the current line was searched for its end in vain.
    searched: usize,
}

/// A length line that was read.
pub(super) enum Number {
    /// The value and the position behind the line.
    Value(i64, usize),
    Incomplete,
    TooLong,
    Invalid,
}

impl RequestScanner {
    /// The arguments of the request that [`Scanned::Request`] announced.
    #[inline]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// How many arguments the current request has, those that are still to come included.
    pub fn arguments(&self) -> usize {
        self.spans.len() + self.remaining as usize
    }

    /// Forgets the current request; the next call starts at the first byte of another.
    #[inline]
    pub fn reset(&mut self) {
        /// Requests of up to this many arguments keep their span buffer for the next one.
        const SPANS_KEPT: usize = 64;
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans = Vec::new();
        }
        self.position = 0;
        self.remaining = 0;
        self.searched = 0;
    }

    /// Looks at `bytes`, which start where the request starts.
    ///
    /// # Errors
    /// The bytes are no request: the connection cannot go on (contract: P5).
    #[inline]
    pub fn scan(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scanned, ProtocolError> {
        if self.position == 0 {
            match bytes.first() {
                None => return Ok(Scanned::Incomplete { wanted: 1 }),
                Some(b'*') => {}
                Some(_) => return self.scan_inline(bytes),
            }
            let (count, next) = match self.number(bytes, 1) {
                Number::Value(count, next) => (count, next),
                Number::Incomplete => {
                    return Ok(Scanned::Incomplete {
                        wanted: bytes.len() + 1,
                    });
                }
                Number::TooLong => return Err(ProtocolError::CountLineTooBig),
                Number::Invalid => return Err(ProtocolError::InvalidCount),
            };
            if count > ARGUMENTS_MAX {
                return Err(ProtocolError::InvalidCount);
            }
            if count > UNAUTHENTICATED_ARGUMENTS_MAX && !limits.is_authenticated {
                return Err(ProtocolError::UnauthenticatedCount);
            }
            if count <= 0 {
                return Ok(Scanned::Empty { len: next });
            }
            self.remaining = count as u32;
            self.position = next;
        }
        self.scan_arguments(bytes, limits)
    }

    #[inline]
    fn scan_arguments(&mut self, bytes: &[u8], limits: &Limits) -> Result<Scanned, ProtocolError> {
        while self.remaining > 0 {
            match bytes.get(self.position) {
                None => {
                    return Ok(Scanned::Incomplete {
                        wanted: self.position + 1,
                    });
                }
                Some(b'$') => {}
                Some(&other) => return self.refuse_argument(bytes, other),
            }
            let (len, start) = match self.number(bytes, self.position + 1) {
                Number::Value(len, start) => (len, start),
                Number::Incomplete => {
                    return Ok(Scanned::Incomplete {
                        wanted: bytes.len() + 1,
                    });
                }
                Number::TooLong => return Err(ProtocolError::LengthLineTooBig),
                Number::Invalid => return Err(ProtocolError::InvalidLength),
            };
            if len < 0 || len > limits.bulk_bytes_max {
                return Err(ProtocolError::InvalidLength);
            }
            if len > UNAUTHENTICATED_BULK_MAX && !limits.is_authenticated {
                return Err(ProtocolError::UnauthenticatedLength);
            }
            let end = start + len as usize + 2;
            if end > limits.request_bytes_max {
                return Err(ProtocolError::RequestTooBig);
            }
            if end > bytes.len() {
                // The length line is read again when more bytes are there: a few bytes of work.
                return Ok(Scanned::Incomplete { wanted: end });
            }
            self.spans.push(Span {
                start: start as u32,
                len: len as u32,
            });
            self.position = end;
            self.remaining -= 1;
        }
        Ok(Scanned::Request { len: self.position })
    }

    /// Redis looks at the first byte of an argument only once its whole line has arrived.
    #[cold]
    fn refuse_argument(&mut self, bytes: &[u8], other: u8) -> Result<Scanned, ProtocolError> {
        match self.number(bytes, self.position + 1) {
            Number::Incomplete if other != b'\r' => Ok(Scanned::Incomplete {
                wanted: bytes.len() + 1,
            }),
            Number::TooLong => Err(ProtocolError::LengthLineTooBig),
            _ => Err(ProtocolError::ExpectedBulk(other)),
        }
    }

    /// Reads the decimal number from `start` to the end of its line.
    #[inline]
    pub(super) fn number(&mut self, bytes: &[u8], start: usize) -> Number {
        let window = &bytes[start.min(bytes.len())..];
        if let Some(line) = window.first_chunk()
            && let Some((value, len)) = short_number(line)
        {
            return Number::Value(value, start + len);
        }
        let mut value = 0i64;
        for (index, &byte) in window.iter().take(NUMBER_DIGITS_MAX).enumerate() {
            if byte.is_ascii_digit() {
                // At most 19 digits come here without the check, which cannot overflow.
                if index >= 18 {
                    break;
                }
                value = value * 10 + i64::from(byte - b'0');
            } else if byte == b'\r' {
                if window.len() <= index + 1 {
                    return Number::Incomplete;
                }
                // `03` and an empty line are no numbers for Redis.
                if index == 0 || (index > 1 && window[0] == b'0') {
                    return Number::Invalid;
                }
                return Number::Value(value, start + index + 2);
            } else {
                break;
            }
        }
        self.number_slowly(bytes, start)
    }

    /// Signs, nonsense, lines that are too long or not whole.
    #[cold]
    fn number_slowly(&mut self, bytes: &[u8], start: usize) -> Number {
        let from = self.searched.max(start);
        let Some(found) = memchr::memchr(b'\r', bytes.get(from..).unwrap_or_default()) else {
            self.searched = bytes.len();
            return if bytes.len().saturating_sub(start) > LINE_BYTES_MAX {
                Number::TooLong
            } else {
                Number::Incomplete
            };
        };
        let end = from + found;
        if bytes.len() < end + 2 {
            self.searched = end;
            return Number::Incomplete;
        }
        self.searched = 0;
        match parse_integer(&bytes[start..end]) {
            Some(value) => Number::Value(value, end + 2),
            None => Number::Invalid,
        }
    }

    #[cold]
    fn scan_inline(&mut self, bytes: &[u8]) -> Result<Scanned, ProtocolError> {
        let from = self.searched.min(bytes.len());
        match memchr::memchr(b'\n', &bytes[from..]) {
            Some(found) => {
                let end = from + found;
                self.searched = 0;
                let text = if end > 0 && bytes[end - 1] == b'\r' {
                    end - 1
                } else {
                    end
                };
                Ok(Scanned::Inline { text, len: end + 1 })
            }
            None if bytes.len() > LINE_BYTES_MAX => Err(ProtocolError::InlineTooBig),
            None => {
                self.searched = bytes.len();
                Ok(Scanned::Incomplete {
                    wanted: bytes.len() + 1,
                })
            }
        }
    }
}

/// A number of one to three digits, which most are, and the length of its line.
#[inline]
fn short_number(line: &[u8; 5]) -> Option<(i64, usize)> {
    let digit = |at: usize| Some(line[at].wrapping_sub(b'0')).filter(|digit| *digit < 10);
    let first = digit(0)?;
    if line[1] == b'\r' {
        return Some((first.into(), 3));
    }
    if first == 0 {
        return None;
    }
    let two = i64::from(first) * 10 + i64::from(digit(1)?);
    if line[2] == b'\r' {
        return Some((two, 4));
    }
    let three = two * 10 + i64::from(digit(2)?);
    (line[3] == b'\r').then_some((three, 5))
}

/// A decimal integer as Redis reads one (`string2ll`): no plus sign, no leading zero, no space.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [] => return None,
        [b'0'] if text.len() > 1 => return None,
        [b'0', _, ..] => return None,
        _ => {}
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Limits = Limits {
        bulk_bytes_max: 512 << 20,
        request_bytes_max: 1 << 30,
        is_authenticated: true,
    };
    const CLOSED: Limits = Limits {
        bulk_bytes_max: 512 << 20,
        request_bytes_max: 1 << 30,
        is_authenticated: false,
    };

    fn scan(bytes: &[u8], limits: Limits) -> Result<Scanned, ProtocolError> {
        RequestScanner::default().scan(bytes, &limits)
    }

    /// contract: P3
    #[test]
    fn what_is_a_request() {
        for (bytes, expected) in [
            (&b"*1\r\n$4\r\nPING\r\n"[..], Scanned::Request { len: 14 }),
            (b"*0\r\n", Scanned::Empty { len: 4 }),
            (b"*-1\r\n", Scanned::Empty { len: 5 }),
            (b"PING\r\n", Scanned::Inline { text: 4, len: 6 }),
            (b"PING\n", Scanned::Inline { text: 4, len: 5 }),
            (b"\r\n", Scanned::Inline { text: 0, len: 2 }),
            (b"*1\r\n$0\r\n\r\n", Scanned::Request { len: 10 }),
            (b"*1\r\n$4\r\nPI", Scanned::Incomplete { wanted: 14 }),
        ] {
            assert_eq!(scan(bytes, OPEN), Ok(expected), "{}", bytes.escape_ascii());
        }
    }

    /// contract: P5
    #[test]
    fn breaches_get_the_servers_texts() {
        let long = vec![b'1'; LINE_BYTES_MAX + 2];
        let with = |head: &[u8]| [head, &long].concat();
        for (bytes, limits, expected) in [
            (b"*x\r\n".to_vec(), OPEN, ProtocolError::InvalidCount),
            (b"*1048577\r\n".to_vec(), OPEN, ProtocolError::InvalidCount),
            (b"*01\r\n".to_vec(), OPEN, ProtocolError::InvalidCount),
            (
                b"*99999999999999999999999\r\n".to_vec(),
                OPEN,
                ProtocolError::InvalidCount,
            ),
            (
                b"*11\r\n".to_vec(),
                CLOSED,
                ProtocolError::UnauthenticatedCount,
            ),
            (
                b"*1\r\n$16385\r\n".to_vec(),
                CLOSED,
                ProtocolError::UnauthenticatedLength,
            ),
            (
                b"*1\r\n$-1\r\n".to_vec(),
                OPEN,
                ProtocolError::InvalidLength,
            ),
            (
                b"*1\r\n$536870913\r\n".to_vec(),
                OPEN,
                ProtocolError::InvalidLength,
            ),
            (
                b"*1\r\n:1\r\n".to_vec(),
                OPEN,
                ProtocolError::ExpectedBulk(b':'),
            ),
            (with(b"*"), OPEN, ProtocolError::CountLineTooBig),
            (with(b"*1\r\n$"), OPEN, ProtocolError::LengthLineTooBig),
            (with(b"x"), OPEN, ProtocolError::InlineTooBig),
        ] {
            assert_eq!(scan(&bytes, limits), Err(expected));
        }
    }

    #[test]
    fn integers_are_read_as_redis_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), expected, "{text:?}");
        }
    }
}
