//! Sockets: TCP and Unix behind one stream type, listeners that are bound before anything starts,
//! the limit of open files, and the state that tells everybody who holds connections whether the
//! process serves, drains or stops.
//!
//! Nothing here knows the protocol that is spoken. TLS is another variant of [`Stream`], made by a handshake
//! in [`tls`].

mod accepted;
mod door;
mod entrance;
mod file_limit;
mod lifecycle;
mod listener;
pub mod proxy_protocol;
mod stream;
pub mod tls;

pub use accepted::{Accepted, Peer};
pub use door::{Door, Exhausted};
pub use entrance::{Entrance, Unwelcome, Visit, Visitors};
pub use file_limit::{FileLimit, raise_file_limit};
pub use lifecycle::Lifecycle;
pub use listener::{BindError, Listener};
pub use stream::{Liveness, Stream, canonical, connect};
