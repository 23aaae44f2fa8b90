//! The scene of an integration test: real servers and clusters, scripted fake nodes, the real
//! Keyway program, a raw client that shows exactly what came over the wire, and a checked load.
//!
//! A test builds its scene in one line each (a cluster of three, a proxy before it, a client) and
//! then reads as a talk between two peers. Everything started here is ended here: by `Drop`, also
//! when the test panics, and by the kernel when the test process itself is killed. Everything is
//! on loopback. Only [`eventually`] waits.
//!
//! To add a new kind of peer: a file of its own, ports from [`ports`], processes from [`process`].

// Each test program uses a part of this.
#![allow(dead_code, unused_imports, unused_macros)]

mod at_end;
pub mod client;
pub mod cluster;
pub mod eventually;
mod fake_multi;
pub mod fake_node;
pub mod fake_script;
pub mod fake_view;
pub mod keyway;
pub mod load;
pub mod load_client;
mod membership;
mod mend;
pub mod namespace;
pub mod ports;
pub mod process;
pub mod reshard;
pub mod scene;
pub mod servers;
pub mod tls;
pub mod value;
pub mod view;

pub use at_end::RaiseAtEnd;
pub use client::Client;
pub use cluster::{Cluster, ClusterOptions, Takeover};
pub use eventually::{eventually, eventually_none};
pub use fake_node::{FakeCluster, FakeNode};
pub use fake_script::{Action, Gate, Request};
pub use keyway::Keyway;
pub use load::{Load, LoadPlan, Report};
pub use scene::Scene;
pub(crate) use scene::each_flavor;
pub use servers::{Flavor, Server, ServerOptions};
pub use value::Value;
