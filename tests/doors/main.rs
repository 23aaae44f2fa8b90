//! The doors: who may connect, how often, how slowly, and through whom; and that what is secret is never said.

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod families;
mod http;
mod networks;
mod proxy;
mod secrets;
mod slow;

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// How long anything may take that takes no time on a machine with nothing else to do.
const DEADLINE: Duration = Duration::from_secs(20);

/// A connection from one of this machine's many loopback addresses, 127.0.0.`last`.
fn connect_from(last: u8, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
    socket.bind(&from.into()).expect("all of 127/8 is ours");
    socket.connect(&addr.into()).expect("somebody listens");
    let stream = TcpStream::from(socket);
    let patience = Some(DEADLINE);
    stream.set_read_timeout(patience).expect("it can be set");
    stream.set_write_timeout(patience).expect("it can be set");
    stream
}

/// What comes until the end.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut came = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => came.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("expected the end after {came:?}: {error}"),
        }
    }
    String::from_utf8_lossy(&came).into_owned()
}

/// Reads one line.
fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a line");
        line.push(byte[0]);
    }
    String::from_utf8_lossy(&line).trim_end().to_owned()
}
