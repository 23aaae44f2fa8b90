//! Commands that this Keyway answers itself, and what they need to know.
//!
//! What they say is written in `client`; here the worker gives them what they ask for, and does what
//! is left: closing, and asking the other workers about their clients.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::core::Core;
use super::finish::{Finish, WorkersAnswer};
use super::hub::Audience;
use super::monitors::Handovers;
use super::permission::SharedAcl;
use super::refused_logins::RefusedLogins;
use super::requests::Taken;
use super::scrutiny::SharedPause;
use crate::acl::{CommandList, IdentityNumber};
use crate::client::{Effect, Home, Question, World, answer, describe_client};
use crate::cluster::Endpoint;
use crate::command::{Local, Merge};
use crate::config::{
    ClusterView, CrossSlotBlocking, CrossSlotReads, CrossSlotTransactions, IdentityMode, ReadPolicy,
};
use crate::pipeline::{ClientKey, Gather, Sequence, Ticket};
use crate::resp::{Args, write};
use crate::routing::merge::{InfoFacts, MergePlan};
use crate::telemetry::WorkerTallies;

/// What is particular to one listener.
#[derive(Clone, Debug, Default)]
pub struct ListenerFacts {
    /// What clients that ask for the cluster are told; without it, where they connected to.
    pub advertise: Option<Endpoint>,
    /// Where Keyway listens, if on TCP.
    pub listen: Option<SocketAddr>,
    /// What clients that ask for the cluster see.
    pub cluster_view: ClusterView,
    /// Which nodes serve its clients' reads.
    pub read_policy: ReadPolicy,
    /// Another policy for clients whose name fits a pattern.
    pub read_policy_by_name: Vec<(String, ReadPolicy)>,
    /// So long after a client's write its reads go to the primary.
    pub read_your_writes: Duration,
}

/// What local commands need to know and no worker changes.
#[derive(Debug, Default)]
pub struct LocalFacts {
    /// What is particular to each listener, in the order of their numbers.
    pub listeners: Vec<ListenerFacts>,
    /// Reads over several slots.
    pub cross_slot_reads: CrossSlotReads,
    /// Transactions over several slots.
    pub cross_slot_transactions: CrossSlotTransactions,
    /// Blocking commands over several slots.
    pub cross_slot_blocking: CrossSlotBlocking,
    /// Writes that are sent again although they may have been executed.
    pub resend_lost_writes: CommandList,
    /// Clients that are let in.
    pub clients_max: usize,
    /// 40 hex digits, drawn when the process started.
    pub run_id: String,
    /// Path of the program.
    pub executable: String,
    /// Path of the configuration file; empty without one.
    pub config_file: String,
    /// The tallies of all workers.
    pub workers: Vec<Arc<WorkerTallies>>,
    /// The number of the last client of the process.
    pub last_client: AtomicU64,
    /// The wall clock's time at the process clock's zero, in microseconds.
    pub started_us: u64,
    /// What was denied to clients.
    pub acl: SharedAcl,
    /// The pause of all clients (`CLIENT PAUSE`).
    pub pause: SharedPause,
    /// What workers still have to show their monitors.
    pub handovers: Handovers,
    /// Who is subscribed to what, over all workers.
    pub audience: Audience,
    /// Nodes that refuse Keyway's own user.
    pub refused_logins: RefusedLogins,
    /// Who says who a client is.
    pub identity_mode: IdentityMode,
}

impl LocalFacts {
    /// What is particular to the listener with this number.
    pub fn listener(&self, number: u16) -> &ListenerFacts {
        static NONE: ListenerFacts = ListenerFacts {
            advertise: None,
            listen: None,
            cluster_view: ClusterView::Single,
            read_policy: ReadPolicy::Primary,
            read_policy_by_name: Vec::new(),
            read_your_writes: Duration::ZERO,
        };
        self.listeners.get(usize::from(number)).unwrap_or(&NONE)
    }

    /// A number for the next client (`CLIENT ID`), unique within the process.
    pub fn next_client(&self) -> u64 {
        self.last_client.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Where a core is: each thread has one for each identity and database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seat {
    /// The number of the thread.
    pub worker: usize,
    /// What the core's connections are opened for.
    pub home: Home,
}

/// A question for a worker about its clients.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Who asks.
    pub asker: Seat,
    /// Only clients of this identity are meant.
    pub scope: Option<IdentityNumber>,
    /// Where the answer goes.
    pub ticket: Ticket,
    /// What is asked.
    pub question: Question,
}

impl Asked {
    /// The question for one of the workers, whose answer is that part of the reply.
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

impl Core {
    /// Answers a command here.
    pub fn answer_locally(&mut self, key: ClientKey, local: Local, args: &Args<'_>) -> Taken {
        if self.has_to_wait_for_auth(key, local, args)
            || (local == Local::Reset && self.has_to_wait_for_replies(key))
        {
            return Taken::NotYet;
        }
        let mut reply = self.spare_buffer();
        let effect = self.answer_here(key, local, args, &mut reply);
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        if let Effect::Vouch { name, password } = effect {
            self.recycle(reply);
            return self.begin_vouching(key, &name, password);
        }
        if let Effect::Select(database) = effect {
            self.recycle(reply);
            return self.begin_selecting(key, database);
        }
        let is_muted = client.session.next_is_muted();
        match effect {
            Effect::Ask(question) => {
                let sequence = client.replies.open(is_muted, None);
                self.ask_workers(key, sequence, question);
            }
            effect => {
                self.tallies.replies.increment();
                client
                    .replies
                    .answer(is_muted, |out| out.extend_from_slice(&reply));
                self.take_effect(key, &effect);
            }
        }
        reply.clear();
        self.recycle(reply);
        Taken::Yes
    }

    /// What is left to do once a command was answered here.
    pub(super) fn take_effect(&mut self, key: ClientKey, effect: &Effect) {
        if *effect == Effect::Reset {
            self.end_transaction(key);
            self.monitor_ends(key);
            self.forget_subscriptions(key);
        }
        if let Effect::AuthFailed(name) = effect {
            self.auth_failed(key, name);
        }
        let Some(client) = self.clients.get(key) else {
            return;
        };
        match effect {
            // Requests in flight belong to the old version; the next must not overtake them
            // on a connection of the new one (contract: R13).
            Effect::ProtocolChanged | Effect::Reset => {
                client.map_version = super::clients::UNSETTLED;
            }
            Effect::Close => client.phase = super::clients::Phase::Leaving,
            Effect::None
            | Effect::AuthFailed(_)
            | Effect::Vouch { .. }
            | Effect::Select(_)
            | Effect::Ask(_) => {}
        }
    }

    /// Writes the reply to a command that is answered here, unless other workers have to be asked.
    pub(super) fn answer_here(
        &mut self,
        key: ClientKey,
        local: Local,
        args: &Args<'_>,
        reply: &mut Vec<u8>,
    ) -> Effect {
        if let Some(text) = self.turn_away(key, local, args) {
            write::error(reply, text);
            return Effect::None;
        }
        if local == Local::Ping && self.answer_subscribed_ping(key, args, reply).is_some() {
            return Effect::None;
        }
        if let Some(text) = self.is_theirs_to_say(local) {
            write::error(reply, text);
            return Effect::None;
        }
        let facts = Arc::clone(&self.local);
        let now_us = self.now_us;
        let wording = self.wording();
        let Some(client) = self.clients.get(key) else {
            return Effect::None;
        };
        let listener = facts.listener(client.session.listener);
        let door = self.doors.of_listener(client.session.listener);
        let figures = client.figures(now_us);
        let is_login = matches!(local, Local::Auth | Local::Hello | Local::Reset);
        let may_move = is_login || local == Local::Select;
        let bound = client.bound().filter(|_| may_move);
        let vouched = is_login.then(|| client.take_vouched()).flatten();
        let selected = (local == Local::Select)
            .then(|| client.take_selected())
            .flatten();
        let (advertised_host, advertised_port) =
            advertised(listener, &client.session.local_address);
        let world = World {
            topology: self.nodes.topology().map(Arc::as_ref),
            door: &door,
            wording,
            acl_log: &facts.acl.log,
            learnt: &self.learnt,
            started_us: facts.started_us,
            advertised_host: &advertised_host,
            advertised_port,
            cluster_view: listener.cluster_view,
            bound,
            vouched,
            selected,
            figures,
        };
        let effect = answer(local, args, &mut client.session, &world, reply);
        self.policy_may_change(key, local);
        if may_move {
            self.follow_home(key);
        }
        effect
    }

    /// Asks all workers; the reply has this place.
    pub(super) fn ask_workers(&mut self, key: ClientKey, sequence: Sequence, question: Question) {
        let protocol = self.protocol_of(key);
        let answer = match &question {
            Question::List(_) => WorkersAnswer::List(protocol),
            Question::Kill(_) | Question::Unblock { .. } => WorkersAnswer::Count,
            Question::KillAddress(_) => WorkersAnswer::Killed,
            Question::Pause(_) | Question::Unpause => WorkersAnswer::Done,
            Question::Monitors { .. } => WorkersAnswer::Monitoring,
        };
        self.change_pause(&question);
        let workers = self.local.workers.len();
        self.gather_at(key, sequence, Gather::new(Finish::Workers(answer), workers));
        let ticket = Ticket {
            client: key,
            sequence,
            part: 0,
        };
        self.questions.push(Asked {
            asker: self.seat(),
            scope: self.scope(),
            ticket,
            question,
        });
    }

    /// Whom its clients may ask about: where the nodes know the users, nobody but themselves.
    pub(super) fn scope(&self) -> Option<IdentityNumber> {
        let is_own = self.local.identity_mode == IdentityMode::PassThrough;
        is_own.then(|| self.home().identity)
    }

    /// Answers another worker's question, or this one's own.
    pub fn answer_asked(&mut self, asked: &Asked) -> Vec<u8> {
        let now_us = self.now_us;
        let mut out = Vec::new();
        match &asked.question {
            Question::List(filter) => {
                let clients = self.clients.iter_mut();
                for (_, client) in clients.filter(|(_, client)| {
                    filter.matches(&client.session, client.is_subscriber(), now_us)
                }) {
                    let figures = client.figures(now_us);
                    out.extend_from_slice(&describe_client(&client.session, &figures));
                }
            }
            Question::Unblock { id, with_error } => {
                let mut clients = self.clients.iter_mut();
                let found = clients.find_map(|(key, c)| (c.session.id == *id).then_some(key));
                drop(clients);
                let is_unblocked = found.is_some_and(|key| self.unblock(key, *with_error));
                write::integer(&mut out, i64::from(is_unblocked));
            }
            Question::Pause(_) | Question::Unpause => {
                self.take_over_pause();
                write::integer(&mut out, 1);
            }
            Question::Monitors { count } => {
                self.monitors_elsewhere(asked.asker, *count);
                write::integer(&mut out, 1);
            }
            Question::Kill(filter) | Question::KillAddress(filter) => {
                let keys: Vec<ClientKey> = self
                    .clients
                    .iter_mut()
                    .filter(|(_, client)| {
                        filter.matches(&client.session, client.is_subscriber(), now_us)
                    })
                    .map(|(key, _)| key)
                    .collect();
                write::integer(&mut out, keys.len() as i64);
                for key in keys {
                    if asked.asker == self.seat() && asked.ticket.client == key {
                        self.dismiss(key);
                    } else {
                        self.cut_off(key);
                    }
                }
            }
        }
        out
    }

    /// What `INFO` says of this Keyway; for other ways of merging nobody asks.
    pub fn info_facts(&self, plan: &MergePlan, listener: u16) -> InfoFacts<'_> {
        if plan.merge != Merge::Info {
            return InfoFacts::default();
        }
        let facts = &self.local;
        InfoFacts {
            is_shown: plan.shows_keyway,
            version: env!("CARGO_PKG_VERSION"),
            run_id: &facts.run_id,
            process_id: std::process::id(),
            tcp_port: facts
                .listener(listener)
                .listen
                .map_or(0, |listen| listen.port()),
            uptime_seconds: self.now_us / 1_000_000,
            connected_clients: facts
                .workers
                .iter()
                .map(|tallies| tallies.clients.value())
                .sum(),
            blocked_clients: facts
                .workers
                .iter()
                .map(|tallies| tallies.blocked_clients.value() + tallies.held_back_clients.value())
                .sum(),
            clients_max: facts.clients_max as u64,
            executable: &facts.executable,
            config_file: &facts.config_file,
            topology_version: self.nodes.topology().map_or(0, |topology| topology.version),
            primaries: self.nodes.shards().len(),
            replicas: self.nodes.replicas().len(),
        }
    }
}

/// What clients are told to connect to: what is configured, else where they connected to themselves.
fn advertised(facts: &ListenerFacts, local_address: &str) -> (String, u16) {
    if let Some(endpoint) = &facts.advertise {
        return (endpoint.host.to_string(), endpoint.port);
    }
    match local_address.parse::<SocketAddr>().ok().or(facts.listen) {
        Some(address) => (address.ip().to_string(), address.port()),
        None => ("127.0.0.1".to_owned(), 0),
    }
}
