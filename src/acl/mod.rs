//! Users and what they may do, in the servers' own terms (contract: C6).
//!
//! [`User`] is made from rules as `ACL SETUSER` takes them ([`rules`] splits and joins them) and answers
//! one question: may it run this request, and if not, is it the command, a key or a channel. [`Users`]
//! is a whole set of them, one immutable snapshot. [`CommandList`] is the same syntax for commands alone:
//! what a listener denies. [`AclLog`] holds denials. Nothing here does I/O or knows a client.
//!
//! Where servers differ, the later ones are followed (Redis 7.2, Valkey 8): rules are shown in the order
//! in which they were given, and categories also speak of commands of modules.

mod commands;
mod describe;
mod door;
mod identity;
pub mod log;
pub mod password;
pub mod rules;
mod selector;
mod throttle;
mod user;
mod users;
pub mod wording;

pub use commands::{CommandList, Permission};
pub use door::{Door, Doors};
pub use identity::{Identity, IdentityNumber};
pub use log::{AclLog, Denial};
pub use password::PasswordHash;
pub use rules::RuleError;
pub use selector::{Denied, Request};
pub use throttle::Throttle;
pub use user::User;
pub use users::{DEFAULT_USER, FileError, Users, read_file};
pub use wording::Wording;

#[cfg(test)]
mod tests;
