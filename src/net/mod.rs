//! The network, by mio: listeners, connections, the poll and TLS; and helper threads that resolve
//! names and ask LDAP or PAM about passwords. Nothing here knows what travels over a connection.

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
