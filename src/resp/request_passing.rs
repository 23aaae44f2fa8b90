//! A request that is passed on in pieces: where it ends, without ever holding it whole (contract: P8).
//!
//! [`super::passing`] is the same for replies. The limits and the errors are those of
//! [`super::scan::RequestScanner`], which has seen the first arguments before.

use super::scan::{Limits, Number, ProtocolError, RequestScanner};

/// How far a request has come.
#[derive(Debug, Default)]
pub struct RequestPassing {
    scanner: RequestScanner,
    /// Arguments still to come; `None` before the first line.
    remaining: Option<u32>,
    /// Bytes of the current argument still to come, the two behind it included.
    body_left: usize,
    /// Bytes that were passed on.
    len: usize,
}

impl RequestPassing {
    /// Whether the request is whole.
    pub fn is_done(&self) -> bool {
        self.remaining == Some(0) && self.body_left == 0
    }

    /// Bytes that were passed on so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was passed on yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of these bytes belong to the request and can be passed on. The others are to be handed in
    /// again: a line that is not whole yet, or, once the request is whole, what follows it.
    ///
    /// # Errors
    /// The bytes are no request: its connection cannot go on (contract: P5).
    pub fn pass(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, ProtocolError> {
        let mut at = 0;
        while !self.is_done() && at < bytes.len() {
            if self.body_left > 0 {
                let count = self.body_left.min(bytes.len() - at);
                self.body_left -= count;
                at += count;
                continue;
            }
            let Some(len) = self.line(&bytes[at..], limits, self.len + at)? else {
                break;
            };
            at += len;
        }
        self.len += at;
        Ok(at)
    }

    /// Takes the line at the start of `bytes`; its length, or `None` when it is not whole.
    fn line(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        before: usize,
    ) -> Result<Option<usize>, ProtocolError> {
        let kind = bytes[0];
        if let Some(1..) = self.remaining
            && kind != b'$'
        {
            return Err(ProtocolError::ExpectedBulk(kind));
        }
        let (value, len) = match (self.scanner.number(bytes, 1), self.remaining) {
            (Number::Value(value, len), _) => (value, len),
            (Number::Incomplete, _) => return Ok(None),
            (Number::TooLong, None) => return Err(ProtocolError::CountLineTooBig),
            (Number::TooLong, Some(_)) => return Err(ProtocolError::LengthLineTooBig),
            (Number::Invalid, None) => return Err(ProtocolError::InvalidCount),
            (Number::Invalid, Some(_)) => return Err(ProtocolError::InvalidLength),
        };
        match self.remaining {
            None => {
                let count = u32::try_from(value).map_err(|_| ProtocolError::InvalidCount)?;
                self.remaining = Some(count);
            }
            Some(remaining) => {
                if value < 0 || value > limits.bulk_bytes_max {
                    return Err(ProtocolError::InvalidLength);
                }
                self.body_left = value as usize + 2;
                if before + len + self.body_left > limits.request_bytes_max {
                    return Err(ProtocolError::RequestTooBig);
                }
                self.remaining = Some(remaining.saturating_sub(1));
            }
        }
        Ok(Some(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bulk_bytes_max: 100,
        request_bytes_max: 200,
        is_authenticated: true,
    };

    /// contract: P4, P8
    #[test]
    fn pieces_of_any_size() {
        let request =
            b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$11\r\nva\r\n$1\r\nlue\r\n$2\r\nEX\r\n$2\r\n10\r\n";
        let followed = [&request[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        for piece in 1..=followed.len() {
            let mut passing = RequestPassing::default();
            let (mut passed, mut given) = (0, 0);
            while !passing.is_done() {
                assert!(given < followed.len(), "by {piece}: no end");
                given = (given + piece).min(followed.len());
                let count = passing.pass(&followed[passed..given], &LIMITS);
                passed += count.expect("a request");
            }
            assert_eq!(
                (passed, passing.len()),
                (request.len(), request.len()),
                "by {piece}"
            );
        }
    }

    /// contract: P5
    #[test]
    fn breaches_behind_a_large_argument() {
        let check = |tail: &str, expected: ProtocolError| {
            let request = format!("*3\r\n$3\r\nSET\r\n$90\r\n{}\r\n{tail}", "v".repeat(90));
            let mut passing = RequestPassing::default();
            assert_eq!(
                passing.pass(request.as_bytes(), &LIMITS),
                Err(expected),
                "{tail:?}"
            );
        };
        check("$x\r\n", ProtocolError::InvalidLength);
        check("$-1\r\n", ProtocolError::InvalidLength);
        check("$101\r\n", ProtocolError::InvalidLength);
        check("$95\r\n", ProtocolError::RequestTooBig);
        check(":1\r\n", ProtocolError::ExpectedBulk(b':'));
    }
}
