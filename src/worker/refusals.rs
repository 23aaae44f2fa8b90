//! A node that does not accept the credentials of an identity any more: a password was changed, or the user is
//! gone.
//!
//! Waiting would not help, so requests are told at once, until the node is asked again after a pause: many clients
//! that go on do not make a node look at one wrong password after another. Of the service user this is not
//! believed: its requests wait, as they do for a node that is down.

use std::sync::Arc;

use tracing::warn;

use super::core::Core;
use super::links::Loss;
use super::park::Reason;
use crate::config::IdentityMode;
use crate::routing::NodeKey;

/// The first pause; doubled up to the longest.
const PAUSE_FIRST_US: u64 = 500_000;
/// The longest.
const PAUSE_MAX_US: u64 = 5_000_000;

impl Core {
    /// Notes that a node refused a connection, if that was for the credentials.
    pub(super) fn note_refusal(&mut self, key: NodeKey, loss: Loss, why: &str) {
        let Some(identity) = &self.identity else {
            return;
        };
        if loss != Loss::Refused || !why.contains("-WRONGPASS") {
            return;
        }
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        let user = identity.name();
        if node.refusal.is_none() {
            warn!(node = %node.endpoint, user, why, "a node does not accept the credentials of a user any more");
        }
        let what_to_do = match self.local.identity_mode {
            IdentityMode::PassThrough => "authenticate again",
            IdentityMode::Service => "check upstream_password in [[users]]",
        };
        node.refusal = Some(Arc::from(format!(
            "NOAUTH the node {} does not accept the credentials of the user \"{user}\" any more ({why}); nothing was \
             executed; {what_to_do}",
            node.endpoint
        )));
        let pause = (PAUSE_FIRST_US << node.failures.saturating_sub(1).min(10)).min(PAUSE_MAX_US);
        node.retry_at_us = self.now_us + pause;
    }

    /// Why a request of a connection that was lost cannot be sent.
    pub(super) fn reason_of_loss(&self, node: NodeKey, why: &str) -> Reason {
        let refusal = self.nodes.get(node).and_then(|node| node.refusal.as_ref());
        match refusal {
            Some(text) => Reason::Refused(Arc::clone(text)),
            None => Reason::Unreachable(why.to_owned()),
        }
    }

    /// There are other credentials: nodes that refused may be asked again at once.
    pub(super) fn forget_refusals(&mut self) {
        for (_, node) in self.nodes.iter_mut() {
            if node.refusal.take().is_some() {
                node.failures = 0;
                node.retry_at_us = 0;
            }
        }
    }
}
