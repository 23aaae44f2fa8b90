//! Redirects, "come again" errors and lost connections, from scripted nodes: what the client gets,
//! and what the nodes got.

mod ask;
mod come_again;
mod hanging;
mod lost;
mod moved;
mod order;
mod parts;
mod passed_on;
mod place;
mod refresh;
mod refused_login;
mod views;

#[path = "../support/mod.rs"]
mod support;
