//! A peer: another process of this pooler, to which cancel requests are passed on.

use super::carrier::Carrier;
use super::site::SiteId;
use crate::base::arena::Record;
use crate::base::list::List;
use crate::pool::ids::PeerKind;

pub struct Peer {
    /// Its number in `[peers]`.
    pub number: u16,
    /// Carriers under way to it at a time, in place of default_pool_size; 0 is any number.
    pub pool_size: Option<u32>,
    pub site: SiteId,
    /// In order of arrival.
    pub carriers: List<Carrier>,
}

impl Record for Peer {
    type Kind = PeerKind;
}
