//! Commands that this Keyway answers itself.

use super::clients::Phase;
use super::core::Core;
use super::finish::WorkersAnswer;
use super::nodes::ConnectionKey;
use super::requests::Taken;
use crate::client::{self, Session};
use crate::cluster::Endpoint;
use crate::command::{Command, Local};
use crate::net::Stream;
use crate::pipeline::{ClientKey, Ticket};
use crate::resp::{Args, Protocol};
use crate::routing::merge::InfoFacts;

/// What local commands need to know and no worker changes.
#[derive(Clone, Debug, Default)]
pub struct LocalFacts {}

/// A question for every worker.
#[derive(Clone, Debug)]
pub struct Asked {
    /// x
    pub asker: usize,
    /// x
    pub ticket: Ticket,
}

impl Asked {
    pub fn for_part(&self, part: u32) -> Asked {
        Asked {
            ticket: Ticket {
                part,
                ..self.ticket
            },
            ..self.clone()
        }
    }
}
impl WorkersAnswer {
    pub fn merge<'a>(self, _r: impl Iterator<Item = &'a [u8]>, _out: &mut Vec<u8>) {}
}

impl Core {
    pub fn has_errands(&self) -> bool {
        !self.to_open.is_empty() || !self.questions.is_empty()
    }
    pub fn endpoint_of(&self, key: ConnectionKey) -> Option<(Endpoint, Protocol)> {
        let c = self.connections.get(key.0 as usize)?;
        Some((self.nodes.get(c.node)?.endpoint.clone(), c.protocol))
    }
    pub fn client_joins(&mut self, id: u64, _s: &Stream) -> ClientKey {
        self.tallies.clients.add(1);
        self.clients.insert(Session {
            id,
            ..Session::default()
        })
    }
    pub fn client_left(&mut self, key: ClientKey) {
        self.clients.remove(key);
        self.tallies.clients.subtract(1);
    }
    pub fn answer_asked(&mut self, _a: &Asked) -> Vec<u8> {
        Vec::new()
    }
    pub fn drain(&mut self) {}
    pub fn has_drained(&self) -> bool {
        false
    }
    pub fn info_facts(&self) -> InfoFacts<'static> {
        InfoFacts::default()
    }
    pub fn tick(&mut self) {
        self.resume(false);
        self.expire_in_flight();
    }
    /// Answers a command.
    pub fn answer_locally(
        &mut self,
        key: ClientKey,
        local: Local,
        _command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let mut leaves = false;
        let muted = client.session.next_is_muted();
        let session = &mut client.session;
        client.replies.answer(muted, |out| {
            leaves = client::answer(local, args, session, out)
        });
        if leaves {
            client.phase = Phase::Leaving;
        }
        Taken::Yes
    }
}
