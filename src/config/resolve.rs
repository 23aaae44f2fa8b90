//! From the file, the environment and the defaults to one value for each key.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use super::environment::Environment;
use super::error::{ConfigError, ConfigErrors};
use super::file;
use super::key::Key;
use super::kind::{FilePath, Kind, ListenAddress, Optional};
use super::settings::{KEYS, LISTEN, ListenSettings, Sections, Settings};
use super::users::{self, GivenUsers};

/// What stands in for a secret wherever values are shown.
pub(super) const HIDDEN: &str = "***";

/// The settings, and for each key where its value came from.
#[derive(Debug)]
pub struct Effective {
    /// The settings as used.
    pub settings: Settings,
    /// For each of [`KEYS`] its text and origin; secrets are hidden already.
    pub(super) given: Vec<Option<Given>>,
    /// The same for each of the further listeners; only keys of `[listen]`.
    pub(super) listeners: Vec<Vec<Option<Given>>>,
}

impl Effective {
    /// Files whose contents are values.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let listeners = self.listeners.iter().flatten();
        let given = self.given.iter().chain(listeners).flatten();
        let of_keys = given.filter_map(|given| match &given.origin {
            Origin::ContentOf { path, .. } => Some(path.as_str()),
            Origin::Default | Origin::File(_) | Origin::Environment(_) => None,
        });
        let of_users = self.settings.users.iter().flat_map(|user| &user.files);
        of_keys.chain(of_users.map(String::as_str))
    }
}

/// A value somebody gave for a key.
pub(super) struct Found {
    /// Which table of `[[listeners]]`, counted from 1; `None` for the ordinary key.
    pub(super) listener: Option<usize>,
    /// The key's place in [`KEYS`].
    pub(super) key: usize,
    pub(super) given: Given,
}

impl Found {
    /// For an ordinary key.
    pub(super) fn of_key(key: usize, given: Given) -> Found {
        Found {
            listener: None,
            key,
            given,
        }
    }
}

/// A value somebody gave, as text.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// `settings.rs`.
    Default,
    /// File and line.
    File(String),
    /// The name of the variable.
    Environment(String),
    /// The content of a file that a variable or a `*_file` key names.
    ContentOf { path: String, named_by: String },
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => out.write_str("default"),
            Origin::File(place) => out.write_str(place),
            Origin::Environment(name) => out.write_str(name),
            Origin::ContentOf { path, named_by } => write!(out, "{path} ({named_by})"),
        }
    }
}

/// Resolves the whole configuration. `file` may be missing: the environment alone is enough.
///
/// # Errors
/// Every mistake in the file, the environment and their combination.
pub fn resolve(file: Option<&Path>, environment: &Environment) -> Result<Effective, ConfigErrors> {
    let Some(path) = file else {
        return resolve_text(None, environment);
    };
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigErrors(vec![ConfigError::Unreadable {
            place: "configuration".to_owned(),
            path: name.clone(),
            reason: error.to_string(),
        }])
    })?;
    resolve_text(Some((&name, &text)), environment)
}

/// As [`resolve`], with the file's name and text in place of its path.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_text(
    file: Option<(&str, &str)>,
    environment: &Environment,
) -> Result<Effective, ConfigErrors> {
    let mut values = Values::none();
    let mut users = GivenUsers::new();
    if let Some((name, text)) = file {
        let from_file = file::given(name, text, environment, &mut users, &mut values.errors);
        values.layer(from_file);
    }
    let from_environment = environment.given(&mut values.errors);
    values.layer(from_environment);
    users::of_environment(environment, &mut users, &mut values.errors);
    let users = users::settle(users, &mut values.errors);

    let inherited = values.given.clone();
    let sections = Sections::read(&mut values);
    // A mistake in what they inherit would be told once for each.
    let mut listeners = Some(Vec::new());
    if sections.is_some() {
        let read = (0..values.listeners.len()).map(|index| values.read_listener(index, &inherited));
        listeners = read.collect::<Vec<_>>().into_iter().collect();
    }
    let Values {
        given,
        listeners: listeners_given,
        mut errors,
        ..
    } = values;
    let settings = sections
        .zip(listeners)
        .map(|(sections, listeners)| Settings::from_sections(sections, listeners, users));
    if let Some(settings) = &settings {
        let contradictions = settings.contradictions();
        errors.extend(contradictions.into_iter().map(ConfigError::Together));
    }
    match settings {
        Some(settings) if errors.is_empty() => Ok(Effective {
            settings,
            given,
            listeners: listeners_given,
        }),
        _ => Err(ConfigErrors(errors)),
    }
}

/// Where the admin port of a running Keyway is, and whether it speaks TLS, as far as can be told: what is wrong with
/// other settings, or with these, is no reason not to ask it. It may run with what stood there before.
pub fn admin_port(file: Option<&Path>, environment: &Environment) -> (Option<SocketAddr>, bool) {
    let mut values = Values::none();
    let mut mistakes = Vec::new();
    let text = file.and_then(|path| std::fs::read_to_string(path).ok());
    if let Some(text) = text {
        let users = &mut GivenUsers::new();
        values.layer(file::given("", &text, environment, users, &mut mistakes));
    }
    values.layer(environment.given(&mut mistakes));
    let address = values.read_or_default::<Optional<ListenAddress>>("admin", "address");
    let certificate = values.read_or_default::<Optional<FilePath>>("admin", "tls_certificate");
    (address.flatten(), certificate.flatten().is_some())
}

/// The values given so far, one place for each of [`KEYS`], and what was wrong.
pub(super) struct Values {
    given: Vec<Option<Given>>,
    /// The same for each of the further listeners.
    listeners: Vec<Vec<Option<Given>>>,
    /// The listener whose values `given` holds at the moment, counted from 1.
    of_listener: Option<usize>,
    errors: Vec<ConfigError>,
}

impl Values {
    fn none() -> Self {
        Values {
            given: vec![None; KEYS.len()],
            listeners: Vec::new(),
            of_listener: None,
            errors: Vec::new(),
        }
    }

    /// The settings of one further listener. What it does not give is as in `[listen]`, but for what
    /// tells the two apart.
    fn read_listener(
        &mut self,
        index: usize,
        inherited: &[Option<Given>],
    ) -> Option<ListenSettings> {
        let number = index + 1;
        let mut own = std::mem::take(&mut self.listeners[index]);
        for ((key, given), inherited) in KEYS.iter().zip(&mut own).zip(inherited) {
            let by_default = |text: &str| {
                Some(Given {
                    text: text.to_owned(),
                    origin: Origin::Default,
                })
            };
            if key.section == LISTEN && given.is_none() {
                *given = match key.name {
                    "name" => by_default(&format!("listener-{number}")),
                    "address" | "unix_socket" => by_default(""),
                    _ => inherited.clone(),
                };
            }
        }
        let common = std::mem::replace(&mut self.given, own);
        self.of_listener = Some(number);
        let settings = ListenSettings::read(self);
        self.of_listener = None;
        self.listeners[index] = std::mem::replace(&mut self.given, common);
        settings
    }

    /// Notes a mistake.
    fn refuse(&mut self, error: ConfigError) {
        self.errors.push(match self.of_listener {
            Some(number) => error.in_listener(number),
            None => error,
        });
    }

    /// Puts the values of one source over those of the sources before.
    fn layer(&mut self, source: Vec<Found>) {
        let mut from_here = HashSet::new();
        for found in source {
            let place = (found.listener.unwrap_or(0), found.key);
            let given = self.place(found.listener, found.key);
            let before = given.replace(found.given);
            if !from_here.insert(place) {
                let second = given.as_ref().map(|given| given.origin.to_string());
                let error = ConfigError::Twice {
                    key: KEYS[found.key].path(),
                    first: before.map_or_else(String::new, |given| given.origin.to_string()),
                    second: second.unwrap_or_default(),
                };
                self.errors.push(match found.listener {
                    Some(number) => error.in_listener(number),
                    None => error,
                });
            }
        }
    }

    fn place(&mut self, listener: Option<usize>, key: usize) -> &mut Option<Given> {
        let Some(listener) = listener else {
            return &mut self.given[key];
        };
        if self.listeners.len() < listener {
            self.listeners.resize(listener, vec![None; KEYS.len()]);
        }
        &mut self.listeners[listener - 1][key]
    }

    /// The value of one key: as given, else its default. A mistake is noted and gives `None`.
    pub(super) fn read<K: Kind>(&mut self, section: &str, name: &str) -> Option<K::Value> {
        let index = KEYS
            .iter()
            .position(|key| key.section == section && key.name == name)
            .expect("the macro that declares the keys also reads them");
        let key = &KEYS[index];
        let given = &mut self.given[index];
        if given.is_none() {
            *given = key.default.map(|default| Given {
                text: default.to_owned(),
                origin: Origin::Default,
            });
        }
        let Some(given) = given else {
            let absent = K::absent();
            // After another mistake it is likelier given wrongly (misspelt, say) than missing.
            if absent.is_none() && self.errors.is_empty() {
                self.refuse(ConfigError::Missing {
                    key: key.path(),
                    environment: key
                        .short
                        .map_or_else(|| key.environment_name(), str::to_owned),
                    allowed: K::allowed(),
                });
            }
            return absent;
        };
        let value = K::read(&given.text);
        if K::IS_SECRET {
            given.text = HIDDEN.to_owned();
        }
        if value.is_none() {
            let shown = if K::IS_SECRET {
                HIDDEN.to_owned()
            } else {
                format!("{:?}", given.text)
            };
            let place = given.origin.to_string();
            self.refuse(ConfigError::Wrong {
                place,
                key: key.path(),
                value: shown,
                allowed: K::allowed(),
            });
        }
        value
    }

    /// As [`Values::read`]; what is wrong counts as not given.
    fn read_or_default<K: Kind>(&mut self, section: &str, name: &str) -> Option<K::Value> {
        self.read::<K>(section, name).or_else(|| {
            let is_it = |key: &Key| key.section == section && key.name == name;
            self.given[KEYS.iter().position(is_it)?] = None;
            self.read::<K>(section, name)
        })
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
