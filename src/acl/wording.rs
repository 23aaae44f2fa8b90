//! What a client is told that may not do something, as its servers would say it.

use super::selector::Denied;
use crate::command::Command;
use crate::resp::Args;

/// Whose words are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wording {
    /// Redis 7.0 and before.
    Redis70,
    /// Redis 7.2 and Valkey, and later.
    #[default]
    Later,
}

impl Wording {
    /// That of a server with this name and Redis version.
    pub fn of(server_name: &str, version: &str) -> Wording {
        let mut numbers = version.split('.').map(|number| number.parse().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        match server_name == "redis" && ((1, 0)..(7, 2)).contains(&version) {
            true => Wording::Redis70,
            false => Wording::Later,
        }
    }

    /// The error a client gets.
    pub fn refusal(self, user: &str, command: &Command, denied: Denied) -> String {
        let name = command.name;
        match (self, denied) {
            (Wording::Redis70, Denied::Command) => {
                format!("NOPERM this user has no permissions to run the '{name}' command")
            }
            (Wording::Redis70, Denied::Key(_) | Denied::UnknownKeys) => {
                "NOPERM this user has no permissions to access one of the keys used as arguments".to_owned()
            }
            (Wording::Redis70, Denied::Channel(_)) => {
                "NOPERM this user has no permissions to access one of the channels used as arguments".to_owned()
            }
            (Wording::Later, Denied::Command) => {
                format!("NOPERM User {user} has no permissions to run the '{name}' command")
            }
            (Wording::Later, Denied::Key(_) | Denied::UnknownKeys) => {
                "NOPERM No permissions to access a key".to_owned()
            }
            (Wording::Later, Denied::Channel(_)) => {
                "NOPERM No permissions to access a channel".to_owned()
            }
        }
    }

    /// What `ACL DRYRUN` says.
    pub fn verdict(
        self,
        user: &str,
        command: &Command,
        args: &Args<'_>,
        denied: Denied,
    ) -> Vec<u8> {
        let who = match self {
            Wording::Redis70 => "This user".to_owned(),
            Wording::Later => format!("User {user}"),
        };
        let (what, object, kind): (&str, &[u8], &str) = match denied {
            Denied::Command => ("run", command.name.as_bytes(), "command"),
            Denied::Key(at) => ("access", args.get(at).unwrap_or_default(), "key"),
            Denied::UnknownKeys => ("access", b"?", "key"),
            Denied::Channel(at) => ("access", args.get(at).unwrap_or_default(), "channel"),
        };
        let mut text = format!("{who} has no permissions to {what} the '").into_bytes();
        text.extend_from_slice(object);
        text.extend_from_slice(format!("' {kind}").as_bytes());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_version() {
        for (name, version, expected) in [
            ("redis", "6.2.6", Wording::Redis70),
            ("redis", "7.0.15", Wording::Redis70),
            ("redis", "7.2.0", Wording::Later),
            ("redis", "8.0.0", Wording::Later),
            ("redis", "", Wording::Later),
            ("valkey", "7.2.4", Wording::Later),
            ("valkey", "7.0.0", Wording::Later),
        ] {
            assert_eq!(Wording::of(name, version), expected, "{name} {version}");
        }
    }
}
