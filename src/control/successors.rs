//! Which listener of a configuration that is read anew is which of those that run.
//!
//! A socket stays what it was at start, whatever the file says now, so a listener's place in the file says
//! nothing: a table may have gone, or another have come before it. What is taken over wrongly here opens a
//! door to strangers; where nothing fits, the running listener keeps its rules.

use crate::config::{ListenSettings, Settings};

/// For each of the running listeners the one of `read` whose rules it takes over: that with its name, and where the
/// name is none that somebody gave, the one at its place. `None` for one that is not there any more.
pub(super) fn successors<'a>(
    running: &[ListenSettings],
    read: &'a Settings,
) -> Vec<Option<&'a ListenSettings>> {
    let mut read = read.all_listeners();
    // There is always one, whatever its name.
    let first = read.next();
    let further: Vec<&ListenSettings> = read.collect();
    let mut running = running.iter();
    let of_first = running.next().map(|_| first);
    let of_further = running.map(|own| {
        let is_it = |other: &&&ListenSettings| match is_given(&own.name) {
            true => other.name == own.name,
            false => other.address == own.address && other.unix_socket == own.unix_socket,
        };
        further.iter().find(is_it).copied()
    });
    of_first.into_iter().chain(of_further).collect()
}

/// Whether somebody gave the name: others count the tables.
fn is_given(name: &str) -> bool {
    let number = name.strip_prefix("listener-");
    number.is_none_or(|number| number.parse::<usize>().is_err())
}

/// The running listeners, with the rules of their successors.
pub(super) fn with_rules_of(
    running: &[ListenSettings],
    successors: &[Option<&ListenSettings>],
) -> Vec<ListenSettings> {
    let pairs = running.iter().zip(successors);
    pairs
        .map(|(own, successor)| {
            let rules = successor.unwrap_or(own);
            ListenSettings {
                username: rules.username.clone(),
                password: rules.password.clone(),
                deny: rules.deny.clone(),
                allow: rules.allow.clone(),
                ..own.clone()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, resolve_text};

    fn settings(listeners: &str) -> Settings {
        let text = format!("[cluster]\nseeds = [\"a:1\"]\n{listeners}");
        let read = resolve_text(Some(("file", &text)), &Environment::default());
        read.expect("allowed").settings
    }

    /// Tables of listeners: name (or none), port, the command that is denied.
    fn tables(tables: &[(&str, u16, &str)]) -> Settings {
        let table = |(name, port, denied): &(&str, u16, &str)| {
            let name = match *name {
                "" => String::new(),
                name => format!("name = \"{name}\"\n"),
            };
            format!("[[listeners]]\n{name}address = \"127.0.0.1:{port}\"\ndeny = [\"{denied}\"]\n")
        };
        settings(&tables.iter().map(table).collect::<String>())
    }

    #[test]
    fn rules_belong_to_the_listener_and_not_to_its_place() {
        for (before, after, denied) in [
            (&[("b", 2, "get")][..], &[("b", 2, "set")][..], &["set"][..]),
            (&[("b", 2, "get")], &[], &["get"]),
            (
                &[("b", 2, "get")],
                &[("a", 1, "del"), ("b", 2, "set")],
                &["set"],
            ),
            (&[("b", 2, "get")], &[("b", 3, "set")], &["set"]),
            (&[("b", 2, "get")], &[("c", 2, "set")], &["get"]),
            (
                &[("a", 1, "get"), ("b", 2, "set")],
                &[("b", 2, "set"), ("a", 1, "del")],
                &["del", "set"],
            ),
            // Without names: "listener-1" is another one after another table came or went before it.
            (
                &[("", 2, "get")],
                &[("", 1, "del"), ("", 2, "set")],
                &["set"],
            ),
            (
                &[("", 1, "get"), ("", 2, "set")],
                &[("", 2, "del")],
                &["get", "del"],
            ),
            (&[("", 2, "get")], &[("", 1, "del")], &["get"]),
        ] {
            let running: Vec<_> = tables(before).all_listeners().cloned().collect();
            let read = tables(after);
            let rules = with_rules_of(&running, &successors(&running, &read));
            let denies: Vec<&str> = rules[1..].iter().map(|own| own.deny[0].as_str()).collect();
            assert_eq!(denies, denied, "{before:?} {after:?}");
            for (own, before) in rules.iter().zip(&running) {
                assert_eq!(own.address, before.address);
                assert_eq!(own.name, before.name);
            }
        }
    }

    #[test]
    fn the_first_is_always_there() {
        let running: Vec<_> = settings("").all_listeners().cloned().collect();
        let read = settings("[listen]\nname = \"other\"\npassword = \"p\"\n");
        let rules = with_rules_of(&running, &successors(&running, &read));
        assert!(rules[0].password.is_some());
    }
}
