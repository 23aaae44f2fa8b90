//! Valkey refuses to end the subscriptions of a client that has none; Redis confirms that they ended.

use super::Kind;
use crate::cluster::Topology;
use crate::command::Subscription;
use crate::pipeline::ClientKey;
use crate::resp::Args;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::worker::core::Core;
use crate::worker::requests::Taken;

/// The first Valkey that does so.
const SINCE: u32 = 8;

impl Core {
    /// The server's refusal; `None` when it would not refuse.
    pub(in crate::worker) fn refuse_unsubscribe(
        &mut self,
        key: ClientKey,
        subscription: Subscription,
        args: &Args<'_>,
    ) -> Option<Taken> {
        let (kind, is_join) = Kind::of(subscription);
        if is_join
            || self.clients.get(key)?.is_subscriber()
            || !refuses_without_subscriptions(self.nodes.topology()?)
        {
            return None;
        }
        Some(self.refuse_request(key, args, ErrorKind::Refused, |_| {
            let word = kind.part_word();
            format!("NOSUB '{word}' command executed not in subscribed mode").into_bytes()
        }))
    }
}

fn refuses_without_subscriptions(topology: &Topology) -> bool {
    let major = topology.valkey_version.split('.').next();
    let major = major.and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major >= SINCE)
}
