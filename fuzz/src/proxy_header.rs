//! A PROXY header, whole and cut off: what is read is read to its last byte and not one further.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use keyway::net::proxy_protocol::{Brought, read_header};

/// The header, and how many bytes of the input are left.
fn read(mut bytes: &[u8]) -> Option<(Brought, usize)> {
    let outcome = {
        let mut reading = pin!(read_header(&mut bytes));
        // Bytes in memory are never waited for.
        match reading
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(outcome) => outcome.ok(),
            Poll::Pending => panic!("it waits although the input has ended"),
        }
    };
    outcome.map(|brought| (brought, bytes.len()))
}

/// One input.
pub fn run(data: &[u8]) {
    let Some((brought, left)) = read(data) else {
        return;
    };
    let len = data.len() - left;
    assert_eq!(read(&data[..len]), Some((brought, 0)));
    for cut in 0..len {
        assert_eq!(read(&data[..cut]), None);
    }
    if let Brought::Client { from, to } = brought {
        let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
        let ports = (from.port(), to.port());
        let line = format!(
            "PROXY {family} {} {} {} {}\r\n",
            from.ip(),
            to.ip(),
            ports.0,
            ports.1
        );
        assert_eq!(read(line.as_bytes()), Some((brought, 0)));
    }
}
