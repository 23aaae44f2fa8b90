//! Keyway: a program written for one Redis server uses a whole Redis or Valkey Cluster.
pub mod acl;
pub mod client;
pub mod cluster;
pub mod command;
pub mod config;
pub mod control;
pub mod net;
pub mod pipeline;
pub mod resp;
pub mod routing;
pub mod telemetry;
pub mod upstream;
pub mod worker;
