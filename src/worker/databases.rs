//! Clients that select a database (contract: C5). What the database is of, is the core: all its connections say
//! `SELECT` before anything else, for as long as it lives, so no request can meet a connection of another database.
//!
//! 1. `SELECT` is taken on once all that the client asked for before is answered. Of the first database it is answered
//!    at once; of another it stays where it is, and nothing behind it is looked at.
//! 2. The client's task looks for the core of that database. If there is none yet, a node is asked: the only one
//!    who knows which databases it has, and whether this user may select one. A node that does not answer is no
//!    answer. That there is none is remembered for a moment (`absent.rs`).
//! 3. The request is looked at again, and answered with `OK`, after which the client is moved (see
//!    [`super::moving`]), or with the node's words.

use std::rc::Rc;

use tokio::time::Instant;

use super::asking;
use super::clients::{Client, Errand};
use super::core::Core;
use super::household::Household;
use super::requests::Taken;
use super::thread::Worker;
use crate::client::{Home, NotSelected, Selected};
use crate::cluster::{Database, Endpoint};
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::upstream::handshake::{self, OpenError};

/// A database that a client wants to select.
#[derive(Debug)]
pub(super) enum Selecting {
    /// Nobody has looked for it yet.
    Wanted(Home),
    /// What was found out.
    Told(Selected),
}

impl Client {
    /// What was found out about the database of the request that is being answered.
    pub(super) fn take_selected(&mut self) -> Option<Selected> {
        match self.selecting.take().map(|selecting| *selecting) {
            Some(Selecting::Told(selected)) => Some(selected),
            Some(Selecting::Wanted(_)) | None => None,
        }
    }

    /// Whether the database that it wants can be looked for now.
    pub(super) fn is_ready_to_select(&self) -> bool {
        self.errand == Errand::Select && self.is_settled() && self.replies.output().is_empty()
    }
}

impl Core {
    /// A client wants a database of which it is not known here whether it is there.
    pub(super) fn begin_selecting(&mut self, key: ClientKey, database: Database) -> Taken {
        if let Some(client) = self.clients.get(key) {
            let home = client.session.home_in(database);
            client.selecting = Some(Box::new(Selecting::Wanted(home)));
            client.goes_on(Errand::Select);
        }
        Taken::NotYet
    }

    fn home_wanted(&mut self, key: ClientKey) -> Option<Home> {
        match self.clients.get(key)?.selecting.as_deref()? {
            Selecting::Wanted(home) => Some(*home),
            Selecting::Told(_) => None,
        }
    }

    fn is_bound(&mut self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        client.is_some_and(|client| client.bound().is_some())
    }

    /// It was found out whether a client may go where it wants to: the request can be answered.
    pub fn selecting_ends(&mut self, key: ClientKey, outcome: Result<(), NotSelected>) {
        let home = self.home_wanted(key);
        if let (Some(home), Some(client)) = (home, self.clients.get(key)) {
            let selected = Selected { home, outcome };
            client.selecting = Some(Box::new(Selecting::Told(selected)));
        }
        self.errand_ends(key);
    }

    /// What a client's task had to do is done, or not wanted any more: its next request can be looked at.
    pub(super) fn errand_ends(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key) {
            client.errand = Errand::None;
            client.is_stalled = true;
            client.wake();
        }
        self.follow_home(key);
    }

    /// Whether some node refuses this core's connections, so that a client that comes now has to hear what nodes say.
    fn is_refused_somewhere(&mut self) -> bool {
        let mut nodes = self.nodes.iter_mut();
        nodes.any(|(_, node)| node.refusal.is_some())
    }
}

/// Finds out whether a client may go where it wants to.
pub(super) async fn look_for(worker: &Rc<Worker>, key: ClientKey) {
    let Some(home) = worker.turn(|core| core.home_wanted(key)) else {
        // The request was answered otherwise meanwhile: rules have changed.
        return worker.turn(|core| core.errand_ends(key));
    };
    let outcome = match is_there(&worker.house, home) {
        true => Ok(()),
        false => match ask_in_time(worker, key, home.database).await {
            // Who cannot go there needs no room there.
            Ok(()) if worker.turn(|core| core.is_bound(key)) => Ok(()),
            Ok(()) => take_room(worker, home),
            refused => refused,
        },
    };
    if outcome.is_ok()
        && let Some(own) = worker.house.find(home)
    {
        own.turn(Core::forget_refusals);
    }
    worker.turn(|core| core.selecting_ends(key, outcome));
}

/// Whether there is a core whose connections nodes have let into the database.
fn is_there(house: &Household, home: Home) -> bool {
    let found = house.find(home);
    found.is_some_and(|worker| !worker.turn(|core| core.is_refused_somewhere()))
}

/// Makes the core, so that it counts before anybody else asks for one. Should it be taken for deserted before the client
/// gets there, it is made anew.
fn take_room(worker: &Rc<Worker>, home: Home) -> Result<(), NotSelected> {
    let house = &worker.house;
    if house.find(home).is_none() && !house.has_room_for_database() {
        house.tallies.databases_refused.increment();
        return Err(NotSelected::ByKeyway(format!(
            "ERR the server has this database, but as many are in use through this Keyway as may be \
             ({}, limits.databases); the connection is closed",
            house.limits.databases
        )));
    }
    let identity = worker.turn(|core| core.identity.clone());
    house.member(identity.as_ref(), home.database);
    Ok(())
}

/// What a node says, or that none says anything.
async fn ask_in_time(
    worker: &Rc<Worker>,
    key: ClientKey,
    database: Database,
) -> Result<(), NotSelected> {
    let asked = asking::in_time(worker, "others are asking", async || {
        ask_in_turn(worker, key, database).await
    });
    asked.await.unwrap_or_else(|why| Err(unknown(&why)))
}

fn unknown(why: &str) -> NotSelected {
    NotSelected::ByKeyway(format!(
        "ERR no node says whether it has this database ({why}); the connection is closed; try again when the nodes \
         have recovered"
    ))
}

/// Only so many ask at once.
async fn ask_in_turn(
    worker: &Rc<Worker>,
    key: ClientKey,
    database: Database,
) -> Result<Result<(), NotSelected>, String> {
    // Nobody closes it.
    let _turn = worker.house.selecting.acquire().await;
    if let Some(text) = worker.house.absent.said_of(database, Instant::now()) {
        return Ok(Err(NotSelected::ByNode(text)));
    }
    let Some(nodes) = worker.turn(|core| core.nodes_to_ask(key)) else {
        return Ok(Err(unknown("its client has left")));
    };
    let settings = handshake::Settings {
        database,
        ..worker.upstream().clone()
    };
    let is_identity = worker.turn(|core| core.identity.is_some());
    let said = ask(&nodes, &settings, is_identity).await;
    if let Ok(Err(NotSelected::ByNode(text))) = &said {
        worker.house.absent.note(database, text, Instant::now());
    }
    said
}

/// What the first of these nodes that says anything says; or why none does.
async fn ask(
    nodes: &[Endpoint],
    settings: &handshake::Settings,
    is_identity: bool,
) -> Result<Result<(), NotSelected>, String> {
    let mut why = "no node of the cluster is known yet".to_owned();
    for node in nodes {
        match handshake::open(node, Protocol::Resp2, settings).await {
            Ok(_) => return Ok(Ok(())),
            Err(OpenError::NoDatabase(text)) => {
                let text = text.trim_start_matches('-').to_owned();
                return Ok(Err(NotSelected::ByNode(text)));
            }
            // Waiting would not help, as with any request (`refusals.rs`).
            Err(OpenError::Refused(text)) if is_identity && text.starts_with("-WRONGPASS") => {
                return Ok(Err(unknown(&format!("{node}: {text}"))));
            }
            Err(error) => why = format!("{node}: {error}"),
        }
    }
    Err(why)
}
