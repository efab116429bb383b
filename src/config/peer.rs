//! Lines of the `[peers]` section: other processes that cancel requests may belong to.

use super::line::Hosts;
use super::table::{RELOAD, table};
use super::value::{COUNT, Kind};

table! {
    /// One line of `[peers]`.
    pub struct PeerLine (id: u16) {
        /// Name, address, or directory of the Unix socket of the peer.
        host: Hosts = Kind::Hosts, None, RELOAD;
        /// The peer's port.
        port: u16 = Kind::Integer { min: 1, max: u16::MAX as u32 }, Some("6432"), RELOAD;
        /// Cancel requests on their way to the peer at a time, instead of `default_pool_size`.
        pool_size: Option<u32> = COUNT, None, RELOAD;
    }
}
