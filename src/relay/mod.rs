//! Moves bytes between connections as the core judges them. It owns the one read block, the bytes
//! that a peer would not take, and the order of things; it is generic over the system below, so
//! that the simulation runs the very code that the program runs.

mod client_end;
mod client_run;
mod conn;
mod engine;
mod first_run;
pub mod fuzz;
mod outbound;
mod room;
mod secure;
mod server_run;
#[cfg(test)]
mod simulation;

pub use crate::pool::records::secured::ServerTls;
pub use conn::{Readiness, Stream};
pub use engine::{Engine, Handshake, Io, NotBegun};
pub use room::ConnId;
