//! All users of one door: an immutable snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::password::PasswordHash;
use super::rules::{self, RuleError};
use super::user::User;

/// The user of a client that named none.
pub const DEFAULT_USER: &str = "default";

/// What is wrong with an ACL file. Never holds a password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    /// A line that is no user.
    #[error("line {0}: should start with user keyword followed by the username")]
    NoUser(usize),
    /// A rule makes no sense.
    #[error("line {line}: {rule}: {error}")]
    Rule {
        /// Counted from 1.
        line: usize,
        /// The rule, without a password.
        rule: String,
        /// Why.
        error: RuleError,
    },
    /// Two lines for one user.
    #[error("line {line}: user '{name}' is there twice")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// Its name.
        name: String,
    },
}

/// Users by name, and who a client is that has said nothing.
#[derive(Clone, Debug)]
pub struct Users {
    by_name: BTreeMap<Box<str>, Arc<User>>,
    initial: Arc<User>,
    is_elsewhere: bool,
}

impl Default for Users {
    /// One user, who may do everything and needs no password.
    fn default() -> Self {
        Users::new(Vec::new(), None)
    }
}

impl Users {
    /// These users. `initial` is who a client is at first, and whom `AUTH password` means; without one it
    /// is the user `default`, and when that is not among them either, it is one who may do everything, as
    /// on the servers.
    pub fn new(users: Vec<Arc<User>>, initial: Option<Arc<User>>) -> Users {
        let mut by_name: BTreeMap<Box<str>, Arc<User>> = BTreeMap::new();
        for user in users.into_iter().chain(initial.clone()) {
            by_name.insert(user.name().into(), user);
        }
        let initial = initial.unwrap_or_else(|| {
            let default = by_name.entry(DEFAULT_USER.into());
            Arc::clone(default.or_insert_with(|| Arc::new(User::unrestricted(DEFAULT_USER, None))))
        });
        Users {
            by_name,
            initial,
            is_elsewhere: false,
        }
    }

    /// Nobody may come in.
    pub fn nobody() -> Users {
        Users {
            is_elsewhere: false,
            ..Users::at_the_nodes()
        }
    }

    /// Nobody is known here: the nodes say who may come in, and until then a client may do nothing.
    pub fn at_the_nodes() -> Users {
        let nobody = Arc::new(User::new(DEFAULT_USER));
        Users {
            by_name: BTreeMap::from([(DEFAULT_USER.into(), Arc::clone(&nobody))]),
            initial: nobody,
            is_elsewhere: true,
        }
    }

    /// Whether the nodes say who may come in.
    pub fn are_at_the_nodes(&self) -> bool {
        self.is_elsewhere
    }

    /// Who a client is at first.
    pub fn initial(&self) -> &Arc<User> {
        &self.initial
    }

    /// Whether a client has to say who it is before it may do anything.
    pub fn wants_authentication(&self) -> bool {
        !self.initial.is_on() || !self.initial.needs_no_password()
    }

    /// The user with this name.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(std::str::from_utf8(name).ok()?)
    }

    /// Everyone, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// The user with these credentials. A password is hashed and compared also when there is no such user:
    /// the time must not tell.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<&Arc<User>> {
        let given = PasswordHash::of(password);
        let user = self.get(name);
        let stranger = &self.initial;
        let is_right = user.unwrap_or(stranger).has_password(&given);
        user.filter(|user| is_right && user.is_on())
    }
}

/// Reads an ACL file as the servers write it: lines of `user <name> <rules>`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_file(text: &[u8]) -> Result<Vec<Arc<User>>, Vec<FileError>> {
    let mut users: Vec<Arc<User>> = Vec::new();
    let mut errors = Vec::new();
    for (line, text) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        match read_line(line, text.trim_ascii()) {
            Ok(None) => {}
            Ok(Some(user)) if users.iter().any(|other| other.name() == user.name()) => {
                let name = user.name().to_owned();
                errors.push(FileError::Twice { line, name });
            }
            Ok(Some(user)) => users.push(Arc::new(user)),
            Err(error) => errors.push(error),
        }
    }
    match errors.is_empty() {
        true => Ok(users),
        false => Err(errors),
    }
}

fn read_line(line: usize, text: &[u8]) -> Result<Option<User>, FileError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut words = text
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    let name = match (words.next(), words.next()) {
        (Some(b"user"), Some(name)) => std::str::from_utf8(name).ok(),
        _ => None,
    };
    let name = name.ok_or(FileError::NoUser(line))?;
    let wrong = |rule, error| FileError::Rule { line, rule, error };
    let rules = rules::join_selectors(words).map_err(|error| wrong("(".to_owned(), error))?;
    User::of_rules(name, rules.iter().map(Vec::as_slice))
        .map(Some)
        .map_err(|(rule, error)| wrong(rule, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let users = read_file(b"user default off\n\n user a on >p ~x (+get ~y z) \r\n");
        // `z` is no rule of a selector.
        let Err(errors) = users else {
            panic!("{users:?}")
        };
        assert_eq!(errors[0].to_string(), "line 3: (+get ~y z): Syntax error");
        let users =
            read_file(b"user default off\n\n user a on >p ~x (+get ~y) \r\n").expect("right");
        let names: Vec<&str> = users.iter().map(|user| user.name()).collect();
        assert_eq!(names, ["default", "a"]);
        for (text, expected) in [
            (
                "user",
                "line 1: should start with user keyword followed by the username",
            ),
            (
                "# comment",
                "line 1: should start with user keyword followed by the username",
            ),
            ("user a\nuser a", "line 2: user 'a' is there twice"),
            (
                "user a +nosuch",
                "line 1: +nosuch: Unknown command or category name in ACL",
            ),
            (
                "user a >p #p",
                "line 1: #***: The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
            ),
        ] {
            let errors = read_file(text.as_bytes()).expect_err("wrong");
            assert_eq!(errors[0].to_string(), expected, "{text}");
        }
    }

    #[test]
    fn who_is_let_in() {
        let user = |name, line: &str| {
            let rules = rules::split(line.as_bytes()).expect("rules");
            Arc::new(User::of_rules(name, rules.iter().map(Vec::as_slice)).expect("rules"))
        };
        let users = Users::new(
            vec![
                user("on", "on >one >two"),
                user("off", "off >one"),
                user("open", "on nopass"),
                user("none", "on"),
            ],
            None,
        );
        for (name, password, expected) in [
            ("on", "one", true),
            ("on", "two", true),
            ("on", "three", false),
            ("ON", "one", false),
            ("off", "one", false),
            ("open", "anything", true),
            ("none", "", false),
            ("nobody", "one", false),
            ("default", "x", true),
        ] {
            let found = users.authenticate(name.as_bytes(), password.as_bytes());
            assert_eq!(found.is_some(), expected, "{name} {password}");
        }
        assert!(!users.wants_authentication());
        let closed = Users::new(vec![user("default", "off nopass")], None);
        assert!(closed.wants_authentication());
    }
}
