//! Values from the environment: `KEYWAY_<SECTION>_<KEY>`, the short names, and each with `_FILE`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use super::error::ConfigError;
use super::nearest::nearest;
use super::resolve::{Found, Given, Origin};
use super::settings::{KEYS, LISTEN};
use super::users::USERS_PREFIX;

/// Every name that is ours begins with this.
const PREFIX: &str = "KEYWAY_";
/// `KEYWAY_LISTENERS_<number>_<KEY>` sets a key of that table of `[[listeners]]`, counted from 1.
const LISTENERS_PREFIX: &str = "KEYWAY_LISTENERS_";
/// More listeners are a mistake.
const LISTENERS_MAX: usize = 64;
/// Names the configuration file; read by the command line, not a key.
const CONFIG_FILE: &str = "KEYWAY_CONFIG";
/// No value is longer; a larger file was named by mistake.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The environment variables, as a value, so that tests give their own.
#[derive(Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Names of ours whose values are not UTF-8.
    unreadable: Vec<String>,
}

impl Environment {
    /// The process' own.
    pub fn of_process() -> Self {
        let mut environment = Environment::default();
        for (name, value) in std::env::vars_os() {
            // A name that is not UTF-8 is none of ours, and no placeholder can mean it.
            let Ok(name) = name.into_string() else {
                continue;
            };
            match value.into_string() {
                Ok(value) => {
                    environment.variables.insert(name, value);
                }
                Err(_) if name.starts_with(PREFIX) => environment.unreadable.push(name),
                Err(_) => {}
            }
        }
        environment
    }

    /// An environment of these variables alone.
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Environment {
            variables: variables
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            unreadable: Vec::new(),
        }
    }

    /// The value of one variable.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Its variables whose names begin so.
    pub(super) fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let variables = self.variables.iter();
        variables
            .filter(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The configuration file it names (`KEYWAY_CONFIG`), for when the command line names none.
    pub fn config_file(&self) -> Option<&str> {
        self.value(CONFIG_FILE).filter(|path| !path.is_empty())
    }

    /// What it says about keys.
    pub(super) fn given(&self, errors: &mut Vec<ConfigError>) -> Vec<Found> {
        errors.extend(self.unreadable.iter().map(|name| ConfigError::Unknown {
            place: "environment".to_owned(),
            what: "encoding (want UTF-8) of",
            name: name.clone(),
            nearest: None,
        }));
        let known = known_names();
        let mut given = Vec::new();
        for (name, value) in &self.variables {
            // Users have an array of their own.
            if !name.starts_with(PREFIX) || name == CONFIG_FILE || name.starts_with(USERS_PREFIX) {
                continue;
            }
            let of_listener = of_listener(name);
            let found = match of_listener {
                Some((_, key, of)) => Some((key, of)),
                None => known.get(name.as_str()).copied(),
            };
            let listener = of_listener.map(|(listener, ..)| listener);
            let mut push = |key, value| {
                given.push(Found {
                    listener,
                    key,
                    given: value,
                });
            };
            match found {
                Some((index, NameOf::Value)) => push(
                    index,
                    Given {
                        text: value.clone(),
                        origin: Origin::Environment(name.clone()),
                    },
                ),
                Some((index, NameOf::File)) => {
                    match read_value_file(name, value, KEYS[index].is_secret) {
                        Ok(found) => push(index, found),
                        Err(error) => errors.push(error),
                    }
                }
                None if is_service_link(name, value) => {}
                None => errors.push(ConfigError::Unknown {
                    place: "environment".to_owned(),
                    what: "name",
                    name: name.clone(),
                    nearest: nearest(name, known.keys().map(String::as_str)).map(str::to_owned),
                }),
            }
        }
        given
    }
}

/// What a variable holds.
#[derive(Clone, Copy)]
enum NameOf {
    Value,
    /// The path of a file whose content is the value.
    File,
}

/// The listener, counted from 1, and the key that a name like `KEYWAY_LISTENERS_1_ADDRESS` means.
fn of_listener(name: &str) -> Option<(usize, usize, NameOf)> {
    let (number, key) = name.strip_prefix(LISTENERS_PREFIX)?.split_once('_')?;
    let number = number.parse().ok()?;
    if !(1..=LISTENERS_MAX).contains(&number) {
        return None;
    }
    let find = |name: &str| {
        let mut keys = KEYS.iter();
        keys.position(|key| key.section == LISTEN && key.name.to_uppercase() == name)
    };
    let value = find(key).map(|key| (number, key, NameOf::Value));
    value.or_else(|| Some((number, find(key.strip_suffix("_FILE")?)?, NameOf::File)))
}

/// Every environment name and the key it sets.
fn known_names() -> BTreeMap<String, (usize, NameOf)> {
    let mut known = BTreeMap::new();
    for (index, key) in KEYS.iter().enumerate() {
        for name in key.environment_names() {
            known.insert(format!("{name}_FILE"), (index, NameOf::File));
            known.insert(name, (index, NameOf::Value));
        }
    }
    known
}

/// Reads a value from a file. A secret keeps everything but one line end at the end, since spaces
/// may be part of it; other values are trimmed.
pub(super) fn read_value_file(
    place: &str,
    path: &str,
    is_secret: bool,
) -> Result<Given, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable {
        place: place.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(unreadable(format!(
            "it is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".to_owned()))?;
    let text = if is_secret {
        let line = text.strip_suffix('\n').unwrap_or(&text);
        line.strip_suffix('\r').unwrap_or(line)
    } else {
        text.trim()
    };
    Ok(Given {
        text: text.to_owned(),
        origin: Origin::ContentOf {
            path: path.to_owned(),
            named_by: place.to_owned(),
        },
    })
}

/// Whether Kubernetes put this variable there. For a Service called `keyway` (or `keyway-...`) it
/// gives every pod of the namespace `KEYWAY_SERVICE_HOST`, `KEYWAY_PORT=tcp://...` and so on; a
/// sidecar that refused to start because of them would be hard to love.
fn is_service_link(name: &str, value: &str) -> bool {
    if name.ends_with("_SERVICE_HOST") {
        return true;
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    let is_url = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| value.starts_with(scheme));
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    // <NAME>_PORT_<number>_<PROTOCOL>, and that with _PROTO, _PORT or _ADDR.
    let Some((_, port_and_rest)) = name.rsplit_once("_PORT_").or_else(|| {
        name.strip_suffix("_PORT")
            .and_then(|name| name.rsplit_once("_PORT_"))
    }) else {
        return false;
    };
    let mut words = port_and_rest.split('_');
    let is_port = words.next().is_some_and(|port| port.parse::<u16>().is_ok());
    let is_protocol = words
        .next()
        .is_some_and(|protocol| ["TCP", "UDP", "SCTP"].contains(&protocol));
    is_port && is_protocol
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_service_links_are_not_ours() {
        for (name, value, expected) in [
            ("KEYWAY_SERVICE_HOST", "10.96.0.7", true),
            ("KEYWAY_SERVICE_PORT", "6379", true),
            ("KEYWAY_SERVICE_PORT_REDIS", "6379", true),
            ("KEYWAY_PORT", "tcp://10.96.0.7:6379", true),
            ("KEYWAY_PORT", "6379", false),
            ("KEYWAY_PORT_6379_TCP", "tcp://10.96.0.7:6379", true),
            ("KEYWAY_PORT_6379_TCP_PROTO", "tcp", true),
            ("KEYWAY_PORT_6379_TCP_PORT", "6379", true),
            ("KEYWAY_PORT_6379_TCP_ADDR", "10.96.0.7", true),
            ("KEYWAY_METRICS_SERVICE_HOST", "10.96.0.7", true),
            ("KEYWAY_LISTEN_ADRESS", "127.0.0.1:1", false),
            ("KEYWAY_PORT_X_TCP", "", false),
        ] {
            assert_eq!(is_service_link(name, value), expected, "{name}={value}");
        }
    }

    #[test]
    fn no_two_keys_share_a_name() {
        let names: usize = KEYS
            .iter()
            .map(|key| 2 * key.environment_names().count())
            .sum();
        assert_eq!(known_names().len(), names);
    }

    #[test]
    fn a_file_with_a_secret_loses_one_line_end_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("password");
        for (content, is_secret, expected) in [
            ("pass word \n", true, "pass word "),
            ("pass\r\n", true, "pass"),
            ("pass\n\n", true, "pass\n"),
            (" 10s \n", false, "10s"),
        ] {
            std::fs::write(&path, content).expect("the folder is ours");
            let given = read_value_file("X_FILE", path.to_str().expect("UTF-8"), is_secret)
                .expect("readable");
            assert_eq!(given.text, expected, "{content:?}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = read_value_file("KEYWAY_PASSWORD_FILE", "/does/not/exist", true)
            .expect_err("no such file");
        assert_eq!(
            error.to_string(),
            "KEYWAY_PASSWORD_FILE: cannot read /does/not/exist: No such file or directory (os error 2)"
        );
    }
}
