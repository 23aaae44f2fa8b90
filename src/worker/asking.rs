//! Nodes are asked something on behalf of one client, each over a connection of its own: whether its password is
//! right (`vouching.rs`), or whether there is a database (`databases.rs`).

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::core::Core;
use super::thread::Worker;
use crate::cluster::Endpoint;
use crate::pipeline::ClientKey;

/// So many nodes are asked, one after another, while none answers.
const NODES_MAX: usize = 3;
/// Nodes of which none said anything are asked again after this time.
const AGAIN: Duration = Duration::from_millis(100);
/// For so many of one thread's clients nodes are asked at the same time about credentials, and for as many about
/// databases; others wait.
pub(super) const AT_ONCE: usize = 64;

impl Core {
    /// Which nodes are asked for a client, while it is there.
    pub(super) fn nodes_to_ask(&mut self, key: ClientKey) -> Option<Vec<Endpoint>> {
        self.clients.get(key)?;
        let mut nodes: Vec<Endpoint> = Vec::new();
        for _ in 0..NODES_MAX {
            let node = self.nodes.any_primary();
            if let Some(node) = node.and_then(|node| self.nodes.get(node))
                && !nodes.contains(&node.endpoint)
            {
                nodes.push(node.endpoint.clone());
            }
        }
        Some(nodes)
    }
}

/// Asks until somebody says something, which `ask` gives, or a request's time is over; then why nobody did. Who
/// cannot say anything now may do so a little later, as for any request (contract: F1).
///
/// # Errors
/// Nobody said anything; `why` until it is known better.
pub(super) async fn in_time<T>(
    worker: &Rc<Worker>,
    why: &str,
    ask: impl AsyncFn() -> Result<T, String>,
) -> Result<T, String> {
    let limit = Duration::from_micros(worker.turn(|core| core.limits.request_timeout_us));
    let until = Instant::now() + limit;
    let mut why = why.to_owned();
    loop {
        match timeout_at(until, ask()).await {
            Ok(Err(nobody)) if Instant::now() + AGAIN < until => {
                why = nobody;
                sleep(AGAIN).await;
            }
            Ok(said) => return said,
            Err(_) => return Err(why),
        }
    }
}
