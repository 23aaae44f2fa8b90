//! What the worker knows of a client that its session does not: for `CLIENT LIST` and `CLIENT INFO`.

use super::clients::{Client, Phase};
use crate::client::Figures;

impl Client {
    /// The figures at this time.
    pub(super) fn figures(&self, now_us: u64) -> Figures {
        Figures {
            now_us,
            input_bytes: self.unprocessed(),
            output_bytes: self.replies.buffered_bytes(),
            requests_in_flight: self.replies.pending(),
            subscriptions: self.subscription_counts(),
            queued: self
                .transaction
                .as_ref()
                .map(|transaction| transaction.queued()),
            is_monitor: self.is_monitor(),
            is_blocked: self.blocked.is_some() || self.is_held_back,
            is_closing: matches!(self.phase, Phase::Leaving),
            ..Figures::default()
        }
    }
}
