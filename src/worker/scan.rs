//! `SCAN`: one step to the node where the walk is, and further ones while the client's page is short (contract: M5).
//!
//! The cursor that a step was planned for stands in the request that is kept with it, and what was found before in its
//! page: a step that could not be taken is planned anew from there, and nothing is lost or given twice.

use super::core::Core;
use super::finish::Finish;
use super::park::Reason;
use super::refresh_requests::RefreshReason;
use crate::pipeline::{Gather, Ticket};
use crate::resp::{Args, with_args};
use crate::routing::Target;
use crate::routing::scan_cursor::{self, ScanCursor, ScanError, ScanPage, ScanStep};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// A client's request, one step of which is under way.
#[derive(Debug)]
pub struct Scanning {
    dispatched: Dispatched,
    step: ScanStep,
    /// The client's request with the cursor that the step was planned for.
    request: Vec<u8>,
    page: ScanPage,
}

impl Core {
    /// Plans a request, or anew the step of it that could not be taken.
    pub(super) fn scan(&mut self, dispatched: Dispatched, args: &Args<'_>) {
        let ticket = dispatched.ticket;
        let client = self.clients.get(ticket.client);
        let before = client.and_then(|client| client.replies.take_gather(ticket.sequence));
        let page = match before.map(|gather| gather.plan) {
            Some(Finish::Scan(scanning)) => scanning.page,
            _ => ScanPage::default(),
        };
        self.scan_on(dispatched, args, page);
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
                let finish = Finish::Scan(Box::new(Scanning {
                    dispatched,
                    step,
                    request: args.frame().to_vec(),
                    page,
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

    /// The request whose step is to be planned anew: the cursor in the step's own bytes means nothing to another node.
    pub(super) fn scan_to_plan_anew(&mut self, ticket: Ticket) -> Option<Vec<u8>> {
        let client = self.clients.get(ticket.client)?;
        match client.replies.gathering(ticket.sequence)? {
            Finish::Scan(scanning) => Some(scanning.request.clone()),
            _ => None,
        }
    }
}
