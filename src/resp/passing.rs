//! A reply that is passed on in pieces: where it ends, without ever holding it whole (contract: P8).
//!
//! [`super::reply::ReplyScanner`] wants all bytes of a reply at once and finds its end; this wants each
//! byte once, says how many may be passed on, and remembers how far the reply has come.

use super::reply::{BULK_BYTES_MAX, ReplyError, VALUES_MAX, number};

/// The end of a string that is longer or shorter than it says.
const END: &[u8] = b"\r\n";

/// How far a reply has come.
#[derive(Debug)]
pub struct ReplyPassing {
    /// Values still to come.
    pending: u64,
    /// Bytes of the current string still to come, those that end it included.
    body_left: u64,
    /// How far the line at the start of the bytes was searched for its end in vain.
    searched: usize,
}

impl Default for ReplyPassing {
    fn default() -> Self {
        ReplyPassing {
            pending: 1,
            body_left: 0,
            searched: 0,
        }
    }
}

impl ReplyPassing {
    /// Whether the reply is over.
    pub fn is_done(&self) -> bool {
        self.pending == 0 && self.body_left == 0
    }

    /// How many of these bytes belong to the reply and can be passed on. The others are to be handed in
    /// again: a line that is not whole yet, or, once the reply is over, what follows it.
    ///
    /// # Errors
    /// The bytes are no reply: the connection cannot go on.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, ReplyError> {
        let mut at = 0;
        while !self.is_done() {
            let rest = &bytes[at..];
            if self.body_left > 0 {
                let count =
                    usize::try_from(self.body_left).map_or(rest.len(), |n| n.min(rest.len()));
                self.check_end(&rest[..count])?;
                self.body_left -= count as u64;
                at += count;
                if self.body_left > 0 {
                    break;
                }
                continue;
            }
            let Some(len) = self.line(rest)? else {
                break;
            };
            at += len;
        }
        Ok(at)
    }

    /// The last two bytes of a string say whether it was as long as it said.
    fn check_end(&self, piece: &[u8]) -> Result<(), ReplyError> {
        let left = self.body_left - piece.len() as u64;
        for (place, end) in END.iter().enumerate() {
            // How far this byte of the end stands from the end of the piece.
            let behind = (END.len() - place) as u64;
            let from_end = behind.checked_sub(left).filter(|count| *count > 0);
            let byte = from_end.and_then(|count| piece.len().checked_sub(count as usize));
            if let Some(byte) = byte.and_then(|at| piece.get(at))
                && byte != end
            {
                return Err(ReplyError { byte: *byte });
            }
        }
        Ok(())
    }

    /// Takes the line at the start of `bytes`; its length, or `None` when it is not whole.
    fn line(&mut self, bytes: &[u8]) -> Result<Option<usize>, ReplyError> {
        let Some(&kind) = bytes.first() else {
            return Ok(None);
        };
        let from = self.searched.max(1).min(bytes.len());
        let end = match memchr::memchr(b'\r', &bytes[from..]) {
            Some(found) if bytes.len() > from + found + 1 => from + found,
            found => {
                self.searched = found.map_or(bytes.len(), |found| from + found);
                return Ok(None);
            }
        };
        self.searched = 0;
        let line = &bytes[1..end];
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' | b'_' => {}
            b'$' | b'=' | b'!' => match number(line, kind)? {
                -1 => {}
                len if (0..=BULK_BYTES_MAX).contains(&len) => {
                    self.body_left = len as u64 + END.len() as u64;
                }
                _ => return Err(ReplyError { byte: kind }),
            },
            b'*' | b'~' | b'>' | b'%' | b'|' => {
                let count = match number(line, kind)? {
                    -1 => 0,
                    count => u64::try_from(count).map_err(|_| ReplyError { byte: kind })?,
                };
                let values = match kind {
                    b'%' | b'|' => count.saturating_mul(2),
                    _ => count,
                };
                self.pending = self.pending.saturating_add(values);
                if self.pending > VALUES_MAX {
                    return Err(ReplyError { byte: kind });
                }
                if kind == b'|' {
                    // Attributes stand before the value they belong to.
                    self.pending += 1;
                }
            }
            other => return Err(ReplyError { byte: other }),
        }
        self.pending -= 1;
        Ok(Some(end + END.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLIES: &[&str] = &[
        "+OK\r\n",
        ":12\r\n",
        "$3\r\nfoo\r\n",
        "$-1\r\n",
        "$0\r\n\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*3\r\n$1\r\na\r\n*2\r\n:1\r\n_\r\n$12\r\nsome\r\ntext\r\n\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n~2\r\n#t\r\n,1.5\r\n",
        "|1\r\n+ttl\r\n:3600\r\n*1\r\n(123456789012345678901234567890\r\n",
        "=8\r\ntxt:Some\r\n",
        "!5\r\nERR x\r\n",
    ];

    /// contract: P4, P6, P8
    #[test]
    fn every_type_in_pieces_of_any_size() {
        for reply in REPLIES {
            let followed = [reply.as_bytes(), b"+next\r\n"].concat();
            for piece in 1..=followed.len() {
                let mut passing = ReplyPassing::default();
                let (mut passed, mut given) = (0, 0);
                while !passing.is_done() {
                    assert!(given < followed.len(), "{reply:?} by {piece}: no end");
                    given = (given + piece).min(followed.len());
                    passed += passing.pass(&followed[passed..given]).expect(reply);
                }
                assert_eq!(passed, reply.len(), "{reply:?} by {piece}");
            }
        }
    }

    #[test]
    fn nonsense_is_refused_however_it_is_cut() {
        for reply in [
            "x\r\n",
            "$x\r\n",
            "*-2\r\n",
            "$-2\r\n",
            "$3\r\nabcXY",
            "$3\r\nabc\rY",
        ] {
            for cut in 0..=reply.len() {
                let mut passing = ReplyPassing::default();
                let (head, _) = reply.as_bytes().split_at(cut);
                let outcome = passing
                    .pass(head)
                    .and_then(|passed| passing.pass(&reply.as_bytes()[passed..]));
                assert!(outcome.is_err(), "{reply:?} cut at {cut}");
            }
        }
    }
}
