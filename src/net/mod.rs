//! The network, by mio: sockets that listen, and names turned into addresses on threads of their
//! own. Nothing here knows what travels over a connection.

pub mod listen;
pub mod resolve;
