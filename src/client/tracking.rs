//! What a client asked for with `CLIENT TRACKING` (contract: S6).
//!
//! The servers decide whether a request for it is right; what they accepted is kept here, for
//! `CLIENT TRACKINGINFO` and to say it again on each further connection that reads for the client.

use std::collections::BTreeSet;

use crate::resp::{Args, write};

/// Redirected invalidations would come over another connection than the replies, and nothing would
/// keep the two in order.
pub const NO_REDIRECT: &str = "ERR CLIENT TRACKING REDIRECT is not served by Keyway: invalidations \
     come on the connection that tracks, in RESP3 (HELLO 3)";

/// Prefixes one client may have, in bytes: each of its connections repeats them when it is opened.
const PREFIX_BYTES_MAX: usize = 1 << 20;

/// Which reads are tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrackingMode {
    /// All.
    #[default]
    Default,
    /// None; instead all changes of keys with the prefixes are told.
    Broadcast,
    /// Those right after `CLIENT CACHING YES`.
    OptIn,
    /// All but those right after `CLIENT CACHING NO`.
    OptOut,
}

/// What is in effect for a client that tracks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    mode: TrackingMode,
    is_noloop: bool,
    prefixes: BTreeSet<Box<[u8]>>,
    /// `CLIENT CACHING` was said and holds for the next command.
    pub is_caching_said: bool,
}

/// One `CLIENT TRACKING`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackingChange {
    /// `OFF`.
    Off,
    /// `ON`; the servers have the last word about it.
    On(Tracking),
}

impl TrackingChange {
    /// Reads the arguments.
    ///
    /// # Errors
    /// The server's text, or Keyway's own for what it does not serve. What can be understood but makes
    /// no sense is left to the servers.
    pub fn parse(args: &Args<'_>) -> Result<TrackingChange, &'static str> {
        let mut wanted = Tracking::default();
        let mut index = 3;
        while let Some(option) = args.get(index) {
            let value = args.get(index + 1);
            match (&*option.to_ascii_lowercase(), value) {
                (b"redirect", Some(_)) => return Err(NO_REDIRECT),
                (b"prefix", Some(prefix)) => {
                    wanted.prefixes.insert(prefix.into());
                    index += 1;
                }
                (b"bcast", _) => wanted.mode = TrackingMode::Broadcast,
                (b"optin", _) => wanted.mode = TrackingMode::OptIn,
                (b"optout", _) => wanted.mode = TrackingMode::OptOut,
                (b"noloop", _) => wanted.is_noloop = true,
                _ => return Err("ERR syntax error"),
            }
            index += 1;
        }
        match &*args.get(2).unwrap_or_default().to_ascii_lowercase() {
            b"on" => Ok(TrackingChange::On(wanted)),
            b"off" => Ok(TrackingChange::Off),
            _ => Err("ERR syntax error"),
        }
    }
}

impl Tracking {
    /// Which reads are tracked.
    pub fn mode(&self) -> TrackingMode {
        self.mode
    }

    /// Whether changes by the client itself are not told to it.
    pub fn is_noloop(&self) -> bool {
        self.is_noloop
    }

    /// The prefixes, in the order in which a server lists them.
    pub fn prefixes(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.prefixes.iter().map(Box::as_ref)
    }

    /// What is in effect once servers have accepted `wanted`: options replace those before, prefixes
    /// are added.
    #[must_use]
    pub fn after(before: Option<&Tracking>, wanted: &Tracking) -> Tracking {
        let mut now = wanted.clone();
        if wanted.mode == TrackingMode::Broadcast {
            if wanted.prefixes.is_empty() {
                now.prefixes.insert(Box::default());
            }
            if let Some(before) = before {
                now.prefixes.extend(before.prefixes.iter().cloned());
            }
        }
        now.is_caching_said = before.is_some_and(|before| before.is_caching_said);
        now
    }

    /// Whether the prefixes are more than is kept for one client.
    pub fn is_too_large(&self) -> bool {
        let bytes: usize = self.prefixes.iter().map(|prefix| prefix.len() + 16).sum();
        bytes > PREFIX_BYTES_MAX
    }

    /// Appends the requests that put this into effect on a new connection, and returns how many.
    pub fn write_requests(&self, out: &mut Vec<u8>) -> usize {
        let mut base: Vec<&[u8]> = vec![b"CLIENT", b"TRACKING", b"ON"];
        base.extend(match self.mode {
            TrackingMode::Default => None,
            TrackingMode::Broadcast => Some(&b"BCAST"[..]),
            TrackingMode::OptIn => Some(&b"OPTIN"[..]),
            TrackingMode::OptOut => Some(&b"OPTOUT"[..]),
        });
        if self.is_noloop {
            base.push(b"NOLOOP");
        }
        // The empty prefix overlaps with all others; a server takes it without a word when it is not
        // named, and then it comes last.
        let named = self.prefixes().filter(|prefix| !prefix.is_empty());
        let named: Vec<&[u8]> = named.flat_map(|prefix| [&b"PREFIX"[..], prefix]).collect();
        let mut count = 0;
        if !named.is_empty() {
            write::command(out, &[&base[..], &named].concat());
            count += 1;
        }
        if named.is_empty() || self.prefixes.contains(&b""[..]) {
            write::command(out, &base);
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::local::tests::with_args;

    fn parse(line: &str) -> Result<TrackingChange, &'static str> {
        let words: Vec<_> = line.split(' ').collect();
        with_args(&words, TrackingChange::parse)
    }

    fn on(line: &str) -> Tracking {
        match parse(line) {
            Ok(TrackingChange::On(wanted)) => wanted,
            other => panic!("{line}: {other:?}"),
        }
    }

    /// contract: S6
    #[test]
    fn what_is_not_even_asked() {
        let syntax = Err("ERR syntax error");
        assert_eq!(parse("CLIENT TRACKING maybe"), syntax);
        assert_eq!(parse("CLIENT TRACKING on foo"), syntax);
        assert_eq!(parse("CLIENT TRACKING off foo"), syntax);
        assert_eq!(parse("CLIENT TRACKING on prefix"), syntax);
        assert_eq!(parse("CLIENT TRACKING on redirect"), syntax);
        assert_eq!(parse("CLIENT TRACKING on redirect 7"), Err(NO_REDIRECT));
        assert_eq!(parse("CLIENT TRACKING off bcast"), Ok(TrackingChange::Off));
    }

    /// The requests that a new connection begins with, after the client said these. contract: S6
    #[track_caller]
    fn check_repeated(said: &[&str], expected: &[&str]) {
        let mut now: Option<Tracking> = None;
        for line in said {
            now = Some(Tracking::after(now.as_ref(), &on(line)));
        }
        let (mut out, mut wanted) = (Vec::new(), Vec::new());
        let count = now.expect("something was said").write_requests(&mut out);
        for line in expected {
            let words: Vec<_> = line.split(' ').collect();
            write::command(&mut wanted, &words);
        }
        assert_eq!(
            out.escape_ascii().to_string(),
            wanted.escape_ascii().to_string()
        );
        assert_eq!(count, expected.len());
    }

    #[test]
    fn options_are_replaced_and_prefixes_added() {
        check_repeated(&["CLIENT TRACKING on"], &["CLIENT TRACKING ON"]);
        check_repeated(
            &["CLIENT TRACKING on noloop", "CLIENT TRACKING on optin"],
            &["CLIENT TRACKING ON OPTIN"],
        );
        check_repeated(
            &["CLIENT TRACKING on optout noloop"],
            &["CLIENT TRACKING ON OPTOUT NOLOOP"],
        );
        check_repeated(
            &[
                "CLIENT TRACKING on bcast prefix b prefix a",
                "CLIENT TRACKING on bcast noloop prefix c",
            ],
            &["CLIENT TRACKING ON BCAST NOLOOP PREFIX a PREFIX b PREFIX c"],
        );
        check_repeated(&["CLIENT TRACKING on bcast"], &["CLIENT TRACKING ON BCAST"]);
        check_repeated(
            &[
                "CLIENT TRACKING on bcast prefix a",
                "CLIENT TRACKING on bcast",
            ],
            &[
                "CLIENT TRACKING ON BCAST PREFIX a",
                "CLIENT TRACKING ON BCAST",
            ],
        );
    }
}
