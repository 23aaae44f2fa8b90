//! Reads from the socket in larger pieces than rustls asks for.
//!
//! rustls asks for 4 KiB at a time, so a full record of 16 KiB would take five system calls. What was
//! read and not asked for yet waits here; between records nothing does, so an idle connection has no buffer.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once: two full records.
const AHEAD_BYTES: usize = 32 * 1024;

thread_local! {
    /// Where it is read to first; one for all connections of a thread, for use within one call.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; AHEAD_BYTES]);
}

/// A stream whose reads are done in larger pieces.
#[derive(Debug)]
pub struct ReadAhead<S> {
    stream: S,
    /// What was read ahead.
    ahead: Vec<u8>,
    /// So much of it was given out.
    given: usize,
}

impl<S> ReadAhead<S> {
    pub(super) fn new(stream: S) -> ReadAhead<S> {
        ReadAhead {
            stream,
            ahead: Vec::new(),
            given: 0,
        }
    }

    /// The stream itself. What was read ahead is not there any more.
    pub(in crate::net) fn inner(&self) -> &S {
        &self.stream
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = &self.ahead[self.given..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.given += count;
        if self.given == self.ahead.len() {
            self.ahead = Vec::new();
            self.given = 0;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            this.give(buffer);
            return Poll::Ready(Ok(()));
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut pieces = ReadBuf::new(scratch);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut pieces))?;
            let (now, later) = pieces
                .filled()
                .split_at(pieces.filled().len().min(buffer.remaining()));
            buffer.put_slice(now);
            if !later.is_empty() {
                this.ahead = later.to_vec();
            }
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives bytes in pieces of these lengths, at most as much as is asked for; counts the reads.
    struct Pieces {
        bytes: Vec<u8>,
        lengths: Vec<usize>,
        reads: usize,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.reads += 1;
            let Some(length) = self.lengths.pop() else {
                return Poll::Pending;
            };
            let length = length.min(buffer.remaining()).min(self.bytes.len());
            buffer.put_slice(&self.bytes[..length]);
            self.bytes.drain(..length);
            Poll::Ready(Ok(()))
        }
    }

    /// All that comes until nothing more does, asked for as rustls does, and the reads it took.
    fn read_all(bytes: &[u8], lengths: &[usize]) -> (Vec<u8>, usize) {
        let mut stream = ReadAhead::new(Pieces {
            bytes: bytes.to_vec(),
            lengths: lengths.iter().rev().copied().collect(),
            reads: 0,
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut got = Vec::new();
        loop {
            let mut space = [0; 4096];
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut stream).poll_read(&mut context, &mut buffer) {
                Poll::Ready(outcome) => outcome.expect("pieces do not fail"),
                Poll::Pending => break,
            }
            got.extend_from_slice(buffer.filled());
        }
        assert!(stream.ahead.capacity() == 0, "an idle one has no buffer");
        (got, stream.inner().reads)
    }

    #[test]
    fn every_byte_comes_once_in_order_with_few_reads() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        let cases: [(&[usize], usize); 4] = [
            // A record and its head.
            (&[16_389], 2),
            (&[AHEAD_BYTES, AHEAD_BYTES, AHEAD_BYTES, 1_696], 5),
            (&[1, 4095, 4096, 4097, 8192, 8193, 40_000], 8),
            (&[1; 50], 51),
        ];
        for (lengths, reads) in cases {
            let length: usize = lengths
                .iter()
                .map(|length| (*length).min(AHEAD_BYTES))
                .sum();
            let (got, took) = read_all(&bytes, lengths);
            assert!(got == bytes[..length], "{lengths:?}");
            assert_eq!(took, reads, "{lengths:?}");
        }
    }
}
