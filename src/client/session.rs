//! What one client set on its connection. It never reaches a connection that others share
//! (contract: C1).

use std::sync::Arc;

use super::{Home, Tracking};
use crate::acl::{Door, Identity, IdentityNumber, User};
use crate::cluster::Database;
use crate::command::Command;
use crate::resp::Protocol;

/// One client's state. There may be ten thousand idle ones, so what few clients set is boxed.
#[derive(Debug)]
pub struct Session {
    /// Number of the client, unique within the process (`CLIENT ID`).
    pub id: u64,
    /// The version its replies have (contract: P1).
    pub protocol: Protocol,
    /// Where it comes from, as `CLIENT LIST` shows it: `ip:port`, or `path:0` for a Unix socket.
    pub address: Box<str>,
    /// Where it connected to, in the same form.
    pub local_address: Box<str>,
    /// When it connected, in microseconds on the process' clock.
    pub created_us: u64,
    /// When it sent its last command, in microseconds on the process' clock.
    pub last_command_us: u64,
    /// Its last command.
    pub last_command: Option<&'static Command>,
    /// The number of the listener that accepted it.
    pub listener: u16,
    /// Whether it speaks TLS.
    pub is_tls: bool,
    /// Whether it said `READONLY`; `CLIENT LIST` shows it. It changes nothing but what `READWRITE` did.
    pub is_read_only: bool,
    /// Whether it said `READWRITE`: it wants no read from a replica, whatever its listener's policy.
    pub is_read_write: bool,
    /// Whether it said `CLIENT NO-EVICT on`.
    pub is_no_evict: bool,
    /// Whether it said `CLIENT NO-TOUCH on`.
    pub is_no_touch: bool,
    /// What it tracks, if it does (contract: S6).
    pub tracking: Option<Box<Tracking>>,
    reply_mode: ReplyMode,
    is_authenticated: bool,
    is_free: bool,
    /// Whether its listener denies commands to everyone.
    is_watched: bool,
    /// Whose the connections are that its requests would take now.
    home: Home,
    /// The database it has selected.
    database: Database,
    user: Arc<User>,
    names: Option<Box<Names>>,
}

/// What a client calls itself; most set none or all at once.
#[derive(Clone, Debug, Default)]
struct Names {
    /// The name in its certificate: its user as long as there is one of that name, also after `RESET`.
    certificate: Option<Box<str>>,
    client: Box<[u8]>,
    library: Box<[u8]>,
    library_version: Box<[u8]>,
}

/// Which replies the client wants (`CLIENT REPLY`, contract: P7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    /// All.
    #[default]
    On,
    /// None, until it says `ON`.
    Off,
    /// Neither this request's nor the next one's: what `SKIP` itself sets.
    SkipTwo,
    /// Not the next one's.
    SkipOne,
}

impl ReplyMode {
    /// The mode after one more request, and whether that request's reply is withheld.
    #[must_use]
    pub fn next(self) -> (ReplyMode, bool) {
        match self {
            ReplyMode::On => (ReplyMode::On, false),
            ReplyMode::Off => (ReplyMode::Off, true),
            ReplyMode::SkipTwo => (ReplyMode::SkipOne, true),
            ReplyMode::SkipOne => (ReplyMode::On, true),
        }
    }
}

impl Session {
    /// A client that has just come through a door, at `now_us`.
    pub fn new(id: u64, address: &str, local_address: &str, door: &Door, now_us: u64) -> Self {
        let mut session = Session {
            id,
            protocol: Protocol::Resp2,
            address: address.into(),
            local_address: local_address.into(),
            created_us: now_us,
            last_command_us: now_us,
            last_command: None,
            listener: 0,
            is_tls: false,
            is_read_only: false,
            is_read_write: false,
            is_no_evict: false,
            is_no_touch: false,
            tracking: None,
            reply_mode: ReplyMode::On,
            is_authenticated: !door.users.wants_authentication(),
            is_free: false,
            is_watched: door.denies_something(),
            home: Home::FIRST,
            database: Database::FIRST,
            user: Arc::clone(door.users.initial()),
            names: None,
        };
        session.settle();
        session
    }

    /// Whether nothing has to be looked at before it may do what it asks for.
    #[inline]
    pub fn is_free(&self) -> bool {
        self.is_free
    }

    fn settle(&mut self) {
        self.is_free = self.is_authenticated
            && !self.is_watched
            && self.user.is_unrestricted()
            && self.is_at_home();
    }

    /// Whether its requests may take the connections where it is. When it has become somebody else, or has
    /// selected another database, none of them may before it has been moved (contract: C1).
    #[inline]
    pub fn is_at_home(&self) -> bool {
        self.home_in(self.database) == self.home
    }

    /// Where it would belong if it selected this database.
    pub fn home_in(&self, database: Database) -> Home {
        Home {
            identity: self.identity_number(),
            database,
        }
    }

    /// The database it has selected (`SELECT`).
    pub fn database(&self) -> Database {
        self.database
    }

    /// It has selected a database, and has to be moved before its next request.
    pub fn select(&mut self, database: Database) {
        self.database = database;
        self.settle();
    }

    /// As whom its commands travel; without one, and before it has said who it is, as the service user.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.user.identity().filter(|_| self.is_authenticated)
    }

    #[inline]
    fn identity_number(&self) -> IdentityNumber {
        match self.is_authenticated {
            true => self.user.identity_number(),
            false => IdentityNumber::SERVICE,
        }
    }

    /// Whether as this user it would stay where it is.
    pub fn is_home_of(&self, user: &User) -> bool {
        let as_that_user = Home {
            identity: user.identity_number(),
            database: self.database,
        };
        as_that_user == self.home
    }

    /// It has been moved to these connections.
    pub fn settle_at(&mut self, home: Home) {
        self.home = home;
        self.settle();
    }

    /// Whether it may do more than authenticate.
    #[inline]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Notes that it gave the right credentials.
    pub fn authenticate(&mut self, user: Arc<User>) {
        self.is_authenticated = true;
        self.user = user;
        self.settle();
    }

    /// Notes the name in the certificate that it showed. If the door has a user of that name who may come in,
    /// that is as good as credentials.
    pub fn show_certificate(&mut self, name: &str, door: &Door) {
        self.names_mut().certificate = Some(name.into());
        self.become_certified(door);
    }

    fn become_certified(&mut self, door: &Door) {
        let name = self.certificate().map(str::as_bytes);
        let user = name.and_then(|name| door.users.get(name));
        if let Some(user) = user.filter(|user| user.is_on()) {
            self.authenticate(Arc::clone(user));
        }
    }

    /// The name in the certificate that it showed, if the listener wants to know it.
    pub fn certificate(&self) -> Option<&str> {
        self.names.as_deref()?.certificate.as_deref()
    }

    /// The user it acts as.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// The rules of its door changed. False when its user is gone or switched off: it has to leave.
    #[must_use]
    pub fn follow(&mut self, door: &Door) -> bool {
        self.is_watched = door.denies_something();
        if self.is_authenticated && door.users.are_at_the_nodes() {
            // Its user is none of ours to take away.
        } else if self.is_authenticated {
            let user = door.users.get(self.user.name().as_bytes());
            let Some(user) = user.filter(|user| user.is_on()) else {
                return false;
            };
            self.user = Arc::clone(user);
        } else {
            self.user = Arc::clone(door.users.initial());
            self.is_authenticated = !door.users.wants_authentication();
            self.become_certified(door);
        }
        self.settle();
        true
    }

    /// Its name (`CLIENT SETNAME`); empty without one.
    pub fn name(&self) -> &[u8] {
        self.names.as_deref().map_or(b"", |names| &names.client)
    }

    /// Gives it a name; an empty one takes the name away.
    pub fn set_name(&mut self, name: &[u8]) {
        self.names_mut().client = name.into();
    }

    /// Its library's name (`CLIENT SETINFO LIB-NAME`); empty without one.
    pub fn library(&self) -> &[u8] {
        self.names.as_deref().map_or(b"", |names| &names.library)
    }

    /// Sets its library's name.
    pub fn set_library(&mut self, name: &[u8]) {
        self.names_mut().library = name.into();
    }

    /// Its library's version (`CLIENT SETINFO LIB-VER`); empty without one.
    pub fn library_version(&self) -> &[u8] {
        self.names
            .as_deref()
            .map_or(b"", |names| &names.library_version)
    }

    /// Sets its library's version.
    pub fn set_library_version(&mut self, version: &[u8]) {
        self.names_mut().library_version = version.into();
    }

    fn names_mut(&mut self) -> &mut Names {
        self.names.get_or_insert_default()
    }

    /// The client that its invalidations are redirected to, as a server shows it: 0 for itself, -1 when
    /// it does not track.
    pub fn redirection(&self) -> i64 {
        match self.tracking {
            Some(_) => 0,
            None => -1,
        }
    }

    /// Which replies it wants.
    pub fn reply_mode(&self) -> ReplyMode {
        self.reply_mode
    }

    /// Changes which replies it wants.
    pub fn set_reply_mode(&mut self, mode: ReplyMode) {
        self.reply_mode = mode;
    }

    /// Whether the reply to the current request is withheld. Asked exactly once for each request;
    /// for those that are answered here after [`answer`](super::answer), which `CLIENT REPLY`
    /// relies on.
    #[inline]
    pub fn next_is_muted(&mut self) -> bool {
        let (next, is_muted) = self.reply_mode.next();
        self.reply_mode = next;
        is_muted
    }

    /// Back to how it connected (`RESET`); what identifies it, and its library's name, stay.
    pub fn reset(&mut self, door: &Door) {
        self.protocol = Protocol::Resp2;
        self.is_authenticated = !door.users.wants_authentication();
        self.user = Arc::clone(door.users.initial());
        self.database = Database::FIRST;
        self.settle();
        self.is_read_only = false;
        self.is_read_write = false;
        self.is_no_evict = false;
        self.is_no_touch = false;
        self.tracking = None;
        if self.reply_mode == ReplyMode::Off {
            self.reply_mode = ReplyMode::On;
        }
        if let Some(names) = &mut self.names {
            names.client = Box::default();
        }
        self.become_certified(door);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Users;

    #[test]
    fn an_idle_client_is_small() {
        assert!(size_of::<Session>() <= 160, "{}", size_of::<Session>());
    }

    /// contract: C1
    #[test]
    fn who_it_is_changes_with_auth_reset_and_the_rules() {
        let user = |password: &[u8]| Arc::new(User::unrestricted("app", Some(password)));
        let of = |users: Users| Door {
            users,
            ..Door::default()
        };
        let door = of(Users::new(Vec::new(), Some(user(b"p"))));
        let mut session = Session::new(1, "127.0.0.1:1", "127.0.0.1:2", &door, 0);
        assert!(!session.is_authenticated() && !session.is_free());
        let app = door.users.authenticate(b"app", b"p").expect("right");
        session.authenticate(Arc::clone(app));
        assert!(session.is_free() && session.user().name() == "app");
        session.reset(&door);
        assert!(!session.is_authenticated() && !session.is_free());
        session.authenticate(Arc::clone(app));
        assert!(session.follow(&of(Users::new(vec![user(b"q")], None))));
        assert!(session.is_free(), "another password closes no connection");
        assert!(!session.follow(&Door::default()), "the user is gone");
        session.reset(&door);
        assert!(session.follow(&Door::default()) && session.is_free());
        assert_eq!(session.user().name(), "default");
    }

    #[test]
    fn a_certificate_is_a_user_where_there_is_one() {
        let user = |name: &str| Arc::new(User::unrestricted(name, Some(b"p")));
        let of = |users: Vec<Arc<User>>| Door {
            users: Users::new(users, Some(user("default"))),
            ..Door::default()
        };
        let door = of(vec![user("app"), user("other")]);
        let mut session = Session::new(1, "127.0.0.1:1", "127.0.0.1:2", &door, 0);
        session.show_certificate("nobody", &door);
        assert!(!session.is_authenticated());
        session.show_certificate("app", &door);
        assert!(session.is_authenticated() && session.user().name() == "app");
        session.authenticate(user("other"));
        session.reset(&door);
        assert!(session.is_authenticated() && session.user().name() == "app");
        let without = of(vec![user("other")]);
        session.reset(&without);
        assert!(!session.is_authenticated());
        assert!(session.follow(&door) && session.is_authenticated());
        assert_eq!(session.certificate(), Some("app"));
    }

    /// What a server answered to sequences of `CLIENT REPLY` and other commands. contract: P7
    #[test]
    fn replies_that_are_withheld() {
        let mut mode = ReplyMode::On;
        let mut heard = |change: Option<ReplyMode>| {
            if let Some(change) = change {
                mode = change;
            }
            let (next, is_muted) = mode.next();
            mode = next;
            !is_muted
        };
        assert!(heard(None));
        assert!(!heard(Some(ReplyMode::SkipTwo)));
        assert!(!heard(None));
        assert!(heard(None));
        assert!(!heard(Some(ReplyMode::SkipTwo)));
        assert!(!heard(Some(ReplyMode::SkipTwo)));
        assert!(!heard(None));
        assert!(heard(None));
        assert!(!heard(Some(ReplyMode::Off)));
        assert!(!heard(None));
        assert!(!heard(None));
        assert!(heard(Some(ReplyMode::On)));
    }
}
