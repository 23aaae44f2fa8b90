//! A process of its own that holds connections, because one process may only have so many.
//!
//! It is this test program again, told by its environment to do that alone.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use socket2::{Domain, Socket, Type};

const TOLD: &str = "KEYWAY_OVERLOAD_HOLD";

/// Connections held by another process; they end with this.
pub struct Holder {
    child: Child,
    /// It goes on writing.
    _out: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    /// Starts one and waits until it holds them all, each of which has been answered a `PING`.
    pub fn start(addr: SocketAddr, count: u64, number: u8) -> Holder {
        let program = std::env::current_exe().expect("a test program knows where it is");
        let mut child = Command::new(program)
            .args(["--exact", "holder::holds_what_it_is_told", "--nocapture"])
            .env(TOLD, format!("{addr} {count} {number}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a test program can start itself");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut lines = out.lines();
        let is_ready = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("all are held"));
        let holder = Holder { child, _out: lines };
        assert!(is_ready, "the holder could not open {count} connections");
        holder
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Nothing in an ordinary test run.
#[test]
fn holds_what_it_is_told() {
    let Ok(told) = std::env::var(TOLD) else {
        return;
    };
    let mut words = told.split(' ');
    let mut next = || words.next().expect("three words");
    let addr: SocketAddr = next().parse().expect("an address");
    let count: u64 = next().parse().expect("a number");
    let number: u8 = next().parse().expect("a number");
    super::files_for(count);
    // An address of its own, since one has no more than some 28,000 ports.
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 1, number), 0));
    let held: Vec<TcpStream> = (0..count).map(|_| connect(from, addr)).collect();
    println!("all are held");
    std::io::stdout().flush().expect("the parent listens");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    drop(held);
}

/// A connection that has been answered.
pub fn connect(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a file is free");
    socket.bind(&from.into()).expect("a port is free");
    socket.connect(&to.into()).expect("somebody listens");
    let mut stream = TcpStream::from(socket);
    stream.write_all(b"PING\r\n").expect("connected");
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).expect("answered");
    assert_eq!(&pong, b"+PONG\r\n");
    stream
}
