//! `SCAN`: one step to the node where the walk is, and further ones while the client's page is short (contract: M5).
//!
//! The client's later requests wait until its page is there: they may be about keys of the shards that are still to be
//! asked (contract: R13). The first step is planned anew when it could not be taken. Behind a page that has begun nothing
//! is waited for: it ends before the step that is not answered, and the client's next call waits (contract: F1).

use super::core::Core;
use super::finish::Finish;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use crate::pipeline::{Gather, Ticket};
use crate::resp::{Args, with_args};
use crate::routing::Target;
use crate::routing::scan_cursor::{self, ScanCursor, ScanError, ScanPage, ScanStep};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::{Dispatched, Purpose};

/// A node that does not answer a further step for so long ends the page.
const STEP_WAITS_US: u64 = 1_000_000;

/// A client's request, one step of which is under way.
#[derive(Debug)]
pub struct Scanning {
    dispatched: Dispatched,
    step: ScanStep,
    /// The client's request with the cursor that the step was planned for.
    request: Vec<u8>,
    page: ScanPage,
    /// When the step was planned.
    since_us: u64,
}

/// A further step that is under way, to be looked after.
#[derive(Clone, Copy, Debug)]
pub struct FurtherStep {
    ticket: Ticket,
    since_us: u64,
}

impl Core {
    /// Plans a request, or anew the first step of it that could not be taken.
    pub(super) fn scan(&mut self, dispatched: Dispatched, args: &Args<'_>) {
        let ticket = dispatched.ticket;
        if let Some(client) = self.clients.get(ticket.client) {
            client.replies.take_gather(ticket.sequence);
        }
        self.scan_on(dispatched, args, ScanPage::default());
    }

    fn scan_on(&mut self, dispatched: Dispatched, args: &Args<'_>, page: ScanPage) {
        let ticket = dispatched.ticket;
        let Some(topology) = self.nodes.topology() else {
            return;
        };
        match scan_cursor::plan(self.scan_order.of(topology), args) {
            Ok(step) => {
                // The cursor means something only to the node that the snapshot names.
                let target = match self.nodes.snapshot_owner(step.slot()) {
                    Some(node) => Target::Node(node),
                    None => Target::Slot(step.slot()),
                };
                let bytes = step.request(args, &page);
                let since_us = self.now_us;
                if page.has_begun() {
                    self.further_steps.push(FurtherStep { ticket, since_us });
                }
                let finish = Finish::Scan(Box::new(Scanning {
                    dispatched,
                    step,
                    request: args.frame().to_vec(),
                    page,
                    since_us,
                }));
                self.gather_at(ticket.client, ticket.sequence, Gather::new(finish, 1));
                self.send_or_park(
                    Dispatched {
                        target,
                        ..dispatched
                    },
                    &bytes,
                );
            }
            Err(ScanError::InvalidCursor) => {
                self.fail(ticket, ErrorKind::Upstream, "ERR invalid cursor");
            }
            Err(ScanError::NoOwner) => {
                self.request_refresh(RefreshReason::Unowned);
                let cursor = args.get(1).and_then(ScanCursor::parse);
                if let Some(cursor) = cursor.filter(|_| page.has_begun()) {
                    let mut out = Vec::new();
                    page.write(cursor, &mut out);
                    return self.reply_or_go_on(ticket, &out);
                }
                let reason = Reason::Unsettled("no node owns the slots left to scan");
                self.park(dispatched, args.frame().to_vec(), true, reason);
            }
        }
    }

    /// A step has its answer: the client gets its page, or the next step follows.
    pub(super) fn scan_answered(&mut self, scanning: Scanning, reply: &[u8]) {
        let Scanning {
            dispatched,
            step,
            request,
            mut page,
            ..
        } = scanning;
        let Ticket {
            client, sequence, ..
        } = dispatched.ticket;
        let ticket = Ticket {
            client,
            sequence,
            part: 0,
        };
        let Some(topology) = self.nodes.topology() else {
            return self.reply_or_go_on(ticket, reply);
        };
        let wanted = match self.has_expired(&dispatched) {
            true => None,
            false => with_args(&request, scan_cursor::count),
        };
        let mut out = Vec::new();
        let order = self.scan_order.of(topology);
        let next = page.take(&step, order, reply, wanted.unwrap_or_default(), &mut out);
        let Some(cursor) = next else {
            return self.reply_or_go_on(ticket, &out);
        };
        // A node that takes nothing more ends the page: its client would wait for it anyway (contract: F4).
        if !self.has_room_at(client, cursor.slot()) {
            page.write(cursor, &mut out);
            return self.reply_or_go_on(ticket, &out);
        }
        let request = with_args(&request, |args| scan_cursor::with_cursor(args, cursor));
        with_args(&request.unwrap_or_default(), |args| {
            self.scan_on(dispatched, args, page);
        });
    }

    /// A step is not answered now. Ends the page before it; returns false where nothing was found out yet.
    pub(super) fn end_page_early(&mut self, ticket: Ticket) -> bool {
        let Some(client) = self.clients.get(ticket.client) else {
            return false;
        };
        match client.replies.gathering(ticket.sequence) {
            Some(Finish::Scan(scanning)) if scanning.page.has_begun() => {}
            _ => return false,
        }
        let gather = client.replies.take_gather(ticket.sequence);
        if let Some(Finish::Scan(scanning)) = gather.map(|gather| gather.plan) {
            let mut out = Vec::new();
            scanning.page.write(scanning.step.cursor(), &mut out);
            self.reply_or_go_on(ticket, &out);
        }
        true
    }

    /// Ends the pages of which a node keeps the next step: it hangs, or cannot be reached without any sign.
    pub(super) fn look_after_further_steps(&mut self) {
        let waits_us = STEP_WAITS_US.min(self.limits.request_timeout_us / 2);
        for step in std::mem::take(&mut self.further_steps) {
            if !self.is_under_way(step) {
                continue;
            }
            if self.now_us.saturating_sub(step.since_us) < waits_us {
                self.further_steps.push(step);
            } else if self.discard_reply(step.ticket) {
                self.request_refresh(RefreshReason::Timeout);
                self.end_page_early(step.ticket);
            }
        }
    }

    fn is_under_way(&mut self, step: FurtherStep) -> bool {
        let client = self.clients.get(step.ticket.client);
        let plan = client.and_then(|client| client.replies.gathering(step.ticket.sequence));
        matches!(plan, Some(Finish::Scan(scanning)) if scanning.since_us == step.since_us)
    }

    /// The place of the request may have another part by the time that this one's reply comes. Returns false where the
    /// reply has begun to come.
    fn discard_reply(&mut self, ticket: Ticket) -> bool {
        let mut in_flight = self
            .connections
            .iter_mut()
            .flat_map(|(_, connection)| &mut connection.in_flight);
        let entry = in_flight.find_map(|entry| match entry.purpose {
            Purpose::Reply(dispatched) if dispatched.ticket == ticket => Some((entry, dispatched)),
            _ => None,
        });
        let Some((entry, dispatched)) = entry else {
            return false;
        };
        entry.purpose = Purpose::Discard;
        self.tallies.in_flight.subtract(1);
        self.record_duration(&dispatched);
        true
    }

    /// The request whose first step is to be planned anew: the cursor in the step's own bytes means nothing to another node.
    pub(super) fn scan_to_plan_anew(&mut self, ticket: Ticket) -> Option<Vec<u8>> {
        let client = self.clients.get(ticket.client)?;
        match client.replies.gathering(ticket.sequence)? {
            Finish::Scan(scanning) => Some(scanning.request.clone()),
            _ => None,
        }
    }
}
