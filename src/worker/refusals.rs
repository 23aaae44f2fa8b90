//! A node that does not accept the credentials of an identity any more, because a password was changed or the user is
//! gone; or that does not let Keyway into a database any more, because it was started anew with fewer of them.
//!
//! Waiting would not help, so requests are told at once, until the node is asked again after a pause: many clients
//! that go on do not make a node look at one wrong password after another. Of the service user this is not
//! believed: its requests wait, as they do for a node that is down. That it is refused is told in the log, once for each
//! node and once more when it is over.

use std::sync::Arc;

use tracing::{info, warn};

use super::core::Core;
use super::links::Loss;
use super::nodes::WorkerNode;
use super::park::Reason;
use super::refused_logins::is_of_the_login;
use crate::config::IdentityMode;
use crate::routing::NodeKey;
use crate::upstream::Role;

/// The first pause; doubled up to the longest.
const PAUSE_FIRST_US: u64 = 500_000;
/// The longest.
const PAUSE_MAX_US: u64 = 5_000_000;

fn rest(node: &mut WorkerNode, now_us: u64) {
    let pause = (PAUSE_FIRST_US << node.failures.saturating_sub(1).min(10)).min(PAUSE_MAX_US);
    node.retry_at_us = now_us + pause;
}

impl Core {
    /// Notes that a node refused a connection of this role, if it did.
    pub(super) fn note_refusal(&mut self, key: NodeKey, role: Role, loss: Loss, why: &str) {
        match loss {
            Loss::Refused => {}
            Loss::NoDatabase => return self.note_no_database(key, why),
            Loss::NotOpened | Loss::Lost => return,
        }
        let Some(identity) = &self.identity else {
            return self.note_refused_login(key, role, why);
        };
        if !why.contains("-WRONGPASS") {
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
        rest(node, self.now_us);
    }

    /// A node has not got this core's database, or does not let this core's user into it.
    fn note_no_database(&mut self, key: NodeKey, why: &str) {
        let database = self.database;
        let Some(node) = self.nodes.get_mut(key) else {
            return;
        };
        if node.refusal.is_none() {
            warn!(node = %node.endpoint, %database, why, "a node does not let Keyway into a database");
        }
        let text = why.split_once(": -").map_or(why, |(_, text)| text);
        node.refusal = Some(Arc::from(format!(
            "{text} (the node {} does not let Keyway into database {database}; nothing was executed)",
            node.endpoint
        )));
        rest(node, self.now_us);
    }

    /// A node refused Keyway's own user.
    fn note_refused_login(&self, key: NodeKey, role: Role, why: &str) {
        // Others ask for more than to be let in, which may be refused to one that is.
        let is_login = matches!(role, Role::Shared | Role::Lease(_) | Role::Bulk | Role::Hub);
        if !is_login || !is_of_the_login(why) {
            return;
        }
        if let Some(node) = self.nodes.get(key)
            && self.local.refused_logins.refused(&node.endpoint)
        {
            warn!(
                node = %node.endpoint,
                why,
                "a node refuses Keyway's own login; open connections go on, requests that need a new one wait: \
                 check upstream.username and upstream.password"
            );
        }
    }

    /// A connection to a node was opened.
    pub(super) fn note_login(&self, key: NodeKey) {
        if self.identity.is_none()
            && let Some(node) = self.nodes.get(key)
            && self.local.refused_logins.accepted(&node.endpoint)
        {
            info!(node = %node.endpoint, "the node accepts Keyway's own login again");
        }
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
