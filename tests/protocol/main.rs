//! The wire: what a client sends, however it is cut, gets the replies that one server gives, byte for
//! byte; and what breaks the protocol gets one server's words.
//!
//! The judge is a real server with cluster support off, of the same flavor as the cluster.

mod framing;
mod limits;
mod sessions;
mod shapes;
mod streams;
mod volume;
mod wire;

#[path = "../support/mod.rs"]
mod support;
