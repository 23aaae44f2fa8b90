//! A subscriber, and what a test asks of it.

use std::time::Duration;

use crate::support::{Client, Keyway, Value, eventually};

/// Everything that comes until the reply to a `PING` with this text.
#[track_caller]
pub fn until_pong(client: &mut Client, token: &str) -> Vec<String> {
    client.send(&format!("PING {token}"));
    let bulk = format!("'{token}'");
    let pong = format!("['pong' '{token}']");
    let mut got = Vec::new();
    loop {
        let value = client.read().to_string();
        if value == bulk || value == pong {
            return got;
        }
        got.push(value);
    }
}

/// The next values, as many as wanted.
#[track_caller]
pub fn read_many(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.read().to_string()).collect()
}

/// Subscribes and reads the one confirmation.
#[track_caller]
pub fn subscribe(client: &mut Client, command: &str) {
    let got = client.call(command);
    let word = command.split(' ').next().unwrap_or_default();
    let is_confirmed = match &got {
        Value::Array(items) | Value::Push(items) => {
            items.first().and_then(Value::bytes) == Some(word.to_lowercase().as_bytes())
        }
        _ => false,
    };
    assert!(is_confirmed, "{command}: {got}");
}

/// The sum of a metric's samples.
#[track_caller]
pub fn metric(keyway: &Keyway, name: &str) -> f64 {
    let (_, page) = keyway.admin("/metrics");
    let samples = page.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

/// As [`subscribe`], for a client to which messages may be on their way.
#[track_caller]
pub fn subscribe_amid_messages(client: &mut Client, command: &str) {
    client.send(command);
    let word = command.split(' ').next().unwrap_or_default();
    let confirmation = format!("['{}'", word.to_ascii_lowercase());
    loop {
        let got = client.read().to_string();
        if got.starts_with(&confirmation) {
            return;
        }
        assert!(got.starts_with("['message'"), "{command}: {got}");
    }
}

/// Waits until no change of a subscription is on its way to a node.
#[track_caller]
pub fn wait_until_quiet(keyway: &Keyway) {
    eventually("subscriptions are settled", Duration::from_secs(20), || {
        metric(keyway, "keyway_upstream_subscription_changes") == 0.0
    });
}
