//! Where the nodes know the users (`upstream.identity = "pass-through"`): a client's credentials are shown to a
//! node, on a connection of their own, and what it says is what the client hears.
//!
//! 1. `AUTH` or `HELLO` is taken on once all that the client asked for before is answered. It stays unanswered where
//!    it is, and nothing behind it is looked at.
//! 2. The client's task opens a connection to a node with these credentials. A node that does not answer is no
//!    answer: another one is asked.
//! 3. The request is looked at again, and answered. Right credentials make the client a user whose identity is
//!    another, so it is moved (see [`super::moving`]).
//!
//! Wrong passwords count as everywhere. Those that are being looked at count as wrong until it is known, so that
//! nobody tries many at the same time.

use std::rc::Rc;
use std::sync::Arc;

use super::asking;
use super::clients::{Client, Errand};
use super::core::Core;
use super::permission::host;
use super::requests::Taken;
use super::thread::Worker;
use crate::acl::User;
use crate::client::Vouched;
use crate::cluster::{Database, Endpoint};
use crate::command::Local;
use crate::config::{IdentityMode, Secret};
use crate::pipeline::ClientKey;
use crate::resp::Protocol;
use crate::upstream::handshake::{self, Credentials, OpenError, SharedCredentials};

/// Credentials that a client gave.
#[derive(Debug)]
pub(super) enum Vouching {
    /// A node has to be asked.
    Wanted { name: Box<[u8]>, password: Secret },
    /// What it said.
    Told(Vouched),
}

impl Client {
    /// What the nodes said about the credentials of the request that is being answered.
    pub(super) fn take_vouched(&mut self) -> Option<Vouched> {
        match self.vouching.take().map(|vouching| *vouching) {
            Some(Vouching::Told(vouched)) => Some(vouched),
            wanted => {
                self.vouching = wanted.map(Box::new);
                None
            }
        }
    }

    /// Whether it is known what the nodes say.
    pub(super) fn is_vouched(&self) -> bool {
        matches!(self.vouching.as_deref(), Some(Vouching::Told(_)))
    }

    /// Whether its credentials can be shown to a node now.
    pub(super) fn is_ready_to_be_vouched(&self) -> bool {
        self.errand == Errand::Vouch && self.is_settled() && self.replies.output().is_empty()
    }
}

impl Core {
    /// Whether a command is the nodes' to answer, because it is about users, whom Keyway does not know.
    #[inline]
    pub(super) fn asks_nodes_for(&self, local: Local) -> bool {
        self.local.identity_mode == IdentityMode::PassThrough && is_about_users(local)
    }

    /// Why a command is not answered here, where the nodes know the users.
    pub(super) fn is_theirs_to_say(&self, local: Local) -> Option<&'static str> {
        if self.local.identity_mode != IdentityMode::PassThrough {
            return None;
        }
        match local {
            Local::ClientPause | Local::ClientUnpause => Some(
                "ERR this is refused by Keyway: it would hold up clients of other users (upstream.identity = \
                 \"pass-through\")",
            ),
            local if is_about_users(local) => Some(
                "ERR this is not possible inside MULTI through Keyway: the nodes are asked (upstream.identity = \
                 \"pass-through\")",
            ),
            _ => None,
        }
    }

    /// A client gave credentials that a node has to be asked about.
    pub(super) fn begin_vouching(
        &mut self,
        key: ClientKey,
        name: &[u8],
        password: Secret,
    ) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        client.vouching = Some(Box::new(Vouching::Wanted {
            name: name.into(),
            password,
        }));
        client.goes_on(Errand::Vouch);
        Taken::NotYet
    }

    /// What has to be shown to nodes, and to which of them. From now on it counts as a wrong password.
    fn vouching_begins(&mut self, key: ClientKey) -> Option<Question> {
        let client = self.clients.get(key)?;
        let Vouching::Wanted { name, password } = client.vouching.as_deref()? else {
            return None;
        };
        let (name, password) = (name.clone(), password.clone());
        let host: Box<str> = host(&client.session.address).into();
        self.local.acl.suspect(&host, self.now_us);
        Some(Question {
            name,
            password,
            host,
        })
    }

    /// A node has said something: the request can be answered.
    fn vouching_ends(&mut self, key: ClientKey, vouched: Vouched) {
        if let Some(client) = self.clients.get(key) {
            client.vouching = Some(Box::new(Vouching::Told(vouched)));
        }
        self.errand_ends(key);
        // Those who had to wait because others of their address were being looked at.
        self.retry_auth();
    }
}

fn is_about_users(local: Local) -> bool {
    matches!(
        local,
        Local::AclList | Local::AclUsers | Local::AclGetUser | Local::AclDryRun | Local::AclLog
    )
}

/// Credentials to ask about.
struct Question {
    name: Box<[u8]>,
    password: Secret,
    /// Where the client comes from.
    host: Box<str>,
}

/// Shows a client's credentials to a node, and notes what it says.
pub(super) async fn vouch(worker: &Rc<Worker>, key: ClientKey) {
    let Some(question) = worker.turn(|core| core.vouching_begins(key)) else {
        return worker.turn(|core| core.errand_ends(key));
    };
    let asked = asking::in_time(worker, "others' passwords are being verified", async || {
        ask_in_turn(worker, key, &question).await
    });
    let vouched = asked.await.unwrap_or_else(|why| unverified(&why));
    worker.turn(|core| {
        core.local.acl.clear(&question.host);
        core.vouching_ends(key, vouched);
    });
}

/// Only so many are verified at once.
async fn ask_in_turn(
    worker: &Rc<Worker>,
    key: ClientKey,
    question: &Question,
) -> Result<Vouched, String> {
    // Nobody closes it.
    let _turn = worker.house.vouching.acquire().await;
    let Some(nodes) = worker.turn(|core| core.nodes_to_ask(key)) else {
        return Ok(unverified("its client has left"));
    };
    ask(worker, question, &nodes).await
}

fn unverified(why: &str) -> Vouched {
    Vouched::Unknown(format!(
        "ERR the password cannot be verified, no node says whether it is right ({why}); try again when the cluster \
         has recovered"
    ))
}

/// What the first of these nodes that says anything says; or why none does.
async fn ask(
    worker: &Rc<Worker>,
    question: &Question,
    nodes: &[Endpoint],
) -> Result<Vouched, String> {
    let Ok(name) = std::str::from_utf8(&question.name) else {
        return Ok(Vouched::Unknown(
            "ERR user names have to be UTF-8 to pass through Keyway".to_owned(),
        ));
    };
    let credentials = Credentials {
        username: Some(name.to_owned()),
        passwords: vec![question.password.clone()],
    };
    let settings = handshake::Settings {
        credentials: SharedCredentials::new(credentials),
        // Who it is, is one thing, and where it may go another.
        database: Database::FIRST,
        ..worker.upstream().clone()
    };
    let mut why = "no node of the cluster is known yet".to_owned();
    let mut is_refusal = false;
    for node in nodes {
        match handshake::open(node, Protocol::Resp2, &settings).await {
            Ok(_) => return Ok(welcome(worker, name, &question.password)),
            Err(OpenError::Refused(text)) if text.starts_with("-WRONGPASS") => {
                return Ok(Vouched::Wrong(text.trim_start_matches('-').to_owned()));
            }
            Err(error) => {
                is_refusal = matches!(error, OpenError::Refused(_));
                why = format!("{node}: {error}");
            }
        }
    }
    match is_refusal {
        true => Ok(unverified(&why)),
        false => Err(why),
    }
}

/// A node let it in: it is a user of the nodes from now on.
fn welcome(worker: &Rc<Worker>, name: &str, password: &Secret) -> Vouched {
    let house = &worker.house;
    match house.identities.vouched_for(name, password) {
        Ok(identity) => {
            for own in house.of_identity(identity.number()) {
                own.turn(Core::forget_refusals);
            }
            let user = User::unrestricted(name, None).travelling_as(identity);
            Vouched::Right(Arc::new(user))
        }
        Err(too_many) => {
            house.tallies.identities_refused.increment();
            Vouched::Unknown(format!(
                "ERR the password is right, but {too_many}; try again when some have left"
            ))
        }
    }
}
