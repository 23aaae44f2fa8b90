//! Slots, nodes, the snapshot that maps one to the other, address mapping, how views are compared
//! and what a redirect says. No I/O, no clock.

pub mod slot;
pub mod topology;

pub use slot::Slot;
pub use topology::{Endpoint, Health, Mode, Node, NodeIndex, Role, Topology};
