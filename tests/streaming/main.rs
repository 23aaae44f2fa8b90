//! Large values, in both directions: never held whole, and nobody waits behind a slow client (contract: P8).

mod bystanders;
mod lost_replies;
mod lost_requests;
mod order;
mod pushes;
mod replies;
mod requests;
mod slow;
mod value;

#[path = "../support/mod.rs"]
mod support;

/// For what happens soon.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);
