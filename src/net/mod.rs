//! The network, by mio: sockets that listen, connections, the poll, and names turned into
//! addresses on a thread of their own. Nothing here knows what travels over a connection.

pub mod listen;
pub mod network;
pub mod poll;
pub mod resolve;
