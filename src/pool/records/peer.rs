//! A peer: another process of this pooler, to which cancel requests are passed on.

use super::carrier::Carrier;
use super::site::SiteId;
use crate::base::arena::Record;
use crate::base::list::List;
use crate::pool::ids::PeerKind;

pub struct Peer {
    /// The peer_id in `[peers]`.
    pub number: u16,
    /// The most carriers to this peer at a time, instead of default_pool_size; 0 means no limit.
    pub pool_size: Option<u32>,
    pub site: SiteId,
    /// Carriers to this peer, in order of arrival.
    pub carriers: List<Carrier>,
}

impl Record for Peer {
    type Kind = PeerKind;
}
