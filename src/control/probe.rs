//! Asking one server what it knows of the deployment.
//!
//! A probe is a connection of its own, kept between refreshes, so that asking costs one round trip and
//! no handshake. `CLUSTER NODES` and `CLUSTER SHARDS` (`CLUSTER SLOTS` before Redis 7) go out
//! together and are joined, see [`crate::cluster::view`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::cluster::ledger::{Said, Server};
use crate::cluster::value::Value;
use crate::cluster::view::{Answered, View};
use crate::cluster::view_listing::{parse_shards, parse_slots};
use crate::cluster::view_nodes::parse_nodes;
use crate::cluster::{AddressMap, Endpoint, Greeting};
use crate::net::Stream;
use crate::resp::reply::ReplyScanner;
use crate::resp::{Protocol, write};
use crate::upstream::handshake::{self, Credentials, OpenError};

/// Longer replies are not believed; `CLUSTER NODES` of a thousand nodes has 200 KB.
const REPLY_BYTES_MAX: usize = 32 << 20;
/// Replicas of replicas that are followed to a standalone primary.
const HOPS_MAX: usize = 4;

/// A connection to ask over.
#[derive(Debug)]
pub(super) struct Probe {
    stream: Stream,
    /// What it was opened with.
    credentials: Arc<Credentials>,
    /// Bytes read and not yet used.
    inbox: Vec<u8>,
    server: Server,
    /// The server does not know `CLUSTER SHARDS`.
    wants_slots: bool,
    /// Whether it is asked over TLS, which decides between a node's two ports.
    over_tls: bool,
    /// Nothing was asked over it yet: losing it is no reason to try again.
    is_fresh: bool,
}

/// What a server told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) said: Said,
    pub(super) server: Server,
}

/// Why a server told nothing.
#[derive(Debug, Error)]
pub(super) enum ProbeError {
    /// No connection, or refused at the door.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The connection broke.
    #[error("the connection was lost: {0}")]
    Lost(#[source] io::Error),
    /// It hangs, or the way to it does.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// It is up and does not want to tell; the text is its own.
    #[error("it refuses to tell: {0}")]
    Refused(String),
    /// It told something that cannot be used.
    #[error("{0}")]
    Unusable(String),
}

/// How servers are asked.
#[derive(Clone)]
pub(super) struct ProbeSettings {
    pub(super) open: handshake::Settings,
    pub(super) response_timeout: Duration,
}

/// Asks the server at `at`, over `kept` if that still works. A standalone replica is followed to its
/// primary as long as that can be reached.
pub(super) async fn ask(
    at: &Endpoint,
    kept: Option<Probe>,
    settings: &ProbeSettings,
    map: &AddressMap,
) -> Result<(Probe, Told), ProbeError> {
    let (probe, told) = ask_one(at, kept, settings).await?;
    let followed = match told {
        Heard::Cluster(view) => {
            let server = probe.server.clone();
            let said = Said::Cluster(Arc::new(view));
            return Ok((probe, Told { said, server }));
        }
        Heard::Standalone { follows: None } => None,
        Heard::Standalone { follows } => follow(follows, settings, map).await,
    };
    // A seed is dialled as the operator wrote it: the map is for what servers announce.
    let said = followed.unwrap_or_else(|| Said::Standalone {
        announced: at.clone(),
        endpoint: at.clone(),
    });
    let server = probe.server.clone();
    Ok((probe, Told { said, server }))
}

/// The primary that a standalone replica follows, if it can be reached and is one.
async fn follow(
    mut follows: Option<Endpoint>,
    settings: &ProbeSettings,
    map: &AddressMap,
) -> Option<Said> {
    for _ in 0..HOPS_MAX {
        let announced = follows?;
        let endpoint = map.map(&announced);
        match ask_one(&endpoint, None, settings).await {
            Ok((_, Heard::Standalone { follows: None })) => {
                return Some(Said::Standalone {
                    announced,
                    endpoint,
                });
            }
            Ok((_, Heard::Standalone { follows: next })) => follows = next,
            Ok((_, Heard::Cluster(_))) | Err(_) => return None,
        }
    }
    None
}

/// What one server said of itself.
enum Heard {
    Cluster(View),
    Standalone { follows: Option<Endpoint> },
}

async fn ask_one(
    at: &Endpoint,
    kept: Option<Probe>,
    settings: &ProbeSettings,
) -> Result<(Probe, Heard), ProbeError> {
    if let Some(mut probe) = kept.filter(|probe| probe.is_up_to_date(settings)) {
        match limited(settings, probe.hear(at)).await {
            // Servers close idle connections, and a node that was restarted is a new one.
            Err(ProbeError::Lost(_)) => {}
            other => return other.map(|heard| (probe, heard)),
        }
    }
    let mut probe = Probe::open(at, settings).await?;
    let heard = limited(settings, probe.hear(at)).await?;
    Ok((probe, heard))
}

/// Asks a server for these sections of its `INFO`, over `kept` if that still works.
pub(super) async fn ask_info(
    at: &Endpoint,
    kept: Option<Probe>,
    settings: &ProbeSettings,
    sections: &[&str],
) -> Result<(Probe, Vec<String>), ProbeError> {
    let mut probe = match kept.filter(|probe| probe.is_up_to_date(settings)) {
        Some(probe) => probe,
        None => Probe::open(at, settings).await?,
    };
    let commands: Vec<[&str; 2]> = sections.iter().map(|section| ["INFO", section]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(|command| &command[..]).collect();
    let replies = limited(settings, probe.exchange(&commands)).await?;
    let texts = replies.iter().map(|reply| match reply.text() {
        Some(text) => Ok(text.to_owned()),
        None => Err(ProbeError::Refused(complaint(reply))),
    });
    let texts = texts.collect::<Result<_, _>>()?;
    Ok((probe, texts))
}

async fn limited<T>(
    settings: &ProbeSettings,
    asking: impl Future<Output = Result<T, ProbeError>>,
) -> Result<T, ProbeError> {
    match timeout(settings.response_timeout, asking).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ProbeError::TimedOut(settings.response_timeout)),
    }
}

impl Probe {
    async fn open(at: &Endpoint, settings: &ProbeSettings) -> Result<Probe, ProbeError> {
        let credentials = settings.open.credentials.load();
        let opened = handshake::open(at, Protocol::Resp2, &settings.open).await?;
        // What cannot be read of it is only shown to clients, and left out there.
        let greeting = Value::decode(&opened.greeting, Protocol::Resp2).unwrap_or(Value::Null);
        Ok(Probe {
            stream: opened.stream,
            credentials,
            inbox: Vec::new(),
            server: Server {
                greeting: Arc::new(Greeting::of_reply(&greeting)),
                ..Server::default()
            },
            wants_slots: false,
            over_tls: settings.open.tls.is_some(),
            is_fresh: true,
        })
    }

    /// Whether it was opened with the credentials that hold now: the nodes may forget others.
    fn is_up_to_date(&self, settings: &ProbeSettings) -> bool {
        Arc::ptr_eq(&self.credentials, &settings.open.credentials.load())
    }

    async fn hear(&mut self, at: &Endpoint) -> Result<Heard, ProbeError> {
        let listing = match self.wants_slots {
            false => "SHARDS",
            true => "SLOTS",
        };
        // Kept in one write, so that both describe the same moment as nearly as can be.
        let mut commands: Vec<&[&str]> = vec![&["CLUSTER", "NODES"]];
        let listing_command = ["CLUSTER", listing];
        commands.push(&listing_command);
        let is_fresh = std::mem::take(&mut self.is_fresh);
        if is_fresh {
            commands.push(&["INFO", "server"]);
        }
        let mut replies = self.exchange(&commands).await?.into_iter();
        let nodes = replies.next().unwrap_or(Value::Null);
        let mut listed = replies.next().unwrap_or(Value::Null);
        if is_fresh {
            self.server = Server {
                greeting: Arc::clone(&self.server.greeting),
                ..server_of(&replies.next().unwrap_or(Value::Null))
            };
        }
        if is_without_cluster(&nodes) {
            let role = self.exchange(&[&["ROLE"]]).await?.into_iter().next();
            return standalone(role.unwrap_or(Value::Null));
        }
        if !self.wants_slots && matches!(&listed, Value::Error(text) if is_unknown(text)) {
            self.wants_slots = true;
            let slots = self.exchange(&[&["CLUSTER", "SLOTS"]]).await?;
            listed = slots.into_iter().next().unwrap_or(Value::Null);
        }
        let answered = Answered {
            by: at,
            over_tls: self.over_tls,
        };
        view(&nodes, &listed, self.wants_slots, answered).map(Heard::Cluster)
    }

    /// Sends the commands at once and waits for all replies.
    async fn exchange(&mut self, commands: &[&[&str]]) -> Result<Vec<Value>, ProbeError> {
        let mut out = Vec::new();
        for command in commands {
            write::command(&mut out, command);
        }
        self.stream
            .write_all(&out)
            .await
            .map_err(ProbeError::Lost)?;
        self.stream.flush().await.map_err(ProbeError::Lost)?;
        let mut replies = Vec::with_capacity(commands.len());
        let mut scanner = ReplyScanner::default();
        while replies.len() < commands.len() {
            let unusable = |error: &dyn std::error::Error| ProbeError::Unusable(error.to_string());
            match scanner.scan(&self.inbox) {
                Ok(Some(len)) => {
                    let value = Value::decode(&self.inbox[..len], Protocol::Resp2);
                    replies.push(value.map_err(|error| unusable(&error))?);
                    self.inbox.drain(..len);
                }
                Ok(None) => self.fill().await?,
                Err(error) => return Err(unusable(&error)),
            }
        }
        Ok(replies)
    }

    async fn fill(&mut self) -> Result<(), ProbeError> {
        if self.inbox.len() > REPLY_BYTES_MAX {
            return Err(ProbeError::Unusable("its reply has no end".to_owned()));
        }
        match self.stream.read_buf(&mut self.inbox).await {
            Ok(0) => Err(ProbeError::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(ProbeError::Lost(error)),
        }
    }
}

/// Joins the two replies; one of them is enough.
fn view(
    nodes: &Value,
    listed: &Value,
    is_slots: bool,
    answered: Answered<'_>,
) -> Result<View, ProbeError> {
    let nodes = match nodes {
        Value::Text(text) => parse_nodes(text, answered).map_err(|e| e.to_string()),
        other => Err(complaint(other)),
    };
    let listed = match listed {
        Value::List(_) if is_slots => parse_slots(listed, answered).map_err(|e| e.to_string()),
        Value::List(_) => parse_shards(listed, answered).map_err(|e| e.to_string()),
        other => Err(complaint(other)),
    };
    match (nodes, listed) {
        (Ok(nodes), Ok(listed)) => Ok(nodes.joined(listed)),
        (Ok(nodes), Err(_)) => Ok(nodes),
        // An empty listing is what a node in no cluster gives; alone it tells nothing.
        (Err(_), Ok(listed)) if !listed.nodes.is_empty() => Ok(listed),
        (Err(problem), _) => Err(ProbeError::Refused(problem)),
    }
}

fn complaint(reply: &Value) -> String {
    match reply {
        Value::Error(text) => text.clone(),
        Value::Null | Value::Integer(_) | Value::Text(_) | Value::List(_) => {
            "a reply of another type than expected".to_owned()
        }
    }
}

/// Cluster support is off, or the server has never heard of it.
fn is_without_cluster(nodes: &Value) -> bool {
    match nodes {
        Value::Error(text) => {
            text.contains("cluster support disabled") || text.starts_with("ERR unknown command")
        }
        Value::Null | Value::Integer(_) | Value::Text(_) | Value::List(_) => false,
    }
}

fn is_unknown(text: &str) -> bool {
    // Before Redis 7 an unknown sub-command was a syntax error with a hint.
    let text = text.to_ascii_lowercase();
    text.starts_with("err unknown") || text.contains("wrong number of arguments")
}

/// A primary, or a replica that says whom it follows. A server that hides its role is taken as it is.
fn standalone(role: Value) -> Result<Heard, ProbeError> {
    let parts = role.list().unwrap_or_default();
    match parts.first().and_then(Value::text) {
        Some("sentinel") => Err(ProbeError::Refused(
            "it is a Sentinel, which holds no data; name the servers it watches".to_owned(),
        )),
        Some("slave" | "replica") => {
            let host = parts.get(1).and_then(Value::text).unwrap_or_default();
            let port = parts.get(2).and_then(Value::integer);
            let port = port.and_then(|port| u16::try_from(port).ok());
            let follows = match port {
                Some(port) if port > 0 && !host.is_empty() => Some(Endpoint {
                    host: host.to_ascii_lowercase().into(),
                    port,
                }),
                _ => None,
            };
            Ok(Heard::Standalone { follows })
        }
        _ => Ok(Heard::Standalone { follows: None }),
    }
}

/// Name and versions from `INFO server`; whoever may not ask does not learn them.
fn server_of(info: &Value) -> Server {
    let text = info.text().unwrap_or_default();
    let field = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let valkey = field("valkey_version").unwrap_or_default();
    let name = match field("server_name") {
        Some(name) => name,
        None if !valkey.is_empty() => "valkey",
        None => "redis",
    };
    Server {
        name: name.into(),
        redis_version: field("redis_version").unwrap_or_default().into(),
        valkey_version: valkey.into(),
        greeting: Arc::default(),
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
