//! The core: who is connected, who has which server, who waits, and what each message means.
//!
//! It is a value with methods and does no I/O. Bytes are judged here ([`judge`]), moves of records
//! between states are made in [`link`] alone, and what the shell must do besides relaying bytes is
//! a queue of [`core::Action`]s.

pub mod account;
pub mod admin;
pub mod cancel;
pub mod client;
pub mod core;
pub mod database;
pub mod deallocate;
pub mod dns;
pub mod entry;
pub mod events;
pub mod explain;
pub mod judge;
pub mod launch;
pub mod limits;
pub mod link;
pub mod pause;
pub mod peer;
pub mod pool;
pub mod prepare;
pub mod reason;
pub mod reload;
pub mod replies;
pub mod retire;
pub mod server;
pub mod server_login;
pub mod stats;
pub mod sweep;
pub mod user;
pub mod varcache;
