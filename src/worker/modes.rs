//! Clients in a mode: one that waits for a blocking command, is inside `MULTI`, or may only change its
//! subscriptions. Most clients are in none, and pay one branch for each request.
//!
//! A new mode is a boxed field of [`Client`], a term in [`Client::has_mode`] and a step in
//! `decide_in_mode`, whose order is the order in which one server would look.

use super::clients::Client;
use super::core::Core;
use super::requests::Taken;
use crate::client::monitor::Monitoring;
use crate::command::Command;
use crate::pipeline::ClientKey;
use crate::resp::Args;

impl Client {
    /// Whether its next request has to be looked at in the light of earlier ones.
    #[inline]
    pub fn has_mode(&self) -> bool {
        self.blocked.is_some() || self.monitoring != Monitoring::No
    }

    /// Whether none of its requests is even refused before what it waits for is there.
    pub fn is_waiting(&self) -> bool {
        self.blocked.is_some() || self.monitoring == Monitoring::Starting
    }
}

impl Core {
    /// Decides about a request of a client in a mode; `None` when it is planned as any other. The
    /// command exists, its arity is right, the client has authenticated and is not blocked.
    #[cold]
    pub(super) fn decide_in_mode(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        self.decide_monitor(key, command, args)
    }
}
