//! Rules about commands: `+get -@dangerous +config|get +select|0`.
//!
//! They are kept as they were given, and worked through in that order for each row of the table once. What
//! that gives is one bit for each row. Commands that are learnt later have the rules worked through when
//! they are asked about.

use super::rules::{self, RuleError};
use crate::command::{Categories, Command, Handling, ROWS_COUNT, Rights, row_named, supported};

/// Whether a command may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// It may.
    Granted,
    /// It may not.
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    Category(Categories),
    /// A command, all sub-commands of a container, or `command|first-argument`.
    Command,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    grants: bool,
    /// In lower case, of a category with its `@`.
    name: Box<str>,
    names: Names,
}

/// Commands that are granted.
#[derive(Clone, Debug)]
pub struct CommandList {
    /// What holds for a command that no rule names.
    grants_all: bool,
    rules: Vec<Rule>,
    bits: Box<[u64; WORDS]>,
    /// First arguments with which a row is granted all the same.
    first_arguments: Vec<(u16, Box<[u8]>)>,
}

const WORDS: usize = ROWS_COUNT.div_ceil(64);

impl Default for CommandList {
    /// Nothing is granted.
    fn default() -> Self {
        CommandList {
            grants_all: false,
            rules: Vec::new(),
            bits: Box::new([0; WORDS]),
            first_arguments: Vec::new(),
        }
    }
}

impl CommandList {
    /// From names as a configuration lists them, with or without `+`: `flushall`, `@dangerous`,
    /// `config|set`.
    ///
    /// # Errors
    /// The name, and what is wrong with it.
    pub fn of_names<'a>(
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, (&'a str, RuleError)> {
        let mut list = CommandList::default();
        for name in names {
            let bare = name.strip_prefix('+').unwrap_or(name);
            let known =
                if bare.eq_ignore_ascii_case("@all") || bare.eq_ignore_ascii_case("allcommands") {
                    list.set_all(true);
                    Ok(())
                } else {
                    list.change(bare.as_bytes(), true)
                };
            known.map_err(|error| (name, error))?;
        }
        list.settle();
        Ok(list)
    }

    /// Grants or refuses every command, also those that servers get later.
    pub(super) fn set_all(&mut self, grants: bool) {
        self.grants_all = grants;
        self.rules.clear();
    }

    /// Whether every command is granted, whatever its name.
    pub fn is_everything(&self) -> bool {
        self.grants_all && self.rules.is_empty()
    }

    /// Whether nothing is granted.
    pub fn is_nothing(&self) -> bool {
        !self.grants_all && !self.rules.iter().any(|rule| rule.grants)
    }

    /// Adds a rule: what stands behind `+` or `-`. [`CommandList::settle`] has to follow the last.
    pub(super) fn change(&mut self, name: &[u8], grants: bool) -> Result<(), RuleError> {
        let name = std::str::from_utf8(name).map_err(|_| RuleError::Unknown)?;
        let name = name.to_ascii_lowercase();
        let names = match name.strip_prefix('@') {
            Some(category) => {
                let category = Categories::named(category.as_bytes());
                Names::Category(category.ok_or(RuleError::Unknown)?)
            }
            None => {
                check_name(&name, grants)?;
                Names::Command
            }
        };
        self.rules.retain(|rule| {
            let behind = rule.name.strip_prefix(&*name);
            !behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('|'))
        });
        self.rules.push(Rule {
            grants,
            name: name.into(),
            names,
        });
        Ok(())
    }

    /// Works the rules through for every row of the table.
    pub(super) fn settle(&mut self) {
        *self.bits = [0; WORDS];
        self.first_arguments.clear();
        for (number, row) in supported().enumerate() {
            let rights = row.rights().unwrap_or(Rights::UNKNOWN);
            let mut first_arguments = Vec::new();
            if self.work_through(row, rights, &mut first_arguments) {
                self.bits[number / 64] |= 1 << (number % 64);
            }
            let row = number as u16;
            let own = first_arguments.into_iter();
            self.first_arguments
                .extend(own.map(|argument| (row, argument)));
        }
    }

    /// Whether a command is granted with this first argument.
    #[inline]
    pub fn permission(
        &self,
        command: &Command,
        rights: Rights,
        first_argument: Option<&[u8]>,
    ) -> Permission {
        let is_granted = match command.number() {
            Some(number) => {
                self.bits[number / 64] >> (number % 64) & 1 == 1
                    || self.grants_first_argument(number, first_argument)
            }
            None => {
                let mut first_arguments = Vec::new();
                self.work_through(command, rights, &mut first_arguments)
                    || first_argument.is_some_and(|given| is_among(given, first_arguments.iter()))
            }
        };
        match is_granted {
            true => Permission::Granted,
            false => Permission::Refused,
        }
    }

    fn grants_first_argument(&self, number: usize, given: Option<&[u8]>) -> bool {
        let of_row = self.first_arguments.iter();
        let of_row = of_row.filter(|(row, _)| usize::from(*row) == number);
        given.is_some_and(|given| is_among(given, of_row.map(|(_, argument)| argument)))
    }

    /// What the rules, in their order, make of one command.
    fn work_through(
        &self,
        command: &Command,
        rights: Rights,
        first_arguments: &mut Vec<Box<[u8]>>,
    ) -> bool {
        let name = command.name.to_ascii_lowercase();
        let container = name
            .split_once('|')
            .and_then(|(container, _)| row_named(container));
        let categories = match container.and_then(Command::rights) {
            // A rule that names a container names all it holds.
            Some(container) => rights.categories.and(container.categories),
            None => rights.categories,
        };
        let mut is_granted = self.grants_all;
        for rule in &self.rules {
            let is_named = match rule.names {
                Names::Category(category) => categories.meets(category),
                Names::Command => {
                    let behind = name.strip_prefix(&*rule.name);
                    behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('|'))
                }
            };
            if is_named {
                is_granted = rule.grants;
                first_arguments.clear();
            } else if rule.grants
                && let Some(argument) = rule.name.strip_prefix(&*name)
                && let Some(argument) = argument.strip_prefix('|')
            {
                first_arguments.push(argument.as_bytes().into());
            }
        }
        is_granted
    }

    /// The rule that decides about a command, as it was given: `@dangerous`, `flushall`.
    pub fn deciding_rule(&self, command: &Command, rights: Rights) -> &str {
        let mut last = "@all";
        for rule in &self.rules {
            let one = CommandList {
                rules: vec![rule.clone()],
                ..CommandList::default()
            };
            let mut first_arguments = Vec::new();
            if one.work_through(command, rights, &mut first_arguments)
                || !first_arguments.is_empty()
            {
                last = &rule.name;
            }
        }
        last
    }

    /// The rules, beginning with `+@all` or `-@all`.
    pub(super) fn describe(&self) -> String {
        let mut text = if self.grants_all { "+@all" } else { "-@all" }.to_owned();
        for rule in &self.rules {
            text.push(' ');
            text.push(if rule.grants { '+' } else { '-' });
            text.push_str(&rule.name);
        }
        text
    }
}

/// Whether a rule may name this. Commands of modules have a dot in their names and may be learnt later; for
/// anything else a name nobody knows is a mistake.
fn check_name(name: &str, grants: bool) -> Result<(), RuleError> {
    if rules::has_spaces(name.as_bytes()) || name.is_empty() {
        return Err(RuleError::Unknown);
    }
    let (command, behind) = match name.split_once('|') {
        Some((command, behind)) => (command, Some(behind)),
        None => (name, None),
    };
    let Some(row) = row_named(command) else {
        return match command.contains('.') {
            true => Ok(()),
            false => Err(RuleError::Unknown),
        };
    };
    let Some(behind) = behind else {
        return Ok(());
    };
    if row_named(name).is_some_and(|row| row.name == name) {
        return Ok(());
    }
    let is_container = row.handling == Handling::Container || row.name == "command";
    match behind {
        "" => Err(RuleError::Syntax),
        _ if behind.contains('|') => {
            let (subcommand, _) = name.rsplit_once('|').unwrap_or_default();
            Err(match row_named(subcommand) {
                Some(_) => RuleError::FirstArgument,
                None => RuleError::Unknown,
            })
        }
        // Only an allowed first argument can be named, no forbidden one.
        _ if is_container || !grants => Err(RuleError::Unknown),
        _ => Ok(()),
    }
}

fn is_among<'a>(given: &[u8], arguments: impl Iterator<Item = &'a Box<[u8]>>) -> bool {
    let mut arguments = arguments;
    arguments.any(|argument| argument.eq_ignore_ascii_case(given))
}
