//! Slots, nodes, the snapshot that maps one to the other, address mapping, how views are compared
//! and what a redirect says. No I/O, no clock.

pub mod address_map;
pub mod command_listing;
mod crc16;
pub mod database;
pub mod endpoint;
pub mod ledger;
pub mod redirect;
pub mod slot;
pub mod topology;
pub mod value;
pub mod view;
pub mod view_listing;
pub mod view_nodes;
pub mod views;
pub mod zones;

pub use address_map::{AddressMap, AddressMapError};
pub use database::Database;
pub use endpoint::{Endpoint, EndpointError};
pub use redirect::{RedirectHost, RedirectTo, Verdict, verdict};
pub use slot::Slot;
pub use topology::{Greeting, Health, Mode, Node, NodeIndex, Role, Topology};
pub use zones::{Zones, ZonesError};

#[cfg(test)]
mod view_tests;
