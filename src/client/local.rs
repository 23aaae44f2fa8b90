//! The commands that this Keyway answers itself, exactly as one server does (contract: P7 C1-C6).
//!
//! [`answer`] is the one place that decides by [`Local`]; the modules below it write the replies.

mod acl;
mod client;
mod cluster;
mod connection;
mod greeting;
mod help;
mod tracking;
mod view;

use std::sync::{Arc, Mutex};

use crate::acl::{AclLog, Door, User, Wording};
use crate::client::pause::Pause;
use crate::client::{ClientFilter, Figures, Home, Session};
use crate::cluster::{Database, Topology};
use crate::command::{LearntCommands, Local};
use crate::config::{ClusterView, Secret};
use crate::resp::{Args, write};

/// What an answer may depend on besides the client's own session. All of it is the worker's.
pub struct World<'a> {
    /// The newest snapshot; `None` before the first.
    pub topology: Option<&'a Topology>,
    /// The door of the client's listener.
    pub door: &'a Door,
    /// Whose words are used for denials.
    pub wording: Wording,
    /// What was denied.
    pub acl_log: &'a Mutex<AclLog>,
    /// Commands learnt from the servers.
    pub learnt: &'a LearntCommands,
    /// The wall clock's time at the process clock's zero, in microseconds.
    pub started_us: u64,
    /// The host that clients which ask for the cluster are told.
    pub advertised_host: &'a str,
    /// The port that they are told.
    pub advertised_port: u16,
    /// What they see.
    pub cluster_view: ClusterView,
    /// What keeps the client from going over to other connections.
    pub bound: Option<Bound>,
    /// What the nodes said about the credentials in the request, where they know the users; `None` before they
    /// were asked.
    pub vouched: Option<Vouched>,
    /// What a node said when it was asked for a database; `None` before one was asked.
    pub selected: Option<Selected>,
    /// What the worker knows of the client that asks.
    pub figures: Figures,
}

/// What a client has to end before its commands can travel over other connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// It is between `MULTI` and `EXEC`.
    Transaction,
    /// It watches keys.
    Watch,
    /// It is subscribed.
    Subscriptions,
    /// It tracks keys.
    Tracking,
    /// It monitors.
    Monitor,
}

impl Bound {
    /// What the client is doing, and how it ends that.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Bound::Transaction => ("is inside MULTI", "send EXEC or DISCARD"),
            Bound::Watch => ("watches keys", "send UNWATCH"),
            Bound::Subscriptions => ("is subscribed", "end its subscriptions"),
            Bound::Tracking => ("tracks keys", "send CLIENT TRACKING off"),
            Bound::Monitor => ("is in MONITOR", "send RESET"),
        }
    }

    /// Why it cannot become another user, and what to do.
    fn text(self) -> String {
        let (what, how) = self.words();
        format!(
            "ERR this client {what} and cannot become a user whose commands go to the nodes as another user; {how} \
             first"
        )
    }

    /// Why it cannot select another database, and what to do.
    pub fn text_for_select(self) -> String {
        let (what, how) = self.words();
        format!(
            "ERR this client {what} and cannot select another database through Keyway; {how} first"
        )
    }
}

/// What was found out about a database that a client wants to select.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Which, and for whom.
    pub home: Home,
    /// Whether the client may go there.
    pub outcome: Result<(), NotSelected>,
}

/// Why a client does not get the database that it wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotSelected {
    /// A node says so, in these words.
    ByNode(String),
    /// The server would have it, or may: the text of the error. Programs that do not look at the reply would go on in
    /// the database where they were, so the client is closed.
    ByKeyway(String),
}

/// What the nodes said about a client's credentials.
#[derive(Clone, Debug)]
pub enum Vouched {
    /// They are right, and this is who it is.
    Right(Arc<User>),
    /// They are wrong, in the node's words.
    Wrong(String),
    /// It cannot be let in now, or nobody could say; the whole text of the error.
    Unknown(String),
}

/// What is left to do for the worker once the reply was written.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Close after all replies up to this one; later bytes are ignored (`QUIT`).
    Close,
    /// The client is as new: what it held elsewhere has to go (`RESET`).
    Reset,
    /// Replies from now on have the other version (`HELLO`).
    ProtocolChanged,
    /// Credentials were wrong; the client was told so. Who it said to be.
    AuthFailed(Box<[u8]>),
    /// No reply was written: the nodes have to be asked about these credentials, and the request answered then.
    Vouch {
        /// Who the client says to be.
        name: Box<[u8]>,
        /// Its password.
        password: Secret,
    },
    /// No reply was written: a node has to be asked for this database, and the request answered then.
    Select(Database),
    /// No reply was written: all workers have to be asked about their clients.
    Ask(Question),
}

/// A question about the clients of all workers (contract: C2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The lines of those who match, one after another, are the text of one bulk string (verbatim
    /// in RESP3).
    List(ClientFilter),
    /// Those who match are closed, after their earlier replies if it is the one who asks; the reply
    /// is how many there were.
    Kill(ClientFilter),
    /// The client with this number, if it is blocked by a command, is let go, as if its time had passed
    /// or with an error; the reply is how many there were.
    Unblock {
        /// Its number (`CLIENT ID`).
        id: u64,
        /// Whether it gets an error.
        with_error: bool,
    },
    /// As `Kill`; the reply is `OK`, or [`NO_SUCH_CLIENT`] if there was none.
    KillAddress(ClientFilter),
    /// Requests wait from now on; the reply is `OK` when all workers know.
    Pause(Pause),
    /// They go on.
    Unpause,
    /// Who asks has so many clients in `MONITOR`; the reply is `OK` when all workers know.
    Monitors {
        /// How many.
        count: usize,
    },
}

/// The reply when `CLIENT KILL addr:port` found nobody.
pub const NO_SUCH_CLIENT: &str = "ERR No such client";

/// Answers a request of the right arity: appends the reply to `out`, unless the effect is
/// [`Effect::Ask`]. Whether the client wants to hear it is [`Session::next_is_muted`], asked after.
pub fn answer(
    local: Local,
    args: &Args<'_>,
    session: &mut Session,
    world: &World<'_>,
    out: &mut Vec<u8>,
) -> Effect {
    let written = match local {
        Local::Ping => connection::ping(args, out),
        Local::Echo => connection::echo(args, out),
        Local::Hello => connection::hello(args, session, world, out),
        Local::Auth => connection::auth(args, session, world, out),
        Local::Quit => {
            write::simple(out, "OK");
            Ok(Effect::Close)
        }
        Local::Reset => {
            session.reset(world.door);
            write::simple(out, "RESET");
            Ok(Effect::Reset)
        }
        Local::Select => connection::select(args, session, world, out),
        Local::Asking => ok(out),
        Local::ReadOnly => {
            session.is_read_only = true;
            session.is_read_write = false;
            ok(out)
        }
        Local::ReadWrite => {
            session.is_read_only = false;
            session.is_read_write = true;
            ok(out)
        }
        Local::ClientId => client::id(session, out),
        Local::ClientInfo => client::describe(session, world, out),
        Local::ClientList => client::list(args),
        Local::ClientGetName => client::name(session, out),
        Local::ClientSetName => client::set_name(args, session, out),
        Local::ClientSetInfo => client::set_library(args, session, out),
        Local::ClientKill => client::kill(args, session, world),
        Local::ClientReply => client::reply(args, session, out),
        Local::ClientNoEvict => client::switch(args, &mut session.is_no_evict, out),
        Local::ClientNoTouch => client::switch(args, &mut session.is_no_touch, out),
        Local::ClientTrackingInfo => tracking::describe(session, out),
        Local::ClientGetRedir => tracking::redirection(session, out),
        Local::ClientCapa => ok(out),
        Local::ClientPause => client::pause(args, world.figures.now_us),
        Local::ClientUnpause => Ok(Effect::Ask(Question::Unpause)),
        Local::ClientUnblock => client::unblock(args),
        Local::ClientCaching => tracking::caching(args, session, out),
        // The worker plans it: the servers have to know.
        Local::ClientTracking => syntax_error(),
        Local::ClientHelp => help::write("CLIENT", help::CLIENT, out),
        Local::ClusterSlots => cluster::slots(session, world, out),
        Local::ClusterShards => cluster::shards(session, world, out),
        Local::ClusterNodes => cluster::nodes(session, world, out),
        Local::ClusterInfo => cluster::state(session, world, out),
        Local::ClusterMyId => cluster::my_id(world, out),
        Local::ClusterMyShardId => cluster::my_shard_id(world, out),
        Local::ClusterKeySlot => cluster::key_slot(args, out),
        Local::ClusterReplicas => cluster::replicas(args, world, out),
        Local::ClusterLinks => {
            // Clients of a bus that Keyway has not.
            write::array(out, 0);
            Ok(Effect::None)
        }
        Local::ClusterHelp => help::write("CLUSTER", help::CLUSTER, out),
        Local::AclWhoAmI => {
            write::bulk(out, session.user().name().as_bytes());
            Ok(Effect::None)
        }
        Local::AclList => acl::list(world, out),
        Local::AclUsers => acl::names(world, out),
        Local::AclGetUser => acl::details(args, session, world, out),
        Local::AclDryRun => acl::dry_run(args, world, out),
        Local::AclLog => acl::log(args, session, world, out),
        Local::AclConfigured => acl::configured(),
        Local::AclHelp => help::write("ACL", help::ACL, out),
        Local::Role => connection::role(out),
    };
    written.unwrap_or_else(|text| {
        write::error(out, &text);
        Effect::None
    })
}

/// An effect, or the text of the error that the client gets.
type Answered = Result<Effect, String>;

fn ok(out: &mut Vec<u8>) -> Answered {
    write::simple(out, "OK");
    Ok(Effect::None)
}

fn refuse(text: &str) -> Answered {
    Err(text.to_owned())
}

fn syntax_error() -> Answered {
    refuse("ERR syntax error")
}

/// Bytes of the client in an error text, which ends at a NUL as the servers' C strings do.
fn shown(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
pub(super) mod tests;
