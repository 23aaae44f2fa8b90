//! A cluster with a single primary carries out a whole transaction, also what goes to all primaries elsewhere
//! (`DBSIZE`, `KEYS`, `INFO` ...): that is queued as if it had no key (`Place::OnlyPrimary`).
//!
//! 1. The block waits for its client's earlier requests, and the later ones for it, as everything does that goes to
//!    all primaries.
//! 2. Each time it is about to leave, the map has to name one primary. While a redirect has named somebody the map does
//!    not know, it waits: that may be the heir of the only one, or a second one.
//! 3. If there are several by then, it was not executed and is refused. A part of the answer would be wrong.

use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;
use crate::worker::core::Core;
use crate::worker::links::not_resent;
use crate::worker::park::{Parked, Reason};

/// What a client is told whose transaction cannot be carried out by one primary any more.
pub(super) const SEVERAL_PRIMARIES: &str = "EXECABORT Transaction discarded because of: CROSSSLOT Keys in request \
     don't hash to the same slot: a command goes to all primaries, and there are several now";
/// Why such a transaction waits.
const UNKNOWN_PRIMARIES: &str = "the nodes do not agree which primaries there are";

impl Core {
    /// Whether the map names a single primary.
    pub(super) fn has_only_primary(&self) -> bool {
        self.primaries().is_ok_and(|primaries| primaries.len() == 1)
    }

    /// Whether a transaction that needs the only primary cannot begin. What is watched cannot wait.
    pub(super) fn lost_only_primary(&self, is_watching: bool) -> bool {
        match self.primaries() {
            Ok(primaries) => primaries.len() > 1,
            Err(_) => is_watching,
        }
    }

    /// Why a block that needs the only primary does not leave now.
    pub(super) fn unknown_primaries(&self) -> Option<Reason> {
        (!self.has_only_primary()).then_some(Reason::Unsettled(UNKNOWN_PRIMARIES))
    }

    /// Before a block is sent once more that needs the only primary: refuses it, or lets it wait longer, or gives it
    /// back to be sent.
    pub(in crate::worker) fn hold_for_only_primary(&mut self, parked: Parked) -> Option<Parked> {
        if self.lost_only_primary(false) {
            self.refuse_block(&parked.dispatched);
            return None;
        }
        match self.unknown_primaries() {
            Some(reason) => {
                self.park_in_vain(parked, reason);
                None
            }
            None => Some(parked),
        }
    }

    /// A node has sent a block on that needs the only primary.
    pub(in crate::worker) fn redirect_block(
        &mut self,
        dispatched: Dispatched,
        bytes: Vec<u8>,
        is_asking: bool,
    ) {
        match is_asking {
            // Keys are leaving for a second one.
            true => self.refuse_block(&dispatched),
            false => self.park(
                dispatched,
                bytes,
                false,
                Reason::Unsettled(UNKNOWN_PRIMARIES),
            ),
        }
    }

    fn refuse_block(&mut self, dispatched: &Dispatched) {
        self.record_duration(dispatched);
        if dispatched.may_be_done {
            let text = not_resent(dispatched, self.now_us, SEVERAL_PRIMARIES);
            return self.fail(dispatched.ticket, ErrorKind::OutcomeUnknown, &text);
        }
        self.fail(dispatched.ticket, ErrorKind::CrossSlot, SEVERAL_PRIMARIES);
    }
}
