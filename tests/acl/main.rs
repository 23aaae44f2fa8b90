//! Users and rules: the verdicts of Keyway and of one server that has the same users, side by side; how users are
//! configured, change, and are held off.

#[path = "../support/mod.rs"]
mod support;

#[path = "../learnt/announce.rs"]
#[allow(dead_code, reason = "made for the tests of learnt commands")]
mod announce;
mod attack;
mod deny;
mod dry_run;
mod listeners;
mod reload;
mod rotation;
mod scene;
mod sessions;
mod table;
mod users;
