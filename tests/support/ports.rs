//! Free ports that parallel test programs do not take from each other.
//!
//! A port is leased by holding the *UDP* socket of the same number: the kernel lets one process
//! have it and frees it when that process ends, however it ends, and nothing here speaks UDP. Ports
//! come from below the ephemeral range, so that no outgoing connection sits on them, and the
//! cluster bus (port + 10000) has a range of its own.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 11_000;
const COUNT: u16 = 9_000;
/// What a cluster node adds to its port for the cluster bus.
pub const BUS_OFFSET: u16 = 10_000;

/// A port that is ours until this is dropped. It survives restarts of the server that uses it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lease: UdpSocket,
}

impl Port {
    /// Leases a port that is free for TCP on loopback, and so is its cluster bus port.
    pub fn lease() -> Port {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Programs start their search at different places, so that they seldom meet.
        let start = (std::process::id() % u32::from(COUNT / 100)) as u16 * 100;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed);
            let number = FIRST + (start + step % COUNT) % COUNT;
            let Ok(lease) = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)) else {
                continue;
            };
            if is_free(number) && is_free(number + BUS_OFFSET) {
                return Port {
                    number,
                    _lease: lease,
                };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}
