//! Clients in a mode: one that waits for a blocking command, is inside `MULTI`, or may only change its
//! subscriptions. Most clients are in none, and pay one branch for each request.
//!
//! A new mode is a boxed field of [`Client`], a term in [`Client::has_mode`] and a step in
//! `decide_in_mode`, whose order is the order in which one server would look.

use super::clients::Client;
use super::core::Core;
use super::hub::Subscriptions;
use super::requests::Taken;
use crate::client::monitor::Monitoring;
use crate::command::Command;
use crate::pipeline::ClientKey;
use crate::resp::Args;

impl Client {
    /// Whether its next request has to be looked at in the light of earlier ones.
    #[inline]
    pub fn has_mode(&self) -> bool {
        self.blocked.is_some()
            || self.transaction.is_some()
            || self.subscriptions.is_some()
            || self.reads.is_some()
            || self.tracking.is_some()
            || self.monitoring != Monitoring::No
    }

    /// Whether its next request is not even looked at before an earlier one is answered.
    pub fn is_held(&self) -> bool {
        let transaction = self.transaction.as_ref();
        let subscriptions = self.subscriptions.as_deref();
        let tracker = self.tracking.as_deref();
        self.blocked.is_some()
            || self.monitoring == Monitoring::Starting
            || transaction.is_some_and(|transaction| transaction.is_executing())
            || subscriptions.is_some_and(Subscriptions::is_waiting)
            || tracker.is_some_and(|tracker| tracker.is_changing)
    }
}

impl Core {
    /// Decides about a request of a client in a mode; `None` when it is planned as any other. The
    /// command exists, its arity is right, the client has authenticated and is not blocked.
    pub(super) fn decide_in_mode(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        if self.clients.get(key)?.tracking.is_some() {
            return Some(self.decide_tracked(key, command, args));
        }
        self.decide_in_other_mode(key, command, args)
    }

    /// The same, for those modes that a client may be in while it tracks keys.
    pub(super) fn decide_in_other_mode(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        // Before any other mode: what holds its reads and writes apart holds for all of them.
        if self.is_held_back_by_reads(key, command, args) {
            return Some(Taken::NotYet);
        }
        if let Some(taken) = self.decide_subscribed(key, command, args) {
            return Some(taken);
        }
        if let Some(taken) = self.decide_monitor(key, command, args) {
            return Some(taken);
        }
        if self.clients.get(key)?.transaction.is_some() {
            return self.decide_in_transaction(key, command, args);
        }
        None
    }
}
