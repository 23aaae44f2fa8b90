//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// One port, any Redis client, a whole Redis or Valkey Cluster behind it.
#[derive(Debug, Parser)]
#[command(name = "keyway", version, after_help = AFTER_HELP)]
pub struct Cli {
    /// The configuration file (TOML); KEYWAY_CONFIG names it too. Without one the environment and
    /// the defaults are all.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the configuration, print the settings in effect and where each comes from, and exit.
    #[arg(long)]
    pub check: bool,

    /// Ask the Keyway that runs with this configuration whether it is ready; exit 0 if it is, else 1.
    #[arg(long, conflicts_with = "check")]
    pub health: bool,
}

const AFTER_HELP: &str = "\
Examples:
  KEYWAY_SEEDS=10.0.0.1:6379,10.0.0.2:6379 keyway
  keyway --config /etc/keyway/proxy.toml
  KEYWAY_LIMITS_MAX_CLIENTS=500 keyway --config proxy.toml --check
  keyway --health

Every key of the file can be set in the environment as KEYWAY_<SECTION>_<KEY>, and read from a file
with _FILE behind the name. Short names: KEYWAY_SEEDS, KEYWAY_LISTEN, KEYWAY_ADMIN, KEYWAY_WORKERS,
KEYWAY_PASSWORD, KEYWAY_UPSTREAM_USERNAME, KEYWAY_UPSTREAM_PASSWORD. proxy.toml.example explains all keys.

Exit status: 0 after a drained stop, 1 when something failed, 2 when the command line or the
configuration is wrong.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn check_and_health_exclude_each_other() {
        for (line, is_allowed) in [
            (&["keyway"][..], true),
            (&["keyway", "--config", "a.toml", "--check"], true),
            (&["keyway", "--health"], true),
            (&["keyway", "--health", "--check"], false),
            (&["keyway", "--nonsense"], false),
        ] {
            assert_eq!(Cli::try_parse_from(line).is_ok(), is_allowed, "{line:?}");
        }
    }
}
