//! What `keyway --check` prints: every key with the value in effect and where it came from, as a
//! TOML file that means the same (but for the secrets, which are hidden).

use std::fmt;

use super::key::{Key, Shape};
use super::resolve::{Effective, Given, HIDDEN, Origin};
use super::settings::{KEYS, LISTEN, LISTENERS};
use super::users::{USERS, UserSettings};

impl fmt::Display for Effective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for (key, given) in KEYS.iter().zip(&self.given) {
            if key.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                writeln!(out, "{gap}[{}]", key.section)?;
                section = key.section;
            }
            write_line(out, key, given.as_ref())?;
            if key.path() == "proxy.workers" {
                let is_auto = given.as_ref().is_some_and(|given| given.text == "auto");
                if is_auto {
                    write!(out, ", here {}", self.settings.workers)?;
                }
            }
            writeln!(out)?;
        }
        for listener in &self.listeners {
            writeln!(out, "\n[[{LISTENERS}]]")?;
            for (key, given) in KEYS.iter().zip(listener) {
                if key.section == LISTEN {
                    write_line(out, key, given.as_ref())?;
                    writeln!(out)?;
                }
            }
        }
        for user in &self.settings.users {
            write_user(out, user)?;
        }
        Ok(())
    }
}

/// Passwords are as many as there are, and hidden; so are those among the rules.
fn write_user(out: &mut fmt::Formatter<'_>, user: &UserSettings) -> fmt::Result {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let rules = String::from_utf8_lossy(user.rules.expose()).into_owned();
    let is_secret = |rule: &&str| rule.starts_with(['>', '<', '#', '!']);
    let shown: Vec<&str> = rules
        .split_whitespace()
        .filter(|rule| !is_secret(rule))
        .collect();
    let among = rules.split_whitespace().filter(is_secret).count();
    let count = among + user.passwords.len() + user.password_hashes.len();
    writeln!(out, "\n[[{USERS}]]")?;
    let line = format!("name = {}", quoted(&user.name));
    writeln!(out, "{line:<42} # {}", user.place)?;
    writeln!(out, "rules = {}", quoted(&shown.join(" ")))?;
    let hidden: Vec<String> = (0..count).map(|_| quoted(HIDDEN)).collect();
    writeln!(out, "passwords = [{}]", hidden.join(", "))?;
    let Some(upstream) = &user.upstream else {
        return Ok(());
    };
    writeln!(out, "upstream_username = {}", quoted(&upstream.username))?;
    let keys = ["upstream_password", "upstream_second_password"];
    for (key, _) in keys.iter().zip(&upstream.passwords) {
        writeln!(out, "{key} = {}", quoted(HIDDEN))?;
    }
    Ok(())
}

fn write_line(out: &mut fmt::Formatter<'_>, key: &Key, given: Option<&Given>) -> fmt::Result {
    match given {
        Some(given) => {
            let line = format!("{} = {}", key.name, toml_value(key, &given.text));
            write!(out, "{line:<42} # {}", given.origin)
        }
        None => write!(out, "# {} is not set", key.name),
    }
}

impl Effective {
    /// The value of a key as text, and whether it is the default; for the test of the example file.
    pub fn text_of(&self, path: &str) -> Option<(&str, bool)> {
        let index = KEYS.iter().position(|key| key.path() == path)?;
        let given = self.given.get(index)?.as_ref()?;
        Some((&given.text, given.origin == Origin::Default))
    }
}

/// A value's text as TOML.
fn toml_value(key: &Key, text: &str) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    match key.shape {
        Shape::Text => quoted(text),
        Shape::Number if text.parse::<u64>().is_ok() => text.to_owned(),
        Shape::Number => quoted(text),
        Shape::List if text.trim().is_empty() => "[]".to_owned(),
        Shape::List => {
            let items: Vec<String> = text.split(',').map(|item| quoted(item.trim())).collect();
            format!("[{}]", items.join(", "))
        }
        Shape::Map if text.is_empty() => "{}".to_owned(),
        Shape::Map => {
            let pairs: Vec<String> = text
                .split(',')
                .filter_map(|pair| pair.split_once('='))
                .map(|(from, to)| format!("{} = {}", quoted(from.trim()), quoted(to.trim())))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::resolve_text;
    use crate::config::{Environment, Secret, Settings};

    #[test]
    fn the_report_is_a_file_that_means_the_same() {
        let environment = Environment::of(&[
            ("KEYWAY_SEEDS", "a:1, b:2"),
            ("KEYWAY_PASSWORD", "hunter2"),
            ("KEYWAY_LIMITS_MAX_CLIENTS", "5"),
            ("KEYWAY_CLUSTER_ADDRESS_MAP", "a:1=b:1"),
            ("KEYWAY_LISTENERS_1_ADDRESS", "127.0.0.1:6380"),
            ("KEYWAY_LISTENERS_1_READ_POLICY", "any"),
            ("KEYWAY_LISTEN_DENY", "flushall,@dangerous"),
            ("KEYWAY_USERS_1_NAME", "app"),
            ("KEYWAY_USERS_1_RULES", "on >hunter2 ~a:* (+get ~b)"),
            ("KEYWAY_USERS_1_PASSWORD", "hunter2"),
        ]);
        let first = resolve_text(None, &environment).expect("allowed");
        let report = first.to_string();
        for line in [
            "seeds = [\"a:1\", \"b:2\"]",
            "# KEYWAY_SEEDS",
            "address_map = { \"a:1\" = \"b:1\" }",
            "password = \"***\"",
            "max_clients = 5 ",
            "# KEYWAY_LIMITS_MAX_CLIENTS",
            "address = \"127.0.0.1:6379\"",
            "# default",
            "[[listeners]]",
            "name = \"listener-1\"",
            "address = \"127.0.0.1:6380\"",
            "read_policy = \"any\" ",
            "deny = [\"flushall\", \"@dangerous\"]",
            "[[users]]",
            "name = \"app\"",
            "rules = \"on ~a:* (+get ~b)\"",
            "passwords = [\"***\", \"***\"]",
        ] {
            assert!(report.contains(line), "{line} is not in\n{report}");
        }
        assert!(!report.contains("hunter2"));

        let second = resolve_text(Some(("report", &report)), &Environment::default())
            .unwrap_or_else(|errors| panic!("{errors}\n{report}"));
        let mut settings = first.settings;
        settings.listen.password = Some(Secret::new("***"));
        settings.listeners[0].password = Some(Secret::new("***"));
        let again = second.settings;
        assert_eq!(again.users[0].name, settings.users[0].name);
        let rules = std::mem::take(&mut settings.users);
        assert_eq!(rules[0].passwords.len(), 1);
        let again = Settings {
            users: Vec::new(),
            ..again
        };
        assert_eq!(format!("{settings:?}"), format!("{again:?}"));
    }
}
