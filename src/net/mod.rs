//! The network, by mio: sockets that listen, connections, the poll, and names turned into
//! addresses and questions to judges of passwords on threads of their own, and TLS. Nothing here
//! knows what travels over a connection.

pub mod jobs;
pub mod judge;
pub mod listen;
pub mod network;
pub mod poll;
pub mod resolve;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "without_tls.rs"]
pub mod tls;
pub mod web;
