//! The connection itself: PING, ECHO, HELLO, AUTH, SELECT, ROLE.

use std::sync::Arc;

use super::{
    Answered, Bound, Effect, NotSelected, Vouched, World, greeting, ok, refuse, shown, syntax_error,
};
use crate::acl::{User, Wording};
use crate::client::Session;
use crate::client::local::client::check_name;
use crate::cluster::Database;
use crate::config::Secret;
use crate::resp::scan::parse_integer;
use crate::resp::{Args, Protocol, write};

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";

pub(super) fn ping(args: &Args<'_>, out: &mut Vec<u8>) -> Answered {
    match (args.len(), args.get(1)) {
        (1, _) => write::simple(out, "PONG"),
        (2, Some(text)) => write::bulk(out, text),
        _ => return refuse("ERR wrong number of arguments for 'ping' command"),
    }
    Ok(Effect::None)
}

pub(super) fn echo(args: &Args<'_>, out: &mut Vec<u8>) -> Answered {
    write::bulk(out, args.get(1).unwrap_or_default());
    Ok(Effect::None)
}

/// What is no index is refused in the servers' words. Whether there is a database with it, only a node can tell;
/// the first is everywhere (contract: C5).
pub(super) fn select(
    args: &Args<'_>,
    session: &mut Session,
    world: &World<'_>,
    out: &mut Vec<u8>,
) -> Answered {
    let Some(number) = args.get(1).and_then(parse_integer) else {
        return refuse("ERR value is not an integer or out of range");
    };
    let Ok(number) = i32::try_from(number) else {
        return refuse("ERR value is out of range, value must between -2147483648 and 2147483647");
    };
    let database = Database(number);
    if database == session.database() {
        return ok(out);
    }
    // Inside `EXEC` nothing can wait; otherwise that there is none is said first.
    if !database.is_first() && world.bound != Some(Bound::Transaction) {
        let home = session.home_in(database);
        match world.selected.as_ref().filter(|told| told.home == home) {
            None => return Ok(Effect::Select(database)),
            Some(told) => match &told.outcome {
                Ok(()) => {}
                Err(NotSelected::ByNode(text)) => return Err(text.clone()),
                Err(NotSelected::ByKeyway(text)) => {
                    write::error(out, text);
                    return Ok(Effect::Close);
                }
            },
        }
    }
    if let Some(bound) = world.bound {
        return Err(bound.text_for_select());
    }
    session.select(database);
    ok(out)
}

/// A primary without replicas that has replicated nothing (contract: C3).
pub(super) fn role(out: &mut Vec<u8>) -> Answered {
    write::array(out, 3);
    write::bulk(out, b"master");
    write::integer(out, 0);
    write::array(out, 0);
    Ok(Effect::None)
}

pub(super) fn auth(
    args: &Args<'_>,
    session: &mut Session,
    world: &World<'_>,
    out: &mut Vec<u8>,
) -> Answered {
    let users = &world.door.users;
    let (name, password) = match (args.len(), args.get(1), args.get(2)) {
        (2, Some(_), _) if users.initial().needs_no_password() => {
            return refuse(
                "ERR AUTH <password> called without any password configured for the default \
                 user. Are you sure your configuration is correct?",
            );
        }
        (2, Some(password), _) => (users.initial().name().as_bytes(), password),
        (3, Some(user), Some(password)) => (user, password),
        _ => return syntax_error(),
    };
    match user_with(name, password, session, world) {
        Ok(user) => {
            session.authenticate(user);
            ok(out)
        }
        Err(refusal) => refusal.tell(name, password, out),
    }
}

/// Why a client does not become a user.
enum NotIn {
    /// The credentials are wrong, in these words.
    Wrong(String),
    /// It would have to go to other connections.
    Bound(Bound),
    /// The nodes know its user and were not asked yet.
    Unasked,
    /// For another reason.
    Refused(String),
}

impl NotIn {
    fn tell(self, name: &[u8], password: &[u8], out: &mut Vec<u8>) -> Answered {
        match self {
            NotIn::Wrong(text) => {
                write::error(out, text);
                Ok(Effect::AuthFailed(name.into()))
            }
            NotIn::Bound(bound) => Err(bound.text()),
            NotIn::Unasked => Ok(Effect::Vouch {
                name: name.into(),
                password: Secret::new(password),
            }),
            NotIn::Refused(text) => Err(text),
        }
    }
}

/// The user that a client becomes by these credentials.
fn user_with(
    name: &[u8],
    password: &[u8],
    session: &Session,
    world: &World<'_>,
) -> Result<Arc<User>, NotIn> {
    let users = &world.door.users;
    let user = if !users.are_at_the_nodes() {
        let user = users.authenticate(name, password);
        Arc::clone(user.ok_or_else(|| NotIn::Wrong(WRONGPASS.to_owned()))?)
    } else {
        match (&world.vouched, world.bound) {
            (Some(Vouched::Right(user)), _) => Arc::clone(user),
            (Some(Vouched::Wrong(text)), _) => return Err(NotIn::Wrong(text.clone())),
            (Some(Vouched::Unknown(text)), _) => return Err(NotIn::Refused(text.clone())),
            // Inside `EXEC` nothing can wait.
            (None, Some(Bound::Transaction)) => return Err(NotIn::Bound(Bound::Transaction)),
            (None, _) => return Err(NotIn::Unasked),
        }
    };
    match world.bound {
        Some(bound) if !session.is_home_of(&user) => Err(NotIn::Bound(bound)),
        _ => Ok(user),
    }
}

/// What one `HELLO` asks for. It is read as a whole first, so that a failing one changes nothing.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    credentials: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Hello<'a> {
    fn parse(args: &Args<'a>) -> Result<Self, String> {
        let mut hello = Hello::default();
        let Some(version) = args.get(1) else {
            return Ok(hello);
        };
        hello.protocol = Some(match parse_integer(version) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            Some(_) => return Err("NOPROTO unsupported protocol version".to_owned()),
            None => {
                return Err("ERR Protocol version is not an integer or out of range".to_owned());
            }
        });
        let mut index = 2;
        while let Some(option) = args.get(index) {
            let values = (args.get(index + 1), args.get(index + 2));
            if option.eq_ignore_ascii_case(b"AUTH")
                && let (Some(user), Some(password)) = values
            {
                hello.credentials = Some((user, password));
                index += 3;
            } else if option.eq_ignore_ascii_case(b"SETNAME")
                && let (Some(name), _) = values
            {
                check_name(name)?;
                hello.name = Some(name);
                index += 2;
            } else {
                let option = shown(option);
                return Err(format!("ERR Syntax error in HELLO option '{option}'"));
            }
        }
        Ok(hello)
    }
}

pub(super) fn hello(
    args: &Args<'_>,
    session: &mut Session,
    world: &World<'_>,
    out: &mut Vec<u8>,
) -> Answered {
    let hello = Hello::parse(args)?;
    match hello.credentials {
        Some((name, password)) => match user_with(name, password, session, world) {
            Ok(user) => session.authenticate(user),
            Err(refusal) => return refusal.tell(name, password, out),
        },
        None if !session.is_authenticated() => {
            let version = match world.wording {
                Wording::Redis70 => "",
                Wording::Later => "<proto> ",
            };
            return Err(format!(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
                 HELLO {version}AUTH <user> <pass> option can be used to authenticate the client \
                 and select the RESP protocol version at the same time"
            ));
        }
        None => {}
    }
    if let Some(name) = hello.name {
        session.set_name(name);
    }
    let before = session.protocol;
    session.protocol = hello.protocol.unwrap_or(before);
    greeting::write(session, world.topology, out);
    Ok(if session.protocol == before {
        Effect::None
    } else {
        Effect::ProtocolChanged
    })
}
