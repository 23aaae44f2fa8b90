//! What the system asks of the process.
//!
//! SIGTERM and SIGINT drain; the second one stops at once. SIGHUP has certificates read again; settings are read
//! at start only.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `kill`, Kubernetes, systemd.
    Terminate,
    /// Ctrl-C.
    Interrupt,
}

/// Listens to signals from now on. The receiver gets each request to stop, in order; the other is notified
/// of SIGHUP.
///
/// # Errors
/// The system refuses a handler.
pub fn listen() -> io::Result<(mpsc::Receiver<Stop>, Arc<Notify>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    // Two say everything: drain, and stop at once.
    let (sender, receiver) = mpsc::channel(2);
    let hung_up = Arc::new(Notify::new());
    let notify = Arc::clone(&hung_up);
    tokio::spawn(async move {
        loop {
            let stop = tokio::select! {
                Some(()) = terminate.recv() => Stop::Terminate,
                Some(()) = interrupt.recv() => Stop::Interrupt,
                Some(()) = hangup.recv() => {
                    notify.notify_one();
                    continue;
                }
                else => return,
            };
            if sender.send(stop).await.is_err() {
                return;
            }
        }
    });
    Ok((receiver, hung_up))
}
