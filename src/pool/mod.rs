//! The core: who is connected, who has which server, who waits, and what each message means.
//!
//! It is a value with methods and does no I/O. Bytes are judged here ([`judge`]), moves of records
//! between states are made in [`link`] alone, and what the shell must do besides relaying bytes is
//! a queue of [`core::Action`]s.

pub mod abandon;
pub mod access;
pub mod account;
pub mod admin;
pub mod auth_query;
pub mod calendar;
pub mod cancel;
#[cfg(any(test, debug_assertions))]
mod check;
pub mod client;
pub mod core;
pub mod database;
pub mod deallocate;
pub mod dns;
pub mod drop_statement;
pub mod entry;
pub mod events;
pub mod explain;
pub mod handshake;
pub mod ids;
pub mod judge;
pub mod judge_server;
pub mod kept;
mod keys;
pub mod launch;
pub mod limits;
pub mod link;
pub mod lookup;
#[cfg(test)]
mod model;
pub mod names;
pub mod note;
pub mod pause;
pub mod peer;
pub mod period;
#[allow(clippy::module_inception, reason = "the record of a pool is called so everywhere")]
pub mod pool;
pub mod prepare;
pub mod prepared;
pub mod reason;
pub mod reload;
pub mod repeat;
pub mod replies;
pub mod reply;
pub mod request;
mod rest;
pub mod retire;
pub mod retry;
mod routine;
pub mod server;
pub mod server_login;
pub mod site;
pub mod statements;
pub mod stats;
pub mod sweep;
pub mod user;
pub mod varcache;
pub mod verdict;
pub mod wait;
