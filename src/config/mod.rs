//! The configuration: the file as written and the settings as used, two types.
//!
//! ```text
//! proxy.toml --- file.rs ---------+
//! KEYWAY_*   --- environment.rs --+--> one text per key and where it came from --> Settings
//! defaults   --- settings.rs -----+    (resolve.rs)                               (settings.rs)
//! ```
//!
//! The environment wins over the file, the file over the default. Nothing is guessed and nothing is
//! ignored: an unknown key or a wrong value is refused before anything binds or connects, and all
//! mistakes are reported at once.
//!
//! To add a key: one field in `settings.rs` (its type, how it is read, its default, its help) and
//! one line in `proxy.toml.example`; `tests/config_example.rs` fails while they disagree. The
//! environment name, the error texts and the output of `--check` follow by themselves.

mod changes;
mod contradictions;
mod environment;
mod error;
mod file;
mod key;
mod kind;
mod nearest;
mod report;
mod resolve;
mod secret;
mod settings;
mod users;

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use key::Key;
pub use kind::{
    ClusterView, CrossSlotBlocking, CrossSlotReads, CrossSlotTransactions, HostPort, IdentityMode,
    LogFormat, ReadPolicy, Switch, TlsAuthClients, TlsClientUser, TlsServerName, TlsVersion,
    fits_pattern,
};
pub use resolve::{Effective, admin_port, resolve, resolve_text};
pub use secret::Secret;
pub use settings::{
    AclSettings, AdminSettings, ClusterSettings, CompatibilitySettings, KEYS, LimitSettings,
    ListenSettings, LogSettings, Settings, TimeoutSettings, TlsSettings, UpstreamSettings,
};
pub use users::{UpstreamUser, UserSettings};
