//! Clients that hold a connection and send next to nothing: those that never authenticate, and those whose
//! request never becomes whole. (One that is silent between requests is a matter of `timeouts.client_idle`.)

use super::clients::{Client, Phase};
use super::core::Core;
use crate::command::{Handling, Local};
use crate::pipeline::ClientKey;
use crate::telemetry::worker_tallies::SlowClient;

/// How often they are looked for.
const LOOK_EVERY_US: u64 = 1_000_000;
/// A request that is this much slower than this many bytes a second is not worth waiting for.
const BYTES_A_SECOND: u64 = 64 * 1024;

impl Core {
    /// Closes them.
    pub(super) fn close_slow_clients(&mut self) {
        let now_us = self.now_us;
        if now_us.saturating_sub(self.looked_for_slow_us) < LOOK_EVERY_US {
            return;
        }
        self.looked_for_slow_us = now_us;
        let (authentication_us, request_us, soft) = (
            self.limits.authentication_us,
            self.limits.request_arrival_us,
            self.limits.client_output_soft_bytes,
        );
        let slow: Vec<(ClientKey, SlowClient)> = self
            .clients
            .iter_mut()
            .filter_map(|(key, client)| {
                let is_stranger = authentication_us > 0
                    && unauthenticated_for(client, now_us) > authentication_us;
                let is_slow = request_us > 0
                    && client.replies.buffered_bytes() < soft
                    && is_arriving_slowly(client, now_us, request_us);
                match (is_stranger, is_slow) {
                    (true, _) => Some((key, SlowClient::Authentication)),
                    (false, true) => Some((key, SlowClient::Request)),
                    (false, false) => None,
                }
            })
            .collect();
        for (key, why) in slow {
            self.tallies.slow_clients.count(why as usize);
            self.cut_off(key);
        }
    }
}

/// How long it has been a stranger; after `RESET` that begins anew.
fn unauthenticated_for(client: &Client, now_us: u64) -> u64 {
    let session = &client.session;
    if session.is_authenticated() || client.phase == Phase::Gone {
        return 0;
    }
    let last = session.last_command.map(|command| command.handling);
    let since_us = match last {
        Some(Handling::Local(Local::Reset)) => session.last_command_us,
        _ => session.created_us,
    };
    now_us.saturating_sub(since_us)
}

/// Whether the request that is being received takes too long. What waits for Keyway is not the client's fault.
fn is_arriving_slowly(client: &Client, now_us: u64, limit_us: u64) -> bool {
    let is_waited_for = client.is_stalled
        || client.is_held_back
        || client.blocked.is_some()
        || client.phase != Phase::Open;
    if let Some(upload) = &client.upload {
        return !is_waited_for && upload.is_silent(now_us, limit_us);
    }
    let bytes = client.unprocessed() as u64;
    if is_waited_for || bytes == 0 {
        return false;
    }
    let since_us = client.input_since_us.max(client.session.last_command_us);
    let allowed_us = limit_us.saturating_add(bytes * 1_000_000 / BYTES_A_SECOND);
    now_us.saturating_sub(since_us) > allowed_us
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::acl::{Door, User, Users};
    use crate::client::Session;
    use crate::worker::clients::Clients;

    fn user() -> Arc<User> {
        Arc::new(User::unrestricted("default", Some(b"p")))
    }

    fn with_client(needs_password: bool, check: impl FnOnce(&mut Client)) {
        let mut clients = Clients::default();
        let door = match needs_password {
            false => Door::default(),
            true => Door {
                users: Users::new(Vec::new(), Some(user())),
                ..Door::default()
            },
        };
        let session = Session::new(1, "127.0.0.1:1", "127.0.0.1:2", &door, 1_000);
        let key = clients.insert(session);
        check(clients.get(key).expect("just inserted"));
    }

    #[test]
    fn a_stranger_is_one_until_it_authenticates() {
        with_client(true, |client| {
            assert_eq!(unauthenticated_for(client, 5_000), 4_000);
            client.session.authenticate(user());
            assert_eq!(unauthenticated_for(client, 5_000), 0);
        });
        with_client(false, |client| {
            assert_eq!(unauthenticated_for(client, 5_000), 0);
        });
    }

    #[test]
    fn a_request_may_take_its_time_by_its_size() {
        let limit_us = 10_000_000;
        for (bytes, after_s, is_slow) in [
            (0, 1_000, false),
            (1, 9, false),
            (1, 11, true),
            (60, 70, true),
            (10 * 64 * 1024, 19, false),
            (10 * 64 * 1024, 21, true),
        ] {
            with_client(false, |client| {
                client.input = vec![b'*'; bytes];
                client.input_since_us = 1_000;
                let now_us = 1_000 + after_s * 1_000_000;
                assert_eq!(
                    is_arriving_slowly(client, now_us, limit_us),
                    is_slow,
                    "{bytes}"
                );
                // A request that was whole since then starts the clock anew.
                client.session.last_command_us = now_us;
                assert!(!is_arriving_slowly(client, now_us, limit_us));
                client.session.last_command_us = 0;
                client.is_stalled = true;
                assert!(!is_arriving_slowly(client, now_us, limit_us));
            });
        }
    }
}
