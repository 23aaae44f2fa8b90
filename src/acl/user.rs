//! One user: who it is, and what it may do.

use std::sync::Arc;

use super::identity::{Identity, IdentityNumber};
use super::password::PasswordHash;
use super::rules::{self, RuleError};
use super::selector::{Denied, Request, Selector, needs_no_user};

/// One user.
#[derive(Clone, Debug)]
pub struct User {
    pub(super) name: Box<str>,
    pub(super) is_on: bool,
    pub(super) needs_no_password: bool,
    /// Kept to be shown: Keyway restores nothing itself.
    pub(super) skips_sanitizing: bool,
    pub(super) passwords: Vec<PasswordHash>,
    /// The root selector first.
    pub(super) selectors: Vec<Selector>,
    is_unrestricted: bool,
    identity: Option<Arc<Identity>>,
}

impl User {
    /// A user as the servers make one: switched off, without a password, and allowed nothing.
    pub fn new(name: &str) -> User {
        User {
            name: name.into(),
            is_on: false,
            needs_no_password: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            selectors: vec![Selector::default()],
            is_unrestricted: false,
            identity: None,
        }
    }

    /// A user who may do everything, and needs a password if there is one.
    pub fn unrestricted(name: &str, password: Option<&[u8]>) -> User {
        let mut user = User::new(name);
        user.is_on = true;
        user.needs_no_password = password.is_none();
        user.passwords = password.map(PasswordHash::of).into_iter().collect();
        for rule in [&b"~*"[..], b"&*", b"+@all"] {
            user.root().apply(rule).expect("these rules exist");
        }
        user.settle();
        user
    }

    /// A user by rules.
    ///
    /// # Errors
    /// The first rule that is wrong, without a password in it, and why.
    pub fn of_rules<'a>(
        name: &str,
        rules: impl Iterator<Item = &'a [u8]>,
    ) -> Result<User, (String, RuleError)> {
        let mut user = User::new(name);
        for rule in rules {
            user.apply(rule)
                .map_err(|error| (rules::shown(rule), error))?;
        }
        user.settle();
        Ok(user)
    }

    fn root(&mut self) -> &mut Selector {
        &mut self.selectors[0]
    }

    /// Adds a password.
    pub fn add_password(&mut self, password: PasswordHash) {
        if !self.passwords.iter().any(|own| own.matches(&password)) {
            self.passwords.push(password);
        }
        self.needs_no_password = false;
    }

    fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        let lower = rule.to_ascii_lowercase();
        match &*lower {
            b"" => {}
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"skip-sanitize-payload" => self.skips_sanitizing = true,
            b"sanitize-payload" => self.skips_sanitizing = false,
            b"nopass" => {
                self.needs_no_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.needs_no_password = false;
                self.passwords.clear();
            }
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = User::new(&self.name),
            [b'>', ..] => self.add_password(PasswordHash::of(&rule[1..])),
            [b'#', ..] => {
                let hash = PasswordHash::from_hex(&rule[1..]).ok_or(RuleError::Hash)?;
                self.add_password(hash);
            }
            [b'<', ..] => self.remove_password(&PasswordHash::of(&rule[1..]))?,
            [b'!', ..] => {
                let hash = PasswordHash::from_hex(&rule[1..]).ok_or(RuleError::Hash)?;
                self.remove_password(&hash)?;
            }
            [b'(', .., b')'] => {
                let selector = Selector::of_rules(&rule[1..rule.len() - 1])?;
                self.selectors.push(selector);
            }
            _ => self.root().apply(rule)?,
        }
        Ok(())
    }

    fn remove_password(&mut self, password: &PasswordHash) -> Result<(), RuleError> {
        let before = self.passwords.len();
        self.passwords.retain(|own| !own.matches(password));
        match self.passwords.len() < before {
            true => Ok(()),
            false => Err(RuleError::NoSuchPassword),
        }
    }

    fn settle(&mut self) {
        self.root().commands.settle();
        self.is_unrestricted = self.selectors.iter().any(Selector::is_everything);
    }

    /// The same user, whose commands travel as this identity.
    #[must_use]
    pub fn travelling_as(mut self, identity: Arc<Identity>) -> User {
        self.identity = Some(identity);
        self
    }

    /// As whom its commands travel; without one as the service user.
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.as_ref()
    }

    /// The number of that identity.
    pub fn identity_number(&self) -> IdentityNumber {
        let identity = self.identity.as_ref();
        identity.map_or(IdentityNumber::SERVICE, |identity| identity.number())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether one may become this user at all.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether any password will do.
    pub fn needs_no_password(&self) -> bool {
        self.needs_no_password
    }

    /// Whether it may do everything, so that nothing has to be looked at.
    pub fn is_unrestricted(&self) -> bool {
        self.is_unrestricted
    }

    /// Whether this is one of its passwords. All are compared, whichever it is.
    pub fn has_password(&self, given: &PasswordHash) -> bool {
        let own = self.passwords.iter();
        let is_own = own.fold(false, |found, own| own.matches(given) | found);
        self.needs_no_password || is_own
    }

    /// Whether it may run a request.
    ///
    /// # Errors
    /// Why not: what the last of its selectors that came closest says.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Denied> {
        let mut denied = None;
        for selector in &self.selectors {
            match selector.check(request) {
                Ok(()) => return Ok(()),
                Err(reason) => denied = denied.max(Some(reason)),
            }
        }
        Err(denied.unwrap_or(Denied::Command))
    }

    /// Whether it may be subscribed to a channel or a pattern.
    pub fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        let mut selectors = self.selectors.iter();
        selectors.any(|selector| selector.may_use_channel(channel, is_pattern))
    }

    /// Which option of a `SORT` reads keys that nobody can tell, if the user may not read all keys.
    pub fn forbidden_sort_option(&self, request: &Request<'_>) -> Option<&'static str> {
        if !matches!(request.command.name, "sort" | "sort_ro") {
            return None;
        }
        let mut selectors = self.selectors.iter();
        if selectors.any(|own| own.may_read_all_keys() && own.check(request).is_ok()) {
            return None;
        }
        let mut at = 2;
        while let Some(word) = request.args.get(at) {
            let behind = request.args.get(at + 1);
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            at += match behind {
                // A pattern without a star names no key: the order is left as it is.
                Some(by) if is(b"by") && by.contains(&b'*') => return Some("BY"),
                Some(_) if is(b"get") => return Some("GET"),
                Some(_) if is(b"by") || is(b"store") => 2,
                Some(_) if is(b"limit") => 3,
                _ => 1,
            };
        }
        None
    }

    /// Whether anything may be run without being a user: for requests of those who are none yet.
    pub fn needs_no_user(command: &crate::command::Command) -> bool {
        needs_no_user(command)
    }
}
