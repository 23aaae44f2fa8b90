//! One connection to one node: its outbox, its requests in flight, its handshake.
//!
//! The state is plain data, driven by `worker`; the only I/O here is opening a connection. A
//! connection belongs to one worker, one node and one protocol version, and is shared by all
//! clients of that worker that speak that version.

pub mod connection;
pub mod handshake;
pub mod identities;
pub mod in_flight;
pub mod known_scripts;
pub mod outbox;
mod sending_end;
pub mod tls;

pub use connection::{Connection, Phase, Role};
pub use identities::Identities;
pub use in_flight::{Caching, Dispatched, InFlight, Passing, Purpose, Queued, Refusal};
pub use known_scripts::KnownScripts;
pub use outbox::Outbox;
pub use sending_end::SendingEnd;
pub use tls::{NameRule, UpstreamTls};
