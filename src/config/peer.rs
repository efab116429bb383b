//! Lines of the `[peers]` section: other processes that cancel requests may belong to.

use super::host::{Hosts, Ports};
use super::table::{RELOAD, table};
use super::value::{Kind, SIZE, ValueError};

table! {
    /// One line of `[peers]`.
    pub struct PeerLine (id: u16) {
        /// Name, address, or directory of the Unix socket of the peer.
        host: Hosts = Kind::Hosts, None, RELOAD;
        /// The peer's port.
        port: Ports = Kind::Ports, Some("6432"), RELOAD;
        /// How many cancel requests may be on their way to the peer at a time, instead of
        /// `default_pool_size`.
        pool_size: Option<u32> = SIZE, None, RELOAD;
    }
}

impl PeerLine {
    /// What no single key can tell: there is a host.
    pub fn check(&self) -> Result<(), ValueError> {
        if self.host.is_empty() { Err(ValueError::Missing) } else { Ok(()) }
    }
}
