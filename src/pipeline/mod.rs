//! Order: a client's replies leave in the order of its requests, whatever happened behind.
//!
//! [`Replies`] is one client's queue. A request opens a place in it and hands out a [`Ticket`]; the
//! reply comes back with the ticket and fills the place. A reply for the first place goes straight
//! to the client's output; a later one is held until its turn. [`Gather`] collects the parts of a
//! request that went to several nodes. Nothing here knows what a reply means, except that merging
//! is left to `routing`.

pub mod gather;
pub mod mark;
pub mod replies;

pub use gather::Gather;
pub use mark::Mark;
pub use replies::{Filled, Replies};

/// The number of a request within its client's connection, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Which client of a worker. A place in the worker's table is used again after its client left; the
/// generation tells the two apart, so that a late reply never reaches another client
/// (contract: F3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// Index in the worker's table of clients.
    pub index: u32,
    /// How often this index was used before.
    pub generation: u32,
}

/// A place in one client's reply queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Whose request.
    pub client: ClientKey,
    /// Which of its requests.
    pub sequence: Sequence,
    /// Which part of the request; 0 when it has only one.
    pub part: u32,
}
