//! `keyway --health`: asks the admin port of the Keyway beside it whether it is ready, for the health
//! checks of containers that have no `curl`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::tls::{Connector, ConnectorSettings, MinVersion, Roots};

/// Connecting, and each read or write after that, may take this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// More than any answer of `/ready`.
const ANSWER_BYTES_MAX: u64 = 4096;

/// The first byte of an alert of TLS.
const ALERT: char = '\u{15}';

/// Asks `/ready`. The one line to print: `Ok` when ready, `Err` with the reason when not.
///
/// # Errors
/// Not ready, not there, or no admin port to ask.
pub fn check(admin: Option<SocketAddr>, is_tls: bool) -> Result<String, String> {
    let Some(configured) = admin else {
        return Err("admin.address is empty: there is no admin port to ask".to_owned());
    };
    let address = reachable(configured);
    let mut answer = match is_tls {
        false => ask(address),
        true => ask_over_tls(address),
    };
    if !is_tls
        && answer
            .as_ref()
            .is_ok_and(|answer| answer.starts_with(ALERT))
    {
        // That is how TLS says that it does not understand: the one who asks was not told.
        answer = ask_over_tls(address);
    }
    let answer = answer.map_err(|error| format!("no answer from {address}: {error}"))?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer
        .split_once("\r\n\r\n")
        .map_or("", |(_, body)| body.trim());
    match status {
        "200" => Ok(body.to_owned()),
        "503" => Err(body.to_owned()),
        _ => Err(format!(
            "{address} does not answer like a Keyway's admin port"
        )),
    }
}

fn request(address: SocketAddr) -> String {
    format!("GET /ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Write::write_all(&mut stream, request(address).as_bytes())?;
    let mut answer = Vec::new();
    Read::take(stream, ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// As [`ask`]. Nothing secret is said, and the certificate may be for any name: it is not verified.
fn ask_over_tls(address: SocketAddr) -> std::io::Result<String> {
    let connector = Connector::new(ConnectorSettings {
        roots: Roots::Unverified,
        certificate: None,
        min_version: MinVersion::Tls12,
    });
    let connector = connector.map_err(std::io::Error::other)?;
    let host = address.ip().to_string();
    let asking = async {
        let stream = tokio::net::TcpStream::connect(address).await?;
        let mut stream = connector.connect(stream, &[&host]).await?;
        stream.write_all(request(address).as_bytes()).await?;
        stream.flush().await?;
        let mut answer = Vec::new();
        let mut stream = stream.take(ANSWER_BYTES_MAX);
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let limited = async { tokio::time::timeout(PATIENCE, asking).await };
    runtime
        .block_on(limited)
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// The address to dial for an address that is listened on: the wildcard becomes loopback.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Checks against a server that gives this answer.
    fn check_against(answer: &'static str) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client comes");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 512];
                let read = stream.read(&mut piece).expect("a request");
                request.extend_from_slice(&piece[..read]);
            }
            assert!(request.starts_with(b"GET /ready "));
            stream.write_all(answer.as_bytes()).expect("it reads");
        });
        let outcome = check(Some(address), false);
        server.join().expect("the server ends");
        outcome
    }

    #[test]
    fn the_answer_decides() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nx: y\r\n\r\nready\n", Ok("ready")),
            ("HTTP/1.1 503 Not\r\n\r\ndraining\n", Err("draining")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(check_against(answer), expected, "{answer}");
        }
        let stranger = check_against("SSH-2.0-x\r\n").expect_err("not HTTP");
        assert!(stranger.contains("does not answer like"), "{stranger}");
    }

    #[test]
    fn nobody_there_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        assert!(check(Some(address), false).is_err());
        assert!(check(None, false).is_err());
    }

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        for (listening, expected) in [
            ("0.0.0.0:9121", "127.0.0.1:9121"),
            ("[::]:9121", "[::1]:9121"),
            ("10.0.0.1:9121", "10.0.0.1:9121"),
        ] {
            let listening = listening.parse().expect("an address");
            assert_eq!(reachable(listening).to_string(), expected);
        }
    }
}
