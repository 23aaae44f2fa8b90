//! Subscriptions: what clients are told and get, at how many nodes they are subscribed, and what happens
//! when nodes die and slots move.

mod across;
mod crowd;
mod fakes;
mod like_one_server;
mod limits;
mod listener;
mod lost;
mod notifications;
mod published_behind;

#[path = "../support/mod.rs"]
mod support;
