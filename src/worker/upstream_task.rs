//! One connection's socket: requests out, replies in.
//!
//! What is done in one turn is generic over the socket, so that the simulation drives the same code.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use super::client_task::SCRATCH;
use super::core::Core;
use super::links::Loss;
use super::nodes::ConnectionKey;
use super::thread::Worker;
use crate::upstream::handshake::{self, OpenError};
use crate::upstream::{Connection, Phase, Role, SendingEnd};

/// Free space made before each read.
const READ_BYTES: usize = 64 * 1024;
/// So many reads in one turn; then others have theirs.
const READS_PER_TURN: usize = 8;

/// Opens a connection, serves it until it ends, and settles what was in flight.
pub(super) async fn run(worker: Rc<Worker>, key: ConnectionKey) {
    let Some((endpoint, protocol)) = worker.turn(|core| core.endpoint_of(key)) else {
        return;
    };
    let (role, more) = worker.turn(|core| (core.role_of(key), core.asked_first(key)));
    let settings = worker.upstream();
    let credentials = settings.credentials.load();
    let opened = match handshake::open_as(&endpoint, protocol, role, &more, settings).await {
        Ok(opened) => opened,
        Err(error) => {
            let loss = match error {
                OpenError::Refused(_) => Loss::Refused,
                OpenError::NoDatabase(_) => Loss::NoDatabase,
                OpenError::Connect(_)
                | OpenError::Tls(_)
                | OpenError::TimedOut(_)
                | OpenError::Lost(_) => Loss::NotOpened,
            };
            worker.turn(|core| core.connection_lost(key, loss, &error.to_string()));
            return;
        }
    };
    let mut stream = opened.stream;
    worker.turn(|core| {
        core.connection_ready(key);
        core.connection_numbered(key, opened.client_id);
        let newest = settings.credentials.load();
        if !newest.same(&credentials) {
            // They changed meanwhile, and it may have been opened with the old ones.
            core.authenticate_connection(key, &newest.auth_requests());
        }
    });
    let why = poll_fn(|context| {
        worker.turn(|core| poll_connection(core, key, Pin::new(&mut stream), context))
    })
    .await;
    worker.turn(|core| core.connection_lost(key, Loss::Lost, &why));
}

/// Writes and reads in each turn (invariant 5). Ready, with the reason, when the connection ends.
pub fn poll_connection<S: AsyncRead + AsyncWrite>(
    core: &mut Core,
    key: ConnectionKey,
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Poll<String> {
    let Some(connection) = core.connections.get_mut(key.0 as usize) else {
        return Poll::Ready("it was closed".to_owned());
    };
    connection.begin_turn(context.waker());
    if connection.phase == Phase::Closed {
        return Poll::Ready("the node did not answer".to_owned());
    }
    let is_hub = connection.role == Role::Hub;
    if let Err(why) = write(core, key, stream.as_mut(), context) {
        return Poll::Ready(why);
    }
    for round in 0.. {
        if is_hub && core.is_held_back(key) {
            break;
        }
        let connection = core.connections.get(key.0 as usize);
        let is_passing = connection.is_some_and(|connection| connection.passing.is_some());
        if is_passing && core.is_left_unread(key) {
            break;
        }
        let Some(connection) = core.connections.get_mut(key.0 as usize) else {
            break;
        };
        if round == READS_PER_TURN {
            connection.wake();
            break;
        }
        match read(connection, stream.as_mut(), context) {
            Poll::Pending => break,
            Poll::Ready(Ok(0)) => return Poll::Ready("the node closed it".to_owned()),
            Poll::Ready(Ok(count)) => {
                core.tallies.upstream_bytes_in.add(count as u64);
                if let Err(error) = core.receive_replies(key) {
                    return Poll::Ready(error.to_string());
                }
            }
            Poll::Ready(Err(error)) => return Poll::Ready(error.to_string()),
        }
    }
    // Redirects may have come back to this very connection.
    if let Err(why) = write(core, key, stream.as_mut(), context) {
        return Poll::Ready(why);
    }
    if let Err(why) = tell_end(core, key, stream.as_mut(), context) {
        return Poll::Ready(why);
    }
    // TLS may hold back what it took; elsewhere this does nothing.
    if let Poll::Ready(Err(error)) = stream.poll_flush(context) {
        return Poll::Ready(error.to_string());
    }
    let is_done = core
        .connections
        .get(key.0 as usize)
        .is_none_or(|connection| {
            let is_idle = connection.in_flight.is_empty() && connection.upload.is_none();
            connection.is_retiring && is_idle
        });
    if is_done {
        Poll::Ready("the node left the cluster".to_owned())
    } else {
        Poll::Pending
    }
}

/// One read. A shared connection, which is hardly ever idle, has a buffer of its own; there may be thousands
/// of private ones, which wait most of the time, and those share one while they wait.
fn read<S: AsyncRead>(
    connection: &mut Connection,
    stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    let is_shared = connection.role == Role::Shared || connection.passing.is_some();
    if !is_shared && connection.input.is_empty() {
        connection.input = Vec::new();
        return SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(stream.poll_read(context, &mut buffer))?;
            connection.input.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(connection.input.len()))
        });
    }
    let wanted = connection.scanner.wanted(&connection.input);
    let missing = wanted.saturating_sub(connection.input.len());
    connection
        .input
        .reserve(missing.clamp(READ_BYTES, 16 * READ_BYTES));
    poll_read_buf(stream, context, &mut connection.input)
}

/// Shuts the sending side down when that is due.
fn tell_end<S: AsyncWrite>(
    core: &mut Core,
    key: ConnectionKey,
    stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Result<(), String> {
    let Some(connection) = core.connections.get_mut(key.0 as usize) else {
        return Ok(());
    };
    if connection.end != SendingEnd::Wanted || !connection.outbox.unwritten().is_empty() {
        return Ok(());
    }
    if let Poll::Ready(outcome) = stream.poll_shutdown(context) {
        outcome.map_err(|error| error.to_string())?;
        connection.end = SendingEnd::Told;
    }
    Ok(())
}

/// Writes what waits; an error is the reason why the connection ends.
fn write<S: AsyncWrite>(
    core: &mut Core,
    key: ConnectionKey,
    mut stream: Pin<&mut S>,
    context: &mut Context<'_>,
) -> Result<(), String> {
    loop {
        let Some(connection) = core.connections.get_mut(key.0 as usize) else {
            return Ok(());
        };
        let bytes = connection.outbox.unwritten();
        if bytes.is_empty() {
            return Ok(());
        }
        match stream.as_mut().poll_write(context, bytes) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(0)) => return Err("the node takes no more bytes".to_owned()),
            Poll::Ready(Ok(count)) => {
                connection.outbox.mark_written(count);
                core.tallies.upstream_bytes_out.add(count as u64);
                if connection.upload.is_some() {
                    connection.outbox.forget_written();
                    core.upload_went_on(key);
                }
            }
            Poll::Ready(Err(error)) => return Err(error.to_string()),
        }
    }
}
