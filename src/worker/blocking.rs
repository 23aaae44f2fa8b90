//! Clients that wait for a private connection's reply (contract: T5, T6).

/// What a client waits for; until it is there, none of its further requests is looked at.
#[derive(Debug)]
pub struct Blocked {
    /// When it began to wait, in microseconds on the process' clock.
    pub since_us: u64,
}
