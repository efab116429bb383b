//! The records of the core and their parts: clients, servers, pools, databases, users, hosts. A
//! record knows only its own fields; changes to several records together are made above.

pub mod access;
pub mod calendar;
pub mod carrier;
pub mod client;
pub mod console;
pub mod database;
pub mod derivations;
pub mod directory;
pub mod dns;
pub mod handshake;
pub mod inquiries;
pub mod keys;
pub mod limits;
pub mod listening;
pub mod lookup;
pub mod lookups;
pub mod own;
pub mod pass;
pub mod peer;
pub mod pool;
pub mod retry;
#[cfg(test)]
pub mod scene;
pub mod secured;
pub mod server;
pub mod session;
pub mod site;
pub mod strangers;
pub mod transients;
pub mod unnamed_effects;
pub mod user;
pub mod wait;
