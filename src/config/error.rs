//! What can be wrong with a configuration. Each message names the key, the value and what is
//! allowed; a secret's value is never shown.

use std::fmt;

use thiserror::Error;

/// One mistake. Trying again without changing something does not help with any of them.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("{place}: cannot read {path}: {reason}")]
    Unreadable {
        /// What asked for the file.
        place: String,
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{place}: not valid TOML: {reason}")]
    Syntax {
        /// File and line.
        place: String,
        /// What the parser said.
        reason: String,
    },
    /// A section, key or environment name that does not exist.
    #[error("{place}: unknown {what} `{name}`{}", suggest(.nearest))]
    Unknown {
        /// File and line, or `environment`.
        place: String,
        /// `section`, `key` or `name`.
        what: &'static str,
        /// As written.
        name: String,
        /// The known name most like it.
        nearest: Option<String>,
    },
    /// A value of the wrong type or out of range.
    #[error("{place}: {key} = {value}: allowed is {allowed}")]
    Wrong {
        /// File and line, or the name of the environment variable.
        place: String,
        /// `section.key`.
        key: String,
        /// As written, or `***`.
        value: String,
        /// What would be right.
        allowed: String,
    },
    /// A key without default was not given.
    #[error("{key} is required: set it in the file or as {environment}; allowed is {allowed}")]
    Missing {
        /// `section.key`.
        key: String,
        /// The shortest environment name for it.
        environment: String,
        /// What would be right.
        allowed: String,
    },
    /// One key was given in two ways of the same rank.
    #[error("{first} and {second} both set {key}: keep one")]
    Twice {
        /// `section.key`.
        key: String,
        /// One place.
        first: String,
        /// The other.
        second: String,
    },
    /// `${NAME}` without such a variable, or without an end.
    #[error("{place}: {key}: {reason}")]
    Placeholder {
        /// File and line.
        place: String,
        /// `section.key`.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that are right alone but not together.
    #[error("{0}")]
    Together(String),
}

impl ConfigError {
    /// The same mistake, made in a table of `[[listeners]]`, whose keys are those of `[listen]`.
    pub(super) fn in_listener(mut self, number: usize) -> ConfigError {
        if let ConfigError::Wrong { key, .. }
        | ConfigError::Missing { key, .. }
        | ConfigError::Twice { key, .. }
        | ConfigError::Placeholder { key, .. } = &mut self
            && let Some(name) = key.strip_prefix("listen.")
        {
            *key = format!("listeners[{number}].{name}");
        }
        self
    }
}

fn suggest(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

/// Everything that is wrong, one line each.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
