//! What one client set on its connection. It never reaches a connection that others share
//! (contract: C1).

use super::Tracking;
use crate::command::{Command, Handling, Local};
use crate::resp::Protocol;

/// The user of a client that named none.
pub const DEFAULT_USER: &str = "default";

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
    names: Option<Box<Names>>,
}

/// What a client calls itself; most set none or all at once.
#[derive(Clone, Debug, Default)]
struct Names {
    user: Option<Box<str>>,
    /// The name in its certificate: its user until it says otherwise, and after `RESET`.
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
    /// A client that has just connected at `now_us`. `needs_password` is whether one is configured.
    pub fn new(
        id: u64,
        address: &str,
        local_address: &str,
        needs_password: bool,
        now_us: u64,
    ) -> Self {
        Session {
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
            is_authenticated: !needs_password,
            names: None,
        }
    }

    /// Whether it may do more than authenticate.
    #[inline]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Notes that it gave the right credentials.
    pub fn authenticate(&mut self, user: &str) {
        self.is_authenticated = true;
        if user != self.user() {
            self.names_mut().user = (user != DEFAULT_USER).then(|| user.into());
        }
    }

    /// Notes the name in the certificate that it showed. That is as good as credentials.
    pub fn show_certificate(&mut self, name: &str) {
        self.names_mut().certificate = Some(name.into());
        self.authenticate(name);
    }

    /// The name in the certificate that it showed, if the listener wants to know it.
    pub fn certificate(&self) -> Option<&str> {
        self.names.as_deref()?.certificate.as_deref()
    }

    /// The user it acts as.
    pub fn user(&self) -> &str {
        let names = self.names.as_deref();
        names
            .and_then(|names| names.user.as_deref())
            .unwrap_or(DEFAULT_USER)
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
    pub fn reset(&mut self, needs_password: bool) {
        self.protocol = Protocol::Resp2;
        self.is_authenticated = !needs_password;
        self.is_read_only = false;
        self.is_read_write = false;
        self.is_no_evict = false;
        self.is_no_touch = false;
        self.tracking = None;
        if self.reply_mode == ReplyMode::Off {
            self.reply_mode = ReplyMode::On;
        }
        if let Some(names) = &mut self.names {
            names.user = names.certificate.clone();
            names.client = Box::default();
            self.is_authenticated |= names.certificate.is_some();
        }
    }
}

/// Whether a client may run a command now.
///
/// # Errors
/// The server's text for a client that has not authenticated.
#[inline]
pub fn may_run(session: &Session, command: &Command) -> Result<(), &'static str> {
    if session.is_authenticated {
        return Ok(());
    }
    match command.handling {
        Handling::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset) => Ok(()),
        _ => Err("NOAUTH Authentication required."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::{Args, Span};

    fn row(name: &str) -> &'static Command {
        let span = Span {
            start: 0,
            len: name.len() as u32,
        };
        match lookup(&Args::new(name.as_bytes(), &[span])) {
            Lookup::Found(row) => row,
            Lookup::Unknown | Lookup::UnknownSubcommand(_) => panic!("no row for {name}"),
        }
    }

    #[test]
    fn an_idle_client_is_small() {
        assert!(size_of::<Session>() <= 160, "{}", size_of::<Session>());
    }

    /// contract: C1
    #[test]
    fn without_credentials_only_what_may_bring_them() {
        let mut session = Session::new(1, "127.0.0.1:1", "127.0.0.1:2", true, 0);
        let noauth = Err("NOAUTH Authentication required.");
        for name in ["auth", "hello", "quit", "reset"] {
            assert_eq!(may_run(&session, row(name)), Ok(()), "{name}");
        }
        for name in ["get", "ping", "echo", "multi", "subscribe", "asking"] {
            assert_eq!(may_run(&session, row(name)), noauth, "{name}");
        }
        session.authenticate("app");
        assert_eq!(may_run(&session, row("get")), Ok(()));
        assert_eq!(session.user(), "app");
        session.reset(true);
        assert_eq!(may_run(&session, row("get")), noauth);
        assert_eq!(session.user(), "default");
    }

    #[test]
    fn a_certificate_is_its_user_also_after_reset() {
        let mut session = Session::new(1, "127.0.0.1:1", "127.0.0.1:2", true, 0);
        session.show_certificate("app");
        assert_eq!((session.user(), session.is_authenticated()), ("app", true));
        session.authenticate("other");
        assert_eq!(session.user(), "other");
        session.reset(true);
        assert_eq!((session.user(), session.is_authenticated()), ("app", true));
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
