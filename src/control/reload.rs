//! Users, rules and passwords are read anew on SIGHUP and when one of their files changes. Other settings
//! are not: they need a restart, and the log says so.
//!
//! What is wrong changes nothing: the rules that hold stay, and the log says why.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::start::StartError;
use super::users;
use crate::config::{Effective, Environment, Settings, resolve};
use crate::net::Lifecycle;
use crate::upstream::handshake::{Credentials, SharedCredentials};
use crate::worker::DoorsCell;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is kept up to date.
pub(super) struct Reloaded {
    /// The configuration file, if there is one.
    pub(super) file: Option<PathBuf>,
    /// What is read besides.
    pub(super) files: Vec<PathBuf>,
    /// The settings in effect.
    pub(super) settings: Arc<Settings>,
    /// Where users and rules go.
    pub(super) doors: Arc<DoorsCell>,
    /// Where credentials for the nodes go.
    pub(super) credentials: SharedCredentials,
}

/// A file's looks: when any of it changes, it is read again. Symbolic links are followed, so that a secret
/// that Kubernetes exchanges is noticed.
type Looks = Option<(u64, u64, Option<SystemTime>)>;

fn looks(path: &Path) -> Looks {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()))
}

impl Reloaded {
    fn all_looks(&self) -> Vec<(PathBuf, Looks)> {
        let files = self.file.iter().chain(&self.files);
        files.map(|path| (path.clone(), looks(path))).collect()
    }

    fn reload(&mut self) {
        let environment = Environment::of_process();
        let read = resolve(self.file.as_deref(), &environment).map_err(StartError::from);
        let read = read.and_then(|effective| {
            let doors = users::doors(&effective.settings)?;
            Ok((effective, doors))
        });
        let (effective, doors) = match read {
            Ok(read) => read,
            Err(error) => {
                let reason = error.to_string().replace('\n', "; ");
                warn!(
                    reason,
                    "users and rules stay as they are: what was read anew is wrong"
                );
                return;
            }
        };
        self.files = files_of(&effective);
        let settings = effective.settings;
        let credentials = credentials(&settings);
        let is_other = !self.credentials.load().same(&credentials);
        if is_other {
            self.credentials.store(credentials);
        }
        users::tell(&settings, &doors);
        self.doors.publish(doors);
        info!(new_credentials = is_other, "users and rules were read anew");
        if others(&self.settings) != others(&settings) {
            warn!("other settings have changed as well; they are read at start only");
        }
    }
}

/// The settings that are read at start only, as text.
fn others(settings: &Settings) -> String {
    let mut settings = settings.clone();
    settings.users = Vec::new();
    settings.upstream.username = None;
    settings.upstream.password = None;
    settings.upstream.second_password = None;
    for listen in std::iter::once(&mut settings.listen).chain(&mut settings.listeners) {
        listen.password = None;
        listen.username = String::new();
        listen.deny = Vec::new();
        listen.allow = Vec::new();
    }
    // May have been lowered to fit the limit of open files.
    settings.limits.max_clients = 0;
    settings.acl.file = None;
    format!("{settings:?}")
}

/// The files whose contents are part of the settings.
pub(super) fn files_of(effective: &Effective) -> Vec<PathBuf> {
    let acl = effective.settings.acl.file.clone();
    effective.files().map(PathBuf::from).chain(acl).collect()
}

/// How Keyway presents itself to the nodes.
pub(super) fn credentials(settings: &Settings) -> Credentials {
    let upstream = &settings.upstream;
    let passwords = upstream.password.iter().chain(&upstream.second_password);
    Credentials {
        username: upstream.username.clone(),
        passwords: passwords.cloned().collect(),
    }
}

/// Reads anew whenever somebody asks or a file changes, until the process stops.
pub(super) async fn run(
    mut reloaded: Reloaded,
    asked: Arc<Notify>,
    mut lifecycle: watch::Receiver<Lifecycle>,
) {
    let mut seen = reloaded.all_looks();
    loop {
        tokio::select! {
            () = asked.notified() => reloaded.reload(),
            () = tokio::time::sleep(LOOK_EVERY) => {
                if reloaded.all_looks() == seen {
                    continue;
                }
                reloaded.reload();
            }
            stopped = lifecycle.wait_for(|state| *state == Lifecycle::Stopped) => {
                let _ = stopped;
                return;
            }
        }
        seen = reloaded.all_looks();
    }
}
