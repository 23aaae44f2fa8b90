//! From the file, the environment and the defaults to one value for each key.

use std::fmt;
use std::path::Path;

use super::environment::Environment;
use super::error::{ConfigError, ConfigErrors};
use super::file;
use super::kind::Kind;
use super::settings::{KEYS, Sections, Settings};

/// What stands in for a secret wherever values are shown.
pub(super) const HIDDEN: &str = "***";

/// The settings, and for each key where its value came from.
#[derive(Debug)]
pub struct Effective {
    /// The settings as used.
    pub settings: Settings,
    /// For each of [`KEYS`] its text and origin; secrets are hidden already.
    pub(super) given: Vec<Option<Given>>,
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
pub(super) fn resolve_text(
    file: Option<(&str, &str)>,
    environment: &Environment,
) -> Result<Effective, ConfigErrors> {
    let mut values = Values::none();
    if let Some((name, text)) = file {
        let from_file = file::given(name, text, environment, &mut values.errors);
        values.layer(from_file);
    }
    let from_environment = environment.given(&mut values.errors);
    values.layer(from_environment);

    let sections = Sections::read(&mut values);
    let Values { given, mut errors } = values;
    let settings = sections.map(Settings::from_sections);
    if let Some(settings) = &settings {
        let contradictions = settings.contradictions();
        errors.extend(contradictions.into_iter().map(ConfigError::Together));
    }
    match settings {
        Some(settings) if errors.is_empty() => Ok(Effective { settings, given }),
        _ => Err(ConfigErrors(errors)),
    }
}

/// The values given so far, one place for each of [`KEYS`], and what was wrong.
pub(super) struct Values {
    given: Vec<Option<Given>>,
    errors: Vec<ConfigError>,
}

impl Values {
    fn none() -> Self {
        Values {
            given: vec![None; KEYS.len()],
            errors: Vec::new(),
        }
    }

    /// Puts the values of one source over those of the sources before.
    fn layer(&mut self, source: Vec<(usize, Given)>) {
        let mut from_here = vec![false; KEYS.len()];
        for (index, value) in source {
            if from_here[index] {
                let first = self.given[index].as_ref().map(|given| &given.origin);
                self.errors.push(ConfigError::Twice {
                    key: KEYS[index].path(),
                    first: first.map_or_else(String::new, Origin::to_string),
                    second: value.origin.to_string(),
                });
            }
            from_here[index] = true;
            self.given[index] = Some(value);
        }
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
                self.errors.push(ConfigError::Missing {
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
            self.errors.push(ConfigError::Wrong {
                place: given.origin.to_string(),
                key: key.path(),
                value: shown,
                allowed: K::allowed(),
            });
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The errors of this file and environment, one line each.
    fn errors(file: &str, variables: &[(&str, &str)]) -> String {
        resolve_text(Some(("proxy.toml", file)), &Environment::of(variables))
            .err()
            .map(|errors| errors.to_string())
            .unwrap_or_default()
    }

    fn settings(file: &str, variables: &[(&str, &str)]) -> Settings {
        resolve_text(Some(("proxy.toml", file)), &Environment::of(variables))
            .map(|effective| effective.settings)
            .unwrap_or_else(|errors| panic!("refused: {errors}"))
    }

    const SEEDS: &str = "[cluster]\nseeds = [\"a:1\"]\n";

    #[test]
    fn the_environment_alone_is_enough() {
        let environment = Environment::of(&[("KEYWAY_SEEDS", "a:1,[::1]:2"), ("HOME", "/")]);
        let settings = resolve(None, &environment)
            .expect("seeds are given")
            .settings;
        assert_eq!(settings.cluster.seeds.len(), 2);
        assert_eq!(settings.cluster.seeds[1].to_string(), "[::1]:2");
        assert!(settings.workers >= 1);
        assert_eq!(
            settings.listen.address.map(|address| address.to_string()),
            Some("127.0.0.1:6379".to_owned())
        );
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
        let file = format!("{SEEDS}[timeouts]\nrequest = \"5s\"\ndrain = \"1s\"\n");
        let settings = settings(&file, &[("KEYWAY_TIMEOUTS_REQUEST", "7s")]);
        assert_eq!(settings.timeouts.request.as_secs(), 7);
        assert_eq!(settings.timeouts.drain.as_secs(), 1);
        assert_eq!(settings.timeouts.handshake.as_secs(), 2);
    }

    #[test]
    fn short_names_set_their_keys() {
        let settings = settings(
            "",
            &[
                ("KEYWAY_SEEDS", "a:1"),
                ("KEYWAY_LISTEN", "0.0.0.0:7"),
                ("KEYWAY_ADMIN", ""),
                ("KEYWAY_WORKERS", "3"),
                ("KEYWAY_PASSWORD", "client"),
                ("KEYWAY_UPSTREAM_USERNAME", "app"),
                ("KEYWAY_UPSTREAM_PASSWORD", "server"),
            ],
        );
        assert_eq!(settings.workers, 3);
        assert_eq!(settings.admin.address, None);
        assert_eq!(settings.listen.address.map(|a| a.port()), Some(7));
        assert!(
            settings
                .listen
                .password
                .is_some_and(|p| p.matches(b"client"))
        );
        assert_eq!(settings.upstream.username.as_deref(), Some("app"));
        assert!(
            settings
                .upstream
                .password
                .is_some_and(|p| p.matches(b"server"))
        );
    }

    #[test]
    fn every_mistake_is_told_with_key_value_and_what_is_allowed() {
        for (file, variables, expected) in [
            (
                "",
                &[][..],
                "cluster.seeds is required: set it in the file or as KEYWAY_SEEDS; allowed is a list (in the environment comma-separated) of host:port such as \"redis-0.redis:6379\" or \"[2001:db8::1]:6379\"",
            ),
            (
                "[cluster]\nseeds = [\"a:1\"]\n[timeouts]\nrequest = 20\n",
                &[],
                "proxy.toml line 4: timeouts.request = 20: allowed is a duration with its unit such as \"500ms\", \"20s\" or \"5m\", from 10ms to 1h",
            ),
            (
                SEEDS,
                &[("KEYWAY_WORKERS", "many")],
                "KEYWAY_WORKERS: proxy.workers = \"many\": allowed is \"auto\" or a whole number from 1 to 1024",
            ),
            (
                SEEDS,
                &[("KEYWAY_LISTEN_ADRESS", "x")],
                "environment: unknown name `KEYWAY_LISTEN_ADRESS`, did you mean `KEYWAY_LISTEN_ADDRESS`?",
            ),
            (
                "[cluster]\nseeds = [\"a:1\"]\nrefresh_intervall = \"1s\"\n",
                &[],
                "proxy.toml line 3: unknown key `refresh_intervall`, did you mean `refresh_interval`?",
            ),
            (
                "[cluster]\nseeds = [\"a:1\"]\nmax_clients = 5\n",
                &[],
                "proxy.toml line 3: unknown key `max_clients`, did you mean `limits.max_clients`?",
            ),
            (
                "seeds = [\"a:1\"]\n[cluster]\nseeds = [\"a:1\"]\n",
                &[],
                "proxy.toml line 1: unknown section `seeds`, did you mean `cluster.seeds`?",
            ),
            (
                "[cluster]\nseeds = [\"a:1\"]\n[listen]\npassword = \"\"\n",
                &[],
                "proxy.toml line 4: listen.password = ***: allowed is text that is not empty; leave the key out for no password",
            ),
            (
                SEEDS,
                &[
                    ("KEYWAY_LISTEN", "1.1.1.1:1"),
                    ("KEYWAY_LISTEN_ADDRESS", "1.1.1.1:2"),
                ],
                "KEYWAY_LISTEN and KEYWAY_LISTEN_ADDRESS both set listen.address: keep one",
            ),
            (
                SEEDS,
                &[("KEYWAY_LISTEN", "")],
                "listen.address and listen.unix_socket are both empty: no client could connect",
            ),
            (
                SEEDS,
                &[("KEYWAY_UPSTREAM_USERNAME", "app")],
                "upstream.username needs upstream.password: AUTH sends both",
            ),
            (
                "[cluster]\nseeds = [\"${NODE}:1\"]\n",
                &[],
                "proxy.toml line 2: cluster.seeds: the environment has no variable `NODE` for `${NODE}`",
            ),
        ] {
            assert_eq!(errors(file, variables), expected);
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let told = errors(
            "[proxy]\nworkers = 0\n[log]\nlevel = \"loud\"\n",
            &[("KEYWAY_SEEDS", "nowhere")],
        );
        assert_eq!(told.lines().count(), 3, "{told}");
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let told = errors("[cluster]\nseeds = [\n", &[]);
        assert!(told.starts_with("proxy.toml line "), "{told}");
        assert!(told.contains("not valid TOML"), "{told}");
    }

    #[test]
    fn placeholders_take_the_environments_values() {
        let file = "[cluster]\nseeds = [\"${A}:1\", \"b.${A}:2\"]\n[listen]\npassword = \"x$${A}\"\n[limits]\nmax_clients = \"${N}\"\n";
        let settings = settings(file, &[("A", "host"), ("N", "77")]);
        assert_eq!(settings.cluster.seeds[0].to_string(), "host:1");
        assert_eq!(settings.cluster.seeds[1].to_string(), "b.host:2");
        assert_eq!(settings.limits.max_clients, 77);
        assert!(
            settings
                .listen
                .password
                .is_some_and(|p| p.matches(b"x${A}"))
        );
    }

    #[test]
    fn the_address_map_is_written_in_three_ways() {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let expected = vec![pair("b:1", "h:1"), pair("10.0.0.0/24", "10.1.0.0/24")];
        let array = format!(
            "{SEEDS}[[cluster.address_map]]\nfrom = \"b:1\"\nto = \"h:1\"\n[[cluster.address_map]]\nfrom = \"10.0.0.0/24\"\nto = \"10.1.0.0/24\"\n"
        );
        assert_eq!(settings(&array, &[]).cluster.address_map, expected);
        let variable = [(
            "KEYWAY_CLUSTER_ADDRESS_MAP",
            "b:1=h:1,10.0.0.0/24=10.1.0.0/24",
        )];
        assert_eq!(settings(SEEDS, &variable).cluster.address_map, expected);
        let table = format!("{SEEDS}address_map = {{ \"b:1\" = \"h:1\" }}\n");
        assert_eq!(
            settings(&table, &[]).cluster.address_map,
            [pair("b:1", "h:1")]
        );
    }

    #[test]
    fn secrets_come_from_files_too() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("secret");
        std::fs::write(&path, "from file\n").expect("the folder is ours");
        let path = path.to_str().expect("UTF-8");
        let by_key = format!("{SEEDS}[upstream]\npassword_file = \"{path}\"\n");
        for settings in [
            settings(&by_key, &[]),
            settings(SEEDS, &[("KEYWAY_UPSTREAM_PASSWORD_FILE", path)]),
        ] {
            let password = settings.upstream.password.expect("given");
            assert!(password.matches(b"from file"));
        }
        let both = format!("{by_key}password = \"x\"\n");
        assert!(errors(&both, &[]).contains("both set upstream.password"));
    }

    #[test]
    fn every_default_is_allowed() {
        let settings = settings(SEEDS, &[]);
        assert_eq!(settings.limits.max_clients, 10_000);
        assert_eq!(settings.limits.argument_bytes, 512 << 20);
        assert_eq!(settings.listen.unix_socket_mode, 0o700);
        assert!(settings.listen.password.is_none());
    }

    #[test]
    fn debug_output_hides_secrets() {
        let effective = resolve_text(
            Some(("proxy.toml", SEEDS)),
            &Environment::of(&[("KEYWAY_PASSWORD", "hunter2")]),
        )
        .expect("allowed");
        assert!(!format!("{effective:?}").contains("hunter2"));
    }
}
