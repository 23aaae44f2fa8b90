//! The servers that are asked, and one refresh with its answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::probe::{Probe, ProbeError, Told};
use crate::cluster::ledger::{Answer, Origin};
use crate::cluster::view::View;
use crate::cluster::{Endpoint, Node};
use crate::worker::RefreshReason;

/// So long a refresh waits for the slow ones after it began, and after its first answer.
const PATIENCE: Duration = Duration::from_millis(150);
const PATIENCE_AFTER_ANSWER: Duration = Duration::from_millis(100);
/// Who has not answered for so long is in trouble, and not only far away.
const HANGS_AFTER: Duration = Duration::from_millis(500);

/// A server that is asked now and then.
#[derive(Default)]
pub(super) struct Peer {
    /// The connection, while nobody uses it.
    pub(super) probe: Option<Probe>,
    pub(super) opened_at: Option<Instant>,
    /// Since when it is being asked.
    pub(super) asked_at: Option<Instant>,
    /// In a row.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// What it last said of its cluster.
    pub(super) view: Option<Arc<View>>,
}

/// One refresh.
pub(super) struct Round {
    pub(super) began: Instant,
    pub(super) reasons: Vec<RefreshReason>,
    /// Who has not answered yet, with the place of its answer.
    pub(super) waiting: HashMap<Endpoint, (usize, Origin)>,
    pub(super) asked: usize,
    pub(super) answers: Vec<(usize, Answer)>,
    pub(super) first_answer: Option<Instant>,
}

/// How one question ended.
pub(super) struct Heard {
    pub(super) from: Endpoint,
    pub(super) began_us: u64,
    pub(super) outcome: Result<(Probe, Told), ProbeError>,
}

impl Peer {
    /// Whether it answered when it was last asked, as the node that the topology says it is: its
    /// address may belong to another by now, even of another cluster. One that is far away may take
    /// its time.
    pub(super) fn is_well(&self, node: &Node, now: Instant) -> bool {
        let viewer = self.view.as_ref().and_then(|view| view.viewer.as_ref());
        let is_itself = viewer.is_none_or(|viewer| *viewer == node.id);
        let hangs = self.asked_at.is_some_and(|at| now - at > HANGS_AFTER);
        self.failures == 0 && is_itself && !hangs
    }
}

impl Round {
    /// Until when it waits for the slow ones; without an answer there is no such time.
    pub(super) fn patient_until(&self) -> Option<Instant> {
        let first_answer = self.first_answer?;
        Some((self.began + PATIENCE).max(first_answer + PATIENCE_AFTER_ANSWER))
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.waiting.is_empty() || self.patient_until().is_some_and(|until| until <= now)
    }

    pub(super) fn answers_in_order(&self) -> Vec<Answer> {
        let mut answers = self.answers.clone();
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}
