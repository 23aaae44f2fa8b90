//! From what servers say of a command to its row (contract: R2).
//!
//! [`Announced`] is a server's word, as plain data. What Keyway makes of it is decided here: where the keys
//! are, whether it may be repeated, and what is done with it, which follows the tips. What could change
//! a connection that clients share, or is for operators, is refused: a row by hand has to say that it
//! is harmless.

use std::collections::HashMap;

use super::rights::{Categories, KeyUse, Rights};
use super::row::{Access, Command, Flags, Handling, Keys, Merge};
use super::spec::{Begin, Find, KeySpec, KeySpecs};

/// What a server says of one command or sub-command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Announced {
    /// Its name; of a sub-command `container|sub`.
    pub name: String,
    /// Number of arguments; negative: at least so many.
    pub arity: i16,
    /// `readonly`, `blocking` ...
    pub flags: Vec<String>,
    /// Position of the first key, of the last, and the distance between keys; zeros without keys.
    pub range: (i32, i32, i32),
    /// ACL categories, with their `@`.
    pub categories: Vec<String>,
    /// `request_policy:all_shards` ...
    pub tips: Vec<String>,
    /// Its key specifications; empty also from servers that know none.
    pub specs: Vec<AnnouncedSpec>,
    /// Whether it has sub-commands.
    pub is_container: bool,
}

/// One key specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnnouncedSpec {
    /// Where the search begins; `None` when the server does not know.
    pub begin: Option<AnnouncedBegin>,
    /// What is a key from there on; `None` when the server does not know.
    pub find: Option<AnnouncedFind>,
    /// There may be keys it does not speak of.
    pub is_incomplete: bool,
    /// What the command does with these keys, where the server says it.
    pub key_use: Option<KeyUse>,
}

/// As [`Begin`], with a word of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as Begin
pub enum AnnouncedBegin {
    Index(u32),
    Keyword(String, i32),
}

/// As [`Find`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // as Find
pub enum AnnouncedFind {
    Range { last: i32, step: u32, limit: u32 },
    Counted { count: u32, first: u32, step: u32 },
}

/// Makes rows that live as long as the process, each but once: what servers announce again and again
/// costs memory one time.
#[derive(Debug)]
pub struct Interner {
    rows: HashMap<Announced, &'static Command>,
    rows_max: usize,
}

impl Interner {
    /// Makes at most so many rows, over the life of the process.
    pub fn new(rows_max: usize) -> Interner {
        Interner {
            rows: HashMap::new(),
            rows_max,
        }
    }

    /// The row of a command; `None` when there are too many.
    pub fn row(&mut self, announced: &Announced) -> Option<&'static Command> {
        if let Some(row) = self.rows.get(announced) {
            return Some(row);
        }
        if self.rows.len() >= self.rows_max {
            return None;
        }
        let row: &'static Command = Box::leak(Box::new(announced.to_row()));
        self.rows.insert(announced.clone(), row);
        Some(row)
    }
}

impl Announced {
    fn to_row(&self) -> Command {
        let keys = self.keys();
        let mut flags = Flags::LEARNT;
        if self.has_flag("no_multi") {
            flags = flags.and(Flags::NO_MULTI);
        }
        Command {
            name: String::leak(self.name.clone()),
            arity: self.arity,
            access: self.access(),
            keys,
            handling: self.handling(keys),
            across: None,
            flags,
        }
    }

    /// What the ACL asks about it. Where the server does not say how keys are used, everything is feared
    /// that the command may do.
    pub fn rights(&self) -> Rights {
        let names = self
            .categories
            .iter()
            .filter_map(|name| name.strip_prefix('@'));
        let categories = names.filter_map(|name| Categories::named(name.as_bytes()));
        let feared = KeyUse::of_access(self.access());
        let of = |spec: &AnnouncedSpec| spec.key_use.unwrap_or(feared);
        let all = self.specs.iter().map(of).reduce(KeyUse::or);
        let all = all.unwrap_or(feared);
        let is_one_key = |spec: &AnnouncedSpec| {
            matches!(spec.find, Some(AnnouncedFind::Range { last: 0, .. }))
                && matches!(spec.begin, Some(AnnouncedBegin::Index(_)))
        };
        let (first_key, other_keys) = match self.specs.as_slice() {
            [first, others @ ..] if is_one_key(first) => {
                let others = others.iter().map(of).reduce(KeyUse::or);
                (of(first), others.unwrap_or(of(first)))
            }
            _ => (all, all),
        };
        Rights {
            categories: categories.fold(Categories::NONE, Categories::and),
            first_key,
            other_keys,
        }
    }

    fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }

    fn is_in(&self, category: &str) -> bool {
        self.categories.iter().any(|own| own == category)
    }

    fn tip(&self, name: &str) -> Option<&str> {
        let mut tips = self.tips.iter();
        tips.find_map(|tip| tip.strip_prefix(name)?.strip_prefix(':'))
    }

    fn access(&self) -> Access {
        match (self.has_flag("readonly"), self.has_flag("write")) {
            (_, true) => Access::Write,
            (true, false) => Access::Read,
            // It may do anything.
            (false, false) => Access::Effect,
        }
    }

    fn handling(&self, keys: Keys) -> Handling {
        let is_bare_allowed = self.arity == 1 || self.arity == -1;
        if self.is_container && !is_bare_allowed {
            return Handling::Container;
        }
        let changes_connection = self.has_flag("pubsub")
            || self.has_flag("no_auth")
            || self.is_in("@connection")
            || self.is_in("@transaction");
        if self.has_flag("admin") || changes_connection {
            return Handling::Refused;
        }
        if self.has_flag("blocking") {
            return Handling::Blocking;
        }
        let merge = self.merge();
        match self.tip("request_policy") {
            Some("all_shards") => Handling::Primaries(merge.unwrap_or(Merge::Concat)),
            // Replicas refuse writes, and get them from their primaries.
            Some("all_nodes") if self.access() == Access::Write => {
                Handling::Primaries(merge.unwrap_or(Merge::Concat))
            }
            Some("all_nodes") => Handling::Nodes(merge.unwrap_or(Merge::Concat)),
            Some("multi_shard") if self.can_be_split(keys) => {
                Handling::Split(merge.unwrap_or(Merge::ByKey))
            }
            _ if keys != Keys::None => Handling::Keyed,
            _ if self.arity == 1 => Handling::Anywhere,
            // Nobody says where it is at home. What it speaks of is most often its first argument; so at
            // least all clients speak of it to the same node.
            _ => Handling::HashArgument(1 + u8::from(self.name.contains('|'))),
        }
    }

    /// Servers say of `MSETNX`, too, that it may be sent in parts, and that the smallest reply stands for
    /// all. It would not be all or nothing any more (contract: M2).
    fn can_be_split(&self, keys: Keys) -> bool {
        let is_all_or_nothing =
            self.has_flag("write") && self.tip("response_policy") == Some("agg_min");
        let is_special = self.tip("response_policy") == Some("special");
        matches!(keys, Keys::Range { .. }) && !is_all_or_nothing && !is_special
    }

    /// `None` where nothing is said, or that it is special.
    fn merge(&self) -> Option<Merge> {
        Some(match self.tip("response_policy")? {
            "one_succeeded" => Merge::OneSucceeded,
            "all_succeeded" => Merge::AllSucceeded,
            "agg_sum" => Merge::Sum,
            "agg_min" => Merge::Min,
            "agg_max" => Merge::Max,
            "agg_logical_and" => Merge::LogicalAnd,
            "agg_logical_or" => Merge::LogicalOr,
            _ => return None,
        })
    }

    fn keys(&self) -> Keys {
        let is_movable = self.has_flag("movablekeys");
        let known: Vec<KeySpec> = match self.specs.is_empty() {
            true => self.spec_of_range().into_iter().collect(),
            false => self.specs.iter().filter_map(AnnouncedSpec::leak).collect(),
        };
        // Before Redis 7 there are no specifications. Later a module that finds its keys by itself shows
        // the range it was registered with, and no other sign than this flag.
        let finds_itself = is_movable
            && (self.specs.is_empty() || self.has_flag("module") && !self.specs_explain_movable());
        let is_unknown = known.len() < self.specs.len();
        let is_incomplete = self.specs.iter().any(|spec| spec.is_incomplete);
        match known.as_slice() {
            _ if finds_itself || is_unknown || is_incomplete => Keys::Asked(leak(known)),
            [] => Keys::None,
            [one] => match self.simple(*one) {
                Some(keys) => keys,
                None => Keys::Specs(leak(known)),
            },
            _ => Keys::Specs(leak(known)),
        }
    }

    fn spec_of_range(&self) -> Option<KeySpec> {
        let (first, last, step) = self.range;
        let index = u32::try_from(first).ok().filter(|first| *first > 0)?;
        Some(KeySpec {
            begin: Begin::Index(index),
            find: Find::Range {
                last: if last >= 0 { last - first } else { last },
                step: u32::try_from(step).unwrap_or(1).max(1),
                limit: 0,
            },
        })
    }

    /// One specification as the table writes it, where that means the same.
    fn simple(&self, spec: KeySpec) -> Option<Keys> {
        let Begin::Index(index) = spec.begin else {
            return None;
        };
        let small = |number: u32| u8::try_from(number).ok();
        match spec.find {
            Find::Range { last, step, limit } => {
                // With a longer step the table refuses what does not come in pairs; a server leaves that
                // to the command. Where a request is split it has to be so.
                let is_split = self.tip("request_policy") == Some("multi_shard");
                if limit > 1 || (step > 1 && !is_split) {
                    return None;
                }
                let last = if last >= 0 {
                    i32::try_from(index).ok()? + last
                } else {
                    last
                };
                Some(Keys::Range {
                    first: small(index)?,
                    last: i8::try_from(last).ok()?,
                    step: small(step)?,
                })
            }
            Find::Counted { count, first, step } => Some(Keys::Counted {
                count: small(index + count)?,
                first: small(index + first)?,
                step: small(step)?,
            }),
        }
    }

    /// Whether the specifications themselves are why the keys are called movable: something else than
    /// one plain range.
    fn specs_explain_movable(&self) -> bool {
        let mut behind = None;
        self.specs
            .iter()
            .any(|spec| match (&spec.begin, spec.find) {
                (
                    Some(AnnouncedBegin::Index(at)),
                    Some(AnnouncedFind::Range { last, step, .. }),
                ) => {
                    let at = i64::from(*at);
                    let goes_on = behind.is_none_or(|behind| behind == at);
                    behind = Some(at + i64::from(last) + 1);
                    self.specs.len() > 1 && (!goes_on || step != 1)
                }
                _ => true,
            })
    }
}

fn leak(specs: Vec<KeySpec>) -> &'static KeySpecs {
    Box::leak(Box::new(KeySpecs(specs.into())))
}

impl AnnouncedSpec {
    /// For the life of the process, if it is known.
    fn leak(&self) -> Option<KeySpec> {
        let (begin, find) = (self.begin.as_ref()?, self.find?);
        let begin = match begin {
            AnnouncedBegin::Index(index) => Begin::Index(*index),
            AnnouncedBegin::Keyword(word, from) => Begin::Keyword {
                word: String::leak(word.clone()),
                from: *from,
            },
        };
        let find = match find {
            AnnouncedFind::Range { last, step, limit } => Find::Range { last, step, limit },
            AnnouncedFind::Counted { count, first, step } => Find::Counted { count, first, step },
        };
        Some(KeySpec { begin, find })
    }
}

#[cfg(test)]
#[path = "announced_tests.rs"]
mod tests;
