//! One listener's door: its users, and what it lets nobody do.

use std::sync::Arc;

use super::commands::{CommandList, Permission};
use super::users::Users;
use crate::command::{Categories, Command, Handling, Local, Rights};

/// One listener's users and rules.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// Who may come in.
    pub users: Users,
    /// What nobody may do (`listen.deny`).
    pub deny: CommandList,
    /// What may be done all the same (`listen.allow`).
    pub allow: CommandList,
}

impl Door {
    /// What no rule allows.
    pub const NEVER: [&str; 4] = ["psync", "replconf", "script|debug", "sync"];

    /// One that lets nobody in, and in which whoever is in may do nothing.
    pub fn closed() -> Door {
        Door {
            users: Users::nobody(),
            ..Door::default()
        }
    }

    /// Whether every request has to be looked at, whoever sends it.
    pub fn denies_something(&self) -> bool {
        !self.deny.is_nothing()
    }

    /// The rule of `deny` that forbids a command with this first argument, if one does.
    pub fn denial(
        &self,
        command: &Command,
        rights: Rights,
        first_argument: Option<&[u8]>,
    ) -> Option<&str> {
        let is_in = |list: &CommandList| {
            list.permission(command, rights, first_argument) == Permission::Granted
        };
        // Who could not log in or leave could not be helped either.
        let is_needed = matches!(
            command.handling,
            Handling::Local(Local::Auth | Local::Hello | Local::Quit | Local::Reset)
        );
        (!is_needed && is_in(&self.deny) && !is_in(&self.allow))
            .then(|| self.deny.deciding_rule(command, rights))
    }

    /// Whether an operator command, refused by default, is allowed (contract: C7). What would change a
    /// connection that clients share, or users, never is.
    pub fn allows_operator(&self, command: &Command, rights: Rights) -> bool {
        let private = ["connection", "transaction", "pubsub"];
        let private = private
            .into_iter()
            .filter_map(|name| Categories::named(name.as_bytes()));
        let is_private = rights
            .categories
            .meets(private.fold(Categories::NONE, Categories::and));
        !is_private
            && !Door::NEVER.contains(&command.name)
            && self.allow.permission(command, rights, None) == Permission::Granted
    }
}

/// The doors of all listeners, in the order of their numbers: one immutable snapshot.
#[derive(Clone, Debug)]
pub struct Doors(pub Vec<Arc<Door>>);

impl Default for Doors {
    /// One listener's, through which everybody comes.
    fn default() -> Self {
        Doors(vec![Arc::default()])
    }
}

impl Doors {
    /// That of a listener. Where there is none, however that came about, nobody comes in: a door that is
    /// missing must not be an open one.
    pub fn of_listener(&self, number: u16) -> Arc<Door> {
        let door = self.0.get(usize::from(number)).cloned();
        door.unwrap_or_else(|| Arc::new(Door::closed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_is_missing_is_closed() {
        let doors = Doors::default();
        assert!(!doors.of_listener(0).users.wants_authentication());
        let missing = doors.of_listener(1);
        assert!(missing.users.wants_authentication());
        assert!(missing.users.authenticate(b"default", b"").is_none());
    }
}
