//! One client's socket: bytes in, replies out.
//!
//! What is done in one turn is generic over the socket, so that the simulation drives the same code.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::clients::{Errand, Phase};
use super::core::Core;
use super::thread::Worker;
use super::{databases, vouching};
use crate::net::{Stream, Visit};
use crate::pipeline::ClientKey;

/// One read takes at most this much; a client that sends faster gets further reads in its next turn.
const READ_BYTES: usize = 64 * 1024;
/// So many reads in one turn; then others have theirs.
const READS_PER_TURN: usize = 4;
/// So many bytes of a blocked client are read ahead, because only reading tells that it has left.
const BLOCKED_INPUT_BYTES: usize = 1024 * 1024;
/// A client that was still sending when it was to be closed gets this long to read its replies.
const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    /// Where sockets are read into while no part of a request, or of a private connection's reply, is left
    /// over. One for the whole worker: an idle client has no buffer.
    pub(super) static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
}

/// Serves one client until it leaves. Its place among the clients of its address is kept that long.
pub(super) async fn run(
    mut worker: Rc<Worker>,
    mut key: ClientKey,
    mut stream: Stream,
    _visit: Option<Visit>,
) {
    let end = loop {
        let end = poll_fn(|context| {
            worker.turn(|core| poll_client(core, key, Pin::new(&mut stream), context))
        })
        .await;
        match end {
            End::Moves => (worker, key) = move_on(worker, key),
            // Rare, and large: a task that is silent should not keep room for it.
            End::Asks => Box::pin(vouching::vouch(&worker, key)).await,
            End::Selects => {
                let looking = Box::pin(databases::look_for(&worker, key));
                tokio::select! {
                    () = looking => {}
                    () = poll_fn(|context| worker.turn(|core| poll_leaving(core, key, context))) => {}
                }
            }
            End::Finished | End::Gone => break end,
        }
    };
    match end {
        End::Finished => {
            // What was written still reaches a peer that goes on sending: end of stream, no reset.
            let farewell = poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context));
            let _ = tokio::time::timeout(LINGER, farewell).await;
            linger(&mut stream).await;
        }
        End::Gone | End::Moves | End::Asks | End::Selects => {
            drop(stream);
            poll_fn(|context| worker.turn(|core| poll_settled(core, key, context))).await;
        }
    }
    worker.turn(|core| core.client_left(key));
}

/// Takes a client over to the core where it belongs, and says where it is now.
fn move_on(worker: Rc<Worker>, key: ClientKey) -> (Rc<Worker>, ClientKey) {
    let belongs = worker.turn(|core| {
        let session = &core.clients.get(key)?.session;
        Some((session.identity().cloned(), session.database()))
    });
    let Some((identity, database)) = belongs else {
        return (worker, key);
    };
    let other = worker.house.member(identity.as_ref(), database);
    match worker.turn(|core| core.departs(key)) {
        Some(client) => {
            let key = other.turn(|core| core.arrives(client));
            (other, key)
        }
        None => (worker, key),
    }
}

/// Takes, and forgets, what a client sends after its last reply: on closing a socket whose input was
/// not all read, the kernel drops the replies that the peer has not received yet. A client that has
/// sent nothing more is not waited for.
async fn linger(stream: &mut Stream) {
    let mut has_more = false;
    let taken = poll_fn(|context| {
        for _ in 0..READS_PER_TURN {
            match poll_forget(Pin::new(stream), context) {
                Poll::Ready(true) => has_more = true,
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending if has_more => return Poll::Pending,
                Poll::Pending => return Poll::Ready(()),
            }
        }
        // Others have their turn in between.
        context.waker().wake_by_ref();
        Poll::Pending
    });
    // Past that time the client has only itself to blame.
    let _ = tokio::time::timeout(LINGER, taken).await;
}

/// One read of bytes that nobody wants; whether more may come.
fn poll_forget<S: AsyncRead>(stream: Pin<&mut S>, context: &mut Context<'_>) -> Poll<bool> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        let outcome = ready!(stream.poll_read(context, &mut buffer));
        Poll::Ready(outcome.is_ok() && !buffer.filled().is_empty())
    })
}

/// Why serving a client's socket ended, here.
#[derive(Debug)]
pub enum End {
    /// Everything was answered.
    Finished,
    /// The socket is broken or was given up; requests may be outstanding.
    Gone,
    /// The client goes on in another core.
    Moves,
    /// A node has to be asked about its credentials first.
    Asks,
    /// A node has to be asked for the database that it wants.
    Selects,
}

/// Ends when a client is to leave, whatever its task does for it.
fn poll_leaving(core: &mut Core, key: ClientKey, context: &mut Context<'_>) -> Poll<()> {
    let Some(client) = core.clients.get(key) else {
        return Poll::Ready(());
    };
    client.begin_turn(context.waker());
    match client.phase {
        Phase::Open | Phase::HalfClosed => Poll::Pending,
        Phase::Leaving | Phase::Gone => Poll::Ready(()),
    }
}

/// What a client asked for happens also when it is gone, in the order it asked.
pub fn poll_settled(core: &mut Core, key: ClientKey, context: &mut Context<'_>) -> Poll<()> {
    let Some(client) = core.clients.get(key) else {
        return Poll::Ready(());
    };
    client.begin_turn(context.waker());
    if client.is_settled() {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// Both directions in each turn, so that neither waits for the other (invariant 5).
pub fn poll_client<S: AsyncRead + AsyncWrite>(
    core: &mut Core,
    key: ClientKey,
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Poll<End> {
    let Some(client) = core.clients.get(key) else {
        return Poll::Ready(End::Gone);
    };
    client.begin_turn(context.waker());
    let mut wants_more = true;
    let mut is_held_back = false;
    for _ in 0..READS_PER_TURN {
        if !core.may_read(key) {
            wants_more = false;
            is_held_back = true;
            break;
        }
        if read(core, key, stream.as_mut(), context).is_pending() {
            wants_more = false;
            break;
        }
    }
    let has_written = write(core, key, stream.as_mut(), context);
    // TLS may hold back what it took; elsewhere this does nothing.
    let is_flushed = match stream.poll_flush(context) {
        Poll::Ready(Ok(())) => true,
        Poll::Ready(Err(_)) => {
            core.cut_off(key);
            true
        }
        Poll::Pending => false,
    };
    let Some(client) = core.clients.get(key) else {
        return Poll::Ready(End::Gone);
    };
    if client.taking.is_some() {
        core.go_on_passing(key);
    }
    let Some(client) = core.clients.get(key) else {
        return Poll::Ready(End::Gone);
    };
    if client.phase == Phase::Gone {
        return Poll::Ready(End::Gone);
    }
    if client.has_finished() && is_flushed {
        return Poll::Ready(End::Finished);
    }
    if client.errand != Errand::None {
        if client.is_ready_to_move() {
            return Poll::Ready(End::Moves);
        }
        if client.is_ready_to_be_vouched() && is_flushed {
            return Poll::Ready(End::Asks);
        }
        if client.is_ready_to_select() && is_flushed {
            return Poll::Ready(End::Selects);
        }
    }
    // Writing made room: what was stalled for it has to be tried again, and the socket, which was not
    // asked this time and so would not wake anyone, has to be read again.
    if wants_more || (is_held_back && has_written) {
        client.wake();
    }
    Poll::Pending
}

impl Core {
    /// Processes what was left over, and says whether the socket should be read.
    fn may_read(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        if client.is_stalled {
            self.process_leftover(key);
        }
        let soft = self.limits.client_output_soft_bytes;
        self.clients.get(key).is_some_and(|client| {
            // Of a client that is made to wait the end has to be noticed.
            let is_made_to_wait = client.blocked.is_some() || client.is_held_back;
            let is_taken = !client.is_stalled
                || (is_made_to_wait && client.unprocessed() < BLOCKED_INPUT_BYTES);
            client.phase == Phase::Open && is_taken && client.replies.buffered_bytes() < soft
        })
    }

    fn process_leftover(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        // Both are taken out together: what is left behind is an empty buffer.
        let input = std::mem::take(&mut client.input);
        let start = std::mem::take(&mut client.input_start);
        let processed = self.process(key, &input[start..]);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.input = input;
        client.input_start = start + processed.consumed;
        if client.input_start == client.input.len() {
            client.input = Vec::new();
            client.input_start = 0;
        } else if client.input_start > READ_BYTES && client.input_start > client.input.len() / 2 {
            client.input.drain(..client.input_start);
            client.input_start = 0;
        }
        client.wanted = processed.wanted;
        if processed.is_cut_short {
            client.is_stalled = true;
            client.wake();
        }
    }

    /// Takes bytes that were read while nothing was left over.
    fn process_fresh(&mut self, key: ClientKey, bytes: &[u8]) {
        let processed = self.process(key, bytes);
        let now_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        if processed.consumed < bytes.len() {
            client.input_since_us = now_us;
            client.input.extend_from_slice(&bytes[processed.consumed..]);
        }
        client.wanted = processed.wanted;
        if processed.is_cut_short {
            client.is_stalled = true;
            client.wake();
        }
    }

    /// The client sends no more; a request that is not whole is dropped with it.
    fn input_ended(&mut self, key: ClientKey) {
        self.blocked_input_ended(key);
        self.held_back_input_ended(key);
        self.abandon_upload(key);
        if let Some(client) = self.clients.get(key)
            && client.phase == Phase::Open
        {
            client.phase = Phase::HalfClosed;
        }
    }
}

/// One read. Pending also when the socket has ended: there is nothing more to read.
fn read<S: AsyncRead>(
    core: &mut Core,
    key: ClientKey,
    stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Poll<()> {
    let Some(client) = core.clients.get(key) else {
        return Poll::Pending;
    };
    let outcome = if client.input.is_empty() {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            let outcome = ready!(stream.poll_read(context, &mut buffer));
            let bytes = buffer.filled();
            if outcome.is_ok() && !bytes.is_empty() {
                core.tallies.client_bytes_in.add(bytes.len() as u64);
                core.process_fresh(key, bytes);
            }
            let count = bytes.len();
            Poll::Ready(outcome.map(|()| count))
        })
    } else {
        // A request is being received: the buffer is made large enough for all of it, so that it is
        // copied hardly more than once, but never for much more than has arrived: what a request announces
        // costs its sender nothing.
        let missing = client.wanted.saturating_sub(client.unprocessed());
        let likely = (2 * client.unprocessed()).clamp(READ_BYTES / 4, 16 * READ_BYTES);
        client.input.reserve(missing.clamp(READ_BYTES / 16, likely));
        let outcome = ready!(poll_read_buf(stream, context, &mut client.input));
        if let Ok(count @ 1..) = outcome {
            core.tallies.client_bytes_in.add(count as u64);
            core.process_leftover(key);
        }
        Poll::Ready(outcome)
    };
    match ready!(outcome) {
        Ok(0) => core.input_ended(key),
        Ok(_) => return Poll::Ready(()),
        Err(_) => core.cut_off(key),
    }
    Poll::Pending
}

/// Writes what is ready, as far as the socket takes it. Returns whether it took anything.
fn write<S: AsyncWrite>(
    core: &mut Core,
    key: ClientKey,
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> bool {
    let mut has_written = false;
    while let Some(client) = core.clients.get(key) {
        let output = client.replies.output();
        if output.is_empty() {
            break;
        }
        match stream.as_mut().poll_write(context, output) {
            Poll::Pending => break,
            Poll::Ready(Ok(count @ 1..)) => {
                has_written = true;
                core.tallies.client_bytes_out.add(count as u64);
                if let Some(buffer) = client.replies.written(count) {
                    core.recycle(buffer);
                }
            }
            Poll::Ready(Ok(_) | Err(_)) => {
                core.cut_off(key);
                break;
            }
        }
    }
    has_written
}
