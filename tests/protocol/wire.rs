//! Conversations in bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::{Client, Value};

/// Sends the pieces, each in a write of its own, half-closes, and reads until the peer closes: all
/// that came. A reset counts as a close.
#[track_caller]
pub fn conversation<P: AsRef<[u8]> + Sync>(addr: SocketAddr, pieces: &[P]) -> Vec<u8> {
    converse(addr, pieces, true)
}

/// The same without the half-close, for pieces that end in a QUIT: a server that sees the end of a
/// client forgets the replies it has not written yet.
#[track_caller]
pub fn conversation_to_quit<P: AsRef<[u8]> + Sync>(addr: SocketAddr, pieces: &[P]) -> Vec<u8> {
    converse(addr, pieces, false)
}

#[track_caller]
fn converse<P: AsRef<[u8]> + Sync>(addr: SocketAddr, pieces: &[P], half_closes: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).expect("somebody listens");
    stream.set_nodelay(true).expect("a socket takes the option");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("not zero");
    let mut came = Vec::new();
    std::thread::scope(|scope| {
        let mut writing = &stream;
        scope.spawn(move || {
            // The peer may close in the middle of it: then what it said before is what counts.
            let _ = pieces
                .iter()
                .try_for_each(|piece| writing.write_all(piece.as_ref()));
            if half_closes {
                let _ = writing.shutdown(Shutdown::Write);
            }
        });
        let mut piece = [0; 1 << 16];
        let mut reading = &stream;
        loop {
            match reading.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => came.extend_from_slice(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => {
                    // Wakes the writing thread, for which the scope waits.
                    let _ = stream.shutdown(Shutdown::Both);
                    panic!("after '{}': {error}", shown(&came));
                }
            }
        }
    });
    // Both directions are closed by now.
    drop(stream.flush());
    came
}

/// The raw replies in `bytes`, one by one; what is no whole reply is the last.
pub fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut replies = Vec::new();
    while let Ok(Some((_, length))) = Value::parse(bytes) {
        let (reply, rest) = bytes.split_at(length);
        replies.push(reply);
        bytes = rest;
    }
    if !bytes.is_empty() {
        replies.push(bytes);
    }
    replies
}

/// Fails unless both are the same; tells where they part. `sent` names the command of a reply.
#[track_caller]
pub fn assert_same_replies(got: &[u8], want: &[u8], sent: impl Fn(usize) -> String) {
    if got == want {
        return;
    }
    let (got, want) = (split(got), split(want));
    let differs = |&index: &usize| got.get(index) != want.get(index);
    let all = 0..got.len().max(want.len());
    let index = all.clone().find(differs).unwrap_or_default();
    let show = |replies: &[&[u8]]| match replies.get(index) {
        Some(reply) => shown(reply),
        None => "nothing".to_owned(),
    };
    panic!(
        "reply {} of {}\nto:   {}\ngot:  {}\nwant: {}",
        index + 1,
        all.len(),
        sent(index),
        show(&got),
        show(&want)
    );
}

/// Bytes for the reader of a failed test.
pub fn shown(bytes: &[u8]) -> String {
    let start = bytes[..bytes.len().min(300)].escape_ascii().to_string();
    match bytes.len() {
        0..=300 => start,
        more => format!("{start}... ({more} bytes)"),
    }
}

/// Another client of the same worker: when it has its reply, the worker has read all that was sent
/// to it before.
pub struct Barrier(Client);

impl Barrier {
    /// Connects it.
    pub fn at(addr: SocketAddr) -> Barrier {
        Barrier(Client::connect(addr))
    }

    /// Waits until what was sent before has been read.
    #[track_caller]
    pub fn pass(&mut self) {
        self.0.expect("PING", "+PONG");
    }
}
