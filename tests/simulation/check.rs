//! What holds at every moment: gauges, bounds, deadlines.

use keyway::pipeline::ClientKey;
use keyway::upstream::{Phase, Purpose};

use super::link;
use super::request::Op;
use super::world::World;

/// A request may end so much later than its deadline: how rarely deadlines are looked at, and how
/// far the simulation's time jumps.
const LATE_US: u64 = 300_000;

/// What is read from a client at once, and passed on at once.
const READ_BYTES: usize = 64 * 1024;
/// What is read of a client while it is blocked, because only that tells whether it has left.
const READ_AHEAD_BYTES: usize = 1024 * 1024;

impl World {
    /// What holds at every moment.
    pub fn check(&mut self) -> Result<(), String> {
        let in_flight: usize = self
            .core
            .connections
            .iter()
            .flat_map(|(_, connection)| &connection.in_flight)
            .filter(|entry| matches!(entry.purpose, Purpose::Reply(_) | Purpose::Uploaded(_)))
            .count();
        gauge("in_flight", self.tallies.in_flight.value(), in_flight)?;
        let parked = self.core.clients.iter_mut();
        let parked = parked.map(|(_, client)| client.parked.len()).sum();
        gauge("parked", self.tallies.parked.value(), parked)?;
        let open = self.links.iter();
        let open = open.filter(|link| matches!(link.task, link::Task::Serving(_)));
        let connections = self.tallies.upstream_connections.value();
        gauge("upstream_connections", connections, open.count())?;
        for (_, connection) in &self.core.connections {
            let bytes: usize = connection
                .in_flight
                .iter()
                .map(|entry| entry.len as usize)
                .sum();
            let reply_bytes: usize = connection
                .in_flight
                .iter()
                .map(|entry| entry.reply_bytes as usize)
                .sum();
            if reply_bytes != connection.reply_bytes_ahead {
                return Err(format!(
                    "{} reply bytes ahead, by entries {reply_bytes}",
                    connection.reply_bytes_ahead
                ));
            }
            // Of what is passed on nothing is kept, and little waits.
            if connection.phase == Phase::Closed {
                continue;
            }
            if connection.upload.is_some() {
                let most = self.core.limits.upload_window_bytes + READ_BYTES;
                if connection.outbox.len() > most {
                    return Err(format!(
                        "{} bytes of an upload wait, at most {most}",
                        connection.outbox.len()
                    ));
                }
                continue;
            }
            if bytes != connection.outbox.len() {
                return Err(format!(
                    "{} bytes in an outbox whose requests have {bytes}",
                    connection.outbox.len()
                ));
            }
        }
        self.check_deadlines()
    }

    /// Contract F5, F6.
    fn check_deadlines(&mut self) -> Result<(), String> {
        let limits = &self.core.limits;
        let latest_us = limits.request_timeout_us + LATE_US;
        let most = limits.requests_in_flight_per_client;
        // A connection that was given up ends at its task's next turn, which a runtime gives it at once; here any
        // other task may have its turn, and time may jump, before. What is in flight there is not Keyway's delay.
        let given_up: Vec<ClientKey> = self
            .core
            .connections
            .iter()
            .filter(|(_, connection)| connection.phase == Phase::Closed)
            .flat_map(|(_, connection)| &connection.in_flight)
            .filter_map(|entry| match entry.purpose {
                Purpose::Reply(dispatched) => Some(dispatched.ticket.client),
                _ => None,
            })
            .collect();
        for client in &mut self.clients {
            let Some(inside) = self.core.clients.get(client.key) else {
                continue;
            };
            let pending = inside.replies.pending();
            let is_counted = client
                .requests
                .last()
                .is_none_or(|last| last.op != Op::Garbage);
            // The error that ends a broken connection has a place of its own.
            if pending > most + usize::from(!is_counted) {
                return Err(format!(
                    "client {} has {pending} requests of at most {most}",
                    client.number,
                ));
            }
            // A client that does not take its replies is late itself.
            let is_sending = inside.upload.is_some();
            if is_sending && inside.unprocessed() > READ_AHEAD_BYTES + READ_BYTES {
                let bytes = inside.unprocessed();
                return Err(format!(
                    "{bytes} bytes of client {} are held",
                    client.number
                ));
            }
            let is_behind = inside.taking.is_some() || inside.replies.is_passing() || is_sending;
            if is_behind || given_up.contains(&client.key) {
                client.took_us = self.core.now_us;
            }
            if pending == 0 || !is_counted || is_sending {
                continue;
            }
            let oldest = &client.requests[client.taken - pending];
            let taken_us = oldest.taken_us.unwrap_or(self.core.now_us);
            let taken_us = taken_us.max(client.took_us);
            let age_us = self.core.now_us - taken_us;
            if age_us > latest_us {
                return Err(format!(
                    "client {}: {:?} is not answered after {age_us} us; the deadline is {} us",
                    client.number, oldest.args, limits.request_timeout_us
                ));
            }
        }
        Ok(())
    }
}

fn gauge(name: &str, shown: u64, real: usize) -> Result<(), String> {
    match shown == real as u64 {
        true => Ok(()),
        false => Err(format!("the gauge {name} shows {shown}, it is {real}")),
    }
}
