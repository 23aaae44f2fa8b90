//! `[[users]]`: who may come in. What their rules mean is not known here; `control` has them read.

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::environment::{Environment, read_value_file};
use super::error::ConfigError;
use super::file::{File, Name, Value};
use super::nearest::nearest;
use super::secret::Secret;

/// The array of tables of users.
pub(super) const USERS: &str = "users";
/// `KEYWAY_USERS_<number>_<KEY>` sets a key of that table, counted from 1.
pub(super) const USERS_PREFIX: &str = "KEYWAY_USERS_";
/// More users belong into an ACL file.
const USERS_MAX: usize = 1_000;

/// The keys of a table.
const NAMES: [&str; 12] = [
    "name",
    "rules",
    "password",
    "password_file",
    "passwords",
    "password_files",
    "password_hashes",
    "upstream_username",
    "upstream_password",
    "upstream_password_file",
    "upstream_second_password",
    "upstream_second_password_file",
];

/// One user, as configured.
#[derive(Clone, Debug)]
pub struct UserSettings {
    /// Where it stands, for messages.
    pub place: String,
    /// Its name.
    pub name: String,
    /// Rules as `ACL SETUSER` takes them. Hidden, because passwords may be among them.
    pub rules: Secret,
    /// Its passwords, besides those in the rules.
    pub passwords: Vec<Secret>,
    /// Hashes (SHA-256, hexadecimal) of further ones.
    pub password_hashes: Vec<Secret>,
    /// As whom its commands go to the nodes, if not as the user of `[upstream]`.
    pub upstream: Option<UpstreamUser>,
    /// Files that were read for it.
    pub files: Vec<String>,
}

/// A user of the nodes.
#[derive(Clone, Debug)]
pub struct UpstreamUser {
    /// Its name there.
    pub username: String,
    /// Its passwords, in the order in which they are tried.
    pub passwords: Vec<Secret>,
}

/// What is given for one user.
#[derive(Debug, Default)]
pub(super) struct Given {
    place: String,
    name: Option<String>,
    rules: Option<String>,
    passwords: Vec<Secret>,
    password_hashes: Vec<Secret>,
    upstream_username: Option<String>,
    upstream_password: Option<Secret>,
    upstream_second_password: Option<Secret>,
    files: Vec<String>,
}

/// By their numbers, counted from 1.
pub(super) type GivenUsers = BTreeMap<usize, Given>;

impl Given {
    /// Sets a key. An empty password is a mistake: a variable that turned out empty must not open the door.
    fn set(&mut self, key: &str, texts: Vec<String>, place: &str) -> Result<(), ConfigError> {
        let wrong = |allowed: &str| ConfigError::Wrong {
            place: place.to_owned(),
            key: format!("{USERS}.{key}"),
            value: "***".to_owned(),
            allowed: allowed.to_owned(),
        };
        let one = || match texts.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(wrong("one text")),
        };
        let name_of = |name: String| {
            let is_name =
                !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '\0');
            is_name
                .then_some(name)
                .ok_or_else(|| wrong("text without spaces"))
        };
        match key {
            "name" => self.name = Some(name_of(one()?)?),
            "upstream_username" => self.upstream_username = Some(name_of(one()?)?),
            "upstream_password" | "upstream_second_password" => {
                let text = one()?;
                if text.is_empty() {
                    return Err(wrong("text that is not empty"));
                }
                self.set_upstream_password(key, Secret::new(text), &wrong)?;
            }
            "upstream_password_file" | "upstream_second_password_file" => {
                let path = one()?;
                let given = read_value_file(place, &path, true)?;
                if given.text.is_empty() {
                    return Err(wrong("the path of a file that is not empty"));
                }
                self.set_upstream_password(key, Secret::new(given.text), &wrong)?;
                self.files.push(path);
            }
            "rules" => self.rules = Some(one()?),
            "password" | "passwords" => {
                if texts.iter().any(String::is_empty) {
                    return Err(wrong("text that is not empty"));
                }
                self.passwords.extend(texts.into_iter().map(Secret::new));
            }
            "password_file" | "password_files" => {
                for path in texts {
                    let given = read_value_file(place, &path, true)?;
                    if given.text.is_empty() {
                        return Err(wrong("the path of a file that is not empty"));
                    }
                    self.passwords.push(Secret::new(given.text));
                    self.files.push(path);
                }
            }
            "password_hashes" => {
                let is_hash = |text: &String| {
                    text.len() == 64
                        && text
                            .bytes()
                            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
                };
                if !texts.iter().all(is_hash) {
                    return Err(wrong("SHA-256 hashes: 64 hexadecimal digits in lower case"));
                }
                self.password_hashes
                    .extend(texts.into_iter().map(Secret::new));
            }
            _ => return Err(unknown(place, key)),
        }
        Ok(())
    }
}

impl Given {
    fn set_upstream_password(
        &mut self,
        key: &str,
        password: Secret,
        wrong: &dyn Fn(&str) -> ConfigError,
    ) -> Result<(), ConfigError> {
        let place = match key.starts_with("upstream_second") {
            true => &mut self.upstream_second_password,
            false => &mut self.upstream_password,
        };
        match place.replace(password) {
            None => Ok(()),
            Some(_) => Err(wrong("the password or its file, not both")),
        }
    }

    /// The user of the nodes, if one is given whole.
    fn take_upstream(&mut self) -> Result<Option<UpstreamUser>, &'static str> {
        let passwords: Vec<Secret> = self
            .upstream_password
            .take()
            .into_iter()
            .chain(self.upstream_second_password.take())
            .collect();
        match (self.upstream_username.take(), passwords) {
            (None, passwords) if passwords.is_empty() => Ok(None),
            (None, _) => Err("upstream_password needs upstream_username: as whom?"),
            (Some(_), passwords) if passwords.is_empty() => {
                Err("upstream_username needs upstream_password: AUTH sends both")
            }
            (Some(username), passwords) => Ok(Some(UpstreamUser {
                username,
                passwords,
            })),
        }
    }
}

fn unknown(place: &str, key: &str) -> ConfigError {
    ConfigError::Unknown {
        place: place.to_owned(),
        what: "key of [[users]]",
        name: key.to_owned(),
        nearest: nearest(key, NAMES.into_iter()).map(str::to_owned),
    }
}

/// The users of a file.
pub(super) fn of_file(
    file: &File<'_>,
    value: &Value<'_>,
    users: &mut GivenUsers,
    errors: &mut Vec<ConfigError>,
) {
    let no_tables = |value: &Value<'_>| ConfigError::Wrong {
        place: file.place(value.span().start),
        key: USERS.to_owned(),
        value: "***".to_owned(),
        allowed: "an array of tables, [[users]]".to_owned(),
    };
    let DeValue::Array(tables) = value.get_ref() else {
        return errors.push(no_tables(value));
    };
    for (number, table) in (1..).zip(tables.iter()) {
        let DeValue::Table(keys) = table.get_ref() else {
            errors.push(no_tables(table));
            continue;
        };
        let given = users.entry(number).or_default();
        given.place = file.place(table.span().start);
        for (key, value) in keys {
            if let Err(error) = of_key(file, given, key, value) {
                errors.push(error);
            }
        }
    }
}

fn of_key(
    file: &File<'_>,
    given: &mut Given,
    key: &Name<'_>,
    value: &Value<'_>,
) -> Result<(), ConfigError> {
    let place = file.place(value.span().start);
    let key = key.get_ref();
    if !NAMES.contains(&key.as_ref()) {
        return Err(unknown(&place, key));
    }
    let path = format!("{USERS}.{key}");
    let wrong = || ConfigError::Wrong {
        place: place.clone(),
        key: path.clone(),
        value: "***".to_owned(),
        allowed: "text, or an array of texts for several".to_owned(),
    };
    let texts = match value.get_ref() {
        DeValue::String(text) => vec![file.expand(&path, text, value)?],
        DeValue::Array(items) => {
            let mut texts = Vec::new();
            for item in items.iter() {
                let DeValue::String(text) = item.get_ref() else {
                    return Err(wrong());
                };
                texts.push(file.expand(&path, text, item)?);
            }
            texts
        }
        _ => return Err(wrong()),
    };
    // Rules may be an array, one rule each.
    let texts = match key.as_ref() {
        "rules" => vec![texts.join(" ")],
        _ => texts,
    };
    given.set(key, texts, &place)
}

/// The users of the environment; they add to those of the file with the same numbers.
pub(super) fn of_environment(
    environment: &Environment,
    users: &mut GivenUsers,
    errors: &mut Vec<ConfigError>,
) {
    for (name, value) in environment.beginning_with(USERS_PREFIX) {
        let rest = &name[USERS_PREFIX.len()..];
        let parts = rest
            .split_once('_')
            .and_then(|(number, key)| Some((number.parse().ok()?, key)));
        let Some((number @ 1..=USERS_MAX, key)) = parts else {
            errors.push(unknown("environment", name));
            continue;
        };
        let given = users.entry(number).or_default();
        if given.place.is_empty() {
            given.place = "environment".to_owned();
        }
        let key = key.to_ascii_lowercase();
        let texts = match &*key {
            "passwords" | "password_files" | "password_hashes" => value
                .split(',')
                .map(|text| text.trim().to_owned())
                .collect(),
            _ => vec![value.to_owned()],
        };
        if let Err(error) = given.set(&key, texts, name) {
            errors.push(error);
        }
    }
}

/// The users, each with its name.
pub(super) fn settle(given: GivenUsers, errors: &mut Vec<ConfigError>) -> Vec<UserSettings> {
    let mut users: Vec<UserSettings> = Vec::new();
    for (number, mut given) in given {
        let Some(name) = given.name.take() else {
            errors.push(ConfigError::Missing {
                key: format!("{USERS}[{number}].name"),
                environment: format!("{USERS_PREFIX}{number}_NAME"),
                allowed: "text without spaces".to_owned(),
            });
            continue;
        };
        if users.iter().any(|other| other.name == name) {
            errors.push(ConfigError::Together(format!(
                "{}: user \"{name}\" is there twice",
                given.place
            )));
            continue;
        }
        let upstream = given.take_upstream().unwrap_or_else(|reason| {
            let place = &given.place;
            errors.push(ConfigError::Together(format!(
                "{place}: user \"{name}\": {reason}"
            )));
            None
        });
        users.push(UserSettings {
            place: given.place,
            name,
            rules: Secret::new(given.rules.unwrap_or_default()),
            passwords: given.passwords,
            password_hashes: given.password_hashes,
            upstream,
            files: given.files,
        });
    }
    users
}
