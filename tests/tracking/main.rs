//! `CLIENT TRACKING`: what a client with a cache hears is what it hears from one server, and a cache
//! that does what it is told never serves a stale value, whatever happens to the cluster behind.
//!
//! contract: S6

mod cache;
mod fake_nodes;
mod history;
mod mode;
mod one_server;
mod torture;

#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use support::{Client, Value};

/// How long something may take that takes milliseconds.
const SOON: Duration = Duration::from_secs(20);

/// What a client hears when it has to forget everything.
const FLUSH: &str = ">['invalidate' null]";

/// What a client hears when it has to forget one key.
fn invalid(key: &str) -> String {
    format!(">['invalidate' ['{key}']]")
}

/// Sends a command; its reply, and the messages that came before it.
#[track_caller]
fn ask(client: &mut Client, command: &str) -> (String, Vec<String>) {
    client.send(command);
    let mut messages = Vec::new();
    loop {
        match client.read() {
            push @ Value::Push(_) => messages.push(push.to_string()),
            reply => return (reply.to_string(), messages),
        }
    }
}

/// The reply to a command, whatever messages come before it.
#[track_caller]
fn reply(client: &mut Client, command: &str) -> String {
    ask(client, command).0
}

/// All messages up to now: `PING` comes behind those that nodes had sent.
#[track_caller]
fn messages(client: &mut Client) -> Vec<String> {
    let (pong, messages) = ask(client, "PING");
    assert_eq!(pong, "+PONG");
    messages
}

/// Waits for a message; replies must not come.
#[track_caller]
fn wait_for(client: &mut Client, message: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let heard = client.read().to_string();
        if heard == message {
            return;
        }
        assert!(heard.starts_with('>'), "waited for {message}, got {heard}");
        assert!(Instant::now() < deadline, "no {message}");
    }
}
