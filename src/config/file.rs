//! The file as written: TOML, sections of keys, nothing unknown.
//!
//! It is read with places (`toml`'s own spans) rather than through derived types, so that a mistake
//! is told with its line, all mistakes at once, and with the name that was probably meant.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::{Environment, read_value_file};
use super::error::ConfigError;
use super::key::{Key, Shape};
use super::nearest::nearest;
use super::resolve::{Found, Given, Origin};
use super::settings::{KEYS, LISTEN, LISTENERS};
use super::users::{self, GivenUsers, USERS};

/// Longest piece of a value that an error message repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// A file being read.
pub(super) struct File<'a> {
    name: &'a str,
    text: &'a str,
    environment: &'a Environment,
}

/// Every value a file gives. `name` is the file's name, for messages.
pub(super) fn given(
    name: &str,
    text: &str,
    environment: &Environment,
    users: &mut GivenUsers,
    errors: &mut Vec<ConfigError>,
) -> Vec<Found> {
    let file = File {
        name,
        text,
        environment,
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            errors.push(ConfigError::Syntax {
                place: file.place(error.span().map_or(0, |span| span.start)),
                reason: error.message().replace('\n', ", "),
            });
            return Vec::new();
        }
    };
    let mut given = Vec::new();
    for (section, value) in &table {
        if section.get_ref() == LISTENERS {
            file.listeners(value, &mut given, errors);
            continue;
        }
        if section.get_ref() == USERS {
            users::of_file(&file, value, users, errors);
            continue;
        }
        match file.section(section, value) {
            Ok(keys) => {
                for (key, value) in keys {
                    match file.key(section.get_ref(), key, value) {
                        Ok((key, value)) => given.push(Found::of_key(key, value)),
                        Err(error) => errors.push(error),
                    }
                }
            }
            Err(error) => errors.push(error),
        }
    }
    given
}

pub(super) type Name<'i> = Spanned<std::borrow::Cow<'i, str>>;
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

impl File<'_> {
    /// The array of further listeners: each a table of the keys of `[listen]`.
    fn listeners(&self, value: &Value<'_>, given: &mut Vec<Found>, errors: &mut Vec<ConfigError>) {
        let DeValue::Array(tables) = value.get_ref() else {
            return errors.push(self.no_tables(value));
        };
        for (index, table) in tables.iter().enumerate() {
            let DeValue::Table(keys) = table.get_ref() else {
                errors.push(self.no_tables(table));
                continue;
            };
            let listener = index + 1;
            for (key, value) in keys {
                match self.key(LISTEN, key, value) {
                    Ok((key, given_value)) => given.push(Found {
                        listener: Some(listener),
                        key,
                        given: given_value,
                    }),
                    Err(error) => errors.push(error.in_listener(listener)),
                }
            }
        }
    }

    fn no_tables(&self, value: &Value<'_>) -> ConfigError {
        ConfigError::Wrong {
            place: self.place(value.span().start),
            key: LISTENERS.to_owned(),
            value: self.shown(value),
            allowed: "an array of tables, [[listeners]], each with keys of [listen]".to_owned(),
        }
    }

    /// The table of a known section.
    fn section<'v, 'i>(
        &self,
        name: &Name<'i>,
        value: &'v Value<'i>,
    ) -> Result<&'v DeTable<'i>, ConfigError> {
        let mut sections = KEYS.iter().map(|key| key.section).chain([LISTENERS, USERS]);
        if !sections.clone().any(|section| section == name.get_ref()) {
            // A key at the top level most likely lost its section.
            let of_key = KEYS.iter().find(|key| key.name == name.get_ref());
            let meant = match of_key {
                Some(key) => Some(key.path()),
                None => nearest(name.get_ref(), &mut sections).map(str::to_owned),
            };
            return Err(self.unknown("section", name, meant));
        }
        match value.get_ref() {
            DeValue::Table(keys) => Ok(keys),
            _ => Err(ConfigError::Wrong {
                place: self.place(value.span().start),
                key: name.get_ref().to_string(),
                value: self.shown(value),
                allowed: format!("a table: [{}]", name.get_ref()),
            }),
        }
    }

    /// The value of one key of a section.
    fn key(
        &self,
        section: &str,
        name: &Name<'_>,
        value: &Value<'_>,
    ) -> Result<(usize, Given), ConfigError> {
        let find = |name: &str| {
            KEYS.iter()
                .position(|key| key.section == section && key.name == name)
        };
        if let Some(index) = find(name.get_ref()) {
            return self.value(&KEYS[index], value).map(|text| {
                let place = self.place(value.span().start);
                let origin = Origin::File(place);
                (index, Given { text, origin })
            });
        }
        let secret = name
            .get_ref()
            .strip_suffix("_file")
            .and_then(find)
            .filter(|index| KEYS[*index].is_secret);
        if let Some(index) = secret {
            let place = self.place(value.span().start);
            let DeValue::String(path) = value.get_ref() else {
                return Err(ConfigError::Wrong {
                    place,
                    key: format!("{section}.{}", name.get_ref()),
                    value: self.shown(value),
                    allowed: "the path of a file that holds the secret".to_owned(),
                });
            };
            let path = self.expand(&KEYS[index].path(), path, value)?;
            return read_value_file(&place, &path, true).map(|given| (index, given));
        }
        let elsewhere = KEYS.iter().find(|key| key.name == name.get_ref());
        let meant = match elsewhere {
            Some(key) => Some(key.path()),
            None => {
                let own = KEYS.iter().filter(|key| key.section == section);
                nearest(name.get_ref(), own.map(|key| key.name)).map(str::to_owned)
            }
        };
        Err(self.unknown("key", name, meant))
    }

    /// The text of a value of the right shape.
    fn value(&self, key: &Key, value: &Value<'_>) -> Result<String, ConfigError> {
        let wrong = || ConfigError::Wrong {
            place: self.place(value.span().start),
            key: key.path(),
            value: if key.is_secret {
                "***".to_owned()
            } else {
                self.shown(value)
            },
            allowed: (key.allowed)(),
        };
        match (key.shape, value.get_ref()) {
            // A string does for every shape, so that `${NAME}` can stand for any value.
            (_, DeValue::String(text)) => self.expand(&key.path(), text, value),
            (Shape::Number, DeValue::Integer(number)) => {
                i128::from_str_radix(number.as_str(), number.radix())
                    .map(|number| number.to_string())
                    .map_err(|_| wrong())
            }
            (Shape::List, DeValue::Array(items)) => {
                let items: Option<Vec<_>> = items.iter().map(plain).collect();
                let items = items.ok_or_else(wrong)?;
                self.expand(&key.path(), &items.join(","), value)
            }
            (Shape::Map, DeValue::Table(pairs)) => {
                let pairs: Option<Vec<_>> = pairs
                    .iter()
                    .map(|(from, to)| pair(from.get_ref(), plain(to)?))
                    .collect();
                self.expand(&key.path(), &pairs.ok_or_else(wrong)?.join(","), value)
            }
            (Shape::Map, DeValue::Array(tables)) => {
                let pairs: Option<Vec<_>> = tables.iter().map(from_and_to).collect();
                self.expand(&key.path(), &pairs.ok_or_else(wrong)?.join(","), value)
            }
            _ => Err(wrong()),
        }
    }

    /// Puts the environment's values in place of `${NAME}`; `$${` stands for a plain `${`.
    pub(super) fn expand(
        &self,
        key: &str,
        text: &str,
        value: &Value<'_>,
    ) -> Result<String, ConfigError> {
        let mistake = |reason: String| ConfigError::Placeholder {
            place: self.place(value.span().start),
            key: key.to_owned(),
            reason,
        };
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from_placeholder) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = &from_placeholder[2..];
                continue;
            }
            let Some((name, after)) = from_placeholder[2..].split_once('}') else {
                return Err(mistake(
                    "`${` without its `}`; write `$${` for a plain `${`".to_owned(),
                ));
            };
            let Some(replacement) = self.environment.value(name) else {
                return Err(mistake(format!(
                    "the environment has no variable `{name}` for `${{{name}}}`"
                )));
            };
            expanded.push_str(before);
            expanded.push_str(replacement);
            rest = after;
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn unknown(&self, what: &'static str, name: &Name<'_>, nearest: Option<String>) -> ConfigError {
        ConfigError::Unknown {
            place: self.place(name.span().start),
            what,
            name: name.get_ref().to_string(),
            nearest,
        }
    }

    /// File and line of a byte offset.
    pub(super) fn place(&self, offset: usize) -> String {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        format!("{} line {line}", self.name)
    }

    /// A value as written, cut when long.
    fn shown(&self, value: &Value<'_>) -> String {
        let written = self.text.get(value.span()).unwrap_or_default();
        let mut shown: String = written.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < written.len() {
            shown.push_str("...");
        }
        shown
    }
}

/// A string that can be part of a comma-separated text.
fn plain<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value.get_ref() {
        DeValue::String(text) if !text.contains(',') => Some(text),
        _ => None,
    }
}

/// `from=to`.
fn pair(from: &str, to: &str) -> Option<String> {
    let is_plain = |text: &str| !text.contains([',', '=']);
    (is_plain(from) && is_plain(to)).then(|| format!("{from}={to}"))
}

/// One `[[section.key]]` with `from` and `to`, and nothing else.
fn from_and_to(value: &Value<'_>) -> Option<String> {
    let DeValue::Table(table) = value.get_ref() else {
        return None;
    };
    let (from, to) = (table.get("from")?, table.get("to")?);
    (table.len() == 2)
        .then(|| pair(plain(from)?, plain(to)?))
        .flatten()
}
