//! From the settings to the door of each listener: users, passwords, rules.

use std::path::Path;
use std::sync::Arc;

use thiserror::Error;
use tracing::{info, warn};

use crate::acl::{
    CommandList, DEFAULT_USER, Door, Doors, PasswordHash, User, Users, read_file, rules,
};
use crate::config::{IdentityMode, ListenSettings, Settings, UpstreamUser, UserSettings};
use crate::upstream::Identities;
use crate::upstream::handshake::Credentials;

/// What is wrong with users and rules; one line for each mistake, none with a password.
#[derive(Debug, Error)]
#[error("{}", .0.join("\n"))]
pub struct UsersError(pub(super) Vec<String>);

/// No ACL file is larger.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The doors of all listeners. What is wrong changes no credentials.
///
/// # Errors
/// Every mistake.
pub(super) fn doors(settings: &Settings, identities: &Identities) -> Result<Doors, UsersError> {
    let mut errors = rivals(&settings.users);
    let mut users: Vec<User> = Vec::new();
    for given in &settings.users {
        match user(given) {
            Ok(user) => users.push(user),
            Err(error) => errors.push(error),
        }
    }
    if let Some(path) = &settings.acl.file {
        match users_of_file(path) {
            Ok(of_file) => {
                for user in of_file {
                    let name = user.name();
                    if users.iter().any(|other| other.name() == name) {
                        errors.push(format!(
                            "acl.file and [[users]] both have the user \"{name}\": keep one"
                        ));
                    }
                    users.push(User::clone(&user));
                }
            }
            Err(more) => errors.extend(more),
        }
    }
    let at_home: Vec<Arc<User>> = users.iter().cloned().map(Arc::new).collect();
    let doors = doors_for(settings, &at_home, &mut errors);
    if !errors.is_empty() {
        return Err(UsersError(errors));
    }
    if settings.users.iter().all(|given| given.upstream.is_none()) {
        return Ok(doors);
    }
    let users: Vec<Arc<User>> = users
        .into_iter()
        .map(|user| {
            let mut given = settings.users.iter();
            let given = given.find(|given| given.name == user.name());
            let upstream = given.and_then(|given| given.upstream.as_ref());
            Arc::new(match upstream {
                Some(upstream) => user.travelling_as(identities.configured(credentials(upstream))),
                None => user,
            })
        })
        .collect();
    Ok(doors_for(settings, &users, &mut errors))
}

fn credentials(upstream: &UpstreamUser) -> Credentials {
    Credentials {
        username: Some(upstream.username.clone()),
        passwords: upstream.passwords.clone(),
    }
}

/// Users who go to the nodes as the same user there share its connections, so they cannot disagree.
fn rivals(users: &[UserSettings]) -> Vec<String> {
    let mut errors = Vec::new();
    for (at, user) in users.iter().enumerate() {
        let Some(upstream) = &user.upstream else {
            continue;
        };
        let rival = users[..at].iter().find(|other| {
            let of_other = other.upstream.as_ref();
            of_other.is_some_and(|of_other| {
                of_other.username == upstream.username && of_other.passwords != upstream.passwords
            })
        });
        if let Some(rival) = rival {
            errors.push(format!(
                "{}: user \"{}\": upstream_username is that of user \"{}\", with other passwords: give both the same",
                user.place, user.name, rival.name
            ));
        }
    }
    errors
}

fn doors_for(settings: &Settings, users: &[Arc<User>], errors: &mut Vec<String>) -> Doors {
    let mut doors = Vec::new();
    for (number, listen) in settings.all_listeners().enumerate() {
        let section = match number {
            0 => "listen".to_owned(),
            number => format!("listeners[{number}]"),
        };
        match door(&section, listen, settings.upstream.identity, users) {
            Ok(door) => doors.push(Arc::new(door)),
            Err(error) => errors.push(error),
        }
    }
    Doors(doors)
}

fn user(given: &UserSettings) -> Result<User, String> {
    let wrong =
        |rule: &str, error| format!("{}: user \"{}\": {rule}: {error}", given.place, given.name);
    let rules = rules::split(given.rules.expose()).map_err(|error| wrong("rules", error))?;
    let user = User::of_rules(&given.name, rules.iter().map(Vec::as_slice));
    let mut user = user.map_err(|(rule, error)| wrong(&rule, error))?;
    let hashes = given.password_hashes.iter();
    let hashes = hashes.filter_map(|hash| PasswordHash::from_hex(hash.expose()));
    let passwords = given
        .passwords
        .iter()
        .map(|password| PasswordHash::of(password.expose()));
    for password in passwords.chain(hashes) {
        user.add_password(password);
    }
    Ok(user)
}

fn users_of_file(path: &Path) -> Result<Vec<Arc<User>>, Vec<String>> {
    let shown = path.display();
    let told = |error: &dyn std::fmt::Display| vec![format!("acl.file {shown}: {error}")];
    let size = std::fs::metadata(path).map_err(|error| told(&error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(told(&format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read(path).map_err(|error| told(&error))?;
    read_file(&text).map_err(|errors| {
        let errors = errors.iter();
        errors
            .map(|error| format!("acl.file {shown} {error}"))
            .collect()
    })
}

fn door(
    section: &str,
    listen: &ListenSettings,
    identity: IdentityMode,
    users: &[Arc<User>],
) -> Result<Door, String> {
    let is_among = |name: &str| users.iter().any(|user| user.name() == name);
    let own = &listen.username;
    let initial = match &listen.password {
        Some(_) if is_among(own) => {
            return Err(format!(
                "{section}.password and the users both say who \"{own}\" is: leave one out, or give {section}.username \
                 another name"
            ));
        }
        Some(password) => Some(Arc::new(User::unrestricted(own, Some(password.expose())))),
        None => None,
    };
    let mut users = users.to_vec();
    // Without a password, both names are let in.
    if initial.is_none() && own != DEFAULT_USER && !is_among(own) {
        users.push(Arc::new(User::unrestricted(own, None)));
    }
    let is_never = |name: &&String| {
        let name = name.trim_start_matches('+');
        Door::NEVER
            .iter()
            .any(|never| name.eq_ignore_ascii_case(never))
    };
    if let Some(name) = listen.allow.iter().find(is_never) {
        return Err(format!(
            "{section}.allow: \"{name}\": it is never allowed: it would change a connection that clients share"
        ));
    }
    let list = |key: &str, names: &[String]| command_list(&format!("{section}.{key}"), names);
    Ok(Door {
        users: match identity {
            IdentityMode::Service => Users::new(users, initial),
            IdentityMode::PassThrough => Users::at_the_nodes(),
        },
        deny: list("deny", &listen.deny)?,
        allow: list("allow", &listen.allow)?,
    })
}

/// The commands that a setting names, or what is wrong with one of them.
pub(super) fn command_list(key: &str, names: &[String]) -> Result<CommandList, String> {
    CommandList::of_names(names.iter().map(String::as_str))
        .map_err(|(name, error)| format!("{key}: \"{name}\": {error}"))
}

/// Says what may be a mistake and need not be one.
pub(super) fn tell(settings: &Settings, doors: &Doors) {
    let are_configured = !settings.users.is_empty() || settings.acl.file.is_some();
    for (listen, door) in settings.all_listeners().zip(&doors.0) {
        let users = &door.users;
        if are_configured && !users.wants_authentication() && users.initial().is_unrestricted() {
            warn!(
                listener = listen.name,
                user = users.initial().name(),
                "users are configured, but who names none needs no password and may do everything: set \
                 listen.password, or rules for the user"
            );
        }
        for user in users
            .iter()
            .filter(|user| !user.is_on() && user.name() != DEFAULT_USER)
        {
            info!(
                user = user.name(),
                "the user is switched off: there is no \"on\" among its rules"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::IdentityNumber;
    use crate::config::{Environment, resolve};

    fn doors_of(text: &str) -> Result<Doors, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("proxy.toml");
        std::fs::write(&path, format!("[cluster]\nseeds = [\"a:1\"]\n{text}")).expect("ours");
        let effective =
            resolve(Some(&path), &Environment::default()).map_err(|error| error.to_string())?;
        doors(&effective.settings, &Identities::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn who_is_let_in() {
        for (text, expected) in [
            ("", "default:any"),
            ("[listen]\npassword = \"p\"", "default:p"),
            ("[listen]\npassword = \"p\"\nusername = \"app\"", "app:p"),
            ("[listen]\nusername = \"app\"", "default:any app:any"),
            (
                "[[users]]\nname = \"a\"\nrules = \"on\"\npasswords = [\"p\", \"q\"]",
                "default:any a:p a:q",
            ),
            (
                "[[users]]\nname = \"default\"\nrules = [\"on\", \">p\"]",
                "default:p",
            ),
            (
                "[listen]\npassword = \"p\"\n[[users]]\nname = \"a\"\nrules = \"on >q\"",
                "default:p a:q",
            ),
        ] {
            let doors = doors_of(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let users = &doors.of_listener(0).users;
            let named: Vec<&str> = expected.split(' ').collect();
            for user in ["default", "app", "a"] {
                for password in ["p", "q", "r"] {
                    let is_in = users
                        .authenticate(user.as_bytes(), password.as_bytes())
                        .is_some();
                    let pair = format!("{user}:{password}");
                    let any = format!("{user}:any");
                    let wanted = named.contains(&pair.as_str()) || named.contains(&any.as_str());
                    assert_eq!(is_in, wanted, "{text}: {pair}");
                }
            }
        }
    }

    #[test]
    fn mistakes_are_told_without_passwords() {
        for (text, expected) in [
            (
                "[[users]]\nname = \"a\"\nrules = \"on >secret +nosuch\"",
                "+nosuch: Unknown command",
            ),
            (
                "[[users]]\nname = \"a\"\nrules = \"#secret\"",
                "#***: The password hash",
            ),
            ("[[users]]\nrules = \"on\"", "users[1].name is required"),
            (
                "[[users]]\nname = \"a\"\n[[users]]\nname = \"a\"",
                "is there twice",
            ),
            (
                "[[users]]\nname = \"a\"\nrule = \"on\"",
                "unknown key of [[users]] `rule`, did you mean `rules`?",
            ),
            (
                "[[users]]\nname = \"a\"\npassword = \"\"",
                "text that is not empty",
            ),
            (
                "[listen]\npassword = \"p\"\n[[users]]\nname = \"default\"",
                "both say who \"default\" is",
            ),
            (
                "[[users]]\nname = \"a\"\nupstream_username = \"x\"",
                "user \"a\": upstream_username needs upstream_password",
            ),
            (
                "[[users]]\nname = \"a\"\nupstream_second_password = \"secret\"",
                "user \"a\": upstream_password needs upstream_username",
            ),
            (
                "[[users]]\nname = \"a\"\nupstream_username = \"x\"\nupstream_password = \"secret\"\n\
                 [[users]]\nname = \"b\"\nupstream_username = \"x\"\nupstream_password = \"other\"",
                "user \"b\": upstream_username is that of user \"a\", with other passwords",
            ),
            (
                "[upstream]\nidentity = \"pass-through\"\n[[users]]\nname = \"a\"",
                "leaves no use for [[users]]",
            ),
            (
                "[upstream]\nidentity = \"pass-through\"\n[listen]\npassword = \"secret\"",
                "leaves no use for listen.password",
            ),
            (
                "[listen]\ndeny = [\"flushal\"]",
                "listen.deny: \"flushal\": Unknown command",
            ),
            (
                "[listen]\nallow = [\"debug\", \"SYNC\"]",
                "listen.allow: \"SYNC\": it is never allowed",
            ),
            (
                "[listen]\nallow = [\"script|debug\"]",
                "\"script|debug\": it is never allowed",
            ),
            (
                "[acl]\nfile = \"/does/not/exist\"",
                "acl.file /does/not/exist",
            ),
        ] {
            let error = doors_of(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn as_whom_users_go_to_the_nodes() {
        let text = "[[users]]\nname = \"a\"\nupstream_username = \"x\"\nupstream_password = \"p\"\n\
                    [[users]]\nname = \"b\"\nupstream_username = \"x\"\nupstream_password = \"p\"\n\
                    [[users]]\nname = \"c\"\nupstream_username = \"y\"\nupstream_password = \"p\"\n\
                    [[users]]\nname = \"d\"";
        let doors = doors_of(text).expect("it is right");
        let users = &doors.of_listener(0).users;
        let number = |name: &str| {
            let user = users.get(name.as_bytes()).expect("it is there");
            user.identity_number()
        };
        assert_eq!(number("a"), number("b"), "they share connections");
        assert_ne!(number("a"), number("c"));
        for name in ["d", "default"] {
            assert_eq!(number(name), IdentityNumber::SERVICE, "{name}");
        }
        let doors = doors_of("[upstream]\nidentity = \"pass-through\"").expect("it is right");
        let users = &doors.of_listener(0).users;
        assert!(users.are_at_the_nodes() && users.wants_authentication());
        assert!(users.authenticate(b"default", b"").is_none());
    }
}
