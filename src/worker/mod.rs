//! One worker: an OS thread with its own runtime, its own clients and its own connections to every
//! node. Nothing on the path of a request is shared with another worker.
//!
//! [`core::Core`] is the whole state and every decision, in synchronous code; the tasks around it
//! ([`client_task`], [`upstream_task`], [`thread`]) move bytes and tell the time. A request's way:
//! `requests` (bytes to requests) - `dispatch` and `spread` (requests to nodes) - `deliver` (replies back, or
//! elsewhere) - `park` (what has to wait) - `links` (connections come and go).

mod absent;
mod across;
mod anew;
mod arrivals;
mod asking;
pub mod blocking;
pub mod client_reads;
pub mod client_task;
pub mod clients;
pub mod core;
mod databases;
mod deliver;
mod dispatch;
mod doors_cell;
mod figures;
pub mod finish;
mod household;
pub mod hub;
mod invalidations;
mod key_shapes;
mod lanes;
pub mod large_keys;
mod large_replies;
mod learn;
pub mod learnt_cell;
mod leased;
pub mod leases;
mod leaving;
pub mod limits;
pub mod links;
pub mod local;
mod modes;

pub mod monitors;
mod moving;
pub mod node_reads;
mod node_settings;
pub mod nodes;
pub mod one_pass;
pub mod pacing;
pub mod park;
pub mod passing;
mod permission;
mod polling;
mod preludes;
pub mod refresh_requests;
mod refusals;
mod refused_logins;
mod replica_choice;
pub mod replica_facts;
mod replica_links;
mod replica_reads;
mod requests;
mod rotation;
pub mod routes;
pub mod scan;
mod script_cache;
mod scripts;
pub mod scrutiny;
mod slow_clients;
mod slow_holders;
mod spread;
mod thread;
pub mod topology_cell;
mod tracking;
mod tracking_watch;
pub mod transactions;
mod unblock;
pub mod upload_flow;
mod upload_replies;
pub mod uploads;
pub mod upstream_task;
mod vouching;
pub mod wait;
pub mod watch;

pub use arrivals::ArrivalSettings;
pub use doors_cell::DoorsCell;
pub use learnt_cell::LearntCell;
pub use local::{ListenerFacts, LocalFacts, Seat};
pub use permission::SharedAcl;
pub use refresh_requests::{RefreshReason, RefreshRequests};
pub use refused_logins::RefusedLogins;
pub use replica_facts::{Fitness, NodeFacts, ReplicaFacts};
pub use script_cache::ScriptCache;
pub use thread::{Note, WorkerContext, spawn};
pub use topology_cell::TopologyCell;
