//! Who may do what: each request of a client that is not free to do everything is judged before anything of
//! it leaves Keyway, whatever way it would take. A free client pays one branch in `requests.rs`.
//!
//! A request is judged once, when it is taken on; so inside `MULTI` when it is queued. Where only a node can
//! tell the keys, it is judged again once they are told, before it is sent (`learn.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::warn;

use super::clients::Client;
use super::core::Core;
use super::hub::Hub;
use super::requests::Taken;
use crate::acl::{AclLog, Denial, Denied, Doors, Request, Throttle, User, Wording};
use crate::client::describe_client;
use crate::command::{Command, Handling, Keys, Local, Transaction};
use crate::pipeline::ClientKey;
use crate::resp::reply::{elements, text};
use crate::resp::{Args, with_args};
use crate::telemetry::Seldom;
use crate::telemetry::worker_tallies::ErrorKind;
use crate::upstream::Dispatched;

/// What all workers note about what was denied. Touched only when something is.
#[derive(Debug)]
pub struct SharedAcl {
    /// `ACL LOG`
    pub log: Mutex<AclLog>,
    throttle: Mutex<Throttle>,
    told: Mutex<Seldom>,
    /// Whether a password has been wrong yet: until then nobody looks at `throttle`.
    has_failed: AtomicBool,
}

impl Default for SharedAcl {
    fn default() -> Self {
        SharedAcl::new(128, 10)
    }
}

impl SharedAcl {
    /// Remembers so many denials; so many wrong passwords of one address are free.
    pub fn new(log_entries: usize, auth_failures: usize) -> SharedAcl {
        SharedAcl {
            log: Mutex::new(AclLog::new(log_entries)),
            throttle: Mutex::new(Throttle::new(auth_failures)),
            told: Mutex::default(),
            has_failed: AtomicBool::new(false),
        }
    }

    fn is_open(&self, address: &str, now_us: u64) -> bool {
        !self.has_failed.load(Ordering::Relaxed) || self.throttle().is_open(host(address), now_us)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A password of this host is being looked at; until that is known it counts as wrong.
    pub(super) fn suspect(&self, host: &str, now_us: u64) {
        self.has_failed.store(true, Ordering::Relaxed);
        self.throttle().failed(host, now_us);
    }

    /// It is known: what it counted is taken back.
    pub(super) fn clear(&self, host: &str) {
        self.throttle().forgive(host);
    }
}

/// The address without its port.
pub(super) fn host(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

const NOAUTH: &str = "NOAUTH Authentication required.";

impl Core {
    /// Judges a request of a client that is not free; `None` lets it through.
    #[cold]
    #[inline(never)]
    pub(super) fn judge(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        let client = self.clients.get(key)?;
        if !client.session.is_authenticated() {
            if User::needs_no_user(command) {
                return None;
            }
            return Some(self.refuse_judged(key, command, args, ErrorKind::NoAuth, NOAUTH));
        }
        if !client.session.is_at_home() {
            return Some(self.wait_to_move(key));
        }
        let is_in_transaction = client.transaction.is_some();
        if is_in_transaction && self.is_never_inside(command) {
            // That is said first.
            return None;
        }
        let client = self.clients.get(key)?;
        let listener = client.session.listener;
        let user = Arc::clone(client.session.user());
        match self.verdict(&user, command, args) {
            Ok(()) => {}
            Err(Denied::UnknownKeys) if !is_in_transaction && is_asked(command) => {}
            Err(denied) => {
                let text = self.wording().refusal(user.name(), command, denied);
                self.note_denial(key, command, args, denied, is_in_transaction);
                return Some(self.refuse_judged(key, command, args, ErrorKind::NoPerm, &text));
            }
        }
        if !is_in_transaction && let Some(text) = self.forbidden_sort(key, command, args) {
            return Some(self.refuse_judged(key, command, args, ErrorKind::NoPerm, &text));
        }
        let door = self.doors.of_listener(listener);
        let at = 1 + usize::from(command.name.contains('|'));
        let rule = door.denial(command, self.learnt.rights(command), args.get(at))?;
        let setting = match listener {
            0 => "listen.deny".to_owned(),
            number => format!("listeners[{number}].deny"),
        };
        Some(self.refuse_request(key, args, ErrorKind::Refused, |_| {
            let name = command.name;
            format!("ERR '{name}' is refused by Keyway: {setting} has \"{rule}\"").into_bytes()
        }))
    }

    /// Whether the servers refuse it inside `MULTI`, whoever sends it.
    fn is_never_inside(&self, command: &Command) -> bool {
        let is_valkey = || {
            let topology = self.nodes.topology();
            topology.is_some_and(|topology| topology.is_valkey(8))
        };
        command.is_kept_out_of_multi()
            || matches!(
                command.handling,
                Handling::Transaction(Transaction::Multi | Transaction::Watch)
            ) && is_valkey()
    }

    /// Says why not. An `EXEC` that may not be run is the end of its transaction.
    fn refuse_judged(
        &mut self,
        key: ClientKey,
        command: &Command,
        args: &Args<'_>,
        kind: ErrorKind,
        text: &str,
    ) -> Taken {
        let prefix = match command.is_block() {
            true => "EXECABORT Transaction discarded because of: ",
            false => "",
        };
        let text = format!("{prefix}{text}").into_bytes();
        let taken = self.refuse_request(key, args, kind, |_| text);
        if command.is_block() {
            self.end_transaction(key);
        }
        taken
    }

    fn verdict(
        &self,
        user: &User,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Result<(), Denied> {
        let told_keys = match command.keys {
            Keys::Asked(_) => self.key_shapes.find(command, args),
            _ => None,
        };
        user.check(&Request {
            told_keys,
            ..Request::new(command, self.learnt.rights(command), args)
        })
    }

    /// Whether a client may do everything.
    pub(super) fn is_free(&mut self, key: ClientKey) -> bool {
        self.clients
            .get(key)
            .is_some_and(|client| client.session.is_free())
    }

    /// A node has told the keys of a request: its client may not use them. Answers it then.
    pub(super) fn refuse_told(
        &mut self,
        request: Dispatched,
        args: &Args<'_>,
        reply: &[u8],
    ) -> bool {
        let key = request.ticket.client;
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        if client.session.is_free() {
            return false;
        }
        let user = Arc::clone(client.session.user());
        let keys: Vec<&[u8]> =
            elements(reply).map_or_else(Vec::new, |keys| keys.filter_map(text).collect());
        // A node names keys by what they are called; that is where the arguments are.
        let places = keys
            .iter()
            .map(|name| args.iter().position(|argument| argument == *name));
        let places: Option<Vec<u32>> = places.map(|at| at.map(|at| at as u32)).collect();
        let told_keys = places.as_deref().filter(|places| !places.is_empty());
        let verdict = user.check(&Request {
            told_keys,
            ..Request::new(request.command, self.learnt.rights(request.command), args)
        });
        let Err(denied) = verdict else {
            return false;
        };
        let text = self.wording().refusal(user.name(), request.command, denied);
        self.note_denial(key, request.command, args, denied, false);
        self.fail(request.ticket, ErrorKind::NoPerm, &text);
        true
    }

    /// `SORT` with `BY` or `GET` reads keys that nobody can tell beforehand.
    pub(super) fn forbidden_sort(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<String> {
        let session = &self.clients.get(key)?.session;
        if session.is_free() {
            return None;
        }
        let request = Request::new(command, self.learnt.rights(command), args);
        let option = session.user().forbidden_sort_option(&request)?;
        Some(format!(
            "ERR {option} option of SORT denied due to insufficient ACL permissions."
        ))
    }

    /// An operator command (contract: C7).
    #[cold]
    pub(super) fn plan_refused(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        let name = command.name;
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let is_in_transaction = client.transaction.is_some();
        let door = self.doors.of_listener(client.session.listener);
        let is_allowed = command.handling == Handling::Refused
            && door.allows_operator(command, self.learnt.rights(command));
        if !is_allowed {
            return self.refuse_request(key, args, ErrorKind::Refused, |_| {
                format!(
                    "ERR '{name}' is refused by Keyway: it changes the servers themselves; connect to the node \
                     directly for it"
                )
                .into_bytes()
            });
        }
        if is_in_transaction {
            return self.refuse_request(key, args, ErrorKind::Refused, |_| {
                format!("ERR '{name}' is not possible inside MULTI through Keyway").into_bytes()
            });
        }
        self.plan_keyed(key, command, args)
    }

    /// In whose words denials are told: those of the servers.
    pub(super) fn wording(&self) -> Wording {
        let topology = self.nodes.topology();
        topology.map_or(Wording::default(), |topology| {
            Wording::of(&topology.server_name, &topology.server_version)
        })
    }

    fn note_denial(
        &mut self,
        key: ClientKey,
        command: &Command,
        args: &Args<'_>,
        denied: Denied,
        is_in_transaction: bool,
    ) {
        let (reason, object): (_, &[u8]) = match denied {
            Denied::Command => ("command", command.name.as_bytes()),
            Denied::Key(at) => ("key", args.get(at).unwrap_or_default()),
            Denied::UnknownKeys => ("key", b""),
            Denied::Channel(at) => ("channel", args.get(at).unwrap_or_default()),
        };
        let context = if is_in_transaction {
            "multi"
        } else {
            "toplevel"
        };
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let denial = Denial {
            reason,
            context,
            object: object.into(),
            user: client.session.user().name().as_bytes().into(),
        };
        self.log_denial(key, denial);
    }

    fn log_denial(&mut self, key: ClientKey, denial: Denial) {
        let now_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let line = describe_client(&client.session, &client.figures(now_us));
        let mut log = self
            .local
            .acl
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        log.note(denial, &line, now_us);
    }

    /// Somebody gave a wrong password.
    pub(super) fn auth_failed(&mut self, key: ClientKey, name: &[u8]) {
        self.tallies.auth_failures.increment();
        let local = Arc::clone(&self.local);
        let now_us = self.now_us;
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let address = client.session.address.clone();
        let is_in_transaction = client.transaction.is_some();
        local.acl.suspect(host(&address), now_us);
        let told = local.acl.told.lock().map(|mut told| told.tell(now_us));
        if let Ok(Some(others)) = told {
            // What is given for a name may be a password that slipped: it is not logged.
            warn!(
                client = %address,
                others_since_then = others,
                "a wrong password, or a user that is not there or switched off"
            );
        }
        let denial = Denial {
            reason: "auth",
            context: if is_in_transaction {
                "multi"
            } else {
                "toplevel"
            },
            object: (*b"AUTH").into(),
            user: name.into(),
        };
        self.log_denial(key, denial);
    }

    /// Whether a client's password has to wait, because its address was wrong too often.
    pub(super) fn has_to_wait_for_auth(
        &mut self,
        key: ClientKey,
        local: Local,
        args: &Args<'_>,
    ) -> bool {
        let has_to_wait = self.is_slowed(key, local, args);
        if has_to_wait {
            self.auth_waiting.push(key);
        }
        has_to_wait
    }

    /// Inside `EXEC` nothing can wait.
    pub(super) fn turn_away(
        &mut self,
        key: ClientKey,
        local: Local,
        args: &Args<'_>,
    ) -> Option<&'static str> {
        const TOO_MANY: &str = "ERR too many wrong passwords from this address; try again later";
        self.is_slowed(key, local, args).then_some(TOO_MANY)
    }

    fn is_slowed(&mut self, key: ClientKey, local: Local, args: &Args<'_>) -> bool {
        let has_password = match local {
            Local::Auth => true,
            Local::Hello => args.iter().any(|word| word.eq_ignore_ascii_case(b"auth")),
            _ => false,
        };
        let now_us = self.now_us;
        let acl = &self.local.acl;
        let client = self.clients.get(key).filter(|_| has_password);
        // It waited already where the nodes were asked.
        let client = client.filter(|client| !client.is_vouched());
        client.is_some_and(|client| !acl.is_open(&client.session.address, now_us))
    }

    /// Lets those try again whose password had to wait.
    pub(super) fn retry_auth(&mut self) {
        for key in std::mem::take(&mut self.auth_waiting) {
            if let Some(client) = self.clients.get(key) {
                client.wake();
            }
        }
    }

    /// Takes over new users and rules. Clients whose user is gone or switched off are closed, and so are
    /// those that are subscribed to what they may not hear any more; a transaction that holds what its
    /// client may not do any more will not be executed.
    pub fn take_doors(&mut self, doors: Arc<Doors>) {
        self.doors = doors;
        let keys: Vec<ClientKey> = self.clients.iter_mut().map(|(key, _)| key).collect();
        let mut closed = 0;
        for key in keys {
            let Some(client) = self.clients.get(key) else {
                continue;
            };
            let door = self.doors.of_listener(client.session.listener);
            let is_welcome =
                client.session.follow(&door) && hears_only_what_it_may(&self.hub, client);
            // What it holds of a connection cannot be taken over to another identity.
            let has_to_move = !client.session.is_at_home();
            let is_stuck =
                client.bound().is_some() || client.blocked.is_some() || client.upload.is_some();
            if !is_welcome || (has_to_move && is_stuck) {
                closed += 1;
                self.cut_off(key);
            } else if has_to_move {
                self.follow_home(key);
            } else if client.upload.is_some() && !client.session.is_free() {
                // Sent again it is judged as a whole, like every request of such a client.
                self.end_upload(key, "what its user may do changed");
            } else if !self.may_execute(key)
                && let Some(client) = self.clients.get(key)
                && let Some(transaction) = &mut client.transaction
                && !transaction.is_executing()
            {
                transaction.abort();
            }
        }
        if closed > 0 {
            warn!(
                worker = self.index,
                clients = closed,
                "closed clients whose user is gone, switched off, or may not hear what it was subscribed to"
            );
        }
    }

    /// Whether a client may do everything that it has queued.
    fn may_execute(&mut self, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return true;
        };
        let (Some(transaction), false) = (&client.transaction, client.session.is_free()) else {
            return true;
        };
        let user = Arc::clone(client.session.user());
        let door = self.doors.of_listener(client.session.listener);
        let learnt = Arc::clone(&self.learnt);
        let mut commands = transaction.commands();
        commands.all(|(command, frame)| {
            let rights = learnt.rights(command);
            let may = |args: &Args<'_>| {
                let at = 1 + usize::from(command.name.contains('|'));
                let is_denied = door.denial(command, rights, args.get(at)).is_some();
                !is_denied && user.check(&Request::new(command, rights, args)).is_ok()
            };
            with_args(frame, may).unwrap_or(false)
        })
    }
}

/// Whether a node is asked for the keys of such a request before it is sent.
fn is_asked(command: &Command) -> bool {
    matches!(command.keys, Keys::Asked(_)) && command.handling == Handling::Keyed
}

fn hears_only_what_it_may(hub: &Hub, client: &Client) -> bool {
    let user = client.session.user();
    let subscriptions = client.subscriptions.as_deref();
    let may_hear = |channel: &[u8], is_pattern| user.may_hear(channel, is_pattern);
    subscriptions.is_none_or(|own| hub.all_channels(own, may_hear))
}
