//! The bytes of requests on their way to a node.
//!
//! Like a TCP send window: `[answered | written, not answered | not written]`. The bytes of a
//! request stay until its reply arrived, so that a redirect can send them elsewhere without a copy
//! having been kept.

/// Requests that are not answered yet, as they go over the wire.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// Everything before is answered.
    start: usize,
    /// Everything before was handed to the socket. Never before `start`.
    written: usize,
}

/// Answered bytes are moved out once there are this many; below it moving costs more than it frees.
const COMPACT_BYTES: usize = 64 * 1024;
/// A buffer larger than this is given back when it is empty.
const KEPT_BYTES: usize = 1024 * 1024;

impl Outbox {
    /// Appends a request, or a piece of one.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > COMPACT_BYTES && self.start > self.bytes.len() / 2 {
            self.compact();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Lets `write` append a request and returns its length.
    #[inline]
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        self.push(&[]);
        let before = self.bytes.len();
        write(&mut self.bytes);
        self.bytes.len() - before
    }

    fn compact(&mut self) {
        self.bytes.drain(..self.start);
        self.written -= self.start;
        self.start = 0;
    }

    /// What is to be written next.
    #[inline]
    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Notes that `count` bytes of [`Outbox::unwritten`] were handed to the socket.
    #[inline]
    pub fn mark_written(&mut self, count: usize) {
        self.written += count;
        debug_assert!(self.written <= self.bytes.len());
    }

    /// The bytes of the oldest request, which is `len` long.
    #[inline]
    pub fn front(&self, len: usize) -> &[u8] {
        &self.bytes[self.start..self.start + len]
    }

    /// Whether the oldest request, `len` bytes long, was handed to the socket whole. A request of
    /// which the server saw only a piece was not executed (contract: F1, F2).
    pub fn is_front_written(&self, len: usize) -> bool {
        self.start + len <= self.written
    }

    /// Forgets the oldest `len` bytes.
    #[inline]
    pub fn pop(&mut self, len: usize) {
        self.start += len;
        // A request that is given up before it was written must not leave half of it behind; the
        // caller only pops unwritten requests when the connection is lost.
        self.written = self.written.max(self.start);
        debug_assert!(self.start <= self.bytes.len());
        if self.start == self.bytes.len() {
            self.start = 0;
            self.written = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            }
        }
    }

    /// Forgets what was handed to the socket: it cannot be sent again.
    pub fn forget_written(&mut self) {
        self.pop(self.written - self.start);
    }

    /// Bytes that are not answered yet.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether everything was answered.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_over_the_requests() {
        let mut outbox = Outbox::default();
        outbox.push(b"first");
        outbox.push(b"second");
        outbox.mark_written(7);
        assert_eq!(outbox.unwritten(), b"cond");
        assert!(outbox.is_front_written(5));
        assert_eq!(outbox.front(5), b"first");
        outbox.pop(5);
        assert!(
            !outbox.is_front_written(6),
            "only a piece of it was written"
        );
        assert_eq!(outbox.front(6), b"second");
        outbox.pop(6);
        assert!(outbox.is_empty());
        assert_eq!(outbox.unwritten(), b"");
    }

    #[test]
    fn a_window_that_never_empties_does_not_grow() {
        let mut outbox = Outbox::default();
        outbox.push(&[0; 1000]);
        for _ in 0..10_000 {
            outbox.push(&[1; 1000]);
            outbox.mark_written(1000);
            outbox.pop(1000);
        }
        assert_eq!(outbox.len(), 1000);
        assert!(outbox.bytes.capacity() < 1024 * 1024);
    }
}
