//! Real applications, unmodified, before a real cluster: they were written for one server, and get
//! nothing but Keyway's URL. Each is a program in its own language, in `python`, `node` and `ruby`,
//! which checks what the application does and prints each check that failed; it passes before one
//! plain server as well. `scripts/install-clients.sh` installs the applications.
//!
//! Most can keep their keys in one hash tag (`Keys::Tagged`): their Keyway has its defaults. With
//! names of their own (`Keys::Plain`) their transactions and blocking reads go over several slots,
//! and Keyway is told to serve these in parts.
//!
//! `KEYWAY_TEST_FULL=1` runs as many jobs as one would in earnest.

#[path = "../support/mod.rs"]
mod support;

mod program;
mod queues;
mod scene;
mod web;
