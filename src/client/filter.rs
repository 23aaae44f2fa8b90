//! Which clients `CLIENT LIST` and `CLIENT KILL` speak of.

use super::Session;
use crate::resp::Args;
use crate::resp::scan::parse_integer;

/// Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// One of these clients.
    ids: Option<Vec<i64>>,
    /// Clients of one type; Keyway has normal ones and subscribers.
    kind: Option<ClientKind>,
    address: Option<Box<[u8]>>,
    local_address: Option<Box<[u8]>>,
    user: Option<Box<[u8]>>,
    age_seconds_min: Option<i64>,
    /// Not the client that asks.
    skipped: Option<u64>,
}

/// What kind of client a filter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientKind {
    Normal,
    /// It has subscriptions.
    Subscriber,
    /// A server; none connects to Keyway.
    Node,
}

/// What `CLIENT KILL` was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kill {
    /// The old form, `CLIENT KILL addr:port`: answered with `OK` or `No such client`.
    Address(ClientFilter),
    /// Filters: answered with the number of clients.
    Filter(ClientFilter),
}

const SYNTAX_ERROR: &str = "ERR syntax error";

impl ClientFilter {
    /// Reads the arguments of `CLIENT LIST`.
    ///
    /// # Errors
    /// The server's text.
    pub fn for_list(args: &Args<'_>) -> Result<Self, String> {
        let mut filter = ClientFilter::default();
        let option = args.get(2).unwrap_or_default();
        if args.len() == 4 && option.eq_ignore_ascii_case(b"TYPE") {
            filter.set_type(args.get(3).unwrap_or_default())?;
        } else if args.len() > 3 && option.eq_ignore_ascii_case(b"ID") {
            let ids = args.iter().skip(3).map(parse_integer).collect();
            filter.ids = Some(Option::ok_or(ids, "ERR Invalid client ID")?);
        } else if args.len() > 2 {
            return Err(SYNTAX_ERROR.to_owned());
        }
        Ok(filter)
    }

    /// Reads the arguments of `CLIENT KILL`, sent by the client `own_id`. `is_user` says who there
    /// is.
    ///
    /// # Errors
    /// The server's text.
    pub fn for_kill(
        args: &Args<'_>,
        own_id: u64,
        is_user: impl Fn(&[u8]) -> bool,
    ) -> Result<Kill, String> {
        let mut filter = ClientFilter::default();
        if args.len() == 3 {
            filter.address = args.get(2).map(Box::from);
            return Ok(Kill::Address(filter));
        }
        filter.skipped = Some(own_id);
        for index in (2..args.len()).step_by(2) {
            let option = args.get(index).unwrap_or_default().to_ascii_uppercase();
            let value = args.get(index + 1).ok_or(SYNTAX_ERROR)?;
            match &*option {
                b"ID" => match parse_integer(value) {
                    Some(id @ 1..) => filter.ids = Some(vec![id]),
                    _ => return Err("ERR client-id should be greater than 0".to_owned()),
                },
                b"TYPE" => filter.set_type(value)?,
                b"ADDR" => filter.address = Some(value.into()),
                b"LADDR" => filter.local_address = Some(value.into()),
                b"USER" if is_user(value) => filter.user = Some(value.into()),
                b"USER" => return Err(no_such("ERR No such user", value)),
                b"SKIPME" if value.eq_ignore_ascii_case(b"yes") => filter.skipped = Some(own_id),
                b"SKIPME" if value.eq_ignore_ascii_case(b"no") => filter.skipped = None,
                b"MAXAGE" => match parse_integer(value) {
                    Some(seconds @ 1..) => filter.age_seconds_min = Some(seconds),
                    Some(_) => return Err("ERR maxage should be greater than 0".to_owned()),
                    None => return Err("ERR maxage is not an integer or out of range".to_owned()),
                },
                _ => return Err(SYNTAX_ERROR.to_owned()),
            }
        }
        Ok(Kill::Filter(filter))
    }

    fn set_type(&mut self, name: &[u8]) -> Result<(), String> {
        self.kind = Some(match &*name.to_ascii_lowercase() {
            b"normal" => ClientKind::Normal,
            b"pubsub" => ClientKind::Subscriber,
            b"replica" | b"slave" | b"master" | b"primary" => ClientKind::Node,
            _ => return Err(no_such("ERR Unknown client type", name)),
        });
        Ok(())
    }

    /// Whether the filter speaks of this client; `is_subscriber` is whether it has subscriptions.
    pub fn matches(&self, session: &Session, is_subscriber: bool, now_us: u64) -> bool {
        let kind = match is_subscriber {
            true => ClientKind::Subscriber,
            false => ClientKind::Normal,
        };
        let is = |wanted: &Option<Box<[u8]>>, own: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == own.as_bytes())
        };
        let age_seconds = now_us.saturating_sub(session.created_us) / 1_000_000;
        let ids = self.ids.as_ref();
        self.kind.is_none_or(|wanted| wanted == kind)
            && self.skipped != Some(session.id)
            && ids.is_none_or(|ids| ids.iter().any(|id| u64::try_from(*id) == Ok(session.id)))
            && is(&self.address, &session.address)
            && is(&self.local_address, &session.local_address)
            && is(&self.user, session.user().name())
            && self
                .age_seconds_min
                .is_none_or(|min| i64::try_from(age_seconds).is_ok_and(|age| age >= min))
    }
}

fn no_such(text: &str, name: &[u8]) -> String {
    format!("{text} '{}'", String::from_utf8_lossy(name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::acl::{Door, User};
    use crate::client::local::tests::with_args;

    fn session(id: u64) -> Session {
        let mut session = Session::new(id, "10.0.0.1:5", "10.0.0.2:6379", &Door::default(), 0);
        session.authenticate(Arc::new(User::unrestricted("app", None)));
        session
    }

    /// Which of the clients 1 to 3 are meant, client 1 asking; or the error. contract: C2
    fn check(line: &str, expected: Result<&[u64], &str>) {
        let words: Vec<_> = line.split(' ').collect();
        let filter = with_args(&words, |args| {
            if args.get(1) == Some(b"LIST") {
                return ClientFilter::for_list(args);
            }
            let is_user = |user: &[u8]| user == b"app" || user == b"default";
            match ClientFilter::for_kill(args, 1, is_user)? {
                Kill::Address(filter) | Kill::Filter(filter) => Ok(filter),
            }
        });
        let found = filter.map(|filter| {
            let ids = (1..=3).filter(|id| filter.matches(&session(*id), *id == 3, 20_000_000));
            ids.collect::<Vec<_>>()
        });
        let expected = expected.map(<[u64]>::to_vec).map_err(str::to_owned);
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn lists() {
        check("CLIENT LIST", Ok(&[1, 2, 3]));
        check("CLIENT LIST TYPE normal", Ok(&[1, 2]));
        check("CLIENT LIST type PubSub", Ok(&[3]));
        check("CLIENT LIST TYPE replica", Ok(&[]));
        check("CLIENT LIST ID 2 3 9 -1 0", Ok(&[2, 3]));
        check("CLIENT LIST TYPE foo", Err("ERR Unknown client type 'foo'"));
        check("CLIENT LIST TYPE", Err(SYNTAX_ERROR));
        check("CLIENT LIST ID", Err(SYNTAX_ERROR));
        check("CLIENT LIST ID x", Err("ERR Invalid client ID"));
        check("CLIENT LIST ID 1 TYPE normal", Err("ERR Invalid client ID"));
        check("CLIENT LIST FOO bar", Err(SYNTAX_ERROR));
    }

    #[test]
    fn kills() {
        check("CLIENT KILL 10.0.0.1:5", Ok(&[1, 2, 3]));
        check("CLIENT KILL ID", Ok(&[]));
        check("CLIENT KILL ID 2", Ok(&[2]));
        check("CLIENT KILL ID 1", Ok(&[]));
        check("CLIENT KILL ID 1 SKIPME no", Ok(&[1]));
        check("CLIENT KILL TYPE normal", Ok(&[2]));
        check("CLIENT KILL TYPE pubsub", Ok(&[3]));
        check("CLIENT KILL SKIPME yes", Ok(&[2, 3]));
        check("CLIENT KILL ADDR 10.0.0.1:5", Ok(&[2, 3]));
        check("CLIENT KILL LADDR 10.0.0.1:5", Ok(&[]));
        check("CLIENT KILL USER app ID 3", Ok(&[3]));
        check("CLIENT KILL USER default", Ok(&[]));
        check("CLIENT KILL MAXAGE 20", Ok(&[2, 3]));
        check("CLIENT KILL MAXAGE 21", Ok(&[]));
        let id = Err("ERR client-id should be greater than 0");
        check("CLIENT KILL ID x", id);
        check("CLIENT KILL ID 0", id);
        check("CLIENT KILL ID -5", id);
        check("CLIENT KILL ID 1 2", Err(SYNTAX_ERROR));
        check("CLIENT KILL ID 1 ADDR", Err(SYNTAX_ERROR));
        check("CLIENT KILL FOO bar", Err(SYNTAX_ERROR));
        check("CLIENT KILL TYPE normal SKIPME x", Err(SYNTAX_ERROR));
        check("CLIENT KILL USER x", Err("ERR No such user 'x'"));
        let age = "ERR maxage is not an integer or out of range";
        check("CLIENT KILL MAXAGE x", Err(age));
        check(
            "CLIENT KILL MAXAGE 0",
            Err("ERR maxage should be greater than 0"),
        );
    }
}
