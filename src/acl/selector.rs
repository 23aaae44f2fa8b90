//! One selector: commands, patterns of keys and patterns of channels that go together.

use super::commands::{CommandList, Permission};
use super::rules::{self, RuleError};
use crate::command::{self, Command, Handling, KeyUse, KeysError, Local, Rights, Subscription};
use crate::resp::Args;
use crate::routing::glob;

/// Why a request is refused. In the order in which the servers choose among what several selectors say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The user may not run the command.
    Command,
    /// It may not use the key at this place.
    Key(usize),
    /// Its keys cannot be told, and it may not use all keys.
    UnknownKeys,
    /// It may not use the channel at this place.
    Channel(usize),
}

/// A request that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its row.
    pub command: &'static Command,
    /// What the ACL asks about the row.
    pub rights: Rights,
    /// Its words.
    pub args: &'a Args<'a>,
    /// Where its keys are, if only a node could tell and has told.
    pub told_keys: Option<&'a [u32]>,
}

impl<'a> Request<'a> {
    /// A request of which nobody has told anything.
    pub fn new(command: &'static Command, rights: Rights, args: &'a Args<'a>) -> Request<'a> {
        Request {
            command,
            rights,
            args,
            told_keys: None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Box<[u8]>,
    may: KeyUse,
}

/// Commands, keys and channels that go together.
#[derive(Clone, Debug, Default)]
pub(super) struct Selector {
    pub(super) commands: CommandList,
    all_keys: bool,
    keys: Vec<KeyPattern>,
    all_channels: bool,
    channels: Vec<Box<[u8]>>,
}

impl Selector {
    /// A selector from what stands between parentheses.
    pub(super) fn of_rules(text: &[u8]) -> Result<Selector, RuleError> {
        let mut selector = Selector::default();
        for rule in text
            .split(u8::is_ascii_whitespace)
            .filter(|rule| !rule.is_empty())
        {
            selector.apply(rule)?;
        }
        selector.commands.settle();
        Ok(selector)
    }

    /// Changes it by one rule; the commands have to be settled after the last.
    pub(super) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let lower = rule.to_ascii_lowercase();
        match &*lower {
            b"allkeys" | b"~*" => {
                self.all_keys = true;
                self.keys.clear();
            }
            b"resetkeys" => {
                self.all_keys = false;
                self.keys.clear();
            }
            b"allchannels" | b"&*" => {
                self.all_channels = true;
                self.channels.clear();
            }
            b"resetchannels" => {
                self.all_channels = false;
                self.channels.clear();
            }
            b"allcommands" | b"+@all" => self.commands.set_all(true),
            b"nocommands" | b"-@all" => self.commands.set_all(false),
            [b'~', ..] => self.add_keys(&rule[1..], KeyUse::BOTH)?,
            [b'%', ..] => self.add_keys_used(&rule[1..])?,
            [b'&', ..] => self.add_channels(&rule[1..])?,
            [sign @ (b'+' | b'-'), name @ ..] => self.commands.change(name, *sign == b'+')?,
            _ => return Err(RuleError::Syntax),
        }
        Ok(())
    }

    /// `R~pattern`, `W~pattern`, `RW~pattern`
    fn add_keys_used(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        let end = memchr::memchr(b'~', rule).ok_or(RuleError::Syntax)?;
        let mut may = KeyUse::default();
        for letter in &rule[..end] {
            let flag = match letter.to_ascii_uppercase() {
                b'R' => &mut may.reads,
                b'W' => &mut may.writes,
                _ => return Err(RuleError::Syntax),
            };
            if std::mem::replace(flag, true) {
                return Err(RuleError::Syntax);
            }
        }
        self.add_keys(&rule[end + 1..], may)
    }

    fn add_keys(&mut self, pattern: &[u8], may: KeyUse) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::AfterAllKeys);
        }
        if rules::has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        let mut keys = self.keys.iter_mut();
        match keys.find(|own| *own.pattern == *pattern) {
            Some(own) => own.may = own.may.or(may),
            None => self.keys.push(KeyPattern {
                pattern: pattern.into(),
                may,
            }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::AfterAllChannels);
        }
        if rules::has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|own| **own == *pattern) {
            self.channels.push(pattern.into());
        }
        Ok(())
    }

    /// Whether it lets everything through.
    pub(super) fn is_everything(&self) -> bool {
        self.all_keys && self.all_channels && self.commands.is_everything()
    }

    /// Whether it lets a request through.
    pub(super) fn check(&self, request: &Request<'_>) -> Result<(), Denied> {
        let (command, args) = (request.command, request.args);
        if !needs_no_user(command) {
            let at = 1 + usize::from(command.name.contains('|'));
            let permission = self
                .commands
                .permission(command, request.rights, args.get(at));
            if permission == Permission::Refused {
                return Err(Denied::Command);
            }
        }
        if !self.all_keys && channels_of(command).is_none() {
            self.check_keys(request)?;
        }
        if !self.all_channels
            && let Some((kind, first)) = channels_of(command)
        {
            let last = if kind == Channels::Published {
                first + 1
            } else {
                args.len()
            };
            for at in first..last.min(args.len()) {
                if !self
                    .may_use_channel(args.get(at).unwrap_or_default(), kind == Channels::Patterns)
                {
                    return Err(Denied::Channel(at));
                }
            }
        }
        Ok(())
    }

    fn check_keys(&self, request: &Request<'_>) -> Result<(), Denied> {
        let check = |(nth, at): (usize, usize)| {
            let mut words = request.args.iter();
            let used = request.command.key_use(request.rights, nth, &mut words);
            match self.may_use_key(request.args.get(at).unwrap_or_default(), used) {
                true => Ok(()),
                false => Err(Denied::Key(at)),
            }
        };
        if let Some(told) = request.told_keys {
            return told
                .iter()
                .map(|at| *at as usize)
                .enumerate()
                .try_for_each(check);
        }
        match command::key_positions(request.command, request.args) {
            Ok(positions) => positions.iter().enumerate().try_for_each(check),
            // Keyway refuses it itself, whoever asks.
            Err(KeysError::Pairs) => Ok(()),
            // The servers would find the mistake when they run it; but what is a mistake for this table might
            // be none for a newer server.
            Err(
                KeysError::TooFew
                | KeysError::Count
                | KeysError::Streams
                | KeysError::Migrate
                | KeysError::Asked,
            ) => Err(Denied::UnknownKeys),
        }
    }

    /// Whether a key may be used so.
    fn may_use_key(&self, key: &[u8], used: KeyUse) -> bool {
        self.all_keys
            || self.keys.iter().any(|own| {
                let is_allowed = (own.may.reads || !used.reads) && (own.may.writes || !used.writes);
                is_allowed && glob::matches(&own.pattern, key)
            })
    }

    /// Whether any key at all may be read: what `SORT` with `BY` and `GET` needs.
    pub(super) fn may_read_all_keys(&self) -> bool {
        self.all_keys
            || self
                .keys
                .iter()
                .any(|own| own.may.reads && &*own.pattern == b"*")
    }

    /// Whether a channel may be used. A pattern may be subscribed to only if it is granted word for word.
    pub(super) fn may_use_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self.channels.iter().any(|own| match is_pattern {
                true => **own == *channel,
                false => glob::matches(own, channel),
            })
    }

    /// The patterns of keys, as rules.
    pub(super) fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let rules = self.keys.iter().map(|own| {
            let sign: &[u8] = match (own.may.reads, own.may.writes) {
                (true, false) => b"%R~",
                (false, true) => b"%W~",
                _ => b"~",
            };
            [sign, &own.pattern].concat()
        });
        rules.collect::<Vec<_>>().join(&b' ')
    }

    /// The patterns of channels, as rules.
    pub(super) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let rules = self.channels.iter().map(|own| [&b"&"[..], own].concat());
        rules.collect::<Vec<_>>().join(&b' ')
    }
}

/// What a command's channels are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Channels {
    Published,
    Plain,
    Patterns,
}

/// The channels of a command, and where the first is. Ending subscriptions is allowed to everyone.
fn channels_of(command: &Command) -> Option<(Channels, usize)> {
    match command.handling {
        Handling::Publish => Some((Channels::Published, 1)),
        Handling::Subscription(subscription) => match subscription {
            Subscription::Subscribe | Subscription::SSubscribe => Some((Channels::Plain, 1)),
            Subscription::PSubscribe => Some((Channels::Patterns, 1)),
            // No channel is looked at.
            Subscription::Unsubscribe | Subscription::PUnsubscribe | Subscription::SUnsubscribe => {
                Some((Channels::Plain, usize::MAX))
            }
        },
        _ => None,
    }
}

/// What everyone may run: that is how one becomes a user.
pub(super) fn needs_no_user(command: &Command) -> bool {
    matches!(
        command.handling,
        Handling::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset)
    )
}
