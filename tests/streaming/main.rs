//! Large values, in both directions: never held whole, and nobody waits behind a slow client (contract: P8).

mod bystanders;
mod lost_replies;
mod order;
mod replies;
mod value;

#[path = "../support/mod.rs"]
mod support;
