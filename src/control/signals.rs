//! What the system asks of the process.
//!
//! SIGTERM and SIGINT drain; the second one stops at once. SIGHUP reads users, rules, passwords and
//! certificates anew.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc};

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `kill`, Kubernetes, systemd.
    Terminate,
    /// Ctrl-C.
    Interrupt,
}

/// From now on SIGHUP does not end the process. Called before anything else that starting does; what comes before
/// somebody listens is kept.
///
/// # Errors
/// The system refuses a handler.
pub fn hold_hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Listens to signals from now on. The receiver gets each request to stop, in order; `reloads` are told of
/// SIGHUP.
///
/// # Errors
/// The system refuses a handler.
pub fn listen(mut hangup: Signal, reloads: Vec<Arc<Notify>>) -> io::Result<mpsc::Receiver<Stop>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Two say everything: drain, and stop at once.
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let stop = tokio::select! {
                Some(()) = terminate.recv() => Stop::Terminate,
                Some(()) = interrupt.recv() => Stop::Interrupt,
                Some(()) = hangup.recv() => {
                    for reload in &reloads {
                        reload.notify_one();
                    }
                    continue;
                }
                else => return,
            };
            if sender.send(stop).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}
