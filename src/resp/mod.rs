//! The wire format: where a command or a reply ends, and how to write small ones.
//!
//! Nothing here does I/O, reads a clock or knows what a command means. The two scanners are the
//! hot path: they frame without decoding. Everything that is not on the path of a plain request
//! (topology, handshakes, merges) may use the `redis-protocol` crate instead.

pub mod accepted;
pub mod args;
pub mod inline;
pub mod passing;
pub mod reply;
pub mod request_passing;
pub mod scan;
pub mod write;

pub use accepted::with_args;
pub use args::{Args, Span};

/// The protocol version a connection speaks. A client's version is its own (contract: P1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RESP2, the version of every new connection.
    #[default]
    Resp2,
    /// RESP3, chosen with `HELLO 3`.
    Resp3,
}
