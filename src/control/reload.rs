//! Users, rules, passwords and the admin port's token are read anew on SIGHUP and when one of their files changes. Other settings
//! are not: they need a restart, and the log says so.
//!
//! What is wrong changes nothing: the rules that hold stay, and the log says why.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::admin::SharedToken;
use super::fingerprint::Fingerprint;
use super::start::StartError;
use super::successors::{successors, with_rules_of};
use super::users;
use crate::config::{Effective, Environment, ListenSettings, Settings, resolve};
use crate::net::Lifecycle;
use crate::upstream::Identities;
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
    /// The configuration at start.
    pub(super) started: Effective,
    /// The listeners that run, with the rules that hold.
    pub(super) listeners: Vec<ListenSettings>,
    /// Where users and rules go.
    pub(super) doors: Arc<DoorsCell>,
    /// Where credentials for the nodes go.
    pub(super) credentials: SharedCredentials,
    /// As whom users' commands travel.
    pub(super) identities: Arc<Identities>,
    /// What the admin port wants to be shown.
    pub(super) token: SharedToken,
}

impl Reloaded {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.file.iter().chain(&self.files))
    }

    fn reload(&mut self) {
        let environment = Environment::of_process();
        let read = resolve(self.file.as_deref(), &environment).map_err(StartError::from);
        let read = read.and_then(|effective| {
            // As whom commands go is decided at start, whatever the file says now; and so is who listens.
            let mut as_started = effective.settings.clone();
            as_started.upstream.identity = self.settings.upstream.identity;
            // What is wrong with a listener that does not run yet is told as well.
            users::doors(&as_started, &self.identities)?;
            let followed = successors(&self.listeners, &effective.settings);
            let others = effective.changes_since(&self.started, &places(&followed, &effective));
            let gone = self.listeners.iter().zip(&followed);
            let gone = gone.filter(|(_, followed)| followed.is_none());
            let gone: Vec<String> = gone.map(|(own, _)| own.name.clone()).collect();
            let mut listeners = with_rules_of(&self.listeners, &followed).into_iter();
            if let Some(first) = listeners.next() {
                as_started.listen = first;
            }
            as_started.listeners = listeners.collect();
            let doors = users::doors(&as_started, &self.identities)?;
            Ok((effective, as_started, doors, gone, others))
        });
        let (effective, as_started, doors, gone, others) = match read {
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
        self.token.store(settings.admin.token.clone().map(Arc::new));
        users::tell(&as_started, &doors);
        self.listeners = as_started.all_listeners().cloned().collect();
        self.doors.publish(doors);
        info!(new_credentials = is_other, "users and rules were read anew");
        for listener in gone {
            warn!(
                listener,
                "the listener is not in the configuration any more; it listens until a restart, with the rules it has"
            );
        }
        if !others.is_empty() {
            warn!(
                keys = others.join(" "),
                "other settings have changed as well; they are read at start only: restart to apply them"
            );
        }
    }
}

/// Where the successors of the further listeners are among those of the file.
fn places(followed: &[Option<&ListenSettings>], effective: &Effective) -> Vec<Option<usize>> {
    let all = &effective.settings.listeners;
    let place = |followed: &Option<&ListenSettings>| {
        let followed = (*followed)?;
        all.iter().position(|listen| std::ptr::eq(listen, followed))
    };
    followed.iter().skip(1).map(place).collect()
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
    let mut seen = reloaded.fingerprint();
    loop {
        let is_asked = tokio::select! {
            () = asked.notified() => true,
            () = tokio::time::sleep(LOOK_EVERY) => false,
            stopped = lifecycle.wait_for(|state| *state == Lifecycle::Stopped) => {
                let _ = stopped;
                return;
            }
        };
        // Taken before the files are read, so that what changes meanwhile is seen the next time.
        let now = reloaded.fingerprint();
        if now == seen && !is_asked {
            continue;
        }
        seen = now;
        let files = reloaded.files.clone();
        reloaded.reload();
        if reloaded.files != files {
            seen = reloaded.fingerprint();
        }
    }
}
