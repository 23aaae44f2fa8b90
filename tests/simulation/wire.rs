//! Keyway's end of a simulated socket, and what the other end can do to it.
//!
//! Wakes are edge-triggered, as tokio's are: a task that does not poll after it was woken is not
//! woken again for the same bytes. That is how the simulation finds wakes that were lost.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What both ends share.
#[derive(Debug)]
pub struct Wire {
    /// Sent by the other end, not read by Keyway.
    inbound: Vec<u8>,
    /// Written by Keyway, not taken by the other end.
    outbound: Vec<u8>,
    /// How much `outbound` holds.
    capacity: usize,
    /// Everything Keyway wrote that nobody looked at yet.
    written: Vec<u8>,
    has_ended: bool,
    is_broken: bool,
    /// Keyway gave its end up.
    pub is_dropped: bool,
    /// Keyway said that it writes no more.
    pub is_shut: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    rng: Rng,
    /// One read or write moves at most this much.
    piece: usize,
}

/// The other end's handle.
pub type Shared = Rc<RefCell<Wire>>;

/// Keyway's end.
#[derive(Debug)]
pub struct Socket(pub Shared);

impl Wire {
    /// A connected pair's middle.
    pub fn new(rng: &mut Rng) -> Shared {
        let sizes = [1, 7, 64, 1000, 100_000];
        Rc::new(RefCell::new(Wire {
            inbound: Vec::new(),
            outbound: Vec::new(),
            capacity: sizes[rng.usize(1..sizes.len())],
            written: Vec::new(),
            has_ended: false,
            is_broken: false,
            is_dropped: false,
            is_shut: false,
            reader: None,
            writer: None,
            piece: sizes[rng.usize(..sizes.len())],
            rng: rng.fork(),
        }))
    }

    /// One that moves everything at once.
    #[allow(dead_code)] // for `tests/regression`, which shares this file
    pub fn wide() -> Shared {
        let wire = Wire::new(&mut Rng::with_seed(0));
        wire.borrow_mut().capacity = usize::MAX;
        wire.borrow_mut().piece = usize::MAX;
        wire
    }

    /// The other end sends.
    pub fn send(&mut self, bytes: &[u8]) {
        if !(bytes.is_empty() || self.is_broken) {
            self.inbound.extend_from_slice(bytes);
            wake(&mut self.reader);
        }
    }

    /// The other end sends no more.
    pub fn end(&mut self) {
        self.has_ended = true;
        wake(&mut self.reader);
    }

    /// Reads and writes fail from now on; what was on its way is lost.
    pub fn break_off(&mut self) {
        self.is_broken = true;
        self.inbound.clear();
        self.outbound.clear();
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    /// The other end takes up to `count` bytes.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let count = count.min(self.outbound.len());
        let taken = self.outbound.drain(..count).collect();
        if count > 0 {
            wake(&mut self.writer);
        }
        taken
    }

    /// Bytes the other end could take.
    pub fn takeable(&self) -> usize {
        self.outbound.len()
    }

    /// What Keyway wrote since this was asked.
    pub fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.written)
    }

    fn portion(&mut self, most: usize) -> usize {
        // Much in single bytes would take for ever.
        self.rng.usize(1..=most.min(self.piece.max(most / 64)))
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn broken<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        if wire.is_broken {
            return broken();
        }
        let most = wire.inbound.len().min(buffer.remaining());
        if most == 0 {
            if wire.has_ended && wire.inbound.is_empty() {
                return Poll::Ready(Ok(()));
            }
            wire.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = wire.portion(most);
        buffer.put_slice(&wire.inbound[..count]);
        wire.inbound.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        if wire.is_broken {
            return broken();
        }
        let most = bytes.len().min(wire.capacity - wire.outbound.len());
        if most == 0 {
            wire.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = wire.portion(most);
        wire.outbound.extend_from_slice(&bytes[..count]);
        wire.written.extend_from_slice(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().is_shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.borrow_mut().is_dropped = true;
    }
}
