//! The PROXY header, versions 1 and 2: what a load balancer says about the connection it brings.
//!
//! It is read to its last byte and not one further, since the client's own bytes, or its TLS, follow.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Who is behind a balancer's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Nobody it can tell: a health check of the balancer's own, or a client without an address. The header's rules
    /// want such a connection served, as one of the balancer's.
    Nobody,
    /// A client.
    Client {
        /// Where it comes from.
        from: SocketAddr,
        /// What it connected to.
        to: SocketAddr,
    },
}

/// Version 2 begins with this.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 1 begins with this.
const TEXT: &[u8; 6] = b"PROXY ";
/// The longest header of version 1, its line end included.
const LINE_BYTES_MAX: usize = 107;
/// The shortest one, `PROXY UNKNOWN\r\n`; one of version 2 is longer.
const BYTES_MIN: usize = 15;
/// Longer ones of version 2 (they may carry certificates, say) are refused.
const REST_BYTES_MAX: usize = 4096;

/// Reads the header; the caller sets the time limit.
///
/// # Errors
/// There is none, or it is malformed: the connection is of no use.
pub async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Brought> {
    let mut head = vec![0; BYTES_MIN];
    let (beginning, rest) = head.split_at_mut(TEXT.len());
    stream.read_exact(beginning).await?;
    // Somebody who sends a request instead may wait for its reply before more comes.
    if *beginning != *TEXT && !SIGNATURE.starts_with(beginning) {
        return Err(wrong("there is none"));
    }
    stream.read_exact(rest).await?;
    if head.starts_with(SIGNATURE) {
        head.push(stream.read_u8().await?);
        let len = usize::from(u16::from_be_bytes([head[14], head[15]]));
        if len > REST_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let mut rest = vec![0; len];
        stream.read_exact(&mut rest).await?;
        return version_2(head[12], head[13], &rest).map_err(wrong);
    }
    if !head.starts_with(TEXT) {
        return Err(wrong("there is none"));
    }
    while !head.ends_with(b"\r\n") {
        if head.len() >= LINE_BYTES_MAX {
            return Err(wrong("its line has no end"));
        }
        head.push(stream.read_u8().await?);
    }
    version_1(&head[..head.len() - 2]).map_err(wrong)
}

fn wrong(problem: &'static str) -> io::Error {
    let text = format!("the PROXY header cannot be used: {problem}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 6379`
fn version_1(line: &[u8]) -> Result<Brought, &'static str> {
    let line = std::str::from_utf8(line).map_err(|_| "it is no text")?;
    let words: Vec<&str> = line.split(' ').collect();
    let (from, to, from_port, to_port) = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(Brought::Nobody),
        ["PROXY", "TCP4" | "TCP6", from, to, from_port, to_port] => (from, to, from_port, to_port),
        _ => return Err("its line is none of version 1"),
    };
    let is_v4 = words[1] == "TCP4";
    let address = |text: &str| -> Result<IpAddr, &'static str> {
        let address: IpAddr = text.parse().map_err(|_| "an address is none")?;
        match address.is_ipv4() == is_v4 {
            true => Ok(address),
            false => Err("an address is of the other family"),
        }
    };
    let port = |text: &str| -> Result<u16, &'static str> {
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(port) if is_number => Ok(port),
            _ => Err("a port is none"),
        }
    };
    Ok(Brought::Client {
        from: SocketAddr::new(address(from)?, port(from_port)?),
        to: SocketAddr::new(address(to)?, port(to_port)?),
    })
}

fn version_2(version_and_command: u8, family: u8, rest: &[u8]) -> Result<Brought, &'static str> {
    match version_and_command {
        0x20 => return Ok(Brought::Nobody),
        0x21 => {}
        _ => return Err("its version or command is unknown"),
    }
    let port = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?))
    };
    let v4 = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 4] = rest.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes).into())
    };
    let v6 = |at: usize| -> Option<IpAddr> {
        let bytes: [u8; 16] = rest.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(bytes).into())
    };
    let pair = |from: Option<IpAddr>, to: Option<IpAddr>, ports: usize| {
        Some(Brought::Client {
            from: SocketAddr::new(from?, port(ports)?),
            to: SocketAddr::new(to?, port(ports + 2)?),
        })
    };
    match family {
        0x11 => pair(v4(0), v4(4), 8).ok_or("its addresses are cut off"),
        0x21 => pair(v6(0), v6(16), 32).ok_or("its addresses are cut off"),
        // A Unix socket, or something else that has no address.
        0x00 | 0x31 => Ok(Brought::Nobody),
        _ => Err("its family of addresses is unknown"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Brought, usize), String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let mut rest = bytes;
        let outcome = runtime.block_on(read_header(&mut rest));
        let left = rest.len();
        outcome
            .map(|brought| (brought, left))
            .map_err(|error| error.to_string())
    }

    fn client(from: &str, to: &str) -> Brought {
        Brought::Client {
            from: from.parse().expect("an address"),
            to: to.parse().expect("an address"),
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((rest.len() as u16).to_be_bytes());
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn headers_are_read_to_their_end_and_no_further() {
        let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 4, 0x18, 0xeb];
        let mut with_more = v4.to_vec();
        with_more.extend([4, 0, 1, 0]);
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[31], v6[33], v6[35]) = (0xfd, 1, 2, 9, 8);
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 6379\r\n".to_vec(),
                client("192.0.2.1:56324", "192.0.2.2:6379"),
            ),
            (
                b"PROXY TCP6 fd00::1 ::2 1 2\r\n".to_vec(),
                client("[fd00::1]:1", "[::2]:2"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), Brought::Nobody),
            (b"PROXY UNKNOWN ffff f 1 2\r\n".to_vec(), Brought::Nobody),
            (v2(0x20, 0, &[]), Brought::Nobody),
            (v2(0x21, 0x31, &[0; 216]), Brought::Nobody),
            (
                v2(0x21, 0x11, &v4),
                client("192.0.2.1:56324", "192.0.2.2:6379"),
            ),
            (
                v2(0x21, 0x11, &with_more),
                client("192.0.2.1:56324", "192.0.2.2:6379"),
            ),
            (v2(0x21, 0x21, &v6), client("[fd00::1]:9", "[::2]:8")),
        ] {
            let mut bytes = header.clone();
            bytes.extend(b"PING\r\n");
            assert_eq!(read(&bytes), Ok((expected, 6)), "{header:?}");
            for cut in 0..header.len() {
                assert!(read(&header[..cut]).is_err(), "{header:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for (bytes, problem) in [
            (&b"*1\r\n$4\r\nPING\r\n*1\r\n"[..], "there is none"),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
                "none of version 1",
            ),
            (b"PROXY TCP4 ::1 ::2 1 2\r\n", "other family"),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", "a port is none"),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
                "a port is none",
            ),
            (b"PROXY TCP4  192.0.2.2 1 2\r\n", "an address is none"),
            (long.as_bytes(), "has no end"),
            (&v2(0x31, 0x11, &[0; 12]), "version or command"),
            (&v2(0x21, 0x11, &[0; 11]), "cut off"),
            (&v2(0x21, 0x21, &[0; 35]), "cut off"),
            (&v2(0x21, 0x55, &[0; 12]), "family"),
            (&v2(0x21, 0x11, &[0; 5000]), "too long"),
        ] {
            let told = read(bytes).expect_err("refused");
            assert!(told.contains(problem), "{told} is not {problem}");
        }
    }
}
