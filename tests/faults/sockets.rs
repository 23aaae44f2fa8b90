//! The options of Keyway's own sockets, as the kernel has them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::SockRef;

use super::support::{FakeCluster, Keyway};

/// contract: F5
#[test]
fn connections_do_not_wait_for_ever_for_signs_of_life() {
    let fake = FakeCluster::start(1);
    let keyway = Keyway::before(&fake.seeds())
        .set("listen.tcp_keepalive", "\"30s\"")
        .set("listen.tcp_user_timeout", "\"40s\"")
        .set("upstream.tcp_keepalive", "\"9s\"")
        .set("upstream.tcp_user_timeout", "\"12s\"")
        .start();
    let mut client = keyway.client();
    assert!(!client.call("GET a").is_error());
    let sockets = match sockets_of(&keyway) {
        Ok(sockets) => sockets,
        Err(error) => {
            println!("skipped: another process' sockets cannot be looked at here: {error}");
            return;
        }
    };
    let with_peer = |peer: SocketAddr| {
        let mut found = sockets.iter();
        let found = found.find(|socket| socket.peer_addr().is_ok_and(|addr| addr == peer));
        found.unwrap_or_else(|| panic!("no connection with {peer}"))
    };
    let seconds = |count| Some(Duration::from_secs(count));
    for (peer, idle, interval, user_timeout) in [
        (client.local_addr(), 30, 10, 40),
        (fake.node(0).addr(), 9, 3, 12),
    ] {
        let socket = SockRef::from(with_peer(peer));
        assert!(socket.keepalive().is_ok_and(|is_on| is_on));
        assert_eq!(socket.tcp_keepalive_time().ok(), seconds(idle));
        assert_eq!(socket.tcp_keepalive_interval().ok(), seconds(interval));
        assert_eq!(
            socket.tcp_user_timeout().expect("asked"),
            seconds(user_timeout)
        );
    }
}

/// Copies of a process' connected TCP sockets.
fn sockets_of(keyway: &Keyway) -> rustix::io::Result<Vec<TcpStream>> {
    let pid = Pid::from_raw(keyway.pid().cast_signed()).expect("a process has a number");
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    let mut sockets = Vec::new();
    let folder = fs::read_dir(format!("/proc/{}/fd", keyway.pid())).expect("it runs");
    for entry in folder.flatten() {
        let is_socket = fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"));
        let number = entry.file_name().to_string_lossy().parse();
        if let (true, Ok(number)) = (is_socket, number) {
            // It may have been closed since.
            let copy: OwnedFd = match pidfd_getfd(&process, number, PidfdGetfdFlags::empty()) {
                Err(rustix::io::Errno::BADF) => continue,
                other => other?,
            };
            sockets.push(TcpStream::from(copy));
        }
    }
    Ok(sockets)
}
