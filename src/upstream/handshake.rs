//! Opening a connection to a node: dial, TLS, `HELLO`, credentials.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use super::{Role, UpstreamTls};
use crate::cluster::{Database, Endpoint};
use crate::config::Secret;
use crate::net::tls::{explain, is_of_tls};
use crate::net::{self, Stream};
use crate::resp::reply::ReplyScanner;
use crate::resp::{Protocol, write};

/// How connections to nodes are opened.
#[derive(Clone)]
pub struct Settings {
    /// Dialling and handshake together may take this long.
    pub timeout: Duration,
    /// How a connection to a node that vanished is noticed.
    pub liveness: net::Liveness,
    /// How Keyway presents itself.
    pub credentials: SharedCredentials,
    /// TLS, if the nodes speak it.
    pub tls: Option<Arc<UpstreamTls>>,
    /// The database in which everything on the connection is carried out.
    pub database: Database,
}

/// How Keyway presents itself to the nodes.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// ACL user; without one the password alone is given.
    pub username: Option<String>,
    /// Passwords, if the nodes want one; tried in this order.
    pub passwords: Vec<Secret>,
}

impl Credentials {
    /// The name of that user at the nodes.
    pub fn name(&self) -> &str {
        self.username.as_deref().unwrap_or("default")
    }

    /// Whether the other are the same.
    pub fn same(&self, other: &Credentials) -> bool {
        self.username == other.username && self.passwords == other.passwords
    }

    /// `AUTH` with each of the passwords, for connections that are open: the nodes keep to the last that was
    /// right. The last is tried first, so that the first wins.
    pub fn auth_requests(&self) -> Vec<Vec<u8>> {
        let username = self.name().as_bytes();
        let request = |password: &Secret| {
            let mut out = Vec::new();
            write::command(&mut out, &[b"AUTH", username, password.expose()]);
            out
        };
        self.passwords.iter().rev().map(request).collect()
    }
}

/// Credentials that may be changed while the process runs.
#[derive(Clone, Debug)]
pub struct SharedCredentials {
    current: Arc<watch::Sender<Arc<Credentials>>>,
}

impl Default for SharedCredentials {
    fn default() -> Self {
        SharedCredentials::new(Credentials::default())
    }
}

impl SharedCredentials {
    /// Begins with these.
    pub fn new(credentials: Credentials) -> SharedCredentials {
        let current = Arc::new(watch::channel(Arc::new(credentials)).0);
        SharedCredentials { current }
    }

    /// Those that hold now.
    pub fn load(&self) -> Arc<Credentials> {
        Arc::clone(&self.current.borrow())
    }

    /// Connections that are opened from now on use these.
    pub fn store(&self, credentials: Credentials) {
        self.current.send_replace(Arc::new(credentials));
    }

    /// The same, and nobody is told: connections that are open stay as they are.
    pub fn store_unsaid(&self, credentials: Credentials) {
        self.current.send_if_modified(|current| {
            *current = Arc::new(credentials);
            false
        });
    }

    /// Tells of each change. Works across runtimes.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Credentials>> {
        self.current.subscribe()
    }
}

/// A connection that is ready for requests.
pub struct Opened {
    /// Its socket.
    pub stream: Stream,
    /// Its client number at the node, if the node told it.
    pub client_id: Option<u64>,
    /// What the node answered to `HELLO`.
    pub greeting: Vec<u8>,
}

/// What is asked for on a new connection after the greeting, before it is used.
#[derive(Clone, Debug, Default)]
pub struct More {
    /// The requests, as they go over the wire.
    pub requests: Vec<u8>,
    /// How many they are.
    pub count: usize,
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody listens, the name is unknown, the network refused.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The node does not speak TLS as it should, or its certificate is not believed.
    #[error("TLS failed: {}", explain(.0))]
    Tls(#[source] io::Error),
    /// Neither accepted nor refused in time.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The node closed the connection during the handshake.
    #[error("closed during the handshake: {}", explain(.0))]
    Lost(#[source] io::Error),
    /// The node refused the handshake; the text is its own.
    #[error("the node refused the handshake: {0}")]
    Refused(String),
    /// The node let Keyway in, and does not let it into the database; the text is its own.
    #[error("the node refused SELECT: {0}")]
    NoDatabase(String),
}

/// The longest reply to `HELLO` that is believed.
const REPLY_BYTES_MAX: usize = 64 * 1024;

/// Dials a node and shakes hands; the connection is ready for requests afterwards.
///
/// # Errors
/// See [`OpenError`]; every one of them means that nothing was executed.
pub async fn open(
    endpoint: &Endpoint,
    protocol: Protocol,
    settings: &Settings,
) -> Result<Opened, OpenError> {
    open_as(endpoint, protocol, Role::Shared, &More::default(), settings).await
}

/// As [`open`], for a connection of this role: one for reads from a replica says `READONLY`. `more` is
/// asked for before it is used.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_as(
    endpoint: &Endpoint,
    protocol: Protocol,
    role: Role,
    more: &More,
    settings: &Settings,
) -> Result<Opened, OpenError> {
    let dialogue = async {
        let mut opened = dial_and_greet(endpoint, protocol, settings).await?;
        select(&mut opened.stream, settings.database).await?;
        if role == Role::Read {
            ask(&mut opened.stream, READONLY).await?;
        }
        more.ask(&mut opened.stream).await?;
        Ok(opened)
    };
    match tokio::time::timeout(settings.timeout, dialogue).await {
        Ok(outcome) => outcome,
        Err(_) => Err(OpenError::TimedOut(settings.timeout)),
    }
}

/// Before anything else is asked for: what is said on the connection is meant for that database (contract: C1).
async fn select(stream: &mut Stream, database: Database) -> Result<(), OpenError> {
    if database.is_first() {
        return Ok(());
    }
    let mut request = Vec::new();
    write::command(&mut request, &[b"SELECT", database.to_string().as_bytes()]);
    match ask(stream, &request).await {
        Ok(reply) if reply.starts_with(b"+OK") => Ok(()),
        Ok(reply) => Err(OpenError::Refused(
            String::from_utf8_lossy(reply.trim_ascii_end()).into_owned(),
        )),
        Err(OpenError::Refused(text)) if is_about_the_database(&text) => {
            Err(OpenError::NoDatabase(text))
        }
        Err(error) => Err(error),
    }
}

/// Whether asking again would not help. A node that is busy or loading says other words.
fn is_about_the_database(text: &str) -> bool {
    text.starts_with("-ERR") || text.starts_with("-NOPERM")
}

/// A replica serves reads only after it.
const READONLY: &[u8] = b"*1\r\n$8\r\nREADONLY\r\n";

async fn dial_and_greet(
    endpoint: &Endpoint,
    protocol: Protocol,
    settings: &Settings,
) -> Result<Opened, OpenError> {
    let stream = net::connect(&endpoint.host, endpoint.port, settings.liveness)
        .await
        .map_err(OpenError::Connect)?;
    let mut stream = match &settings.tls {
        None => Stream::Tcp(stream),
        Some(tls) => {
            let shaken = tls.shake_hands(stream, endpoint).await;
            shaken.map_err(OpenError::Tls)?
        }
    };
    let credentials = settings.credentials.load();
    let passwords = credentials.passwords.iter().map(Some);
    let mut tried = passwords.collect::<Vec<_>>();
    if tried.is_empty() {
        tried.push(None);
    }
    let mut refusal = OpenError::Refused("no password to try".to_owned());
    for password in tried {
        match ask(
            &mut stream,
            &greeting(protocol, credentials.username.as_deref(), password),
        )
        .await
        {
            Ok(reply) => {
                return Ok(Opened {
                    stream,
                    client_id: client_id(&reply),
                    greeting: reply,
                });
            }
            // Perhaps this node has another password already, or still.
            Err(OpenError::Refused(text)) if text.starts_with("-WRONGPASS") => {
                refusal = OpenError::Refused(text);
            }
            Err(error) => return Err(error),
        }
    }
    Err(refusal)
}

impl More {
    /// Asks, and wants no error.
    async fn ask(&self, stream: &mut Stream) -> Result<(), OpenError> {
        if self.count == 0 {
            return Ok(());
        }
        say(stream, &self.requests).await?;
        for _ in 0..self.count {
            accept(read_one_reply(stream).await?)?;
        }
        Ok(())
    }
}

/// Sends one request of the handshake, whose reply must be no error.
async fn ask(stream: &mut Stream, request: &[u8]) -> Result<Vec<u8>, OpenError> {
    if let Err(lost) = say(stream, request).await {
        // Why the node closed the connection may have arrived: that it does not accept our certificate, say.
        return Err(match read_reply(stream).await {
            Err(OpenError::Lost(why)) if is_of_tls(&why) => OpenError::Lost(why),
            Ok(_) | Err(_) => lost,
        });
    }
    accept(read_reply(stream).await?)
}

/// Writes, and sees to it that nothing stays behind in the layer of TLS.
async fn say(stream: &mut Stream, request: &[u8]) -> Result<(), OpenError> {
    stream.write_all(request).await.map_err(OpenError::Lost)?;
    stream.flush().await.map_err(OpenError::Lost)
}

fn accept(reply: Vec<u8>) -> Result<Vec<u8>, OpenError> {
    match reply.first() {
        Some(b'-') => {
            let text = String::from_utf8_lossy(reply.trim_ascii_end()).into_owned();
            Err(OpenError::Refused(text))
        }
        _ => Ok(reply),
    }
}

/// `HELLO`, which all supported servers know, sets the version, the user and the name in one go.
fn greeting(protocol: Protocol, username: Option<&str>, password: Option<&Secret>) -> Vec<u8> {
    let version: &[u8] = match protocol {
        Protocol::Resp2 => b"2",
        Protocol::Resp3 => b"3",
    };
    let mut args: Vec<&[u8]> = vec![b"HELLO", version];
    if let Some(password) = password {
        let username = username.unwrap_or("default");
        args.extend([&b"AUTH"[..], username.as_bytes(), password.expose()]);
    }
    args.extend([&b"SETNAME"[..], b"keyway"]);
    let mut out = Vec::new();
    write::command(&mut out, &args);
    out
}

/// Reads one reply and not a byte more: messages that a server sends by itself may follow, and belong to
/// the connection. Those before it are passed over: whoever asks for them begins with the reply.
async fn read_one_reply(stream: &mut Stream) -> Result<Vec<u8>, OpenError> {
    let mut scanner = ReplyScanner::default();
    let mut bytes = Vec::new();
    loop {
        bytes.push(stream.read_u8().await.map_err(OpenError::Lost)?);
        if bytes.len() > REPLY_BYTES_MAX {
            return Err(OpenError::Lost(io::ErrorKind::InvalidData.into()));
        }
        match scanner.scan(&bytes) {
            Ok(Some(_)) if bytes.first() == Some(&b'>') => bytes.clear(),
            Ok(Some(_)) => return Ok(bytes),
            Ok(None) => {}
            Err(error) => {
                return Err(OpenError::Lost(io::Error::new(
                    io::ErrorKind::InvalidData,
                    error,
                )));
            }
        }
    }
}

/// The number that the reply to `HELLO` gives, in either version.
fn client_id(reply: &[u8]) -> Option<u64> {
    const ID: &[u8] = b"$2\r\nid\r\n:";
    let rest = reply.get(memchr::memmem::find(reply, ID)? + ID.len()..)?;
    let end = memchr::memchr(b'\r', rest)?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

async fn read_reply(stream: &mut Stream) -> Result<Vec<u8>, OpenError> {
    let mut scanner = ReplyScanner::default();
    let mut bytes = Vec::new();
    loop {
        let count = stream.read_buf(&mut bytes).await.map_err(OpenError::Lost)?;
        if count == 0 || bytes.len() > REPLY_BYTES_MAX {
            return Err(OpenError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        match scanner.scan(&bytes) {
            Ok(Some(_)) => return Ok(bytes),
            Ok(None) => {}
            Err(error) => {
                return Err(OpenError::Lost(io::Error::new(
                    io::ErrorKind::InvalidData,
                    error,
                )));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_tells_the_client_number() {
        for head in ["*14", "%7"] {
            let reply = format!(
                "{head}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$2\r\nid\r\n:4711\r\n$4\r\nmode\r\n"
            );
            assert_eq!(client_id(reply.as_bytes()), Some(4711));
        }
        assert_eq!(client_id(b"+OK\r\n"), None);
    }

    #[test]
    fn one_hello_says_it_all() {
        let password = Secret::new("pw");
        let greeting = greeting(Protocol::Resp3, Some("app"), Some(&password));
        let text = String::from_utf8(greeting).expect("text");
        let words: Vec<_> = text
            .split("\r\n")
            .filter(|word| !word.starts_with(['*', '$']))
            .collect();
        assert_eq!(words.join(" ").trim(), "HELLO 3 AUTH app pw SETNAME keyway");
    }
}
